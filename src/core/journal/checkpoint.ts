/**
 * Checkpoint files: what the core wants back at recovery, as of one batch. A full one stands alone; a delta builds on the one before.
 *
 *      0       4       8         9      12       16     20        24           32        40      48      52      56        60      64    68
 *     +-------+-------+---------+------+--------+------+---------+------------+---------+-------+-------+-------+---------+-------+-----+-----+
 *     | magic | crc32 | version | kind | number | base | basecrc | journal id | created | batch | epoch | crc   | segment | start | end | 0   |
 *     | u32   | u32   | u8      | u8x3 | u32    | u32  | u32     | f64        | f64 ms  | f64   | u32   | u32   | u32     | u32   | u32 | u32 |
 *     +-------+-------+---------+------+--------+------+---------+------------+---------+-------+-------+-------+---------+-------+-----+-----+
 *     | length u32 | crc32 u32 | payload |  ... one for each piece the core gave ...
 *     | 0xffffffff | crc32 u32 |
 *
 * The header's `crc32` covers bytes 8 to 72. Each chunk's crc32 is that of its payload, begun with the one before (the first with the
 * header's), so that chunks can be neither damaged nor exchanged; the one of the end mark covers nothing more.
 */
import assert from 'node:assert';
import type { Disk, DiskFile } from '../disk.ts';
import { FORMAT_VERSION } from './batch.ts';
import { crc32 } from './crc32.ts';
import { ReadWindow } from './read-window.ts';
import { numberOf, tenDigits } from './segment.ts';
import { corrupt } from './source.ts';
import type { LogPosition } from './writer.ts';

export const CHECKPOINT_FOLDER = 'checkpoint';
const HEADER_BYTES = 72;
const CHUNK_HEADER_BYTES = 8;
/** `JMQK` */
const CHECKPOINT_MAGIC = 0x4b514d4a;
const END_MARK = 0xffffffff;
const WRITE_BYTES = 1024 * 1024;
/** A sync now and then keeps the journal's own small syncs from waiting behind hundreds of megabytes. */
const SYNC_BYTES = 4 * 1024 * 1024;

export type CheckpointKind = 'full' | 'delta';
const KINDS: readonly CheckpointKind[] = ['full', 'delta'];

/** What the header of a checkpoint says. */
export interface CheckpointHeader {
  readonly kind: CheckpointKind;
  /** 1, 2, 3, ... */
  readonly number: number;
  /** Number and header checksum of the checkpoint it builds on; 0 for a full one. */
  readonly base: number;
  readonly baseCrc: number;
  readonly journalId: number;
  readonly createdMs: number;
  /** The end of the batch it belongs to: replay starts there. */
  readonly position: LogPosition;
}

/** A checkpoint on disk. */
export interface CheckpointFile extends CheckpointHeader {
  readonly path: string;
  readonly headerCrc: number;
  readonly bytes: number;
}

export interface CheckpointName {
  readonly name: string;
  readonly number: number;
  readonly kind: CheckpointKind;
}

function checkpointPath(number: number, kind: CheckpointKind): string {
  return `${CHECKPOINT_FOLDER}/${tenDigits(number)}.${kind}`;
}

/** The checkpoints in a list of file names, newest first. */
export function checkpointNames(names: readonly string[]): CheckpointName[] {
  const found: CheckpointName[] = [];
  for (const name of names) {
    for (const kind of KINDS) {
      const number = numberOf(name, `.${kind}`);
      if (number !== undefined) found.push({ name, number, kind });
    }
  }
  return found.sort((a, b) => b.number - a.number);
}

/** Write a checkpoint; when this resolves it has its name and is durable. A failure leaves the old ones in force. */
export async function writeCheckpoint(
  disk: Disk,
  header: CheckpointHeader,
  state: AsyncIterable<Uint8Array>,
): Promise<CheckpointFile> {
  const path = checkpointPath(header.number, header.kind);
  const temporary = `${path}.tmp`;
  await disk.remove(temporary);
  const file = await disk.open(temporary, 'create');
  let written: { headerCrc: number; bytes: number };
  try {
    written = await writeAll(file, header, state);
  } catch (error) {
    await file.close();
    await disk.remove(temporary);
    throw error;
  }
  await file.close();
  await disk.rename(temporary, path);
  await disk.syncFolder(CHECKPOINT_FOLDER);
  return { ...header, path, ...written };
}

async function writeAll(file: DiskFile, header: CheckpointHeader, state: AsyncIterable<Uint8Array>) {
  const out = new SliceWriter(file);
  const first = encodeHeader(header);
  const headerCrc = first.readUInt32LE(4);
  await out.write(first);
  let crc = headerCrc;
  const chunkHeader = Buffer.alloc(CHUNK_HEADER_BYTES);
  for await (const piece of state) {
    assert(piece.length < END_MARK);
    crc = crc32(piece, crc);
    chunkHeader.writeUInt32LE(piece.length, 0);
    chunkHeader.writeUInt32LE(crc, 4);
    await out.write(chunkHeader);
    await out.write(piece);
  }
  chunkHeader.writeUInt32LE(END_MARK, 0);
  chunkHeader.writeUInt32LE(crc, 4);
  await out.write(chunkHeader);
  await out.finish();
  return { headerCrc, bytes: out.bytes };
}

/** Collects small pieces into writes of a megabyte. */
class SliceWriter {
  bytes = 0;
  readonly #file: DiskFile;
  readonly #buffer = Buffer.allocUnsafeSlow(WRITE_BYTES);
  #used = 0;
  #unsynced = 0;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  async write(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length; ) {
      const part = Math.min(piece.length - at, WRITE_BYTES - this.#used);
      this.#buffer.set(piece.subarray(at, at + part), this.#used);
      this.#used += part;
      at += part;
      if (this.#used === WRITE_BYTES) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    await this.#file.write(this.#buffer, 0, this.#used, this.bytes);
    this.bytes += this.#used;
    this.#unsynced += this.#used;
    this.#used = 0;
    if (this.#unsynced < SYNC_BYTES) return;
    await this.#file.sync();
    this.#unsynced = 0;
  }

  async finish(): Promise<void> {
    await this.#flush();
    await this.#file.sync();
  }
}

function encodeHeader(header: CheckpointHeader): Buffer {
  const { position } = header;
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32LE(CHECKPOINT_MAGIC, 0);
  bytes[8] = FORMAT_VERSION;
  bytes[9] = KINDS.indexOf(header.kind);
  bytes.writeUInt32LE(header.number, 12);
  bytes.writeUInt32LE(header.base, 16);
  bytes.writeUInt32LE(header.baseCrc, 20);
  bytes.writeDoubleLE(header.journalId, 24);
  bytes.writeDoubleLE(header.createdMs, 32);
  bytes.writeDoubleLE(position.number, 40);
  bytes.writeUInt32LE(position.epoch, 48);
  bytes.writeUInt32LE(position.crc, 52);
  bytes.writeUInt32LE(position.segment, 56);
  bytes.writeUInt32LE(position.start, 60);
  bytes.writeUInt32LE(position.end, 64);
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
  return bytes;
}

function decodeHeader(bytes: Buffer): CheckpointHeader | 'version' | undefined {
  if (bytes.readUInt32LE(0) !== CHECKPOINT_MAGIC || crc32(bytes.subarray(8)) !== bytes.readUInt32LE(4))
    return undefined;
  if (bytes[8] !== FORMAT_VERSION) return 'version';
  const kind = KINDS[bytes[9]!];
  if (kind === undefined) return undefined;
  return {
    kind,
    number: bytes.readUInt32LE(12),
    base: bytes.readUInt32LE(16),
    baseCrc: bytes.readUInt32LE(20),
    journalId: bytes.readDoubleLE(24),
    createdMs: bytes.readDoubleLE(32),
    position: {
      number: bytes.readDoubleLE(40),
      epoch: bytes.readUInt32LE(48),
      crc: bytes.readUInt32LE(52),
      segment: bytes.readUInt32LE(56),
      start: bytes.readUInt32LE(60),
      end: bytes.readUInt32LE(64),
    },
  };
}

/** Read a checkpoint through and verify it: 'damaged' or 'version' when it cannot be used. */
export async function verifyCheckpoint(
  disk: Disk,
  number: number,
  kind: CheckpointKind,
): Promise<CheckpointFile | 'damaged' | 'version'> {
  const path = checkpointPath(number, kind);
  const file = await disk.open(path, 'read');
  try {
    const size = await file.size();
    const bytes = Buffer.alloc(HEADER_BYTES);
    if ((await file.read(bytes, 0, HEADER_BYTES, 0)) < HEADER_BYTES) return 'damaged';
    const header = decodeHeader(bytes);
    if (header === 'version') return 'version';
    if (header === undefined || header.number !== number || header.kind !== kind) return 'damaged';
    const headerCrc = bytes.readUInt32LE(4);
    for await (const piece of chunks(file, size, headerCrc)) if (piece === undefined) return 'damaged';
    return { ...header, path, headerCrc, bytes: size };
  } finally {
    await file.close();
  }
}

/** The pieces of a checkpoint as they were given to `writeCheckpoint`; each is valid until the next one is asked for. */
export async function* readCheckpoint(disk: Disk, checkpoint: CheckpointFile): AsyncGenerator<Buffer> {
  const file = await disk.open(checkpoint.path, 'read');
  try {
    for await (const piece of chunks(file, checkpoint.bytes, checkpoint.headerCrc)) {
      if (piece === undefined) throw corrupt(checkpoint.path, 'a chunk does not fit its checksum');
      yield piece;
    }
  } finally {
    await file.close();
  }
}

/** All chunks up to the end mark; undefined, and then no more, at the first that is damaged. */
async function* chunks(file: DiskFile, size: number, headerCrc: number): AsyncGenerator<Buffer | undefined> {
  const window = new ReadWindow(file, size, HEADER_BYTES);
  let crc = headerCrc;
  let offset = HEADER_BYTES;
  try {
    for (;;) {
      if (!(await window.ensure(offset, CHUNK_HEADER_BYTES))) return yield undefined;
      const length = window.bytes.readUInt32LE(window.indexOf(offset));
      const expected = window.bytes.readUInt32LE(window.indexOf(offset) + 4);
      offset += CHUNK_HEADER_BYTES;
      if (length === END_MARK) {
        if (expected !== crc || offset !== size) yield undefined;
        return;
      }
      if (offset + length > size || !(await window.ensure(offset, length))) return yield undefined;
      const at = window.indexOf(offset);
      const piece = window.bytes.subarray(at, at + length);
      crc = crc32(piece, crc);
      if (crc !== expected) return yield undefined;
      yield piece;
      offset += length;
    }
  } finally {
    await window.idle();
  }
}
