/**
 * Moves messages from the journal into the sealed files of their partitions, in the background, and removes files that retention
 * does not keep. Many partitions are sealed together in one pass over the journal, because each stretch of it has messages of all of
 * them. The order is always: blocks written and synced; file named durably; SEALED record; only when that record is
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
import { copyStretch, type Taker } from './unsealed.ts';

const MIB = 1024 * 1024;
/** Partitions that are sealed together: each has a file open and a block in memory. */
const PARTITIONS_MAX = 256;
/** Memory for the blocks of all of them. */
const BLOCKS_BYTES = 16 * MIB;
/** What is sealed between two syncs of the files, and for each partition besides. */
const PASS_BYTES = 4 * MIB;
const PASS_BYTES_EACH = MIB;
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

/** A partition that is being sealed. */
interface Target extends Taker {
  /** Where it began. */
  readonly from: number;
  /** The file to go on with, as it was; undefined for one that is not there yet. */
  readonly before: SealedFile | undefined;
  /** The same with the blocks written. */
  file: SealedFile;
  readonly blocks: PlacedBlock[];
  /** Open since the first of them. */
  handle: DiskFile | undefined;
}

export class Sealer implements PartitionObserver {
  readonly #engine: Engine;
  readonly #disk: Disk;
  readonly #actions: SealerActions;
  /** Partitions that wait, each in turn. */
  readonly #queue = new Set<Partition>();
  /** So many are sealed together: after a failure one alone, so that the others go on. */
  #together = PARTITIONS_MAX;
  #running: Promise<void> | undefined;
  #stopped = false;
  #folderMade = false;
  #rest: { readonly timer: Timer; readonly wake: () => void } | undefined;

  constructor(engine: Engine, disk: Disk, actions: SealerActions) {
    this.#engine = engine;
    this.#disk = disk;
    this.#actions = actions;
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
    while (this.#queue.size > 0 && !this.#stopped) {
      const partitions = [...this.#queue].slice(0, this.#together);
      for (const partition of partitions) this.#queue.delete(partition);
      try {
        for (const partition of await this.#seal(partitions)) {
          // With nothing durable to seal, the next commit comes back here.
          if (partition.runs.bytes >= this.#engine.limits.topicSealBytes) this.#queue.add(partition);
        }
        this.#together = Math.min(this.#together * 2, PARTITIONS_MAX);
      } catch (error) {
        for (const partition of partitions) this.#queue.add(partition);
        this.#together = 1;
        this.#engine.log('error', 'messages of a topic cannot be sealed; trying again', {
          topic: partitions[0]?.topic.name,
          partitions: partitions.length,
          error: (error as Error).message,
        });
        await this.#pause(RETRY_MS);
      }
    }
    this.#running = undefined;
  }

  /** Seal what there is of some partitions, up to so many bytes and no more than one file takes. Answers those that are left and had something. */
  async #seal(partitions: readonly Partition[]): Promise<Partition[]> {
    const targets: Target[] = [];
    const blockBytes = Math.min(this.#engine.limits.topicBlockBytes, Math.floor(BLOCKS_BYTES / partitions.length));
    for (const partition of partitions) {
      if (!partition.deleted && partition.sealedEnd < partition.durableEnd)
        targets.push(this.#target(partition, blockBytes));
    }
    try {
      await this.#copy(targets, blockBytes);
      for (const { handle } of targets) await handle?.sync();
    } finally {
      for (const { handle } of targets) await handle?.close();
    }
    if (targets.some(({ before, handle }) => before === undefined && handle !== undefined))
      await this.#disk.syncFolder(TOPIC_FOLDER);
    for (const target of targets) if (target.handle !== undefined) await this.#finish(target);
    return targets.map(({ partition }) => partition).filter(({ deleted }) => !deleted);
  }

  #target(partition: Partition, blockBytes: number): Target {
    const from = partition.sealedEnd;
    const writer = new BlockWriter(blockBytes);
    writer.reset(from);
    const before = this.#openFile(partition, from);
    return {
      partition,
      writer,
      isFull: false,
      from,
      before,
      file: before ?? this.#newFile(partition, from),
      blocks: [],
      handle: undefined,
    };
  }

  /** Copy messages from the journal into blocks behind the files of their partitions. */
  async #copy(targets: readonly Target[], blockBytes: number): Promise<void> {
    let left = PASS_BYTES + targets.length * PASS_BYTES_EACH;
    while (left > 0 && !this.#stopped) {
      const started = this.#engine.clock.monotonic();
      const open = targets.filter(({ partition, file }) => file.bytes < this.#fileBytes(partition));
      const bytes = await copyStretch(this.#engine, open, blockBytes);
      const full = open.filter(({ isFull }) => isFull);
      if (bytes === 0 && full.length === 0) break;
      for (const target of full) await this.#writeBlock(target);
      left -= bytes;
      await this.#restSince(started, targets);
    }
    if (this.#stopped) return;
    for (const target of targets) if (target.writer.count > 0) await this.#writeBlock(target);
  }

  async #writeBlock(target: Target): Promise<void> {
    const { partition, writer, file } = target;
    const { end } = writer;
    if (this.#stands(target)) {
      target.handle ??= await this.#open(target);
      // Times of runs are rounded down to seconds.
      const newestMs = Math.max(file.newestMs, partition.runs.newestMs(partition.runs.find(end - 1)) + 999);
      const block = writer.finish(partition.id, newestMs);
      await target.handle.write(block, 0, block.length, file.bytes);
      target.blocks.push({ base: writer.base, newestMs, place: file.bytes, length: block.length });
      target.file = { ...file, end, bytes: file.bytes + block.length, newestMs };
    }
    writer.reset(end);
  }

  /** The blocks of a partition are durable. */
  async #finish(target: Target): Promise<void> {
    const { partition, before, file, blocks } = target;
    if (!this.#stands(target)) {
      if (before === undefined) await this.#disk.remove(pathOf(partition.id, file));
      return;
    }
    this.#actions.sealed(partition, file, blocks);
    await this.#engine.background.run(partition.dropSealed());
    if (!partition.deleted) this.#actions.retain(partition);
  }

  /** False when the topic was deleted or cut meanwhile: what was written does not count, and the next pass writes over it. */
  #stands({ partition, from, before }: Target): boolean {
    if (partition.deleted || this.#engine.failure !== undefined) return false;
    return partition.sealedEnd === from && (before === undefined || partition.files.at(-1) === before);
  }

  /** The file to go on with, which is the newest one; undefined when it is time for another. */
  #openFile(partition: Partition, from: number): SealedFile | undefined {
    const { retentionMs } = partition.topic.settings;
    const last = partition.files.at(-1);
    if (last === undefined || last.end !== from || last.bytes >= this.#fileBytes(partition)) return undefined;
    if (retentionMs === undefined) return last;
    return firstMsOf(partition, from) - last.firstMs < retentionMs / FILES_PER_RETENTION ? last : undefined;
  }

  #newFile(partition: Partition, from: number): SealedFile {
    const firstMs = firstMsOf(partition, from);
    return { base: from, generation: 0, end: from, bytes: FILE_HEADER_BYTES, firstMs, newestMs: firstMs };
  }

  #fileBytes(partition: Partition): number {
    return partition.topic.settings.fileBytes ?? this.#engine.limits.topicFileBytes;
  }

  async #open({ partition, before, file, from }: Target): Promise<DiskFile> {
    const path = pathOf(partition.id, file);
    if (before !== undefined) return this.#disk.open(path, 'write');
    if (!this.#folderMade) {
      await this.#disk.makeFolder(TOPIC_FOLDER);
      await this.#disk.syncFolder('');
      this.#folderMade = true;
    }
    // A pass that failed may have left it.
    await this.#disk.remove(path);
    const handle = await this.#disk.open(path, 'create');
    const header = fileHeader(partition.id, from, this.#engine.clock.now());
    await handle.write(header, 0, header.length, 0);
    return handle;
  }

  /** Rest from work begun at `started`. */
  async #restSince(started: number, targets: readonly Target[]): Promise<void> {
    const tookMs = this.#engine.clock.monotonic() - started;
    let waiting = 0;
    for (const { partition } of targets) waiting += partition.runs.bytes;
    for (const partition of this.#queue) waiting += partition.runs.bytes;
    const factor = REST_FACTORS.find(([bytes]) => waiting < bytes)?.[1] ?? 0;
    await this.#pause(Math.min(REST_MS_MAX, tookMs * factor));
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

function firstMsOf({ runs }: Partition, offset: number): number {
  return runs.newestMs(runs.find(offset));
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
