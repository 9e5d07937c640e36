/** What became of the entries of a log since the last record about them, as ranges of positions. Used by one log after the other. */
import type { Engine } from '../engine.ts';
import { RECORD, zigzag } from '../records.ts';
import { TlvWriter } from '../tlv.ts';
import { writeDeferred } from './deferrals.ts';
import { RangeLog } from './range-log.ts';

/** For what is written when a batch is sealed: nobody else may use it (see `Engine.append`). */
const record = new TlvWriter();

export class Settlements {
  readonly #done = new RangeLog();
  readonly #returned = new RangeLog();
  /** Position and due time of entries that wait, by turns. */
  #deferred: number[] | undefined;

  /** An entry is gone. */
  done(position: number): void {
    this.#done.add(position, 0);
  }

  /** An entry stays, with other info. */
  returned(position: number, info: number): void {
    this.#returned.add(position, info);
  }

  /** An entry stays, and waits until `dueMs`. */
  deferred(position: number, dueMs: number): void {
    this.#deferred ??= [];
    this.#deferred.push(position, dueMs);
  }

  /** Write what was collected to the journal, and forget it. @param logId the log it is about */
  write(engine: Engine, logId: number): void {
    if (!this.#returned.empty) writeRanges(engine, record, RECORD.return, [logId], this.#returned, true);
    if (this.#deferred !== undefined) {
      writeDeferred(record.reset(), logId, this.#deferred);
      engine.append(RECORD.defer, record);
    }
    if (!this.#done.empty) writeRanges(engine, record, RECORD.settle, [logId], this.#done, false);
    this.clear();
  }

  clear(): void {
    this.#done.clear();
    this.#returned.clear();
    this.#deferred = undefined;
  }
}

/** Write a record that begins with numbers of entry logs and goes on with ranges. @param out to be used for it */
export function writeRanges(
  engine: Engine,
  out: TlvWriter,
  type: number,
  logs: readonly number[],
  ranges: RangeLog,
  withInfo: boolean,
): void {
  out.reset();
  for (const id of logs) out.u32(id);
  let last = 0;
  for (let at = 0; at < ranges.length; at++) {
    const first = ranges.first(at);
    out.varint(zigzag(first - last)).varint(ranges.count(at));
    if (withInfo) out.varint(ranges.info(at));
    last = first + ranges.count(at);
  }
  engine.append(type, out);
}

/** Write that the next message of a log gets position `tail`: those before it that are missing were not logged. */
export function writeGap(engine: Engine, logId: number, tail: number): void {
  const { journal } = engine;
  const at = journal.append(RECORD.gap, 12);
  journal.bytes.writeUInt32LE(logId, at);
  journal.bytes.writeDoubleLE(tail, at + 4);
  engine.wrote();
}
