/** Whether an entry stands in the list of the consumer it waits for. */
import { PARKED } from '../queue/entry-info.ts';
import type { Lane } from '../queue/lane.ts';

export function isParked(lane: Lane, here: number): boolean {
  return (lane.ring.info(here) & PARKED) !== 0;
}

export function setParked(lane: Lane, here: number, parked: boolean): void {
  const info = lane.ring.info(here);
  lane.ring.setInfo(here, parked ? info | PARKED : info & ~PARKED);
}
