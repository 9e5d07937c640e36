import { SUPERSEDED } from './entry-info.ts';
import type { Lane } from './lane.ts';
import type { Queue } from './queue.ts';

/** Entries of a lane that are to go: some by name, and the range from `from` up to, not including, `to`. */
interface Purged {
  readonly lane: Lane;
  readonly returned: readonly number[];
  readonly from: number;
  readonly to: number;
}

/**
 * Delete every message of a queue that is not handed out, also those that wait for their time; answers their number. They are
 * out of sight at once, and gone when `done` resolves.
 */
export function purge(queue: Queue): { count: number; done: Promise<void> } {
  for (const { lane, here } of queue.deferrals?.takeAll() ?? []) {
    // What a newer message has replaced is no message of the queue any more.
    if ((lane.ring.info(here) & SUPERSEDED) !== 0) queue.dropGivenUp(lane.offset + here);
    else lane.giveBack(here);
  }
  const { ready } = queue;
  const count = ready + (queue.delays?.purge() ?? 0);
  const hidden = queue.lanes.all.map((lane) => ({ lane, ...lane.hideAll() }));
  queue.purging += ready;
  queue.selection?.emptied();
  queue.bound?.emptied();
  return { count, done: queue.engine.background.run(purgeEntries(queue, hidden)) };
}

/** Take entries out of a queue, in slices. */
function* purgeEntries(queue: Queue, purged: readonly Purged[]): Generator<void, void, undefined> {
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
      if (!lane.isHidden(position)) continue;
      if (takeOut(offset + position)) yield;
    }
  }
}
