/** When what a consumer gives back is to come again, as JSON protocols say it. */
import type { Clock } from '../core/index.ts';

/** Milliseconds from now, or a time. */
export interface Wait {
  delay_ms?: number;
  deliver_at_ms?: number;
}

const ms = { type: 'integer', minimum: 0 } as const;
/** Its members, for schemas. */
export const WAIT = { delay_ms: ms, deliver_at_ms: ms } as const;

/** Wall-clock milliseconds; 0 when nothing is said. A delay counts where both are given. */
export function deliverAt(clock: Clock, { delay_ms: delayMs, deliver_at_ms: atMs = 0 }: Wait): number {
  return delayMs === undefined ? atMs : clock.now() + delayMs;
}
