/**
 * A block: a contiguous run of a partition's messages in a sealed file, the unit of checking and reading.
 *
 *      0       4       8        12      16            24           32              40          44  48
 *     +-------+-------+--------+-------+-------------+------------+---------------+-----------+---+--- ... ---+
 *     | magic | crc32 | length | count | base offset | end offset | newest time   | partition | 0 | records   |
 *     | JMQT  | u32   | u32    | u32   | f64         | f64        | f64 ms        | u32       |   |           |
 *     +-------+-------+--------+-------+-------------+------------+---------------+-----------+---+--- ... ---+
 *
 *     record: u32 offset - base offset, u32 length, stored message
 *
 * `crc32` covers everything from `length` on; `length` counts the header too. `newest time` is that of the newest message up to
 * here, so it never falls from block to block, whatever the wall clock did.
 */
import { copyBytes, readU32, writeU32 } from '../bytes.ts';
import { crc32 } from '../journal/crc32.ts';

export const BLOCK_HEADER_BYTES = 48;
const BLOCK_RECORD_BYTES = 8;
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

/** Puts messages one after the other into a block. */
export class BlockWriter {
  #bytes: Buffer;
  #at = BLOCK_HEADER_BYTES;
  #count = 0;
  #base = 0;
  #end = 0;

  /** @param bytes what is expected; a larger message makes the buffer grow */
  constructor(bytes: number) {
    this.#bytes = Buffer.allocUnsafeSlow(bytes);
  }

  get length(): number {
    return this.#at;
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

  /** Append the stored message `source[start, start + length)`. Offsets ascend. */
  add(offset: number, source: Buffer, start: number, length: number): void {
    const at = this.#at;
    const end = at + BLOCK_RECORD_BYTES + length;
    if (end > this.#bytes.length) this.#grow(end);
    writeU32(this.#bytes, at, offset - this.#base);
    writeU32(this.#bytes, at + 4, length);
    copyBytes(source, start, start + length, this.#bytes, at + BLOCK_RECORD_BYTES);
    this.#at = end;
    this.#count++;
    this.#end = offset + 1;
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
    return new Block(Buffer.from(this.#bytes.subarray(0, this.#at)), this.#base, this.#end);
  }

  #grow(bytes: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(bytes, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }
}

/** A block in memory, for any number of readers. Immutable. */
export class Block {
  readonly bytes: Buffer;
  /** Offsets from `base` up to, not including, `end` are in it, but for those that compaction has removed. */
  readonly base: number;
  readonly end: number;

  constructor(bytes: Buffer, base: number, end: number) {
    this.bytes = bytes;
    this.base = base;
    this.end = end;
  }

  /** Index of the first record with this offset or a later one; the length of `bytes` when there is none. */
  find(offset: number): number {
    const delta = offset - this.base;
    let at = BLOCK_HEADER_BYTES;
    while (at < this.bytes.length && readU32(this.bytes, at) < delta) at = this.after(at);
    return at;
  }

  offset(at: number): number {
    return this.base + readU32(this.bytes, at);
  }

  /** Where the stored message of the record at `at` begins. */
  start(at: number): number {
    return at + BLOCK_RECORD_BYTES;
  }

  /** Where it ends and the next record begins. */
  after(at: number): number {
    return at + BLOCK_RECORD_BYTES + readU32(this.bytes, at + 4);
  }
}
