import { givenUpFor } from './entry-info.ts';
import type { Lane } from './lane.ts';
import type { Queue } from './queue.ts';

/** Entries of a lane that are to go: some by name, and the range from `from` up to, not including, `to`. */
export interface Purged {
  readonly lane: Lane;
  readonly returned: readonly number[];
  readonly from: number;
  readonly to: number;
}

/** Take entries out of a queue, in slices. */
export function* purgeEntries(queue: Queue, purged: readonly Purged[]): Generator<void, void, undefined> {
  let done = 0;
  const takeOut = (position: number): boolean => {
    queue.purging--;
    queue.takeOut(position, false);
    return (++done & 255) === 0;
  };
  for (const { lane, returned, from, to } of purged) {
    const { ring, offset } = lane;
    for (const position of returned) {
      if (queue.deleted) return;
      if (takeOut(offset + position)) yield;
    }
    for (let position = ring.next(from); position >= 0 && position < to; position = ring.next(position + 1)) {
      if (queue.deleted) return;
      if (givenUpFor(ring.info(position)) !== 0) continue;
      if (takeOut(offset + position)) yield;
    }
  }
}
