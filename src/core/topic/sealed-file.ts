/**
 * A file of sealed messages of one partition: a header, then blocks one after the other. Which files there are, and how far
 * they count, is in the journal and in checkpoints, never found out by looking: what lies behind `bytes` was not finished.
 *
 *      0       4       8         12          16            24          32
 *     +-------+-------+---------+-----------+-------------+-----------+--- ... ---+
 *     | magic | crc32 | version | partition | base offset | created   | blocks    |
 *     | JMQF  | u32   | u8 +3x0 | u32       | f64         | f64 ms    |           |
 *     +-------+-------+---------+-----------+-------------+-----------+--- ... ---+
 */
import type { DiskFile } from '../disk.ts';
import { CoreError } from '../errors.ts';
import { crc32 } from '../journal/crc32.ts';
import { BLOCK_HEADER_BYTES, Block, isBlockIntact, readBlockHeader } from './block.ts';

export const TOPIC_FOLDER = 'topic';
export const FILE_HEADER_BYTES = 32;
/** "JMQF" */
const MAGIC = 0x46514d4a;
const VERSION = 1;
const CRC_FROM = 8;

/** One file as the journal knows it. Immutable: a file that has grown is a new object. */
export interface SealedFile {
  /** First offset; with the partition and the generation, its name. */
  readonly base: number;
  /** How often what is in it was compacted. */
  readonly generation: number;
  /** The offset after its last one. */
  readonly end: number;
  /** So far it counts. */
  readonly bytes: number;
  /** Time of its first message and of the newest one up to its end: wall-clock milliseconds, a second exact. */
  readonly firstMs: number;
  readonly newestMs: number;
}

/** Path of a file on the disk. */
export function pathOf(partition: number, { base, generation }: Pick<SealedFile, 'base' | 'generation'>): string {
  const name = `${String(partition).padStart(10, '0')}-${String(base).padStart(16, '0')}`;
  return `${TOPIC_FOLDER}/${name}${generation === 0 ? '' : `-${generation}`}.seg`;
}

export function fileHeader(partition: number, base: number, createdMs: number): Buffer {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes[8] = VERSION;
  bytes.writeUInt32LE(partition, 12);
  bytes.writeDoubleLE(base, 16);
  bytes.writeDoubleLE(createdMs, 24);
  bytes.writeUInt32LE(crc32(bytes.subarray(CRC_FROM)), 4);
  return bytes;
}

/** A block and where it is in its file. */
export interface PlacedBlock {
  readonly base: number;
  readonly newestMs: number;
  readonly place: number;
  readonly length: number;
}

/** Buffers of blocks, used again: fresh ones of this size cost more than reading into them. */
export class BlockBuffers {
  readonly #bytes: number;
  readonly #max: number;
  readonly #free: Buffer[] = [];

  /** @param bytes of the ordinary block; larger ones get a buffer of their own @param max so many are kept */
  constructor(bytes: number, max: number) {
    this.#bytes = bytes;
    this.#max = max;
  }

  take(length: number): Buffer {
    if (length > this.#bytes) return Buffer.allocUnsafeSlow(length);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }

  readonly give = (bytes: Buffer): void => {
    if (bytes.length === this.#bytes && this.#free.length < this.#max) this.#free.push(bytes);
  };
}

/**
 * The sparse index of a file: one entry for each block, made from the block headers the first time somebody reads there, and
 * grown as blocks are appended: offset, newest time, place.
 */
export class FileIndex {
  readonly #path: string;
  readonly #partition: number;
  readonly #base: number;
  readonly #bases: number[] = [];
  readonly #newest: number[] = [];
  readonly #places: number[] = [];
  /** Blocks that start before this are in the index. */
  #known = FILE_HEADER_BYTES;
  #isChecked = false;

  constructor(partition: number, file: SealedFile) {
    this.#path = pathOf(partition, file);
    this.#partition = partition;
    this.#base = file.base;
  }

  get path(): string {
    return this.#path;
  }

  /** All blocks before `bytes` are in the index. */
  covers(bytes: number): boolean {
    return this.#known >= bytes;
  }

  /** Read the headers of the blocks before `bytes`. Rejects with `journal-corrupt`. */
  async walk(file: DiskFile, bytes: number): Promise<void> {
    if (!this.#isChecked) {
      await this.#checkHeader(file);
      this.#isChecked = true;
    }
    const header = Buffer.allocUnsafe(BLOCK_HEADER_BYTES);
    while (this.#known < bytes) {
      const at = this.#known;
      const got = await file.read(header, 0, BLOCK_HEADER_BYTES, at);
      // Another walk may have been here meanwhile.
      if (this.#known !== at) continue;
      const block = got === BLOCK_HEADER_BYTES ? readBlockHeader(header, 0) : undefined;
      if (block === undefined || block.partition !== this.#partition || at + block.length > bytes) {
        throw this.#corrupt(`no block at ${at}`);
      }
      this.add({ base: block.base, newestMs: block.newestMs, place: at, length: block.length });
    }
  }

  /** A block is there. Ignored when it does not follow those known: `walk` will find it. */
  add({ base, newestMs, place, length }: PlacedBlock): void {
    if (place !== this.#known) return;
    this.#bases.push(base);
    this.#newest.push(newestMs);
    this.#places.push(place);
    this.#known = place + length;
  }

  /** First offset of the block `read` would read. `walk` came before. */
  baseOf(offset: number): number {
    return this.#bases[lastUpTo(this.#bases, offset)] as number;
  }

  /** Read the block that has `offset`, or the first one after it. `walk` came before. Rejects with `journal-corrupt`. */
  async read(file: DiskFile, offset: number, buffers: BlockBuffers): Promise<Block> {
    const row = lastUpTo(this.#bases, offset);
    const start = this.#places[row] as number;
    const length = (this.#places[row + 1] ?? this.#known) - start;
    const bytes = buffers.take(length);
    const got = await file.read(bytes, 0, length, start);
    const header = got === length ? readBlockHeader(bytes, 0) : undefined;
    if (header?.length !== length || !isBlockIntact(bytes, 0, length)) {
      throw this.#corrupt(`the block at ${start} does not fit its checksum`);
    }
    return new Block(bytes, length, header.base, header.end, buffers.give);
  }

  /** First offset of the first block with a message not older than `timeMs`. The file has one. */
  offsetAt(timeMs: number): number {
    let row = 0;
    while (row + 1 < this.#newest.length && (this.#newest[row] as number) < timeMs) row++;
    return this.#bases[row] as number;
  }

  async #checkHeader(file: DiskFile): Promise<void> {
    const header = Buffer.allocUnsafe(FILE_HEADER_BYTES);
    const got = await file.read(header, 0, FILE_HEADER_BYTES, 0);
    if (got < FILE_HEADER_BYTES || header.readUInt32LE(0) !== MAGIC) throw this.#corrupt('no header');
    if (header[8] !== VERSION) throw new CoreError('journal-version', `${this.#path}: version ${header[8]}`);
    const sound =
      header.readUInt32LE(4) === crc32(header.subarray(CRC_FROM)) &&
      header.readUInt32LE(12) === this.#partition &&
      header.readDoubleLE(16) === this.#base;
    if (!sound) throw this.#corrupt('its header is of another file, or damaged');
  }

  #corrupt(what: string): CoreError {
    return new CoreError('journal-corrupt', `${this.#path}: ${what}`);
  }
}

/** Index of the last of the ascending `values` that is not greater than `value`; 0 when all are greater. */
function lastUpTo(values: readonly number[], value: number): number {
  let low = 0;
  let high = values.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((values[middle] as number) <= value) low = middle;
    else high = middle;
  }
  return low;
}
