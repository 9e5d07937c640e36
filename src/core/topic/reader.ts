/**
 * A cursor over one partition. At the tail it shows messages right out of the journal's memory and is woken when more become
 * durable; behind that it walks through blocks, one being shown while the next is read. It is its own record batch.
 */
import type { Client } from '../client.ts';
import type { Reader as ReaderDoor, ReaderHandlers, ReaderOptions, RecordBatch } from '../door.ts';
import { CoreError, type ErrorCode } from '../errors.ts';
import type { Message } from '../message.ts';
import { readStored } from '../stored-message.ts';
import type { Block } from './block.ts';
import type { Frames } from './frames.ts';
import type { Partition, PartitionReader } from './partition.ts';
import type { Topics } from './topics.ts';

/** After a failed read. */
const RETRY_MS = 5_000;

export class Reader implements ReaderDoor, RecordBatch, PartitionReader {
  awake = false;
  waiting = false;
  readonly message: Message;
  /** Offset of the message shown. */
  offset = -1;
  sealed = 0;
  readonly #partition: Partition;
  readonly #topics: Topics;
  readonly #client: Client;
  readonly #handlers: ReaderHandlers;
  /** Offset to be read next. */
  #next: number;
  /** Messages the running call of `onRecords` may still take. */
  #allowed = 0;
  /** A batch was left unfinished. */
  #paused = false;
  #closed = false;
  #loading = false;
  /** Counts seeks: a block that arrives after one is not the one wanted. */
  #generation = 0;
  /** The message shown next, when there are frames: of the block, or of a run in the journal's memory, for this turn only. */
  readonly #frames: Frames;
  #block: Block | undefined;
  /** Row of the run the frames are of; 0 = they are the block's, or there are none. */
  #row = 0;
  /** With the index of a message in the run's memory: the message's number. */
  #idBase = 0;

  constructor(
    topics: Topics,
    partition: Partition,
    offset: number,
    client: Client,
    handlers: ReaderHandlers,
    options: ReaderOptions,
  ) {
    this.#topics = topics;
    this.#partition = partition;
    this.#client = client;
    this.#handlers = handlers;
    this.message = partition.engine.view;
    this.#frames = topics.batches.cursor(partition, options.sealed);
    this.#next = offset;
    this.#checkOffset(offset);
    partition.readers.add(this);
    partition.engine.wake(this);
  }

  get topic(): string {
    return this.#partition.topic.name;
  }

  get partition(): number {
    return this.#partition.number;
  }

  get position(): number {
    return this.#next;
  }

  resume(): void {
    this.#paused = false;
    if (!this.#closed) this.#partition.engine.wake(this);
  }

  seek(offset: number): void {
    if (this.#closed) return;
    this.#checkOffset(offset);
    this.#next = offset;
    this.#forgetBlock();
    this.resume();
  }

  #checkOffset(offset: number): void {
    const { start, durableEnd, topic, number } = this.#partition;
    if (Number.isSafeInteger(offset) && offset >= start && offset <= durableEnd) return;
    throw new CoreError(
      'offset-out-of-range',
      `offset ${offset}; partition ${number} of topic '${topic.name}' has ${start} to ${durableEnd}`,
    );
  }

  // ---- The broker's turn ------------------------------------------------------------------------------------------

  dispatch(budget: number): boolean {
    if (this.#closed || this.#paused) return false;
    if (this.#row !== 0) this.#forgetRun();
    if (!this.#ready()) return false;
    this.#allowed = budget;
    // Set by every `next` that answers true: still set at the end, the batch was left unfinished.
    this.#paused = true;
    this.#handlers.onRecords(this);
    if (this.#allowed === 0) this.#paused = false;
    this.#allowed = 0;
    // Whoever pauses may do so for long: the cache has the block while there is room.
    if (this.#paused) this.#forgetBlock();
    return !this.#paused && !this.#closed && this.#ready();
  }

  next(): boolean {
    if (this.#allowed === 0 || this.#closed || !this.#ready()) {
      if (this.#allowed > 0) this.#paused = false;
      return false;
    }
    this.#allowed--;
    this.#paused = true;
    this.#show();
    this.#client.delivered++;
    return true;
  }

  /** Whether the next message can be shown now. If not, the reader is woken when it can. */
  #ready(): boolean {
    const partition = this.#partition;
    // Retention has gone past us.
    if (this.#next < partition.start) {
      this.#next = partition.start;
      this.#forgetBlock();
    }
    const frames = this.#frames;
    if (!frames.ended) return true;
    if (this.#block !== undefined || this.#row !== 0) {
      // Compaction may have left nothing at the end.
      this.#next = Math.max(this.#next, frames.offset);
      this.#forgetBlock();
    }
    if (this.#next >= partition.durableEnd) {
      partition.wait(this);
      return false;
    }
    if (this.#next >= partition.sealedEnd && this.#showRun()) return true;
    if (!this.#loading) this.#load();
    return false;
  }

  /** Have the frames of the run with the next message, if it is in memory. */
  #showRun(): boolean {
    const { runs, engine } = this.#partition;
    const { bodies } = engine;
    const { logged, located } = bodies;
    const position = runs.find(this.#next);
    const row = runs.body(position);
    const segment = logged.segment(row);
    const offset = logged.offset(row);
    if (!bodies.locate(segment, offset)) return false;
    this.#row = row;
    this.#idBase = bodies.idOf(segment, offset) - located.start;
    runs.show(position, located.bytes, located.start, this.#frames, this.#next);
    return true;
  }

  #show(): void {
    const frames = this.#frames;
    const { after } = frames;
    readStored(this.message, frames.bytes, frames.start, after);
    const isInRun = this.#row !== 0 && !frames.isUnpacked;
    this.message.id = isInRun ? this.#idBase + frames.start : this.#partition.engine.bodies.nextId();
    this.offset = frames.offset;
    this.sealed = frames.sealed;
    this.#next = frames.next;
    frames.advance();
  }

  // ---- Blocks -----------------------------------------------------------------------------------------------------

  #load(): void {
    this.#loading = true;
    const generation = this.#generation;
    this.#topics.block(this.#partition, this.#next).then(
      (block) => this.#loaded(block, generation),
      (error: Error) => this.#failed(error, generation),
    );
  }

  #loaded(block: Block, generation: number): void {
    if (generation !== this.#generation || this.#closed) {
      block.leave();
      return;
    }
    if (block.end <= this.#next) {
      block.leave();
      this.#failed(new Error('nothing is there'), generation);
      return;
    }
    this.#loading = false;
    this.#block = block;
    block.show(this.#frames, this.#next);
    this.#topics.prefetch(this.#partition, block.end);
    this.#partition.engine.wake(this);
  }

  #failed(error: Error, generation: number): void {
    if (generation !== this.#generation || this.#closed) return;
    const { engine, number, start } = this.#partition;
    const retry = (): void => {
      if (generation !== this.#generation) return;
      this.#loading = false;
      engine.wake(this);
    };
    // The file was deleted while we were on the way to it.
    if (this.#next < start) retry();
    else {
      const fields = { topic: this.topic, partition: number, offset: this.#next, error: error.message };
      engine.log('error', 'messages of a topic cannot be read; trying again', fields);
      engine.clock.after(RETRY_MS, retry);
    }
  }

  #forgetBlock(): void {
    this.#generation++;
    this.#loading = false;
    this.#block?.leave();
    this.#block = undefined;
    this.#forgetRun();
  }

  #forgetRun(): void {
    this.#row = 0;
    this.#frames.clear();
  }

  // ---- The end ----------------------------------------------------------------------------------------------------

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#allowed = 0;
    this.#forgetBlock();
    this.#partition.leave(this);
    this.#client.leftReading(this);
  }

  end(reason: ErrorCode): void {
    if (this.#closed) return;
    this.close();
    this.#handlers.onEnd?.(reason);
  }
}
