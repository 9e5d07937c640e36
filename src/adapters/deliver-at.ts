/** When what a consumer gives back is to come again, as JSON protocols say it. */
import { type Clock, CoreError } from '../core/index.ts';

/** Milliseconds from now, or a time: one of them. */
export interface Wait {
  delay_ms?: number;
  deliver_at_ms?: number;
}

const ms = { type: 'integer', minimum: 0 } as const;
/** Its members, for schemas. */
export const WAIT = { delay_ms: ms, deliver_at_ms: ms } as const;

/** Wall-clock milliseconds; 0 when nothing is said. Throws `invalid-argument` when both are given. */
export function deliverAt(clock: Clock, { delay_ms: delayMs, deliver_at_ms: atMs }: Wait): number {
  if (delayMs === undefined) return atMs ?? 0;
  if (atMs !== undefined) throw new CoreError('invalid-argument', 'only one of delay_ms, deliver_at_ms can be given');
  return clock.now() + delayMs;
}
