/**
 * Sorts places of bodies by segment and offset, a slice at a time. Tables yield them in long ascending runs (bodies are
 * entered in the order of the log), so runs are found as they come in and then merged in pairs.
 */
import type { BodyRef } from '../journal/journal.ts';

/** Places found so far, or half merged. */
interface Columns {
  /** Rank of the segment times 2^32, plus the offset: exact in a double. */
  readonly keys: Float64Array;
  readonly lengths: Uint32Array;
}

export class BodySort {
  /** The segments asked for, ascending, and the place of each in that order. */
  readonly #segments: number[];
  readonly #ranks = new Map<number, number>();
  readonly #columns: Columns;
  #count = 0;
  /** Where each ascending run begins. */
  #runs: number[] = [];

  /** @param capacity the most places that can come: the columns are allocated once, a copy of a long one is a pause */
  constructor(segments: Iterable<number>, capacity: number) {
    this.#columns = columns(capacity);
    this.#segments = [...segments].sort((a, b) => a - b);
    for (const [rank, segment] of this.#segments.entries()) this.#ranks.set(segment, rank);
  }

  /** Add a place, if it is in one of the segments and there is room for it. */
  push(segment: number, offset: number, length: number): void {
    const rank = this.#ranks.get(segment);
    const { keys, lengths } = this.#columns;
    if (rank === undefined || this.#count === keys.length) return;
    const at = this.#count++;
    const key = rank * 2 ** 32 + offset;
    if (at === 0 || key < keys[at - 1]!) this.#runs.push(at);
    keys[at] = key;
    lengths[at] = length;
  }

  /** Everything added, in order. Yields after every `slice` places handled. */
  *sorted(slice: number): Generator<undefined, BodyRef[], undefined> {
    let from = this.#columns;
    let into = columns(this.#count);
    while (this.#runs.length > 1) {
      const runs: number[] = [];
      for (let n = 0; n < this.#runs.length; n += 2) {
        const start = this.#runs[n]!;
        runs.push(start);
        yield* merge(from, into, start, this.#runs[n + 1] ?? this.#count, this.#runs[n + 2] ?? this.#count, slice);
      }
      this.#runs = runs;
      [from, into] = [into, from];
    }
    const refs: BodyRef[] = [];
    for (let at = 0; at < this.#count; at++) {
      const key = from.keys[at]!;
      const rank = Math.floor(key / 2 ** 32);
      refs.push({ segment: this.#segments[rank]!, offset: key - rank * 2 ** 32, length: from.lengths[at]! });
      if (at % slice === slice - 1) yield;
    }
    return refs;
  }
}

/** Merge the runs [start, middle) and [middle, end). */
function* merge(
  from: Columns,
  into: Columns,
  start: number,
  middle: number,
  end: number,
  slice: number,
): Generator<undefined, void, undefined> {
  let left = start;
  let right = middle;
  for (let at = start; at < end; at++) {
    const takeLeft = right === end || (left < middle && from.keys[left]! <= from.keys[right]!);
    const source = takeLeft ? left++ : right++;
    into.keys[at] = from.keys[source]!;
    into.lengths[at] = from.lengths[source]!;
    if (at % slice === slice - 1) yield;
  }
}

function columns(size: number): Columns {
  return { keys: new Float64Array(size), lengths: new Uint32Array(size) };
}
