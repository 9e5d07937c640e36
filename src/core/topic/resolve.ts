import type { ReadFrom } from '../door.ts';
import { CoreError } from '../errors.ts';
import type { Partition } from './partition.ts';
import type { Topics } from './topics.ts';

/** The offset that a place in a partition has now: within what there is to read. Rejects with `invalid-argument`. */
export async function resolveOffset(topics: Topics, partition: Partition, from: ReadFrom): Promise<number> {
  const { start, durableEnd } = partition;
  const within = (offset: number): number => Math.min(Math.max(offset, start), durableEnd);
  if (from === 'first') return start;
  if (from === 'last') return within(durableEnd - 1);
  if (from === 'next') return durableEnd;
  const [[name, value] = ['', 0]] = Object.entries(from) as [string, number][];
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new CoreError('invalid-argument', `${name} is ${value}; it is a whole number from 0 on`);
  }
  if ('offset' in from) return within(from.offset);
  if ('lastN' in from) return within(durableEnd - from.lastN);
  return topics.offsetAt(partition, from.timeMs);
}
