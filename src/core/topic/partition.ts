/**
 * One partition of a topic: a log whose messages have offsets 0, 1, 2, ... that never change. The older part is in sealed
 * files, the newer part in the journal as runs. Readers see what is durable.
 *
 *     start                    sealedEnd            durableEnd    runs.end      end
 *       |  sealed files             |  journal, runs    |  not yet    |  staged   |
 */
import type { AwaitsBatches, Dispatched, Engine } from '../engine.ts';
import type { ErrorCode } from '../errors.ts';
import type { Runs } from './runs.ts';
import type { SealedFile } from './sealed-file.ts';
import { Sequences, type StoredProgress } from './sequences.ts';
import type { Topic } from './topic.ts';

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
  /** What is in the journal. */
  readonly runs: Runs;
  readonly #observer: PartitionObserver;
  /** First offset that can be read. */
  start = 0;
  /** The offset the next message gets. */
  end = 0;
  /** Sealed files, oldest first. Replaced, never changed: checkpoints and readers hold on to old lists. */
  files: readonly SealedFile[] = [];
  /** The offset up to which messages are sealed, or gone. */
  sealedEnd = 0;
  /** What is before it was compacted at least once. */
  cleanEnd = 0;
  appended = 0;
  deleted = false;
  /** Made when first used: most partitions have no idempotent producer. */
  #sequences: Sequences | undefined;
  readonly readers = new Set<PartitionReader>();
  /** Those who read for groups, whether anybody is in them or not. */
  readonly proxies = new Set<PartitionReader>();
  /** Batches not yet durable that hold messages of ours, and the offset of the first one in each. */
  readonly #batches: number[] = [];
  readonly #batchFirst: number[] = [];
  /** Readers that have read everything. */
  #waiting: PartitionReader[] = [];

  constructor(engine: Engine, topic: Topic, id: number, number: number, runs: Runs, observer: PartitionObserver) {
    this.engine = engine;
    this.topic = topic;
    this.id = id;
    this.number = number;
    this.runs = runs;
    this.#observer = observer;
  }

  /** What is before this offset is durable, and can be read: the high watermark. */
  get durableEnd(): number {
    return this.#batches.length === 0 ? this.runs.end : (this.#batchFirst[0] as number);
  }

  /** The journal's runs hold some of what is sealed. */
  get dropping(): boolean {
    return this.runs.base(this.runs.head + 1) <= this.sealedEnd && this.runs.start < this.sealedEnd;
  }

  /** Bytes on disk: sealed ones and those in the journal. */
  get bytes(): number {
    return this.files.reduce((sum, file) => sum + file.bytes, this.runs.bytes);
  }

  /** What it knows of idempotent producers. */
  get sequences(): Sequences {
    this.#sequences ??= new Sequences(this.engine.limits.originsPerPartitionMax);
    return this.#sequences;
  }

  /** The same as a checkpoint holds it. */
  get progress(): StoredProgress[] {
    return this.#sequences?.moment() ?? [];
  }

  // ---- In ---------------------------------------------------------------------------------------------------------

  /** A run was logged; it can be read once `batch` is durable. */
  logged(row: number, length: number, count: number, newestMs: number, batch: number): void {
    this.#await(this.runs.end, batch);
    this.runs.add(row, length, count, newestMs);
    this.appended += count;
  }

  /** The same for one message without a frame. Nothing of the partition is staged. */
  loggedBare(row: number, length: number, timeMs: number, batch: number): void {
    this.#await(this.runs.end, batch);
    this.runs.addBare(row, length, timeMs);
    this.end = this.runs.end;
    this.appended++;
  }

  #await(first: number, batch: number): void {
    const batches = this.#batches;
    if (batches.length > 0 && batches[batches.length - 1] === batch) return;
    if (batches.length === 0) this.engine.awaitQueue(this);
    batches.push(batch);
    this.#batchFirst.push(first);
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
    if (this.runs.bytes >= this.engine.limits.topicSealBytes) this.#observer.sealable(this);
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
    this.proxies.delete(reader);
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

  /** The `count` oldest files were written anew. Answers them. */
  applyCompacted(count: number, files: readonly SealedFile[], cleanEnd: number): readonly SealedFile[] {
    const replaced = this.files.slice(0, count);
    this.files = [...files, ...this.files.slice(count)];
    this.cleanEnd = cleanEnd;
    return replaced;
  }

  /** Give back the runs of sealed messages: a background job. */
  dropSealed(): Generator<void, void, undefined> {
    return this.runs.drop(this.sealedEnd);
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  /** Take the runs as a checkpoint held them. @param end the offset after the last one */
  adopt(end: number, progress: readonly StoredProgress[]): void {
    this.runs.adopt(end);
    this.end = end;
    if (progress.length > 0) this.sequences.load(progress);
    for (const _ of this.dropSealed());
  }

  replayed(row: number, length: number, count: number, newestMs: number): void {
    this.runs.add(row, length, count, newestMs);
    this.end = this.runs.end;
  }

  replayedBare(row: number, length: number, timeMs: number): void {
    this.runs.addBare(row, length, timeMs);
    this.end = this.runs.end;
  }

  // ---- The end ----------------------------------------------------------------------------------------------------

  /** Nobody finds it any more: tell its readers, and give everything back, in slices. */
  destroy(): void {
    this.deleted = true;
    for (const reader of [...this.readers, ...this.proxies]) reader.end('not-found');
    void this.engine.background.run(this.#destroy());
  }

  *#destroy(): Generator<void, void, undefined> {
    yield* this.runs.drop(Number.POSITIVE_INFINITY);
    this.runs.destroy();
  }
}
