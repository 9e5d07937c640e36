/**
 * Finding the messages of a delay slot that are due first, and sorting them. Everything is a pass over entries in the order of
 * memory, a step at a time, because there may be millions: two passes count due times (the upper, then the lower half of their
 * bits) to find the time before which there are as many as wanted, one collects those, and a radix sort does the rest.
 * Messages that come in meanwhile are met at the end; those that go may still be among the found.
 */
import { type EntryColumns, type EntryRing, entryColumns } from '../slab/entry-ring.ts';
import { DUE_MASK } from './info.ts';
import { Near } from './near.ts';

/** Due times have 23 bits. */
const LOW_BITS = 12;
const LOW_MASK = 2 ** LOW_BITS - 1;
const DIGIT_BITS = 8;
const DIGITS = 2 ** DIGIT_BITS;
/** Pairs sorted in one step. */
const STEP_PAIRS = 8192;

/** A page with entries costs so much more than these, one without so much. */
const PAGE_COST = 512;
const HOLE_COST = 16;

/** Entries of one page, looked at before anything else happens. */
const page: EntryColumns = entryColumns();

/** Work that yields what it has cost so far, in entries looked at. */
type Work<T> = Generator<number, T, undefined>;

/** What looking at the page has cost. */
function looked(): number {
  return page.count === 0 ? HOLE_COST : page.count + PAGE_COST;
}

/** Pairs on their way to be sorted. */
interface Pairs {
  readonly dues: Uint32Array;
  readonly offsets: Uint32Array;
}

export class NearSearch {
  readonly #ring: EntryRing;
  readonly #max: number;
  /** Where positions are counted from, and what is counted and collected ends; the rest comes last. */
  readonly #base: number;
  readonly #end: number;
  readonly #steps: Work<void>;
  #near: Near = new Near();
  #horizon = Number.POSITIVE_INFINITY;
  /** Entries due just at the horizon that are taken, too: those that came first. */
  #atHorizon = 0;
  #found = 0;

  /** @param max entries to find, of those that are there now */
  constructor(ring: EntryRing, max: number) {
    this.#ring = ring;
    this.#max = max;
    this.#base = ring.head;
    this.#end = ring.tail;
    this.#steps = this.#run();
  }

  /** Go on, through about `entries` entries. Answers true when the search is over. */
  step(entries: number): boolean {
    for (let left = entries; left > 0; ) {
      const { value, done } = this.#steps.next();
      if (done === true) return true;
      left -= value as number;
    }
    return false;
  }

  /** What was found. */
  get near(): Near {
    return this.#near;
  }

  /** Everything that is due before it (milliseconds from the slot's beginning) was found. */
  get horizon(): number {
    return this.#horizon;
  }

  *#run(): Work<void> {
    const size = Math.min(this.#ring.count, this.#max);
    if (this.#ring.count > this.#max) yield* this.#findHorizon();
    const pairs = { dues: new Uint32Array(size), offsets: new Uint32Array(size) };
    for (let at = this.#base; at < this.#end; ) {
      at = this.#ring.read(at, page);
      this.#collect(pairs);
      yield looked();
    }
    const sorted = yield* sort(pairs, this.#found);
    this.#near = new Near({ ...sorted, base: this.#base, length: this.#found });
    for (let at = this.#end; at < this.#ring.tail; ) {
      at = this.#ring.read(at, page);
      this.#addLate();
      if (at < this.#ring.tail) yield looked();
    }
  }

  /** Find the due time that the last one of those wanted has. */
  *#findHorizon(): Work<void> {
    const counts = new Uint32Array(2 ** LOW_BITS);
    let wanted = this.#max;
    for (let at = this.#base; at < this.#end; ) {
      at = this.#ring.read(at, page);
      for (let n = 0; n < page.count; n++) counts[((page.infos[n] as number) & DUE_MASK) >>> LOW_BITS]!++;
      yield looked();
    }
    const high = crossing(counts, wanted);
    // So many have gone meanwhile that all can be found.
    if (high === counts.length) return;
    for (let n = 0; n < high; n++) wanted -= counts[n] as number;
    counts.fill(0);
    for (let at = this.#base; at < this.#end; ) {
      at = this.#ring.read(at, page);
      for (let n = 0; n < page.count; n++) {
        const due = (page.infos[n] as number) & DUE_MASK;
        if (due >>> LOW_BITS === high) counts[due & LOW_MASK]!++;
      }
      yield looked();
    }
    const low = crossing(counts, wanted);
    for (let n = 0; n < low; n++) wanted -= counts[n] as number;
    this.#horizon = high * 2 ** LOW_BITS + low;
    this.#atHorizon = wanted;
  }

  #collect({ dues, offsets }: Pairs): void {
    const horizon = this.#horizon;
    let found = this.#found;
    for (let n = 0; n < page.count; n++) {
      const due = (page.infos[n] as number) & DUE_MASK;
      const position = page.positions[n] as number;
      if (due > horizon || position >= this.#end) continue;
      if (due === horizon && this.#atHorizon-- <= 0) continue;
      dues[found] = due;
      offsets[found++] = position - this.#base;
    }
    this.#found = found;
  }

  #addLate(): void {
    for (let n = 0; n < page.count; n++) {
      const due = (page.infos[n] as number) & DUE_MASK;
      if (due < this.#horizon) this.#near.push(due, page.positions[n] as number);
    }
  }
}

/** The first place up to which the counts add up to `wanted`; their number when they do not. */
function crossing(counts: Uint32Array, wanted: number): number {
  let sum = 0;
  for (let n = 0; n < counts.length; n++) {
    sum += counts[n] as number;
    if (sum >= wanted) return n;
  }
  return counts.length;
}

/** Sort pairs by due time, digit after digit, the lowest first; those of equal times stay as they are. */
function* sort(pairs: Pairs, length: number): Work<Pairs> {
  let from = pairs;
  let into: Pairs | undefined;
  for (let shift = 0; shift < 24; shift += DIGIT_BITS) {
    const next = new Uint32Array(DIGITS);
    for (let at = 0; at < length; at += STEP_PAIRS) {
      const end = Math.min(length, at + STEP_PAIRS);
      for (let n = at; n < end; n++) next[((from.dues[n] as number) >>> shift) & (DIGITS - 1)]!++;
      yield end - at;
    }
    if (!toStarts(next, length)) continue;
    into ??= { dues: new Uint32Array(length), offsets: new Uint32Array(length) };
    for (let at = 0; at < length; at += STEP_PAIRS) {
      const end = Math.min(length, at + STEP_PAIRS);
      scatter(from, into, at, end, shift, next);
      yield end - at;
    }
    [from, into] = [into, from];
  }
  return from;
}

/** Turn counts into the places where each digit begins; false when there is only one digit. */
function toStarts(counts: Uint32Array, length: number): boolean {
  let start = 0;
  for (let digit = 0; digit < DIGITS; digit++) {
    const count = counts[digit] as number;
    if (count === length) return false;
    counts[digit] = start;
    start += count;
  }
  return true;
}

function scatter(from: Pairs, into: Pairs, start: number, end: number, shift: number, next: Uint32Array): void {
  for (let n = start; n < end; n++) {
    const due = from.dues[n] as number;
    const at = next[(due >>> shift) & (DIGITS - 1)]!++;
    into.dues[at] = due;
    into.offsets[at] = from.offsets[n] as number;
  }
}
