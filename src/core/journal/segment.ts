/**
 * Segment files: the log cut into pieces that can be deleted one by one.
 *
 *      0       4       8         9      12        16           24            32           40      44         48       64
 *     +-------+-------+---------+------+---------+------------+-------------+------------+-------+----------+--------+
 *     | magic | crc32 | version | kind | segment | journal id | first batch | created    | epoch | previous | 0 ...  |
 *     | u32   | u32   | u8      | u8 x3| u32     | f64        | f64         | f64 ms     | u32   | u32      | 16 x u8|
 *     +-------+-------+---------+------+---------+------------+-------------+------------+-------+----------+--------+
 *
 * `crc32` covers bytes 8 to 64. The header is written together with the segment's first batch, in one write. `previous` is
 * the crc32 of the last batch of the segment before. Batches follow without gaps.
 */
import { FORMAT_VERSION } from './batch.ts';
import { crc32 } from './crc32.ts';

export const SEGMENT_HEADER_BYTES = 64;
/** `JMQS` */
const SEGMENT_MAGIC = 0x53514d4a;

export const JOURNAL_FOLDER = 'journal';
export const LOG_SUFFIX = '.log';
export const COLD_SUFFIX = '.cold';

export const KIND_LOG = 0;
export const KIND_COLD = 1;

/** What the header of a segment or cold file says. */
export interface SegmentHeader {
  kind: number;
  segment: number;
  /** Wall-clock milliseconds at which the journal was first opened: tells files of different journals apart. */
  journalId: number;
  firstBatch: number;
  createdMs: number;
  epoch: number;
  previousCrc: number;
}

export function writeSegmentHeader(bytes: Buffer, start: number, header: SegmentHeader): void {
  bytes.fill(0, start, start + SEGMENT_HEADER_BYTES);
  bytes.writeUInt32LE(SEGMENT_MAGIC, start);
  bytes[start + 8] = FORMAT_VERSION;
  bytes[start + 9] = header.kind;
  bytes.writeUInt32LE(header.segment, start + 12);
  bytes.writeDoubleLE(header.journalId, start + 16);
  bytes.writeDoubleLE(header.firstBatch, start + 24);
  bytes.writeDoubleLE(header.createdMs, start + 32);
  bytes.writeUInt32LE(header.epoch, start + 40);
  bytes.writeUInt32LE(header.previousCrc, start + 44);
  bytes.writeUInt32LE(crc32(bytes.subarray(start + 8, start + SEGMENT_HEADER_BYTES)), start + 4);
}

/** The header in the first 64 of `bytes`; 'version' when a newer program wrote it, undefined when it is no sound header. */
export function readSegmentHeader(bytes: Buffer): SegmentHeader | 'version' | undefined {
  if (bytes.readUInt32LE(0) !== SEGMENT_MAGIC) return undefined;
  if (crc32(bytes.subarray(8, SEGMENT_HEADER_BYTES)) !== bytes.readUInt32LE(4)) return undefined;
  if (bytes[8] !== FORMAT_VERSION) return 'version';
  return {
    kind: bytes[9]!,
    segment: bytes.readUInt32LE(12),
    journalId: bytes.readDoubleLE(16),
    firstBatch: bytes.readDoubleLE(24),
    createdMs: bytes.readDoubleLE(32),
    epoch: bytes.readUInt32LE(40),
    previousCrc: bytes.readUInt32LE(44),
  };
}

/** Path of a log segment in the data directory. */
export function segmentPath(segment: number): string {
  return `${JOURNAL_FOLDER}/${tenDigits(segment)}${LOG_SUFFIX}`;
}

/** Path of a cold segment in the data directory. */
export function coldPath(number: number): string {
  return `${JOURNAL_FOLDER}/${tenDigits(number)}${COLD_SUFFIX}`;
}

export function tenDigits(number: number): string {
  return String(number).padStart(10, '0');
}

/** The number in a file name of ten digits and this suffix; undefined for other names. */
export function numberOf(name: string, suffix: string): number | undefined {
  if (name.length !== 10 + suffix.length || !name.endsWith(suffix)) return undefined;
  const digits = name.slice(0, 10);
  return /^\d{10}$/.test(digits) ? Number(digits) : undefined;
}
