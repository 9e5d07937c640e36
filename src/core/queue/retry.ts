/** How long a message that came back has to wait before it is handed out again. */
import { failuresOf, RETURNS_MAX } from './entry-info.ts';

/** What came back has to wait: everything, what has failed, or what was given back without a failure. */
export const RETRY_TYPES = ['disabled', 'all', 'failed', 'returned'] as const;

/** (docs/queue-rules.md "Delayed retry") */
export interface RetryRule {
  readonly type: Exclude<(typeof RETRY_TYPES)[number], 'disabled'>;
  /** Milliseconds to wait the first time; the n-th time n times as long. */
  readonly minMs: number;
  /** But not longer than this. */
  readonly maxMs: number;
}

/** Milliseconds to wait; 0 = none. @param failed it has just failed @param info of its entry, this return included */
export function retryDelayMs({ type, minMs, maxMs }: RetryRule, failed: boolean, info: number): number {
  if (type !== 'all' && (type === 'failed') !== failed) return 0;
  const count = failed ? failuresOf(info) : info & RETURNS_MAX;
  return Math.min(minMs * count, maxMs);
}
