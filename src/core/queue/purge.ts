import type { Queue } from './queue.ts';

/** Take the returned messages and those from `from` up to, not including, `to` out of a queue, in slices. */
export function* purgeEntries(
  queue: Queue,
  returned: readonly number[],
  from: number,
  to: number,
): Generator<void, void, undefined> {
  const { ring } = queue;
  let done = 0;
  for (const position of returned) {
    if (queue.deleted) return;
    queue.purging--;
    queue.takeOut(position, false);
    if ((++done & 255) === 0) yield;
  }
  for (let position = ring.next(from); position >= 0 && position < to; position = ring.next(position + 1)) {
    if (queue.deleted) return;
    if (queue.givenUpFor(position) !== 0) continue;
    queue.purging--;
    queue.takeOut(position, false);
    if ((++done & 255) === 0) yield;
  }
}
