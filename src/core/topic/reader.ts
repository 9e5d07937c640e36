/**
 * A cursor over one partition. At the tail it shows messages right out of the journal's memory and is woken when more become
 * durable; behind that it walks through blocks, one being shown while the next is read. It is its own record batch.
 */
import type { Client } from '../client.ts';
import type { Reader as ReaderDoor, ReaderHandlers, RecordBatch } from '../door.ts';
import { CoreError, type ErrorCode } from '../errors.ts';
import type { Message } from '../message.ts';
import { readStored } from '../stored-message.ts';
import type { Block } from './block.ts';
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
  #block: Block | undefined;
  /** Index in the block of the record to be shown next. */
  #at = 0;

  constructor(topics: Topics, partition: Partition, offset: number, client: Client, handlers: ReaderHandlers) {
    this.#topics = topics;
    this.#partition = partition;
    this.#client = client;
    this.#handlers = handlers;
    this.message = partition.engine.view;
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
    if (this.#closed || this.#paused || !this.#ready()) return false;
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
    if (this.#block === undefined) this.#showTail();
    else this.#showBlock(this.#block);
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
    const block = this.#block;
    if (block !== undefined) {
      if (this.#at < block.bytes.length) return true;
      this.#next = Math.max(this.#next, block.end);
      this.#forgetBlock();
    }
    if (this.#next >= partition.durableEnd) {
      partition.wait(this);
      return false;
    }
    if (this.#next >= partition.sealedEnd) {
      const { bodies } = partition.engine;
      const row = partition.ring.body(this.#next);
      if (bodies.locate(bodies.logged.segment(row), bodies.logged.offset(row))) return true;
    }
    if (!this.#loading) this.#load();
    return false;
  }

  #showTail(): void {
    const { ring, engine } = this.#partition;
    const { bodies } = engine;
    const row = ring.body(this.#next);
    const { bytes, start } = bodies.located;
    readStored(this.message, bytes, start, start + bodies.logged.length(row));
    this.message.id = bodies.idOf(bodies.logged.segment(row), bodies.logged.offset(row));
    this.offset = this.#next++;
  }

  #showBlock(block: Block): void {
    const at = this.#at;
    this.offset = block.offset(at);
    this.#at = block.after(at);
    this.#next = this.offset + 1;
    readStored(this.message, block.bytes, block.start(at), this.#at);
    this.message.id = this.#partition.engine.bodies.nextId();
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
    if (generation !== this.#generation || this.#closed) return;
    this.#loading = false;
    this.#block = block;
    this.#at = block.find(this.#next);
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
    this.#block = undefined;
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
