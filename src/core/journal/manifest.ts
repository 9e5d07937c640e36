/**
 * The manifest: which segments before `line` must be there, as log or inside a cold segment. Written as a whole by each
 * reclaim (temp, sync, rename, sync of the folder). Without one, all log segments since the first must be there.
 *
 *      0       4       8         12     16           24          28           32
 *     +-------+-------+---------+------+------------+-----------+------------+------------------+--- ... ---+
 *     | magic | crc32 | version | line | journal id | log count | cold count | log rows, 12 B   | cold rows |
 *     | u32   | u32   | u8 +3x0 | u32  | f64        | u32       | u32        |                  |           |
 *     +-------+-------+---------+------+------------+-----------+------------+------------------+--- ... ---+
 *     log row:   u32 segment | u32 bytes of the file | u32 live bytes in it at that time (a hint, for people)
 *     cold row:  u32 number | u32 bytes | u32 live bytes | u32 count | count x u32 segments it stands for
 *
 * `crc32` covers everything from byte 8 to the end.
 */
import type { Disk } from '../disk.ts';
import { CoreError } from '../errors.ts';
import { FORMAT_VERSION } from './batch.ts';
import { crc32 } from './crc32.ts';
import { JOURNAL_FOLDER } from './segment.ts';
import { corrupt } from './source.ts';

const MANIFEST_PATH = `${JOURNAL_FOLDER}/manifest`;
const HEADER_BYTES = 32;
/** `JMQM` */
const MANIFEST_MAGIC = 0x4d514d4a;

export interface ManifestLog {
  readonly segment: number;
  readonly bytes: number;
  readonly live: number;
}

export interface ManifestCold {
  readonly number: number;
  readonly bytes: number;
  readonly live: number;
  readonly segments: readonly number[];
}

export interface Manifest {
  /** Log segments from this number on are not listed: they must follow each other without a gap. */
  readonly line: number;
  readonly journalId: number;
  readonly log: readonly ManifestLog[];
  readonly cold: readonly ManifestCold[];
}

export async function writeManifest(disk: Disk, manifest: Manifest): Promise<void> {
  const temporary = `${MANIFEST_PATH}.tmp`;
  await disk.remove(temporary);
  const file = await disk.open(temporary, 'create');
  try {
    const bytes = encode(manifest);
    await file.write(bytes, 0, bytes.length, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, MANIFEST_PATH);
  await disk.syncFolder(JOURNAL_FOLDER);
}

/** The manifest; undefined when there is none yet. Rejects with `journal-corrupt` or `journal-version`. */
export async function readManifest(disk: Disk): Promise<Manifest | undefined> {
  if (!(await disk.list(JOURNAL_FOLDER)).includes('manifest')) return undefined;
  const file = await disk.open(MANIFEST_PATH, 'read');
  try {
    const bytes = Buffer.alloc(await file.size());
    const got = await file.read(bytes, 0, bytes.length, 0);
    return decode(bytes.subarray(0, got));
  } finally {
    await file.close();
  }
}

function encode(manifest: Manifest): Buffer {
  const rows: number[] = [];
  for (const { segment, bytes, live } of manifest.log) rows.push(segment, bytes, live);
  for (const { number, bytes, live, segments } of manifest.cold)
    rows.push(number, bytes, live, segments.length, ...segments);
  const bytes = Buffer.alloc(HEADER_BYTES + rows.length * 4);
  bytes.writeUInt32LE(MANIFEST_MAGIC, 0);
  bytes[8] = FORMAT_VERSION;
  bytes.writeUInt32LE(manifest.line, 12);
  bytes.writeDoubleLE(manifest.journalId, 16);
  bytes.writeUInt32LE(manifest.log.length, 24);
  bytes.writeUInt32LE(manifest.cold.length, 28);
  rows.forEach((value, row) => {
    bytes.writeUInt32LE(value, HEADER_BYTES + row * 4);
  });
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
  return bytes;
}

function decode(bytes: Buffer): Manifest {
  const sound =
    bytes.length >= HEADER_BYTES &&
    bytes.readUInt32LE(0) === MANIFEST_MAGIC &&
    crc32(bytes.subarray(8)) === bytes.readUInt32LE(4);
  if (!sound) throw corrupt(MANIFEST_PATH, 'its checksum does not fit');
  if (bytes[8] !== FORMAT_VERSION) throw new CoreError('journal-version', `${MANIFEST_PATH}: version ${bytes[8]}`);
  let at = HEADER_BYTES;
  const next = () => {
    at += 4;
    return bytes.readUInt32LE(at - 4);
  };
  const log = Array.from({ length: bytes.readUInt32LE(24) }, () => ({ segment: next(), bytes: next(), live: next() }));
  const cold = Array.from({ length: bytes.readUInt32LE(28) }, () => {
    const row = { number: next(), bytes: next(), live: next() };
    return { ...row, segments: Array.from({ length: next() }, next) };
  });
  return { line: bytes.readUInt32LE(12), journalId: bytes.readDoubleLE(16), log, cold };
}
