import assert from 'node:assert';
import type { DiskFile } from '../disk.ts';
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  emptyBatchHeader,
  FORMAT_VERSION,
  isBatchIntact,
  readBatchHeader,
} from './batch.ts';
import { SEGMENT_HEADER_BYTES, segmentPath } from './segment.ts';
import { corrupt, type Extent, type Piece, type Source } from './source.ts';

/** One entry of the index for about so many bytes: what a read of one small body costs. */
const INDEX_STEP_BYTES = 128 * 1024;
const WALK_BYTES = 64 * 1024;
/** Who reads here will most likely read on. */
const WALK_AHEAD_BYTES = 8 * 1024 * 1024;

/**
 * A log segment and where (some of) its batches start. The index has one entry for every 128 KiB or larger batch: 2 KiB of memory
 * for 64 MiB. It grows as batches are appended or replayed; for older segments the batch headers are walked when
 * somebody first reads there.
 */
export class LogSegment implements Source {
  readonly number: number;
  readonly path: string;
  readonly isLog: boolean = true;
  /** Size of the file as far as it is durable. */
  bytes: number;
  /** Starts of indexed batches, ascending; the first is that of the first batch. */
  #starts = new Uint32Array(16);
  #count = 1;
  /** Every batch that starts before this is indexed or skipped on purpose. */
  #known = SEGMENT_HEADER_BYTES;
  #walk: Promise<void> = Promise.resolve();
  readonly #header: BatchHeader = emptyBatchHeader();

  constructor(number: number, bytes: number) {
    this.number = number;
    this.path = segmentPath(number);
    this.bytes = bytes;
    this.#starts[0] = SEGMENT_HEADER_BYTES;
  }

  /** Take note of the batch at `start`. Batches unknown before `start` are looked for when needed. */
  note(start: number, end: number): void {
    if (start !== this.#known) return;
    if (start - this.#starts[this.#count - 1]! >= INDEX_STEP_BYTES) this.#push(start);
    this.#known = end;
  }

  extent(_segment: number, offset: number, length: number): Extent | undefined {
    const bodyEnd = offset + length;
    if (offset < SEGMENT_HEADER_BYTES + BATCH_HEADER_BYTES || bodyEnd > this.bytes) {
      throw corrupt(this.path, `no body of ${length} bytes at ${offset}: the segment has ${this.bytes} bytes`);
    }
    if (bodyEnd > this.#known) return undefined;
    const row = this.#row(offset);
    const end = Math.min(row + 1 < this.#count ? this.#starts[row + 1]! : this.#known, this.bytes);
    if (bodyEnd > end)
      throw corrupt(this.path, `a body of ${length} bytes at ${offset} does not end with its batch at ${end}`);
    return { start: this.#starts[row]!, end };
  }

  /** Walk the batch headers up to the one after `offset`; one walk at a time. */
  prepare(offset: number, file: DiskFile): Promise<void> {
    // A walk that failed has told its caller; the next one tries again.
    this.#walk = this.#walk.catch(() => {}).then(() => this.#walkTo(offset + WALK_AHEAD_BYTES, file));
    return this.#walk;
  }

  verify(bytes: Buffer, start: number): void {
    for (let at = 0; at < bytes.length; at += this.#header.length) {
      this.#checkHeader(bytes, at, start + at);
      if (at + this.#header.length > bytes.length || !isBatchIntact(bytes, at, this.#header)) {
        throw corrupt(this.path, `the batch at ${start + at} does not fit its checksum`);
      }
    }
  }

  find(piece: Piece, segment: number, offset: number, length: number): number {
    return segment === this.number && offset >= piece.start && offset + length <= piece.end ? offset - piece.start : -1;
  }

  async #walkTo(offset: number, file: DiskFile): Promise<void> {
    const goal = Math.min(offset, this.bytes);
    const buffer = Buffer.allocUnsafe(WALK_BYTES);
    while (this.#known < goal) {
      const position = this.#known;
      const got = await file.read(buffer, 0, Math.min(WALK_BYTES, this.bytes - position), position);
      if (got < BATCH_HEADER_BYTES) throw corrupt(this.path, `no batch at ${position}`);
      for (let at = 0; at + BATCH_HEADER_BYTES <= got && this.#known === position + at; at += this.#header.length) {
        this.#checkHeader(buffer, at, position + at);
        this.note(position + at, position + at + this.#header.length);
      }
    }
  }

  /** Read the batch header at `bytes[at]`, which is `offset` in the segment, and see that it can be one. */
  #checkHeader(bytes: Buffer, at: number, offset: number): void {
    const header = this.#header;
    const sound =
      at + BATCH_HEADER_BYTES <= bytes.length &&
      readBatchHeader(bytes, at, header) &&
      header.version === FORMAT_VERSION &&
      header.offset === offset &&
      offset + header.length <= this.bytes;
    if (!sound) throw corrupt(this.path, `no batch at ${offset}`);
  }

  /** Row of the last indexed batch that starts at or before `offset`. */
  #row(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return low;
  }

  #push(start: number): void {
    assert(start > this.#starts[this.#count - 1]!);
    if (this.#count === this.#starts.length) {
      const grown = new Uint32Array(this.#count * 2);
      grown.set(this.#starts);
      this.#starts = grown;
    }
    this.#starts[this.#count++] = start;
  }
}
