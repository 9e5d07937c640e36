/**
 * A block: consecutive offsets of a partition in a sealed file, the unit of checking and reading.
 *
 *      0       4       8        12      16            24           32              40          44  48
 *     +-------+-------+--------+-------+-------------+------------+---------------+-----------+---+--- ... ---+
 *     | magic | crc32 | length | count | base offset | end offset | newest time   | partition | 0 | frames    |
 *     | JMQT  | u32   | u32    | u32   | f64         | f64        | f64 ms        | u32       |   |           |
 *     +-------+-------+--------+-------+-------------+------------+---------------+-----------+---+--- ... ---+
 *
 * `crc32` covers everything from `length` on; `length` counts the header too. `newest time` is that of the newest message up to
 * here, so it never falls from block to block, whatever the wall clock did. `count` is that of messages. Frames: frames.ts.
 */
import { writeU32 } from '../bytes.ts';
import { crc32 } from '../journal/crc32.ts';
import { BATCH_HEADER_BYTES, FRAME_HEADER_BYTES, type Frames, GAP_MAX, writeBatchHeader, writeGap } from './frames.ts';

export const BLOCK_HEADER_BYTES = 48;
/** "JMQT" */
const MAGIC = 0x54514d4a;
const CRC_FROM = 8;

export interface BlockHeader {
  length: number;
  count: number;
  base: number;
  end: number;
  newestMs: number;
  partition: number;
}

/** Read the header at `bytes[at]`, of which all is there; undefined when no block starts here. Nothing is verified. */
export function readBlockHeader(bytes: Buffer, at: number): BlockHeader | undefined {
  if (bytes.readUInt32LE(at) !== MAGIC) return undefined;
  const length = bytes.readUInt32LE(at + 8);
  if (length < BLOCK_HEADER_BYTES) return undefined;
  return {
    length,
    count: bytes.readUInt32LE(at + 12),
    base: bytes.readDoubleLE(at + 16),
    end: bytes.readDoubleLE(at + 24),
    newestMs: bytes.readDoubleLE(at + 32),
    partition: bytes.readUInt32LE(at + 40),
  };
}

/** True when the block `bytes[at, at + length)` is as it was written. */
export function isBlockIntact(bytes: Buffer, at: number, length: number): boolean {
  return crc32(bytes.subarray(at + CRC_FROM, at + length)) === bytes.readUInt32LE(at + 4);
}

/** Puts runs of frames one after the other into a block. */
export class BlockWriter {
  #bytes: Buffer;
  #at = BLOCK_HEADER_BYTES;
  #count = 0;
  #base = 0;
  #end = 0;

  /** @param bytes what is expected; more makes the buffer grow */
  constructor(bytes: number) {
    this.#bytes = Buffer.allocUnsafeSlow(bytes);
  }

  get length(): number {
    return this.#at;
  }

  /** The offset it begins with. */
  get base(): number {
    return this.#base;
  }

  /** The offset after the last one in it. */
  get end(): number {
    return this.#end;
  }

  get count(): number {
    return this.#count;
  }

  /** Begin a new block; what was written is forgotten. */
  reset(base: number): void {
    this.#at = BLOCK_HEADER_BYTES;
    this.#count = 0;
    this.#base = base;
    this.#end = base;
  }

  /** A partition may start within a batch. That stays whole: a block that is to begin within it begins where the batch does. */
  beginWith(frames: Frames): void {
    if (frames.offset < this.#end && this.#count === 0) this.reset(frames.offset);
  }

  /** Append `count` messages without gaps, framed in `source[start, end)`: they have the next offsets. */
  addRun(source: Buffer, start: number, end: number, count: number): void {
    this.#reserve(end - start);
    source.copy(this.#bytes, this.#at, start, end);
    this.#at += end - start;
    this.#count += count;
    this.#end += count;
  }

  /** Append the message, or the batch, that `frames` stands at, and a gap before it if offsets are missing. */
  addMessage(frames: Frames): void {
    this.beginWith(frames);
    this.skipTo(frames.offset);
    const { sealed, start, after } = frames;
    const header = sealed === 0 ? FRAME_HEADER_BYTES : BATCH_HEADER_BYTES;
    this.#reserve(header + after - start);
    if (sealed === 0) writeU32(this.#bytes, this.#at, after - start);
    else writeBatchHeader(this.#bytes, this.#at, after - start, sealed);
    frames.bytes.copy(this.#bytes, this.#at + header, start, after);
    this.#at += header + after - start;
    this.#count += frames.next - frames.offset;
    this.#end = frames.next;
  }

  /** There is nothing up to `offset`. */
  skipTo(offset: number): void {
    while (this.#end < offset) {
      const gap = Math.min(offset - this.#end, GAP_MAX);
      this.#reserve(FRAME_HEADER_BYTES);
      writeGap(this.#bytes, this.#at, gap);
      this.#at += FRAME_HEADER_BYTES;
      this.#end += gap;
    }
  }

  /** Write the header; answers the whole block, valid until the next `reset`. */
  finish(partition: number, newestMs: number): Buffer {
    const bytes = this.#bytes;
    bytes.writeUInt32LE(MAGIC, 0);
    bytes.writeUInt32LE(this.#at, 8);
    bytes.writeUInt32LE(this.#count, 12);
    bytes.writeDoubleLE(this.#base, 16);
    bytes.writeDoubleLE(this.#end, 24);
    bytes.writeDoubleLE(newestMs, 32);
    bytes.writeUInt32LE(partition, 40);
    bytes.writeUInt32LE(0, 44);
    const block = bytes.subarray(0, this.#at);
    bytes.writeUInt32LE(crc32(block.subarray(CRC_FROM)), 4);
    return block;
  }

  /** As `finish`, without a checksum and in a buffer of its own: a block that is read and never written. */
  take(): Block {
    return new Block(Buffer.from(this.#bytes.subarray(0, this.#at)), this.#at, this.#base, this.#end);
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }
}

/** A block in memory, for any number of readers. Whoever has it holds it until he calls `leave`. */
export class Block {
  readonly bytes: Buffer;
  /** Bytes of the buffer that are the block's. */
  readonly length: number;
  /** Offsets from `base` up to, not including, `end` are in it, but for those that compaction has removed. */
  readonly base: number;
  readonly end: number;
  readonly #freed: ((bytes: Buffer) => void) | undefined;
  #holders = 1;

  /** @param freed gets the buffer back when nobody holds the block any more */
  constructor(bytes: Buffer, length: number, base: number, end: number, freed?: (bytes: Buffer) => void) {
    this.bytes = bytes;
    this.length = length;
    this.base = base;
    this.end = end;
    this.#freed = freed;
  }

  hold(): Block {
    this.#holders++;
    return this;
  }

  leave(): void {
    if (--this.#holders === 0) this.#freed?.(this.bytes);
  }

  /** Put `frames` at the message of an offset, or the first one after it. */
  show(frames: Frames, offset: number): void {
    frames.set(this.bytes, BLOCK_HEADER_BYTES, this.length, this.base, offset);
  }
}
