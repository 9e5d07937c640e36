/**
 * Cold segments: the bodies still wanted of some log segments, copied together so that those can be deleted. Bodies keep their
 * names: a block lists for each body the segment and offset it had in the log.
 *
 *     +----------------+---------+---------+- ... -+------------------------------+----------------------------+
 *     | segment header | block 1 | block 2 |       | directory: 12 B for a block  | trailer                    |
 *     | 64 B, kind 1   |         |         |       | u32 segment, offset, position| u32 magic, crc, at, count  |
 *     +----------------+---------+---------+- ... -+------------------------------+----------------------------+
 *
 *     block:  0       4       8        12      16                                       16 + 16 x count
 *            +-------+-------+--------+-------+----------------------------------------+--- ... ---+
 *            | magic | crc32 | length | count | count x u32 segment, offset, length, at | bodies    |
 *            +-------+-------+--------+-------+----------------------------------------+--- ... ---+
 *
 * Bodies are sorted by (segment, offset), in a block and over all. `at` is where a body starts in its block. A block's `crc32` covers
 * its bytes from 8 on; a directory row names the block's first body and its position in the file; the trailer's crc32 covers the rows.
 */
import assert from 'node:assert';
import type { Disk, DiskFile } from '../disk.ts';
import { crc32 } from './crc32.ts';
import type { BodyRef } from './journal.ts';
import {
  coldPath,
  JOURNAL_FOLDER,
  KIND_COLD,
  readSegmentHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  writeSegmentHeader,
} from './segment.ts';
import { corrupt, type Extent, type Piece, type Source } from './source.ts';

/** `JMQC`, `JMQD` */
const BLOCK_MAGIC = 0x43514d4a;
const DIRECTORY_MAGIC = 0x44514d4a;
const BLOCK_HEADER_BYTES = 16;
const ENTRY_BYTES = 16;
const ROW_BYTES = 12;
const TRAILER_BYTES = 16;
/** A block is closed when it has so many bytes of bodies. */
const BLOCK_BYTES = 128 * 1024;

/** Writes a cold segment. The file has a temporary name until `finish`. */
export class ColdWriter {
  readonly number: number;
  readonly #disk: Disk;
  readonly #temporary: string;
  readonly #file: DiskFile;
  readonly #segments: readonly number[];
  #position = SEGMENT_HEADER_BYTES;
  readonly #rows: number[] = [];
  #entries: number[] = [];
  #bodies: Buffer = Buffer.allocUnsafeSlow(2 * BLOCK_BYTES);
  #used = 0;
  #lastSegment = 0;
  #lastOffset = 0;

  private constructor(disk: Disk, file: DiskFile, number: number, segments: readonly number[]) {
    this.number = number;
    this.#disk = disk;
    this.#file = file;
    this.#temporary = `${coldPath(number)}.tmp`;
    this.#segments = segments;
  }

  /** @param segments the log segments it will stand for */
  static async create(
    disk: Disk,
    number: number,
    segments: readonly number[],
    journalId: number,
    nowMs: number,
  ): Promise<ColdWriter> {
    const path = `${coldPath(number)}.tmp`;
    await disk.remove(path);
    const file = await disk.open(path, 'create');
    const header: SegmentHeader = {
      kind: KIND_COLD,
      segment: number,
      journalId,
      firstBatch: 0,
      createdMs: nowMs,
      epoch: 0,
      previousCrc: 0,
    };
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    writeSegmentHeader(bytes, 0, header);
    const writer = new ColdWriter(disk, file, number, segments);
    try {
      await file.write(bytes, 0, bytes.length, 0);
    } catch (error) {
      await writer.abandon();
      throw error;
    }
    return writer;
  }

  /** True when `flush` should be called before the next `add`. */
  get isBlockFull(): boolean {
    return this.#used >= BLOCK_BYTES;
  }

  /** Copy a body. They must come sorted. */
  add(ref: BodyRef, bytes: Buffer, start: number): void {
    const { segment, offset, length } = ref;
    assert(
      segment > this.#lastSegment || (segment === this.#lastSegment && offset > this.#lastOffset),
      'bodies are not sorted',
    );
    this.#lastSegment = segment;
    this.#lastOffset = offset;
    if (this.#used + length > this.#bodies.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#bodies.length * 2, this.#used + length));
      this.#bodies.copy(grown, 0, 0, this.#used);
      this.#bodies = grown;
    }
    this.#entries.push(segment, offset, length, this.#used);
    bytes.copy(this.#bodies, this.#used, start, start + length);
    this.#used += length;
  }

  /** Write the block begun. */
  async flush(): Promise<void> {
    const entries = this.#entries;
    if (entries.length === 0) return;
    const count = entries.length / 4;
    const headBytes = BLOCK_HEADER_BYTES + ENTRY_BYTES * count;
    const head = Buffer.alloc(headBytes);
    head.writeUInt32LE(BLOCK_MAGIC, 0);
    head.writeUInt32LE(headBytes + this.#used, 8);
    head.writeUInt32LE(count, 12);
    entries.forEach((value, index) => {
      head.writeUInt32LE(index % 4 === 3 ? value + headBytes : value, BLOCK_HEADER_BYTES + index * 4);
    });
    head.writeUInt32LE(crc32(this.#bodies.subarray(0, this.#used), crc32(head.subarray(8))), 4);
    await this.#file.write(head, 0, headBytes, this.#position);
    await this.#file.write(this.#bodies, 0, this.#used, this.#position + headBytes);
    this.#rows.push(entries[0]!, entries[1]!, this.#position);
    this.#position += headBytes + this.#used;
    this.#entries = [];
    this.#used = 0;
  }

  /** Write directory and trailer, sync, and give the file its name. */
  async finish(): Promise<ColdSegment> {
    await this.flush();
    const end = Buffer.alloc(this.#rows.length * 4 + TRAILER_BYTES);
    this.#rows.forEach((value, index) => {
      end.writeUInt32LE(value, index * 4);
    });
    const trailer = end.length - TRAILER_BYTES;
    end.writeUInt32LE(DIRECTORY_MAGIC, trailer);
    end.writeUInt32LE(crc32(end.subarray(0, trailer)), trailer + 4);
    end.writeUInt32LE(this.#position, trailer + 8);
    end.writeUInt32LE(this.#rows.length / 3, trailer + 12);
    await this.#file.write(end, 0, end.length, this.#position);
    await this.#file.sync();
    await this.#file.close();
    await this.#disk.rename(this.#temporary, coldPath(this.number));
    await this.#disk.syncFolder(JOURNAL_FOLDER);
    return new ColdSegment(
      this.number,
      this.#segments,
      this.#position + end.length,
      Uint32Array.from(this.#rows),
      this.#position,
    );
  }

  /** Remove what was written so far. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => {});
    await this.#disk.remove(this.#temporary);
  }
}

/** A cold segment on disk; in memory only its directory. */
export class ColdSegment implements Source {
  readonly number: number;
  readonly path: string;
  readonly isLog: boolean = false;
  readonly bytes: number;
  /** Log segments whose bodies are in here. */
  readonly segments: readonly number[];
  /** For each block: segment and offset of its first body, position in the file. */
  readonly #rows: Uint32Array;
  /** Where the directory starts: the end of the last block. */
  readonly #blocksEnd: number;

  constructor(number: number, segments: readonly number[], bytes: number, rows: Uint32Array, blocksEnd: number) {
    this.number = number;
    this.path = coldPath(number);
    this.segments = segments;
    this.bytes = bytes;
    this.#rows = rows;
    this.#blocksEnd = blocksEnd;
  }

  /** Read header and directory. Rejects with `journal-corrupt` when they are not as written. */
  static async open(disk: Disk, number: number, segments: readonly number[]): Promise<ColdSegment> {
    const path = coldPath(number);
    const file = await disk.open(path, 'read').catch((error: unknown) => {
      throw corrupt(path, (error as Error).message);
    });
    try {
      const size = await file.size();
      const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
      const trailer = Buffer.alloc(TRAILER_BYTES);
      await file.read(head, 0, head.length, 0);
      await file.read(trailer, 0, TRAILER_BYTES, Math.max(0, size - TRAILER_BYTES));
      const header = readSegmentHeader(head);
      const at = trailer.readUInt32LE(8);
      const rowBytes = trailer.readUInt32LE(12) * ROW_BYTES;
      const sound =
        typeof header === 'object' &&
        header.kind === KIND_COLD &&
        header.segment === number &&
        trailer.readUInt32LE(0) === DIRECTORY_MAGIC &&
        at + rowBytes + TRAILER_BYTES === size;
      if (!sound) throw corrupt(path, 'this is no complete cold segment');
      const rows = Buffer.alloc(rowBytes);
      await file.read(rows, 0, rowBytes, at);
      if (crc32(rows) !== trailer.readUInt32LE(4)) throw corrupt(path, 'the directory does not fit its checksum');
      const numbers = Uint32Array.from({ length: rowBytes / 4 }, (_, index) => rows.readUInt32LE(index * 4));
      return new ColdSegment(number, segments, size, numbers, at);
    } finally {
      await file.close();
    }
  }

  get blocks(): number {
    return this.#rows.length / 3;
  }

  /** Position and end of a block in the file. */
  block(row: number): Extent {
    const end = row + 1 < this.blocks ? this.#rows[row * 3 + 5]! : this.#blocksEnd;
    return { start: this.#rows[row * 3 + 2]!, end };
  }

  extent(segment: number, offset: number): Extent {
    const row = this.#rowOf(segment, offset);
    if (row === -1) throw corrupt(this.path, `no body for segment ${segment}, offset ${offset}`);
    return this.block(row);
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  verify(bytes: Buffer, start: number): void {
    for (let at = 0; at < bytes.length; ) {
      const isBlock = at + BLOCK_HEADER_BYTES <= bytes.length && bytes.readUInt32LE(at) === BLOCK_MAGIC;
      const length = isBlock ? bytes.readUInt32LE(at + 8) : 0;
      const sound =
        length > BLOCK_HEADER_BYTES &&
        at + length <= bytes.length &&
        crc32(bytes.subarray(at + 8, at + length)) === bytes.readUInt32LE(at + 4);
      if (!sound) throw corrupt(this.path, `the block at ${start + at} does not fit its checksum`);
      at += length;
    }
  }

  find(piece: Piece, segment: number, offset: number, length: number): number {
    const row = this.#rowOf(segment, offset);
    if (row === -1) return -1;
    const { start, end } = this.block(row);
    if (start < piece.start || end > piece.end) return -1;
    const block = start - piece.start;
    const { bytes } = piece;
    let low = 0;
    let high = bytes.readUInt32LE(block + 12);
    while (low < high) {
      const middle = (low + high) >> 1;
      const entry = block + BLOCK_HEADER_BYTES + middle * ENTRY_BYTES;
      const order = bytes.readUInt32LE(entry) - segment || bytes.readUInt32LE(entry + 4) - offset;
      if (order === 0) return bytes.readUInt32LE(entry + 8) === length ? block + bytes.readUInt32LE(entry + 12) : -1;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return -1;
  }

  /** The block that must have this body, if any: the last whose first body is not behind it. */
  #rowOf(segment: number, offset: number): number {
    const rows = this.#rows;
    let low = 0;
    let high = this.blocks;
    while (low < high) {
      const middle = (low + high) >> 1;
      const order = rows[middle * 3]! - segment || rows[middle * 3 + 1]! - offset;
      if (order <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
