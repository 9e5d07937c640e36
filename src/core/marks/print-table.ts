/**
 * A hash table from fingerprints to numbers, outside the collected heap: 24 B a slot, at most three quarters of them in use.
 * Slots lie in chunks; a checkpoint shares the chunks as they are, and a shared chunk is copied before it is written to.
 */
import type { Print } from './print.ts';

const FIRST_SLOTS = 16;
const CHUNK_BITS = 10;
const CHUNK_SLOTS = 1 << CHUNK_BITS;
const WORDS = 4;

interface Chunk {
  /** Four words a slot. */
  readonly prints: Uint32Array;
  /** NaN = the slot is empty. */
  readonly values: Float64Array;
}

/** What a table held at one moment. */
export type PrintMoment = readonly Chunk[];

export class PrintTable {
  /** Entries, those included that nobody has looked for since they became stale. */
  size = 0;
  readonly #isLive: (value: number) => boolean;
  #chunks: Chunk[];
  #shared: boolean[];
  #slots = FIRST_SLOTS;

  /** @param isLive an entry of which this is false may be forgotten when the table needs room */
  constructor(isLive: (value: number) => boolean = () => true) {
    this.#isLive = isLive;
    this.#chunks = [emptyChunk(FIRST_SLOTS)];
    this.#shared = [false];
  }

  /** The number of a fingerprint; NaN when it has none. */
  get(print: Print): number {
    return this.#valueAt(this.#find(print));
  }

  set(print: Print, value: number): void {
    let slot = this.#find(print);
    if (Number.isNaN(this.#valueAt(slot))) {
      if ((this.size + 1) * 4 > this.#slots * 3) {
        this.#rebuild();
        slot = this.#find(print);
      }
      this.size++;
    }
    const { prints, values } = this.#writable(slot >> CHUNK_BITS);
    const at = slot & (CHUNK_SLOTS - 1);
    values[at] = value;
    const word = at * WORDS;
    prints[word] = print.a;
    prints[word + 1] = print.b;
    prints[word + 2] = print.c;
    prints[word + 3] = print.d;
  }

  #valueAt(slot: number): number {
    return (this.#chunks[slot >> CHUNK_BITS] as Chunk).values[slot & (CHUNK_SLOTS - 1)] as number;
  }

  /** The slot of a fingerprint, or the empty one where it would be. */
  #find({ a, b, c, d }: Print): number {
    const mask = this.#slots - 1;
    for (let slot = a & mask; ; slot = (slot + 1) & mask) {
      const { prints, values } = this.#chunks[slot >> CHUNK_BITS] as Chunk;
      const at = slot & (CHUNK_SLOTS - 1);
      if (Number.isNaN(values[at])) return slot;
      const word = at * WORDS;
      if (prints[word] === a && prints[word + 1] === b && prints[word + 2] === c && prints[word + 3] === d) return slot;
    }
  }

  #writable(index: number): Chunk {
    const chunk = this.#chunks[index] as Chunk;
    if (!this.#shared[index]) return chunk;
    const copy = { prints: chunk.prints.slice(), values: chunk.values.slice() };
    this.#chunks[index] = copy;
    this.#shared[index] = false;
    return copy;
  }

  /** Make room: forget what is stale, and be large enough for twice the rest. */
  #rebuild(): void {
    const old = this.#chunks;
    let live = 0;
    for (const { values } of old) for (const value of values) if (!Number.isNaN(value) && this.#isLive(value)) live++;
    while (this.#slots < (live + 1) * 2) this.#slots *= 2;
    const chunkSlots = Math.min(this.#slots, CHUNK_SLOTS);
    this.#chunks = Array.from({ length: this.#slots / chunkSlots }, () => emptyChunk(chunkSlots));
    this.#shared = this.#chunks.map(() => false);
    this.size = 0;
    for (const [print, value] of entriesOf(old)) if (this.#isLive(value)) this.set(print, value);
  }

  /** What it holds now, whatever happens to it afterwards. */
  moment(): PrintMoment {
    this.#shared.fill(true);
    return this.#chunks.slice();
  }
}

function emptyChunk(slots: number): Chunk {
  return { prints: new Uint32Array(slots * WORDS), values: new Float64Array(slots).fill(Number.NaN) };
}

/** The entries of a moment. */
export function* entriesOf(moment: PrintMoment): IterableIterator<readonly [print: Print, value: number]> {
  for (const { prints, values } of moment) {
    for (let at = 0; at < values.length; at++) {
      const value = values[at] as number;
      if (Number.isNaN(value)) continue;
      const [a = 0, b = 0, c = 0, d = 0] = prints.subarray(at * WORDS, (at + 1) * WORDS);
      yield [{ a, b, c, d }, value];
    }
  }
}
