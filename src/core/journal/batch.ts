/**
 * A batch: what is written and synced at once, the unit of durability, checking and replication.
 *
 *      0       4       8        12      16        20      24        32       40         44       48
 *     +-------+-------+--------+-------+---------+-------+---------+--------+----------+--------+--- ... ---+
 *     | magic | crc32 | length | count | version | epoch | number  | time   | previous | offset | records   |
 *     | u32   | u32   | u32    | u32   | u8 +3x0 | u32   | f64     | f64 ms | u32      | u32    |           |
 *     +-------+-------+--------+-------+---------+-------+---------+--------+----------+--------+--- ... ---+
 *
 * `crc32` covers everything from `length` to the end; `length` counts the header too; `previous` is the crc32 of the batch
 * before, whatever segment that is in: the chain that makes order provable; `offset` is where the batch starts in its segment
 * file, so that bytes copied elsewhere (into a message, say) never pass for a batch of the log.
 */
import { crc32 } from './crc32.ts';

export const FORMAT_VERSION = 1;
export const BATCH_HEADER_BYTES = 48;
/** `JMQB` */
const BATCH_MAGIC = 0x42514d4a;
export const BATCH_MAGIC_BYTES = Buffer.from('JMQB', 'latin1');
const CRC_FROM = 8;

/** The last batch of a log, as the next one must continue it. */
export interface ChainLink {
  epoch: number;
  number: number;
  crc: number;
}

/** What the header of a batch says. Filled by `readBatchHeader`. */
export interface BatchHeader extends ChainLink {
  length: number;
  count: number;
  version: number;
  timeMs: number;
  previousCrc: number;
  offset: number;
}

export function emptyBatchHeader(): BatchHeader {
  return { epoch: 0, number: 0, crc: 0, length: 0, count: 0, version: 0, timeMs: 0, previousCrc: 0, offset: 0 };
}

/** Write the header of the batch `bytes[start, end)`, whose records are in place, and answer its checksum. */
export function sealBatch(
  bytes: Buffer,
  start: number,
  end: number,
  header: Omit<BatchHeader, 'crc' | 'length' | 'version'>,
): number {
  bytes.writeUInt32LE(BATCH_MAGIC, start);
  bytes.writeUInt32LE(end - start, start + 8);
  bytes.writeUInt32LE(header.count, start + 12);
  bytes.writeUInt32LE(FORMAT_VERSION, start + 16);
  bytes.writeUInt32LE(header.epoch, start + 20);
  bytes.writeDoubleLE(header.number, start + 24);
  bytes.writeDoubleLE(header.timeMs, start + 32);
  bytes.writeUInt32LE(header.previousCrc, start + 40);
  bytes.writeUInt32LE(header.offset, start + 44);
  const crc = crc32(bytes.subarray(start + CRC_FROM, end));
  bytes.writeUInt32LE(crc, start + 4);
  return crc;
}

/** Read the header at `start`, of which all 48 bytes are there. False: no batch starts here. Nothing is verified. */
export function readBatchHeader(bytes: Buffer, start: number, into: BatchHeader): boolean {
  if (bytes.readUInt32LE(start) !== BATCH_MAGIC) return false;
  into.crc = bytes.readUInt32LE(start + 4);
  into.length = bytes.readUInt32LE(start + 8);
  into.count = bytes.readUInt32LE(start + 12);
  into.version = bytes[start + 16]!;
  into.epoch = bytes.readUInt32LE(start + 20);
  into.number = bytes.readDoubleLE(start + 24);
  into.timeMs = bytes.readDoubleLE(start + 32);
  into.previousCrc = bytes.readUInt32LE(start + 40);
  into.offset = bytes.readUInt32LE(start + 44);
  return into.length >= BATCH_HEADER_BYTES;
}

/** True when all bytes of the batch `bytes[start, start + header.length)` are as they were sealed. */
export function isBatchIntact(bytes: Buffer, start: number, header: BatchHeader): boolean {
  return crc32(bytes.subarray(start + CRC_FROM, start + header.length)) === header.crc;
}

/** True when a batch follows the link before it: next number, its checksum, an epoch not lower. */
export function continues(link: ChainLink, header: BatchHeader): boolean {
  return header.number === link.number + 1 && header.previousCrc === link.crc && header.epoch >= link.epoch;
}
