/** Entries that go from one entry log of a queue to another: their bodies stay where they are. */
import { TRANSIENT_BODY } from '../bodies.ts';
import { RECORD } from '../records.ts';
import { TlvWriter } from '../tlv.ts';
import type { EntryLog } from './entry-log.ts';
import { RangeLog } from './range-log.ts';
import { writeRanges } from './settlements.ts';

const ranges = new RangeLog();
/** Of our own, see `Engine.append`. */
const record = new TlvWriter();

/**
 * Move entries, in the order given, with new info (whether they are logged does not change). What the queue counts is the
 * caller's business; so is telling it that there is something to hand out.
 * @returns the position of the first one in `to`; the others follow it
 */
export function transfer(from: EntryLog, to: EntryLog, positions: readonly number[], info: number): number {
  const { logged } = from;
  const first = to.ring.tail;
  for (let n = 0; n < positions.length; n++) {
    const position = positions[n] as number;
    const row = from.ring.body(position);
    const isLogged = logged && (from.ring.info(position) & TRANSIENT_BODY) === 0;
    if (!isLogged) flush(from, to);
    else if (ranges.empty) to.beforeLogged();
    if (isLogged) ranges.add(position, info);
    from.ring.settle(position);
    to.pushMoved(row, isLogged ? info : info | TRANSIENT_BODY);
  }
  flush(from, to);
  return first;
}

function flush(from: EntryLog, to: EntryLog): void {
  if (ranges.empty) return;
  writeRanges(from.queue.engine, record, RECORD.transfer, [from.id, to.id], ranges, true);
  ranges.clear();
}
