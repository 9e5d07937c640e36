/**
 * Moves messages from the journal into the sealed files of their partitions, in the background, and removes files that retention
 * does not keep. The order is always: blocks written and synced; file named durably; SEALED record; only when that record is
 * durable too may the journal give its segments back. Files go after the START record that says so is durable.
 */
import type { Timer } from '../clock.ts';
import type { Disk, DiskFile } from '../disk.ts';
import type { Engine } from '../engine.ts';
import { BlockWriter } from './block.ts';
import type { Partition, PartitionObserver } from './partition.ts';
import {
  FILE_HEADER_BYTES,
  fileHeader,
  type PlacedBlock,
  pathOf,
  type SealedFile,
  TOPIC_FOLDER,
} from './sealed-file.ts';
import { copyUnsealed } from './unsealed.ts';

/** Bytes of one partition between two syncs of its file. */
const PASS_BYTES = 4 * 1024 * 1024;
const MIB = 1024 * 1024;
/** Sealing rests so many times as long as it worked, while less than so many bytes wait for it: commits come first, and what waits costs
 *  disk and next to no memory. */
const REST_FACTORS = [
  [512 * MIB, 9],
  [2048 * MIB, 2],
] as const;
const REST_MS_MAX = 2_000;
/** After a failed write. */
const RETRY_MS = 5_000;
/** With retention by time, a file is closed when it spans this part of it: only whole files are removed. */
const FILES_PER_RETENTION = 8;

export interface SealerActions {
  /** A file has grown to this, by these blocks: write it down. */
  sealed(partition: Partition, file: SealedFile, blocks: readonly PlacedBlock[]): void;
  /** The journal has given up what was sealed: remove what is too much. */
  retain(partition: Partition): void;
}

export class Sealer implements PartitionObserver {
  readonly #engine: Engine;
  readonly #disk: Disk;
  readonly #actions: SealerActions;
  readonly #writer: BlockWriter;
  /** Partitions that wait, each in turn. */
  readonly #queue = new Set<Partition>();
  #running: Promise<void> | undefined;
  #stopped = false;
  #folderMade = false;
  #rest: { readonly timer: Timer; readonly wake: () => void } | undefined;

  constructor(engine: Engine, disk: Disk, actions: SealerActions) {
    this.#engine = engine;
    this.#disk = disk;
    this.#actions = actions;
    this.#writer = new BlockWriter(engine.limits.topicBlockBytes * 2);
  }

  sealable(partition: Partition): void {
    if (this.#stopped) return;
    this.#queue.add(partition);
    this.#running ??= this.#run();
  }

  /** Resolves when nothing waits to be sealed. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Take up nothing more; resolves when the pass under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#rest?.timer.cancel();
    this.#rest?.wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let next = first(this.#queue); next !== undefined && !this.#stopped; next = first(this.#queue)) {
      this.#queue.delete(next);
      try {
        const started = this.#engine.clock.monotonic();
        const did = await this.#seal(next);
        const tookMs = this.#engine.clock.monotonic() - started;
        if (did) await this.#pause(Math.min(REST_MS_MAX, tookMs * this.#restFactor(next)));
        // With nothing durable to seal, the next commit comes back here.
        if (did && !next.deleted && next.runs.bytes >= this.#engine.limits.topicSealBytes) this.#queue.add(next);
      } catch (error) {
        this.#queue.add(next);
        this.#engine.log('error', 'messages of a topic cannot be sealed; trying again', {
          topic: next.topic.name,
          error: (error as Error).message,
        });
        await this.#pause(RETRY_MS);
      }
    }
    this.#running = undefined;
  }

  /** Seal what there is of a partition, up to PASS_BYTES and no more than one file takes. False when there was nothing to do. */
  async #seal(partition: Partition): Promise<boolean> {
    const from = partition.sealedEnd;
    if (partition.deleted || from >= partition.durableEnd) return false;
    const before = this.#openFile(partition, from);
    const path = pathOf(partition.id, before);
    const isNew = before.bytes === 0;
    const target = isNew ? await this.#create(partition, path, from) : await this.#disk.open(path, 'write');
    const blocks: PlacedBlock[] = [];
    let after: SealedFile;
    try {
      const file = isNew ? { ...before, bytes: FILE_HEADER_BYTES } : before;
      after = await this.#writeBlocks(partition, target, file, blocks);
      await target.sync();
    } finally {
      await target.close();
    }
    if (isNew) await this.#disk.syncFolder(TOPIC_FOLDER);
    if (after.end === from || !this.#stands(partition, from, isNew ? undefined : before)) {
      if (isNew) await this.#disk.remove(path);
      return true;
    }
    this.#actions.sealed(partition, after, blocks);
    await this.#engine.background.run(partition.dropSealed());
    if (!partition.deleted) this.#actions.retain(partition);
    return true;
  }

  /** False when the topic was deleted or cut meanwhile: what was written does not count, and the next pass writes over it. */
  #stands(partition: Partition, from: number, file: SealedFile | undefined): boolean {
    if (partition.deleted || this.#engine.failure !== undefined) return false;
    return partition.sealedEnd === from && (file === undefined || partition.files.at(-1) === file);
  }

  /** The file to go on with: the newest one, or one that is not there yet. */
  #openFile(partition: Partition, from: number): SealedFile {
    const { retentionMs } = partition.topic.settings;
    const last = partition.files.at(-1);
    const firstMs = partition.runs.newestMs(partition.runs.find(from));
    if (last !== undefined && last.end === from && last.bytes < this.#fileBytes(partition)) {
      if (retentionMs === undefined || firstMs - last.firstMs < retentionMs / FILES_PER_RETENTION) return last;
    }
    return { base: from, generation: 0, end: from, bytes: 0, firstMs, newestMs: firstMs };
  }

  #fileBytes(partition: Partition): number {
    return partition.topic.settings.fileBytes ?? this.#engine.limits.topicFileBytes;
  }

  async #create(partition: Partition, path: string, base: number): Promise<DiskFile> {
    if (!this.#folderMade) {
      await this.#disk.makeFolder(TOPIC_FOLDER);
      await this.#disk.syncFolder('');
      this.#folderMade = true;
    }
    // A pass that failed may have left it.
    await this.#disk.remove(path);
    const file = await this.#disk.open(path, 'create');
    const header = fileHeader(partition.id, base, this.#engine.clock.now());
    await file.write(header, 0, header.length, 0);
    return file;
  }

  /** Write blocks behind `file`; answers what it is with them. @param written gets them */
  async #writeBlocks(
    partition: Partition,
    target: DiskFile,
    file: SealedFile,
    written: PlacedBlock[],
  ): Promise<SealedFile> {
    const { limits } = this.#engine;
    const writer = this.#writer;
    const full = Math.min(file.bytes + PASS_BYTES, this.#fileBytes(partition));
    let { end, bytes, newestMs } = file;
    while (bytes < full && !this.#stopped) {
      writer.reset(end);
      await copyUnsealed(partition, writer, limits.topicBlockBytes);
      const next = writer.end;
      if (next === end || partition.deleted) break;
      // Times of runs are rounded down to seconds.
      newestMs = Math.max(newestMs, partition.runs.newestMs(partition.runs.find(next - 1)) + 999);
      const block = writer.finish(partition.id, newestMs);
      await target.write(block, 0, block.length, bytes);
      written.push({ base: writer.base, newestMs, place: bytes, length: block.length });
      end = next;
      bytes += block.length;
    }
    return { ...file, end, bytes, newestMs };
  }

  #restFactor(current: Partition): number {
    let waiting = current.runs.bytes;
    for (const partition of this.#queue) waiting += partition.runs.bytes;
    return REST_FACTORS.find(([bytes]) => waiting < bytes)?.[1] ?? 0;
  }

  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#stopped) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#rest = undefined;
        resolve();
      };
      this.#rest = { timer: this.#engine.clock.after(ms, wake), wake };
    });
  }
}

function first<T>(set: ReadonlySet<T>): T | undefined {
  return set.values().next().value;
}

/** Where a partition should begin now, by the retention of its topic. */
export function retainedFrom(partition: Partition, nowMs: number): number {
  const { retentionMs, retentionBytes } = partition.topic.settings;
  const { files } = partition;
  // What is sealed and still in the journal would count twice.
  if (partition.dropping) return partition.start;
  let { start, bytes } = partition;
  for (const file of files) {
    const tooOld = retentionMs !== undefined && file.newestMs < nowMs - retentionMs;
    const tooMuch = retentionBytes !== undefined && bytes - file.bytes >= retentionBytes;
    if (!tooOld && !tooMuch) break;
    start = file.end;
    bytes -= file.bytes;
  }
  return Math.max(start, partition.start);
}
