/**
 * A journal that keeps everything in memory and calls it durable at the end of the turn: for tests and benchmarks of what is
 * above the journal.
 */
import type { Clock } from '../core/clock.ts';
import type {
  BodyRef,
  EachBody,
  Journal,
  JournalHandlers,
  Located,
  Places,
  Recovery,
} from '../core/journal/journal.ts';

const SEGMENT_BYTES = 8 * 1024 * 1024;

export class MemoryJournal implements Journal {
  openBatch = 1;
  durableBatch = 0;
  readonly pressed = false;
  bytes: Buffer = Buffer.alloc(0);
  segment = 0;
  offset = 0;
  bytesSinceCheckpoint = 0;
  readonly checkpointBytes = { full: 0, deltas: 0 };
  readonly #clock: Clock;
  readonly #handlers: JournalHandlers;
  readonly #segments: Buffer[] = [];
  #used = SEGMENT_BYTES;
  #scheduled = false;
  #waiters: { batch: number; done: () => void }[] = [];

  constructor(clock: Clock, handlers: JournalHandlers) {
    this.#clock = clock;
    this.#handlers = handlers;
  }

  append(_type: number, length: number): number {
    if (this.#used + length > this.bytes.length) {
      this.bytes = Buffer.allocUnsafeSlow(Math.max(SEGMENT_BYTES, length));
      this.#segments.push(this.bytes);
      this.segment = this.#segments.length;
      this.#used = 0;
    }
    this.offset = this.#used;
    this.#used += length;
    this.bytesSinceCheckpoint += length;
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#clock.soon(this.#commit);
    }
    return this.offset;
  }

  atomically(_bytes: number, write: () => void): number {
    write();
    return this.openBatch;
  }

  readonly #commit = (): void => {
    this.#handlers.onSeal();
    this.#scheduled = false;
    this.durableBatch = this.openBatch++;
    this.#handlers.onDurable(this.durableBatch);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (waiter.batch <= this.durableBatch) waiter.done();
      else this.#waiters.push(waiter);
    }
  };

  locate(segment: number, offset: number, into: Located): boolean {
    into.bytes = this.#segments[segment - 1] as Buffer;
    into.start = offset;
    return true;
  }

  async load(refs: readonly BodyRef[], each: EachBody): Promise<void> {
    for (const [index, ref] of refs.entries()) each(index, this.#segments[ref.segment - 1] as Buffer, ref.offset);
  }

  async loadScattered(places: Places, order: ArrayLike<number>, _proves: unknown, each: EachBody): Promise<void> {
    for (const index of Array.from(order)) {
      each(index, this.#segments[(places.segments[index] as number) - 1] as Buffer, places.offsets[index] as number);
    }
  }

  seal(): number {
    return this.openBatch - 1;
  }

  whenDurable(batch: number): Promise<void> {
    if (batch <= this.durableBatch) return Promise.resolve();
    return new Promise((done) => this.#waiters.push({ batch, done }));
  }

  async checkpoint(_batch: number, state: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of state) void chunk;
    this.bytesSinceCheckpoint = 0;
  }

  async reclaim(): Promise<void> {}

  figures(): { segments: number; bytes: number; durableBatch: number; checkpointBatch: number } {
    return { segments: this.#segments.length, bytes: 0, durableBatch: this.durableBatch, checkpointBatch: 0 };
  }

  async close(): Promise<void> {
    if (this.#scheduled) this.#commit();
  }
}

/** A recovery that finds nothing. */
export function memoryRecovery(clock: Clock): Recovery {
  return {
    checkpoints: [],
    replay: async () => {},
    open: async (handlers) => new MemoryJournal(clock, handlers),
    summary: 'in memory',
  };
}
