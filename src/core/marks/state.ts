/** What queues know of messages by their marks, in checkpoints (docs/disk-format-records.md). */
import type { Queue } from '../queue/queue.ts';
import type { TlvReader, TlvWriter } from '../tlv.ts';
import type { Topology } from '../topology.ts';
import type { Print } from './print.ts';
import { entriesOf, type PrintMoment } from './print-table.ts';
import { replayedDedup, replayedLastValues } from './queue-marks.ts';

/** Kinds of objects. A table is written as several of them. */
export const MARK_OBJECT = {
  /** queue u32, generation f64, count u32, { fingerprint 16 bytes, seen f64 }. */
  seenIds: 20,
  /** queue u32, count u32, { fingerprint 16 bytes, position f64 }. */
  lastValues: 21,
} as const;

const ENTRIES_PER_OBJECT = 512;

/** The marks of all logged queues at one moment. */
export class MarksMoment {
  readonly #seen: (readonly [id: number, sinceMs: number, seen: PrintMoment])[] = [];
  readonly #lastValues: (readonly [id: number, values: PrintMoment])[] = [];

  constructor(queues: Iterable<Queue>) {
    for (const { id, marks, logged, engine } of queues) {
      if (marks === undefined || !logged) continue;
      marks.dedup?.expire(engine.now());
      for (const { sinceMs, seen } of marks.dedup?.moment() ?? []) this.#seen.push([id, sinceMs, seen]);
      if (marks.lastValues !== undefined) this.#lastValues.push([id, marks.lastValues.moment()]);
    }
  }

  *encode(out: TlvWriter): Generator<void, void, undefined> {
    for (const [id, sinceMs, seen] of this.#seen) {
      for (const some of parts(seen, (seenMs) => seenMs > 0)) {
        out.u8(MARK_OBJECT.seenIds).u32(id).f64(sinceMs);
        yield writeEntries(out, some);
      }
    }
    for (const [id, values] of this.#lastValues) {
      for (const some of parts(values, () => true)) {
        out.u8(MARK_OBJECT.lastValues).u32(id);
        yield writeEntries(out, some);
      }
    }
  }
}

type Entries = (readonly [print: Print, value: number])[];

function* parts(moment: PrintMoment, wanted: (value: number) => boolean): Generator<Entries, void, undefined> {
  let some: Entries = [];
  for (const entry of entriesOf(moment)) {
    if (!wanted(entry[1])) continue;
    some.push(entry);
    if (some.length < ENTRIES_PER_OBJECT) continue;
    yield some;
    some = [];
  }
  if (some.length > 0) yield some;
}

function writeEntries(out: TlvWriter, entries: Entries): void {
  out.u32(entries.length);
  for (const [{ a, b, c, d }, value] of entries) out.u32(a).u32(b).u32(c).u32(d).f64(value);
}

/** Take one object back. */
export function loadMarkObject(topology: Topology, kind: number, from: TlvReader): void {
  const queue = topology.queuesById.get(from.u32());
  const sinceMs = kind === MARK_OBJECT.seenIds ? from.f64() : 0;
  for (let left = from.u32(); left > 0; left--) {
    const print = { a: from.u32(), b: from.u32(), c: from.u32(), d: from.u32() };
    const value = from.f64();
    if (queue === undefined) continue;
    if (kind === MARK_OBJECT.seenIds) replayedDedup(queue).restore(sinceMs, print, value);
    else replayedLastValues(queue).restore(print, value);
  }
}
