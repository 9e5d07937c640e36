import assert from 'node:assert';
import type { Clock } from '../clock.ts';
import type { Disk, DiskFile } from '../disk.ts';
import { CoreError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { BATCH_HEADER_BYTES, type ChainLink, sealBatch } from './batch.ts';
import type { JournalHandlers } from './journal.ts';
import { LogSegment } from './log-segment.ts';
import { RECORD_HEADER_BYTES } from './record.ts';
import { JOURNAL_FOLDER, KIND_LOG, SEGMENT_HEADER_BYTES, segmentPath, writeSegmentHeader } from './segment.ts';
import { type Chunk, TailCache } from './tail-cache.ts';

/** Where a log ends: after batch `number`, at byte `end` of `segment`. `start` is where that batch starts. */
export interface LogPosition extends ChainLink {
  segment: number;
  start: number;
  end: number;
}

export interface WriterOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly handlers: JournalHandlers;
  readonly journalId: number;
  /** Epoch of the batches to write: higher than all before. */
  readonly epoch: number;
  /** The end of the log as recovery left it; number 0 in segment 0 for a new one. */
  readonly tail: LogPosition;
  /** Log bytes between the checkpoint in force and `tail`. */
  readonly bytesSinceCheckpoint: number;
  /** All log segments by number; the writer adds those it starts. */
  readonly segments: Map<number, LogSegment>;
}

/** A sealed batch on its way to the disk: `bytes[from, to)` of its chunk. */
interface SealedBatch extends LogPosition {
  readonly chunk: Chunk;
  readonly from: number;
  readonly to: number;
}

/** The end of a batch that may get a checkpoint. */
export interface LogMark extends LogPosition {
  /** Value of `logBytes` at that batch. */
  readonly logBytes: number;
}

interface Waiter {
  readonly batch: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** `seal` positions remembered for a checkpoint to come. */
const MARKS_MAX = 256;

/**
 * The write path with group commit. Records are encoded into the open batch; one write + fdatasync is under way at a time, and
 * meanwhile the next batch grows: batching without a timer. Only one batch is ever not synced on disk, so in the
 * newest segment a bad batch at the end is a torn write, and a bad one with a good one after it is damage (recovery.ts).
 */
export class LogWriter {
  // The open batch. Plain fields, written in place: `append` runs for every message.
  bytes: Buffer = Buffer.alloc(0);
  segment: number;
  offset = 0;
  openBatch: number;
  durableBatch: number;
  /** Index in `bytes` of the next record. */
  #at = 0;
  /** Where the open batch ends at the latest; 0 while no batch is open, so that `append` takes the slow path. */
  #limit = 0;
  /** Index in `bytes` of the open batch's header. */
  #start = 0;
  /** Offset in the segment of `bytes[0]`. */
  #base = 0;
  #count = 0;

  protected readonly disk: Disk;
  protected readonly clock: Clock;
  protected readonly limits: Limits;
  protected readonly segments: Map<number, LogSegment>;
  protected readonly journalId: number;
  protected readonly tail: TailCache;
  readonly #handlers: JournalHandlers;
  readonly #epoch: number;
  readonly #chunkBytes: number;
  /** The chunk `bytes` belongs to. */
  #chunk: Chunk | undefined;
  /** The last sealed batch. */
  #last: LogPosition;
  readonly #marks = new Map<number, LogMark>();
  /** Sealed and not durable, in order; the first may be under way. */
  readonly #sealed: SealedBatch[] = [];
  #sealedBytes = 0;
  #sealing = false;
  /** The open batch must take everything that comes. */
  #atomic = false;
  #scheduled = false;
  #committing = false;
  #wasPressed = false;
  #waiters: Waiter[] = [];
  #file: DiskFile | undefined;
  #fileSegment = 0;
  #failed: CoreError | undefined;
  #closed = false;
  /** Log bytes up to the last sealed batch, counted from the checkpoint that recovery started with. */
  #logBytes: number;

  constructor(options: WriterOptions) {
    const { limits, tail } = options;
    this.disk = options.disk;
    this.clock = options.clock;
    this.limits = limits;
    this.segments = options.segments;
    this.journalId = options.journalId;
    this.#handlers = options.handlers;
    this.#epoch = options.epoch;
    this.#chunkBytes = limits.batchBytesMax + SEGMENT_HEADER_BYTES;
    this.tail = new TailCache(options.clock, limits.tailCacheBytesMax, this.#chunkBytes);
    this.#last = { ...tail };
    this.#logBytes = options.bytesSinceCheckpoint;
    this.segment = tail.segment;
    this.durableBatch = tail.number;
    this.openBatch = tail.number + 1;
  }

  get pressed(): boolean {
    const pressed = this.#sealedBytes + this.#at - this.#start > this.limits.unconfirmedBytesMax;
    if (pressed) this.#wasPressed = true;
    return pressed;
  }

  append(type: number, length: number): number {
    const at = this.#at;
    const payload = at + RECORD_HEADER_BYTES;
    const end = payload + length;
    if (end > this.#limit) return this.#appendToNext(type, length);
    const bytes = this.bytes;
    bytes[at] = length;
    bytes[at + 1] = length >>> 8;
    bytes[at + 2] = length >>> 16;
    bytes[at + 3] = length >>> 24;
    bytes[at + 4] = type;
    this.#at = end;
    this.#count++;
    this.offset = this.#base + payload;
    return payload;
  }

  /** No batch is open, or the record does not fit: start the next one. */
  #appendToNext(type: number, length: number): number {
    if (this.#failed !== undefined) throw this.#failed;
    assert(!this.#closed, 'append after close');
    assert(type >= 1 && type <= 255 && Number.isInteger(type), `record type ${type}`);
    assert(length >= 0 && length < 2 ** 31 && Number.isInteger(length), `record length ${length}`);
    assert(!this.#atomic, `a record of ${length} bytes does not fit into what has to be one batch`);
    this.#makeRoom(RECORD_HEADER_BYTES + length);
    return this.append(type, length);
  }

  /** Start the next batch, with room for `recordBytes`. */
  #makeRoom(recordBytes: number): void {
    if (this.#count > 0) this.#sealOpen();
    // Records appended by `onSeal` may have opened a batch with room.
    if (this.#limit !== 0 && this.#at + recordBytes <= this.#limit) return;
    if (this.#count > 0) this.#closeBatch();
    this.#openFor(recordBytes);
  }

  atomically(bytes: number, write: () => void): number {
    if (this.#failed !== undefined) throw this.#failed;
    assert(!this.#atomic && !this.#closed, 'one inside another, or after close');
    if (this.#at + bytes > this.#limit) this.#makeRoom(bytes);
    this.#atomic = true;
    try {
      write();
      assert(this.#count > 0, 'nothing was appended');
    } catch (error) {
      this.#fail(error as Error);
      throw error;
    } finally {
      this.#atomic = false;
    }
    return this.openBatch;
  }

  /** Open a batch with room for `recordBytes`. Decides segment and chunk, so that each record's place is known when appended. */
  #openFor(recordBytes: number): void {
    const { batchBytesMax, segmentBytes } = this.limits;
    const needed = BATCH_HEADER_BYTES + recordBytes;
    // Rather a little unused than a row of tiny batches at the end of a chunk or segment.
    const wanted = Math.max(needed, Math.min(batchBytesMax >> 2, segmentBytes >> 3));
    let position = this.#last.end;
    if (this.#last.segment === 0 || position + wanted > Math.max(segmentBytes, SEGMENT_HEADER_BYTES + wanted)) {
      this.segment = this.#last.segment + 1;
      position = 0;
      this.#newChunk(0, SEGMENT_HEADER_BYTES + needed);
      this.segments.set(this.segment, new LogSegment(this.segment, 0));
      this.#writeHeader();
      this.#start = SEGMENT_HEADER_BYTES;
    } else {
      this.segment = this.#last.segment;
      if (this.#chunk === undefined || this.#at + wanted > this.bytes.length) this.#newChunk(position, needed);
      this.#start = this.#at;
    }
    const room = Math.min(batchBytesMax, this.bytes.length - this.#start, segmentBytes - this.#base - this.#start);
    this.#limit = this.#start + Math.max(needed, room);
    this.#at = this.#start + BATCH_HEADER_BYTES;
    this.#chunk!.used = this.#limit;
    this.#chunk!.lastBatch = this.openBatch;
    this.#schedule();
  }

  #newChunk(position: number, bytes: number): void {
    this.#chunk = this.tail.add(this.segment, position, bytes, this.openBatch);
    this.bytes = this.#chunk.bytes;
    this.#base = position;
    this.#at = 0;
  }

  #writeHeader(): void {
    writeSegmentHeader(this.bytes, 0, {
      kind: KIND_LOG,
      segment: this.segment,
      journalId: this.journalId,
      firstBatch: this.openBatch,
      createdMs: this.clock.now(),
      epoch: this.#epoch,
      previousCrc: this.#last.crc,
    });
  }

  protected get logBytes(): number {
    return this.#logBytes;
  }

  /** Offer the open batch a last time to the core, then close it. */
  #sealOpen(): void {
    if (!this.#sealing) {
      this.#sealing = true;
      try {
        this.#handlers.onSeal();
      } finally {
        this.#sealing = false;
      }
    }
    if (this.#count > 0) this.#closeBatch();
  }

  #closeBatch(): void {
    const { bytes } = this;
    const start = this.#start;
    const end = this.#at;
    const chunk = this.#chunk!;
    const position: LogPosition = {
      segment: this.segment,
      start: this.#base + start,
      end: this.#base + end,
      epoch: this.#epoch,
      number: this.openBatch,
      crc: 0,
    };
    position.crc = sealBatch(bytes, start, end, {
      count: this.#count,
      epoch: this.#epoch,
      number: this.openBatch,
      timeMs: this.clock.now(),
      previousCrc: this.#last.crc,
      offset: position.start,
    });
    const from = position.start === SEGMENT_HEADER_BYTES ? 0 : start;
    this.#sealed.push({ ...position, chunk, from, to: end });
    this.#sealedBytes += end - from;
    this.#logBytes += end - start;
    this.segments.get(this.segment)!.note(position.start, position.end);
    chunk.used = end;
    this.#last = position;
    this.#start = end;
    this.#limit = 0;
    this.#count = 0;
    this.openBatch++;
  }

  #schedule(): void {
    if (this.#scheduled || this.#committing) return;
    this.#scheduled = true;
    this.clock.soon(this.#startCommit);
  }

  readonly #startCommit = (): void => {
    this.#scheduled = false;
    if (this.#committing || this.#failed !== undefined) return;
    this.#committing = true;
    void this.#commitAll();
  };

  /** Commit batch after batch until nothing is left. What is appended meanwhile forms the next batch. */
  async #commitAll(): Promise<void> {
    let writing = this.#writeNext();
    while (writing !== undefined) {
      try {
        await writing;
      } catch (error) {
        this.#fail(error as Error);
        return;
      }
      const batch = this.#sealed.shift()!;
      this.#sealedBytes -= batch.to - batch.from;
      this.segments.get(batch.segment)!.bytes = batch.end;
      // With much to write the disk works while all those are told; with little, they may have more to put into the next batch.
      const isBusy = this.#sealedBytes + this.#at - this.#start >= this.limits.batchBytesMax / 2;
      writing = isBusy ? this.#writeNext() : undefined;
      this.durableBatch = batch.number;
      this.#announce();
      writing ??= this.#writeNext();
    }
    this.#committing = false;
  }

  /** Begin to write the oldest batch there is; undefined when there is none, or the journal has failed. */
  #writeNext(): Promise<void> | undefined {
    if (this.#failed !== undefined) return undefined;
    if (this.#sealed.length === 0 && this.#count > 0) this.#sealOpen();
    const batch = this.#sealed[0];
    return batch === undefined ? undefined : this.#write(batch);
  }

  async #write(batch: SealedBatch): Promise<void> {
    if (batch.segment !== this.#fileSegment) await this.#openFile(batch);
    const file = this.#file!;
    await file.write(batch.chunk.bytes, batch.from, batch.to, batch.chunk.start + batch.from);
    await file.sync();
  }

  /** Go on to the file of the batch: a new segment, or after a restart the one recovery found. */
  async #openFile(batch: SealedBatch): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    const isNew = batch.start === SEGMENT_HEADER_BYTES;
    this.#file = await this.disk.open(segmentPath(batch.segment), isNew ? 'create' : 'write');
    this.#fileSegment = batch.segment;
    if (isNew) await this.disk.syncFolder(JOURNAL_FOLDER);
  }

  /** Tell everybody that batches up to `durableBatch` are durable. */
  #announce(): void {
    this.tail.trim(this.durableBatch);
    this.#handlers.onDurable(this.durableBatch);
    if (this.#waiters.length > 0) {
      const ready = this.#waiters.filter((waiter) => waiter.batch <= this.durableBatch);
      this.#waiters = this.#waiters.filter((waiter) => waiter.batch > this.durableBatch);
      for (const waiter of ready) waiter.resolve();
    }
    if (this.#wasPressed && !this.pressed) {
      this.#wasPressed = false;
      this.#handlers.onRelieved();
    }
  }

  /** A failed write or sync is final: the kernel may have dropped the pages, so trying again would prove nothing. */
  #fail(cause: Error): void {
    this.#failed = new CoreError('journal-failed', cause.message, { cause });
    this.#limit = 0;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(this.#failed);
    this.#handlers.onFailed(this.#failed);
  }

  seal(): number {
    if (this.#count > 0) this.#sealOpen();
    const { number } = this.#last;
    this.#marks.set(number, { ...this.#last, logBytes: this.#logBytes });
    if (this.#marks.size > MARKS_MAX) this.#marks.delete(this.#marks.keys().next().value!);
    return number;
  }

  /** The end of a batch that `seal` answered not too long ago. */
  protected markOf(batch: number): LogMark {
    const mark = this.#marks.get(batch);
    assert(mark !== undefined, `batch ${batch} was not answered by seal()`);
    for (const older of this.#marks.keys()) if (older < batch) this.#marks.delete(older);
    return mark;
  }

  whenDurable(batch: number): Promise<void> {
    assert(batch <= this.openBatch, `batch ${batch} is not open yet`);
    // Nothing was appended to the open batch: everything there is, is in the one before.
    const goal = batch === this.openBatch && this.#count === 0 ? batch - 1 : batch;
    if (goal <= this.durableBatch) return Promise.resolve();
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    return new Promise((resolve, reject) => this.#waiters.push({ batch: goal, resolve, reject }));
  }

  /** Write and sync what is left, then close the file. Rejects when the journal failed, with the file closed all the same. */
  protected async closeLog(): Promise<void> {
    try {
      await this.whenDurable(this.seal());
    } finally {
      this.#closed = true;
      this.#limit = 0;
      await this.#file?.close();
      this.#file = undefined;
    }
  }
}
