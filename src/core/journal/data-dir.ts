/** What recovery looks up in the data directory before the replay, and what it changes there after it. */
import type { Disk } from '../disk.ts';
import { CoreError } from '../errors.ts';
import { BATCH_HEADER_BYTES, emptyBatchHeader, isBatchIntact, readBatchHeader } from './batch.ts';
import {
  CHECKPOINT_FOLDER,
  type CheckpointFile,
  type CheckpointName,
  checkpointNames,
  verifyCheckpoint,
} from './checkpoint.ts';
import { ColdSegment } from './cold.ts';
import { LogSegment } from './log-segment.ts';
import type { Manifest } from './manifest.ts';
import { type CheckpointFinding, decideCheckpoint, type RecoveryRemedy } from './recovery.ts';
import type { Replayed } from './replay.ts';
import {
  COLD_SUFFIX,
  JOURNAL_FOLDER,
  KIND_LOG,
  LOG_SUFFIX,
  numberOf,
  SEGMENT_HEADER_BYTES,
  segmentPath,
  writeSegmentHeader,
} from './segment.ts';
import { corrupt } from './source.ts';
import type { LogPosition } from './writer.ts';

/** Numbers of the files with this suffix in the journal folder, ascending. */
export async function listNumbers(disk: Disk, suffix: string): Promise<number[]> {
  const numbers = (await disk.list(JOURNAL_FOLDER)).map((name) => numberOf(name, suffix));
  return numbers.filter((number) => number !== undefined).sort((a, b) => a - b);
}

/** The log segments that count: those the manifest lists and all from its line on. Rejects when a listed one is missing. */
export async function listSegments(disk: Disk, manifest: Manifest | undefined): Promise<Map<number, LogSegment>> {
  const listed = new Map(manifest?.log.map((row) => [row.segment, row.bytes]));
  const segments = new Map<number, LogSegment>();
  for (const number of await listNumbers(disk, LOG_SUFFIX)) {
    if (number < (manifest?.line ?? 0) && !listed.has(number)) continue;
    const file = await disk.open(segmentPath(number), 'read');
    segments.set(number, new LogSegment(number, await file.size()));
    await file.close();
  }
  for (const [number, bytes] of listed) {
    const found = segments.get(number);
    if (found === undefined) throw corrupt(segmentPath(number), 'the file is missing');
    if (found.bytes < bytes) throw corrupt(segmentPath(number), `it has ${found.bytes} bytes instead of ${bytes}`);
  }
  return segments;
}

/** For each log segment that is gone, the cold segment with its bodies. */
export async function openColdSegments(disk: Disk, manifest: Manifest | undefined): Promise<Map<number, ColdSegment>> {
  const cold = new Map<number, ColdSegment>();
  for (const { number, segments } of manifest?.cold ?? []) {
    const file = await ColdSegment.open(disk, number, segments);
    for (const segment of segments) cold.set(segment, file);
  }
  return cold;
}

/** The checkpoint to start from. */
export interface CheckpointChoice {
  /** A full checkpoint and the deltas on top of it, oldest first; empty: start from the beginning of the log. */
  readonly chain: readonly CheckpointFile[];
  readonly newestNumber: number;
  /** Newer ones that were not taken, and why. */
  readonly passedOver: readonly { readonly name: string; readonly why: string }[];
}

/** Take the newest checkpoint that is intact and covered by the log; see CHECKPOINT_ROWS. */
export async function chooseCheckpoint(
  disk: Disk,
  segments: ReadonlyMap<number, LogSegment>,
  manifest: Manifest | undefined,
  remedy: RecoveryRemedy | 'none',
): Promise<CheckpointChoice> {
  const line = manifest?.line ?? 0;
  const names = checkpointNames(await disk.list(CHECKPOINT_FOLDER));
  const newestNumber = names[0]?.number ?? 0;
  const chains = new ChainFinder(disk, names);
  const passedOver: { name: string; why: string }[] = [];
  for (const { name, number } of names) {
    const chain = await chains.to(number);
    const state: CheckpointFinding['state'] = Array.isArray(chain) ? 'intact' : chain;
    const log = Array.isArray(chain) ? await coverage(disk, segments, line, chain.at(-1)!.position) : 'covered';
    const { label, decision } = decideCheckpoint({ state, log, remedy });
    if (decision === 'refuse-version') throw new CoreError('journal-version', `${CHECKPOINT_FOLDER}/${name}`);
    if (decision === 'use' && Array.isArray(chain)) return { chain, newestNumber, passedOver };
    if (decision === 'refuse') throw corrupt(`${CHECKPOINT_FOLDER}/${name}`, label);
    passedOver.push({ name, why: label });
  }
  if (line > 1 || (segments.size > 0 && !segments.has(1))) {
    const reasons = passedOver.map(({ name, why }) => `; ${name}: ${why}`).join('');
    throw corrupt(
      CHECKPOINT_FOLDER,
      `there is no usable checkpoint, and the log does not go back to its beginning${reasons}`,
    );
  }
  return { chain: [], newestNumber, passedOver };
}

/** Finds the checkpoints one builds on, each file verified once. */
class ChainFinder {
  readonly #disk: Disk;
  readonly #names: readonly CheckpointName[];
  readonly #verified = new Map<number, CheckpointFile | 'damaged' | 'version'>();

  constructor(disk: Disk, names: readonly CheckpointName[]) {
    this.#disk = disk;
    this.#names = names;
  }

  /** The chain that ends with this checkpoint, oldest first. */
  async to(number: number): Promise<CheckpointFile[] | 'damaged' | 'version'> {
    const chain: CheckpointFile[] = [];
    let crc: number | undefined;
    for (;;) {
      const file = await this.#verify(number);
      if (file === 'damaged' || file === 'version') return file;
      if (crc !== undefined && crc !== file.headerCrc) return 'damaged';
      chain.unshift(file);
      if (file.kind === 'full') return chain;
      if (file.base >= number) return 'damaged';
      number = file.base;
      crc = file.baseCrc;
    }
  }

  async #verify(number: number): Promise<CheckpointFile | 'damaged' | 'version'> {
    let file = this.#verified.get(number);
    if (file === undefined) {
      const name = this.#names.find((candidate) => candidate.number === number);
      file = name === undefined ? 'damaged' : await verifyCheckpoint(this.#disk, number, name.kind);
      this.#verified.set(number, file);
    }
    return file;
  }
}

/** Does the log still have the batch at `position`? */
async function coverage(
  disk: Disk,
  segments: ReadonlyMap<number, LogSegment>,
  line: number,
  position: LogPosition,
): Promise<CheckpointFinding['log']> {
  // Before the manifest's line a segment may have been reclaimed. (Behind it, a gap is for LOG_ROWS to judge.)
  for (let number = position.segment; number < line; number++) if (!segments.has(number)) return 'missing';
  const segment = segments.get(position.segment);
  // The newest segments missing is a short log; an older one missing is a hole.
  if (segment === undefined) return Math.max(0, ...segments.keys()) < position.segment ? 'short' : 'missing';
  const length = position.end - position.start;
  if (segment.bytes < position.end || length < BATCH_HEADER_BYTES) return 'short';
  const bytes = Buffer.allocUnsafe(length);
  const file = await disk.open(segment.path, 'read');
  const got = await file.read(bytes, 0, length, position.start);
  await file.close();
  const header = emptyBatchHeader();
  const sound =
    got === length && readBatchHeader(bytes, 0, header) && header.length === length && isBatchIntact(bytes, 0, header);
  return sound && header.crc === position.crc && header.number === position.number ? 'covered' : 'short';
}

/** Checkpoints that were passed over must not be met again: the log goes on in another way now. */
export async function setAsideCheckpoints(disk: Disk, choice: CheckpointChoice): Promise<void> {
  for (const { name } of choice.passedOver) {
    await disk.rename(`${CHECKPOINT_FOLDER}/${name}`, `${CHECKPOINT_FOLDER}/${name}.unused`);
  }
  if (choice.passedOver.length > 0) await disk.syncFolder(CHECKPOINT_FOLDER);
}

/** Make the log end where replay found its end: cut the torn batch, remove what is behind. */
export async function endLog(disk: Disk, replayed: Replayed, segments: Map<number, LogSegment>): Promise<void> {
  const { cut, behind, setAside, tail } = replayed;
  if (cut !== undefined) {
    const path = segmentPath(cut.segment);
    if (setAside) await copyTail(disk, path, cut.bytes, `${path}.lost-after-${tail.number}`);
    if (cut.bytes === 0) {
      await disk.remove(path);
      segments.delete(cut.segment);
    } else await truncate(disk, path, cut.bytes);
  }
  for (const number of behind) {
    const path = segmentPath(number);
    if (setAside) await disk.rename(path, `${path}.lost-after-${tail.number}`);
    else await disk.remove(path);
    segments.delete(number);
  }
  if (replayed.mend > 0) await writeHeader(disk, replayed);
  const last = segments.get(tail.segment);
  if (last !== undefined) {
    last.bytes = tail.end;
    // A process that was killed between write and sync left a batch that we have seen, but that a power cut could still undo.
    await syncFile(disk, last.path);
  }
  await disk.syncFolder(JOURNAL_FOLDER);
  await disk.syncFolder(CHECKPOINT_FOLDER);
}

/** What only matters to a replay of the whole segment is not known any more, and left 0: such a replay is refused. */
async function writeHeader(disk: Disk, { mend, journalId }: Replayed): Promise<void> {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const unknown = { firstBatch: 0, createdMs: 0, epoch: 0, previousCrc: 0 };
  writeSegmentHeader(bytes, 0, { kind: KIND_LOG, segment: mend, journalId, ...unknown });
  const file = await disk.open(segmentPath(mend), 'write');
  try {
    await file.write(bytes, 0, bytes.length, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFile(disk: Disk, path: string): Promise<void> {
  const file = await disk.open(path, 'write');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function truncate(disk: Disk, path: string, bytes: number): Promise<void> {
  const file = await disk.open(path, 'write');
  try {
    await file.truncate(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function copyTail(disk: Disk, from: string, offset: number, to: string): Promise<void> {
  await disk.remove(to);
  const source = await disk.open(from, 'read');
  const target = await disk.open(to, 'create');
  try {
    const buffer = Buffer.allocUnsafe(1024 * 1024);
    for (let at = 0; ; at += buffer.length) {
      const got = await source.read(buffer, 0, buffer.length, offset + at);
      if (got === 0) break;
      await target.write(buffer, 0, got, at);
    }
    await target.sync();
  } finally {
    await source.close();
    await target.close();
  }
}

/** Remove what a crash left in the middle of a checkpoint or of a reclaim. */
export async function removeLeftovers(
  disk: Disk,
  segments: ReadonlyMap<number, LogSegment>,
  manifest: Manifest | undefined,
): Promise<void> {
  const cold = new Set(manifest?.cold.map((row) => row.number));
  for (const name of await disk.list(JOURNAL_FOLDER)) {
    const segment = numberOf(name, LOG_SUFFIX);
    const isOldLog = segment !== undefined && !segments.has(segment);
    const coldNumber = numberOf(name, COLD_SUFFIX);
    const isOldCold = coldNumber !== undefined && !cold.has(coldNumber);
    if (isOldLog || isOldCold || name.endsWith('.tmp')) await disk.remove(`${JOURNAL_FOLDER}/${name}`);
  }
  for (const name of await disk.list(CHECKPOINT_FOLDER)) {
    if (name.endsWith('.tmp')) await disk.remove(`${CHECKPOINT_FOLDER}/${name}`);
  }
}
