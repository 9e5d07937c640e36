import type { Disk } from '../disk.ts';
import { CoreError } from '../errors.ts';
import type { ChainLink } from './batch.ts';
import { CHECKPOINT_FOLDER, checkpointNames, verifyCheckpoint } from './checkpoint.ts';
import { ColdSegment } from './cold.ts';
import { chooseCheckpoint, listNumbers, listSegments, openColdSegments } from './data-dir.ts';
import { type Manifest, readManifest } from './manifest.ts';
import { START } from './open-journal.ts';
import { replayLog } from './replay.ts';
import { scanBatches } from './scan.ts';
import { LOG_SUFFIX, readSegmentHeader, SEGMENT_HEADER_BYTES, segmentPath } from './segment.ts';

export interface InspectOptions {
  /** Also read what a start would not: batches before the checkpoint, all cold blocks, older checkpoints. */
  readonly verify?: boolean;
}

/**
 * Describe a data directory, line by line; answers whether the broker would start on it as it is (and with `verify`, whether
 * every checksum fits). Offline and read-only: takes no lock, changes nothing; a running broker makes it look torn.
 */
export async function* inspect(disk: Disk, options: InspectOptions = {}): AsyncGenerator<string, boolean> {
  const verify = options.verify === true;
  const verdict = { sound: true };
  const numbers = await listNumbers(disk, LOG_SUFFIX);
  if (numbers.length === 0) {
    yield 'no journal here';
    return true;
  }
  try {
    const manifest = await readManifest(disk);
    yield* checkpoints(disk, verify, verdict);
    const from = await firstToScan(disk, manifest);
    yield 'log segments:';
    for (const number of numbers) {
      const isOld = number < from;
      yield* logSegment(disk, number, manifest, verify || !isOld, isOld ? verdict : { sound: true });
    }
    if ((manifest?.cold.length ?? 0) > 0) yield 'cold segments:';
    for (const row of manifest?.cold ?? []) yield* coldSegment(disk, row, verify, verdict);
    yield `a start: ${await rehearse(disk, manifest)}`;
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    yield `a start would be refused: ${error.message}`;
    return false;
  }
  if (!verdict.sound) yield 'damage was found, see above';
  return verdict.sound;
}

async function* checkpoints(disk: Disk, verify: boolean, verdict: { sound: boolean }): AsyncGenerator<string> {
  const names = checkpointNames(await disk.list(CHECKPOINT_FOLDER));
  yield names.length === 0 ? 'checkpoints: none' : 'checkpoints, newest first:';
  for (const [row, { name, number, kind }] of names.entries()) {
    if (row > 0 && !verify) {
      yield `  ${name}  not read`;
      continue;
    }
    const file = await verifyCheckpoint(disk, number, kind);
    if (typeof file === 'string') {
      verdict.sound = false;
      yield `  ${name}  ${file === 'version' ? 'WRITTEN BY A NEWER VERSION' : 'DAMAGED'}`;
      continue;
    }
    const { position, bytes, base } = file;
    const on = kind === 'delta' ? `  builds on ${base}` : '';
    yield `  ${name}  batch ${position.number}  segment ${position.segment} at ${position.end}  ${bytes} bytes${on}`;
  }
}

/** A start reads the log from here on. */
async function firstToScan(disk: Disk, manifest: Manifest | undefined): Promise<number> {
  const choice = await chooseCheckpoint(disk, await listSegments(disk, manifest), manifest, 'none');
  return choice.chain.at(-1)?.position.segment ?? 0;
}

/** @param verdict told of damage; what a start would read is judged by `rehearse` instead, which knows a torn tail */
async function* logSegment(
  disk: Disk,
  number: number,
  manifest: Manifest | undefined,
  scan: boolean,
  verdict: { sound: boolean },
): AsyncGenerator<string> {
  const path = segmentPath(number);
  const file = await disk.open(path, 'read');
  try {
    const size = await file.size();
    const hint = manifest?.log.find((row) => row.segment === number);
    const live = hint === undefined ? '' : `  ${hint.live} bytes live at the last reclaim`;
    const isLeftover = hint === undefined && number < (manifest?.line ?? 0);
    if (!scan || isLeftover) {
      yield `  ${path}  ${size} bytes${live}  ${isLeftover ? 'left over, not in use' : 'not read'}`;
      return;
    }
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const got = await file.read(bytes, 0, SEGMENT_HEADER_BYTES, 0);
    const header = got < SEGMENT_HEADER_BYTES ? undefined : readSegmentHeader(bytes);
    if (header === undefined || header === 'version') {
      verdict.sound = false;
      yield `  ${path}  ${size} bytes  ${header === undefined ? 'no sound header' : 'written by a newer version'}`;
      return;
    }
    const link: ChainLink = { epoch: header.epoch, number: header.firstBatch - 1, crc: header.previousCrc };
    let batches = 0;
    let records = 0;
    const stop = await scanBatches(file, size, SEGMENT_HEADER_BYTES, link, (_bytes, _start, batch) => {
      batches++;
      records += batch.count;
    });
    if (stop.reason !== 'end') verdict.sound = false;
    const range = `batches ${header.firstBatch} to ${link.number} (${batches})  ${records} records  epoch ${link.epoch}`;
    const end =
      stop.reason === 'end' ? 'ok' : `ends at ${stop.offset}: ${stop.reason}, ${size - stop.offset} bytes behind`;
    yield `  ${path}  ${size} bytes  ${range}${live}  ${end}`;
  } finally {
    await file.close();
  }
}

async function* coldSegment(
  disk: Disk,
  row: Manifest['cold'][number],
  verify: boolean,
  verdict: { sound: boolean },
): AsyncGenerator<string> {
  const cold = await ColdSegment.open(disk, row.number, row.segments);
  let state = 'directory ok';
  if (verify) {
    state = 'ok';
    const file = await disk.open(cold.path, 'read');
    try {
      for (let block = 0; block < cold.blocks; block++) {
        const { start, end } = cold.block(block);
        const bytes = Buffer.alloc(end - start);
        await file.read(bytes, 0, bytes.length, start);
        cold.verify(bytes, start);
      }
    } catch (error) {
      state = `DAMAGED: ${(error as Error).message}`;
      verdict.sound = false;
    } finally {
      await file.close();
    }
  }
  const of = `for segments ${row.segments.join(', ')}`;
  yield `  ${cold.path}  ${cold.bytes} bytes  ${cold.blocks} blocks  ${row.live} bytes live at the last reclaim  ${of}  ${state}`;
}

/** Do what a start does, up to the point where it would change something. */
async function rehearse(disk: Disk, manifest: Manifest | undefined): Promise<string> {
  const segments = await listSegments(disk, manifest);
  await openColdSegments(disk, manifest);
  const choice = await chooseCheckpoint(disk, segments, manifest, 'none');
  const newest = choice.chain.at(-1);
  const journalId = newest?.journalId ?? manifest?.journalId ?? 0;
  const found = await replayLog(
    { disk, segments, from: newest?.position ?? START, journalId, remedy: 'none' },
    () => {},
  );
  const cut =
    found.cut === undefined
      ? ''
      : `; ${segmentPath(found.cut.segment)} would be cut to ${found.cut.bytes} bytes (nothing confirmed is in there)`;
  const notes = choice.passedOver.map(({ name, why }) => `; ${name}: ${why}`).join('');
  return `would work, with ${found.batches} batches to replay up to batch ${found.tail.number}; ${found.label}${cut}${notes}`;
}
