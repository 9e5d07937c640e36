/** Where a reader of a topic begins, as JSON protocols say it (docs/topics.md "Reading"). */
import { CoreError, type ReadFrom } from '../core/index.ts';

/** At most one of them. */
export interface JsonPlace {
  readonly from?: 'first' | 'last' | 'next';
  readonly offset?: number;
  readonly time_ms?: number;
  readonly last_n?: number;
}

/**
 * The offset of a place. One that is asked for by number must be there; all else is where there is something.
 * Rejects with `invalid-argument`, or as `resolve` does.
 * @param otherwise when nothing is said
 */
export async function offsetOf(
  { from, offset, time_ms: timeMs, last_n: lastN }: JsonPlace,
  otherwise: ReadFrom,
  resolve: (from: ReadFrom) => Promise<number>,
): Promise<number> {
  const given = Object.entries({ from, offset, time_ms: timeMs, last_n: lastN }).filter(
    ([, value]) => value !== undefined,
  );
  if (given.length > 1) {
    const names = given.map(([name]) => name).join(', ');
    throw new CoreError('invalid-argument', `only one of ${names} can be given`);
  }
  if (offset !== undefined) return offset;
  if (timeMs !== undefined) return resolve({ timeMs });
  if (lastN !== undefined) return resolve({ lastN });
  return resolve(from ?? otherwise);
}
