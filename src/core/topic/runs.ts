/**
 * What a partition has in the journal: runs of messages, one APPEND record each. A run costs a body row, a ring entry and a
 * number here, however many messages it has. Ring positions count runs; the flags of the body row are the number of messages.
 * A message that others refer to as well (one that came out of a half) is a run of its own, bare: without a frame, and without
 * a claim to the flags. The second word of an entry:
 *
 *     bits 0 to 30   time of the newest message up to here, in seconds since 2020: never falls
 *     bit 31         bare
 */
import type { Bodies } from '../bodies.ts';
import type { EntryRing } from '../slab/entry-ring.ts';
import type { Frames } from './frames.ts';

/** A run of several messages is not made longer than this. */
export const RUN_BYTES_MAX = 64 * 1024;
/** Messages of a run: the flags of a body row have 16 bits. */
export const RUN_MESSAGES_MAX = 0xffff;
const BARE_BIT = 0x8000_0000;
/** 2020-01-01, in seconds. */
const TIME_FROM = 1_577_836_800;
/** Numbers of runs that are gone, worth moving the others for. */
const GONE_MIN = 1024;
/** Runs dropped between two yields of a background job. */
const DROPS_PER_STEP = 256;

export class Runs {
  readonly #bodies: Bodies;
  readonly #ring: EntryRing;
  /** First offset of the runs at the ring's positions `#from` and on. */
  #bases: number[] = [];
  #from: number;
  /** The offset after the last run. */
  end = 0;
  /** Bytes of all runs. */
  bytes = 0;
  #newestSecond = 0;

  constructor(bodies: Bodies, ring: EntryRing) {
    this.#bodies = bodies;
    this.#ring = ring;
    this.#from = ring.head;
  }

  /** Names the ring in a checkpoint. */
  get row(): number {
    return this.#ring.row;
  }

  /** Position of the first run. */
  get head(): number {
    return this.#ring.head;
  }

  get tail(): number {
    return this.#ring.tail;
  }

  /** First offset that is here; `end` when nothing is. */
  get start(): number {
    return this.#ring.count === 0 ? this.end : this.base(this.#ring.head);
  }

  /** A run of `count` messages in frames. */
  add(row: number, length: number, count: number, newestMs: number): void {
    this.#add(row, length, count, newestMs, 0);
  }

  /** One message without a frame. */
  addBare(row: number, length: number, timeMs: number): void {
    this.#add(row, length, 1, timeMs, BARE_BIT);
  }

  #add(row: number, length: number, count: number, newestMs: number, bare: number): void {
    this.#newestSecond = Math.max(this.#newestSecond, Math.floor(newestMs / 1000) - TIME_FROM);
    this.#ring.push(row, this.#newestSecond | bare);
    this.#bases.push(this.end);
    this.end += count;
    this.bytes += length;
  }

  /** Take the ring as a checkpoint held it. @param end the offset after the last run */
  adopt(end: number): void {
    const { logged } = this.#bodies;
    this.end = end;
    let base = end;
    for (let position = this.tail - 1; position >= this.head; position--) {
      base -= this.count(position);
      this.#bases.push(base);
      this.bytes += logged.length(this.body(position));
    }
    this.#bases.reverse();
    this.#from = this.head;
    if (this.tail > this.head) this.#newestSecond = this.#second(this.tail - 1);
  }

  body(position: number): number {
    return this.#ring.body(position);
  }

  base(position: number): number {
    return this.#bases[position - this.#from] ?? this.end;
  }

  isBare(position: number): boolean {
    return (this.#ring.info(position) & BARE_BIT) !== 0;
  }

  /** Messages in a run. */
  count(position: number): number {
    return this.isBare(position) ? 1 : this.#bodies.logged.flags(this.body(position));
  }

  /** Put `frames` at the message of an offset, or the first one after it, in a run whose bytes begin at `bytes[start]`. */
  show(position: number, bytes: Buffer, start: number, frames: Frames, offset: number): void {
    const end = start + this.#bodies.logged.length(this.body(position));
    if (this.isBare(position)) frames.setBare(bytes, start, end, this.base(position));
    else frames.set(bytes, start, end, this.base(position), offset);
  }

  #second(position: number): number {
    return this.#ring.info(position) & ~BARE_BIT;
  }

  /** Wall-clock milliseconds of the newest message up to the run's end, rounded down to a second. */
  newestMs(position: number): number {
    return (this.#second(position) + TIME_FROM) * 1000;
  }

  /** Position of the run that has `offset`, which is from `start` to before `end`. */
  find(offset: number): number {
    let low = this.head;
    let high = this.tail;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.base(middle) <= offset) low = middle;
      else high = middle;
    }
    return low;
  }

  /** First offset of the first run with a message not older than `timeMs`, a second exact; `end` when all are older. */
  since(timeMs: number): number {
    const second = Math.floor(timeMs / 1000) - TIME_FROM;
    let low = this.head;
    let high = this.tail;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#second(middle) < second) low = middle + 1;
      else high = middle;
    }
    return this.base(low);
  }

  /** Give back runs that end at or before an offset: a background job. */
  *drop(end: number): Generator<void, void, undefined> {
    let done = 0;
    for (let position = this.head; position < this.tail && this.base(position + 1) <= end; position++) {
      const row = this.body(position);
      this.bytes -= this.#bodies.logged.length(row);
      this.#ring.settle(position);
      this.#bodies.release(row, 0);
      if (++done % DROPS_PER_STEP === 0) yield;
    }
    const gone = this.head - this.#from;
    if (gone < GONE_MIN && this.head < this.tail) return;
    this.#bases = this.#bases.slice(gone);
    this.#from = this.head;
  }

  destroy(): void {
    this.#ring.destroy();
  }
}
