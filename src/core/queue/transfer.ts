/** Entries that go from one entry log of a queue to another: their bodies stay where they are. */
import { TRANSIENT_BODY } from '../bodies.ts';
import { RECORD } from '../records.ts';
import type { EntryLog } from './entry-log.ts';
import { RangeLog } from './range-log.ts';
import { writeRanges } from './settlements.ts';

const ranges = new RangeLog();

/**
 * Move entries, in the order given, with new info (whether they are logged does not change). What the queue counts is the
 * caller's business; so is telling it that there is something to hand out.
 * @param moved called with each entry's new position
 */
export function transfer(
  from: EntryLog,
  to: EntryLog,
  entries: Iterable<{ readonly position: number; readonly info: number }>,
  moved: (position: number) => void,
): void {
  const { logged } = from;
  for (const { position, info } of entries) {
    const row = from.ring.body(position);
    const isLogged = logged && (from.ring.info(position) & TRANSIENT_BODY) === 0;
    if (!isLogged) flush(from, to);
    else if (ranges.empty) to.beforeLogged();
    if (isLogged) ranges.add(position, info);
    from.ring.settle(position);
    moved(to.pushMoved(row, isLogged ? info : info | TRANSIENT_BODY));
  }
  flush(from, to);
}

function flush(from: EntryLog, to: EntryLog): void {
  if (ranges.empty) return;
  writeRanges(from.queue.engine, RECORD.transfer, [from.id, to.id], ranges, true);
  ranges.clear();
}
