/**
 * One partition of a topic: a log whose messages have offsets 0, 1, 2, ... that never change. The older part is in sealed
 * files, the newer part in the journal, found through a ring whose positions are the offsets. Readers see what is durable.
 *
 *     start                    sealedEnd                durableEnd      end
 *       |  sealed files             |  journal, ring         |  not yet  |
 */
import type { AwaitsBatches, Dispatched, Engine } from '../engine.ts';
import type { ErrorCode } from '../errors.ts';
import type { EntryRing } from '../slab/entry-ring.ts';
import type { SealedFile } from './sealed-file.ts';
import type { Topic } from './topic.ts';

/** Entries dropped between two yields of a background job. */
const DROPS_PER_STEP = 256;

/** What reads a partition. */
export interface PartitionReader extends Dispatched {
  /** It has read everything, and is woken when there is more. Kept by the partition. */
  waiting: boolean;
  /** There is nothing to read any more. */
  end(reason: ErrorCode): void;
}

/** What a partition tells of itself. */
export interface PartitionObserver {
  /** So much is durable and not sealed that sealing is worth it. */
  sealable(partition: Partition): void;
}

export class Partition implements AwaitsBatches {
  readonly engine: Engine;
  readonly topic: Topic;
  readonly id: number;
  /** Number within the topic, from 0. */
  readonly number: number;
  /** Entries in the journal: position = offset, info = seconds since 1970, never falling. */
  readonly ring: EntryRing;
  readonly #observer: PartitionObserver;
  /** First offset that can be read. */
  start = 0;
  /** Sealed files, oldest first. Replaced, never changed: checkpoints and readers hold on to old lists. */
  files: readonly SealedFile[] = [];
  /** The offset up to which messages are sealed, or gone. */
  sealedEnd = 0;
  /** Body bytes in the journal. */
  unsealedBytes = 0;
  appended = 0;
  deleted = false;
  readonly readers = new Set<PartitionReader>();
  /** Batches not yet durable that hold messages of ours, and the offset of the first one in each. */
  readonly #batches: number[] = [];
  readonly #batchFirst: number[] = [];
  /** Readers that have read everything. */
  #waiting: PartitionReader[] = [];
  #newestSecond = 0;

  constructor(engine: Engine, topic: Topic, id: number, number: number, ring: EntryRing, observer: PartitionObserver) {
    this.engine = engine;
    this.topic = topic;
    this.id = id;
    this.number = number;
    this.ring = ring;
    this.#observer = observer;
  }

  /** The offset the next message gets. */
  get end(): number {
    return this.ring.tail;
  }

  /** What is before this offset is durable, and can be read: the high watermark. */
  get durableEnd(): number {
    return this.#batches.length === 0 ? this.ring.tail : (this.#batchFirst[0] as number);
  }

  /** The ring holds some of what is sealed. */
  get dropping(): boolean {
    return this.ring.count > 0 && this.ring.head < this.sealedEnd;
  }

  /** Bytes on disk: sealed ones and those in the journal. */
  get bytes(): number {
    return this.files.reduce((sum, file) => sum + file.bytes, this.unsealedBytes);
  }

  // ---- In ---------------------------------------------------------------------------------------------------------

  /** Append a logged message; it can be read once `batch` is durable. Answers its offset. */
  push(row: number, length: number, batch: number, nowMs: number): number {
    const offset = this.ring.push(row, this.#second(nowMs));
    this.unsealedBytes += length;
    this.appended++;
    const batches = this.#batches;
    if (batches.length > 0 && batches[batches.length - 1] === batch) return offset;
    if (batches.length === 0) this.engine.awaitQueue(this);
    batches.push(batch);
    this.#batchFirst.push(offset);
    return offset;
  }

  #second(nowMs: number): number {
    const second = Math.floor(nowMs / 1000) >>> 0;
    if (second > this.#newestSecond) this.#newestSecond = second;
    return this.#newestSecond;
  }

  becameDurable(batch: number): boolean {
    while (this.#batches.length > 0 && (this.#batches[0] as number) <= batch) {
      this.#batches.shift();
      this.#batchFirst.shift();
    }
    if (this.deleted) return false;
    const waiting = this.#waiting;
    if (waiting.length > 0) {
      this.#waiting = [];
      for (const reader of waiting) {
        reader.waiting = false;
        this.engine.wake(reader);
      }
    }
    if (this.unsealedBytes >= this.engine.limits.topicSealBytes) this.#observer.sealable(this);
    return this.#batches.length > 0;
  }

  // ---- Out --------------------------------------------------------------------------------------------------------

  /** Wake a reader, once, when there is more to read than now. */
  wait(reader: PartitionReader): void {
    if (reader.waiting) return;
    reader.waiting = true;
    this.#waiting.push(reader);
  }

  /** A reader has gone. */
  leave(reader: PartitionReader): void {
    this.readers.delete(reader);
    this.#waiting = this.#waiting.filter((one) => one !== reader);
  }

  /** The sealed file that has `offset`, or the first one after it; undefined when that is not sealed. */
  fileOf(offset: number): SealedFile | undefined {
    const { files } = this;
    let low = 0;
    let high = files.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((files[middle] as SealedFile).end <= offset) low = middle + 1;
      else high = middle;
    }
    return files[low];
  }

  /** The first offset in the journal whose message is not older than `timeMs`, a second exact; `durableEnd` when all are older. */
  unsealedAt(timeMs: number): number {
    const second = Math.floor(timeMs / 1000);
    let low = Math.max(this.sealedEnd, this.ring.head);
    let high = this.durableEnd;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ring.info(middle) < second) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // ---- Sealed and gone: the same live and in replay ---------------------------------------------------------------

  /** A file was begun, or has grown. */
  applySealed(file: SealedFile): void {
    const last = this.files[this.files.length - 1];
    const others = last?.base === file.base ? this.files.slice(0, -1) : this.files;
    this.files = [...others, file];
    this.sealedEnd = Math.max(this.sealedEnd, file.end);
  }

  /** Messages before `start` are gone. Answers the files that went with them. */
  applyStart(start: number): SealedFile[] {
    this.start = Math.max(this.start, start);
    this.sealedEnd = Math.max(this.sealedEnd, this.start);
    const gone = this.files.filter((file) => file.end <= this.start);
    if (gone.length > 0) this.files = this.files.filter((file) => file.end > this.start);
    return gone;
  }

  /** Give back what the ring holds of sealed messages: a background job. */
  *dropSealed(): Generator<void, void, undefined> {
    yield* this.#drop(this.sealedEnd);
  }

  *#drop(end: number): Generator<void, void, undefined> {
    const { ring, engine } = this;
    const { logged } = engine.bodies;
    let done = 0;
    for (let offset = ring.next(0); offset >= 0 && offset < end; offset = ring.next(offset + 1)) {
      const row = ring.body(offset);
      this.unsealedBytes -= logged.length(row);
      ring.settle(offset);
      engine.bodies.release(row, 0);
      if (++done % DROPS_PER_STEP === 0) yield;
    }
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  /** Take the ring as a checkpoint held it. */
  adoptEntries(): void {
    const { ring } = this;
    const { logged } = this.engine.bodies;
    for (let offset = ring.next(0); offset >= 0; offset = ring.next(offset + 1)) {
      this.unsealedBytes += logged.length(ring.body(offset));
      this.#newestSecond = ring.info(offset);
    }
    for (const _ of this.dropSealed());
  }

  replayPush(row: number, length: number, timeMs: number): void {
    this.ring.push(row, this.#second(timeMs));
    this.unsealedBytes += length;
  }

  // ---- The end ----------------------------------------------------------------------------------------------------

  /** Nobody finds it any more: tell its readers, and give everything back, in slices. */
  destroy(): void {
    this.deleted = true;
    for (const reader of [...this.readers]) reader.end('not-found');
    void this.engine.background.run(this.#destroy());
  }

  *#destroy(): Generator<void, void, undefined> {
    yield* this.#drop(Number.POSITIVE_INFINITY);
    this.ring.destroy();
  }
}
