/** The order in which the ready messages of a queue go out, as numbers: the highest level first, in a level by position. */
import { LANE_SPAN } from '../queue/lane.ts';

const LEVEL_MAX = 255;

/** The place of a position in that order; of such a place, the position. */
export function orderOf(position: number): number {
  return position + (LEVEL_MAX - 2 * Math.floor(position / LANE_SPAN)) * LANE_SPAN;
}
