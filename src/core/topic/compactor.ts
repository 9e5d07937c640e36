/**
 * Compaction: of each key only the newest message is kept. Closed files of a partition are read twice and written anew: first to
 * learn the newest offset of every key in what was not compacted before, then to leave out what has a newer one. Offsets and order
 * stay; what is left out is a gap. New files are synced before one record puts them in the place of the old ones.
 */
import type { Disk, DiskFile } from '../disk.ts';
import type { Engine } from '../engine.ts';
import { Message } from '../message.ts';
import { readStored, receivedAt } from '../stored-message.ts';
import { BLOCK_HEADER_BYTES, type Block, BlockWriter } from './block.ts';
import { Frames } from './frames.ts';
import type { Partition } from './partition.ts';
import { FILE_HEADER_BYTES, fileHeader, pathOf, type SealedFile, TOPIC_FOLDER } from './sealed-file.ts';

/** What is closed and not compacted is worth a pass when it is this part of all that is closed. */
const DIRTY_PART = 0.5;
/** Memory of a key beside its bytes. */
const KEY_BYTES = 64;
const TOMBSTONE_MS = 86_400_000;

export interface CompactorActions {
  /** The block with an offset, held for the caller. */
  block(partition: Partition, offset: number): Promise<Block>;
  /** A cursor over frames that takes batches apart. */
  cursor(partition: Partition): Frames;
  /** Files up to `cleanEnd`'s were written anew: write it down. @param replaced the old ones, the oldest of the partition */
  compacted(
    partition: Partition,
    replaced: readonly SealedFile[],
    files: readonly SealedFile[],
    cleanEnd: number,
  ): void;
}

export class Compactor {
  readonly #engine: Engine;
  readonly #disk: Disk;
  readonly #actions: CompactorActions;
  readonly #waiting = new Set<Partition>();
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(engine: Engine, disk: Disk, actions: CompactorActions) {
    this.#engine = engine;
    this.#disk = disk;
    this.#actions = actions;
  }

  /** Compact a partition, if that is worth it now. */
  consider(partition: Partition): void {
    if (this.#stopped || !isDue(partition, this.#engine.clock.now())) return;
    this.#waiting.add(partition);
    this.#running ??= this.#run();
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Take up nothing more; resolves when the pass under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    for (const partition of this.#waiting) {
      this.#waiting.delete(partition);
      try {
        await this.#compact(partition);
      } catch (error) {
        // What was written does not count, and the next start removes it. The next sweep tries again.
        this.#engine.log('error', 'a topic cannot be compacted', {
          topic: partition.topic.name,
          error: (error as Error).message,
        });
      }
      if (this.#stopped) break;
    }
    this.#running = undefined;
  }

  async #compact(partition: Partition): Promise<void> {
    const now = this.#engine.clock.now();
    const closed = closedFiles(partition, now);
    const newest = new Map<string, number>();
    const learned = await this.#learn(partition, closed, newest);
    const replaced = closed.filter((file) => file.base < learned);
    if (replaced.length === 0 || !this.#goesOn(partition)) return;
    const output = new Output(this.#engine, this.#disk, partition, replaced);
    try {
      await this.#rewrite(partition, output, newest, learned);
    } finally {
      await output.close();
    }
    const stands = this.#goesOn(partition) && replaced.every((file, n) => partition.files[n] === file);
    if (stands) this.#actions.compacted(partition, replaced, output.files, learned);
    else for (const file of output.files) await this.#disk.remove(pathOf(partition.id, file));
  }

  #goesOn(partition: Partition): boolean {
    return !this.#stopped && !partition.deleted && this.#engine.failure === undefined;
  }

  /** Note the newest offset of each key that is not compacted yet; answers the offset up to which there was room for that. */
  async #learn(partition: Partition, closed: readonly SealedFile[], newest: Map<string, number>): Promise<number> {
    const end = closed.at(-1)?.end ?? 0;
    let left = this.#engine.limits.topicCompactBytes;
    let offset = Math.max(partition.cleanEnd, partition.start);
    while (offset < end && left > 0 && this.#goesOn(partition)) {
      offset = await this.#each(partition, offset, this.#actions.cursor(partition), (frames) => {
        const key = keyOf(frames);
        if (key === '' || frames.sealed > 0) return;
        if (!newest.has(key)) left -= key.length + KEY_BYTES;
        newest.set(key, frames.offset);
      });
    }
    return Math.min(offset, end);
  }

  async #rewrite(
    partition: Partition,
    output: Output,
    newest: ReadonlyMap<string, number>,
    learned: number,
  ): Promise<void> {
    const forgets = this.#engine.clock.now() - (partition.topic.settings.tombstoneMs ?? TOMBSTONE_MS);
    const stays = (frames: Frames): boolean => {
      const key = keyOf(frames);
      if (key === '') return true;
      if ((newest.get(key) ?? -1) > frames.offset) return false;
      // No older message of its key is left, so it has done its work.
      return !(frames.offset < learned && isEmpty() && view.receivedAtMs < forgets);
    };
    const inside = this.#actions.cursor(partition);
    let offset = output.base;
    while (offset < output.end && this.#goesOn(partition)) {
      offset = await this.#each(partition, offset, new Frames(), (frames) => {
        if (frames.offset >= output.end) return;
        if (frames.sealed > 0) rewriteBatch(frames, inside, output, stays);
        else if (stays(frames)) output.add(frames);
      });
      await output.write();
    }
    await output.finish();
  }

  /** Look at all that `frames` shows of the block with `offset`, from there on. Answers the offset behind it. */
  async #each(partition: Partition, offset: number, frames: Frames, look: (frames: Frames) => void): Promise<number> {
    const block = await this.#actions.block(partition, offset);
    for (block.show(frames, offset); !frames.ended; frames.advance()) look(frames);
    frames.clear();
    block.leave();
    return Math.max(block.end, offset + 1);
  }
}

/**
 * A batch of which everything stays is kept as it is; of another one, what stays becomes single messages. One that cannot be taken
 * apart stays. @param inside to look into it with
 */
function rewriteBatch(batch: Frames, inside: Frames, output: Output, stays: (frames: Frames) => boolean): void {
  const { bytes, head, after, offset } = batch;
  let count = 0;
  for (inside.set(bytes, head, after, offset, offset); !inside.ended; inside.advance()) {
    if (inside.sealed > 0 || stays(inside)) count += inside.next - inside.offset;
  }
  if (count === batch.sealed) {
    output.add(batch);
    return;
  }
  for (inside.set(bytes, head, after, offset, output.base); !inside.ended; inside.advance()) {
    if (stays(inside)) output.add(inside);
  }
}

/** Writes blocks to new files, one after the other. */
class Output {
  readonly files: SealedFile[] = [];
  readonly base: number;
  readonly end: number;
  readonly #engine: Engine;
  readonly #disk: Disk;
  readonly #partition: Partition;
  readonly #generation: number;
  readonly #writer: BlockWriter;
  #newestMs: number;
  #firstMs: number;
  #file: DiskFile | undefined;
  /** Time of the newest message among the replaced files up to an offset. */
  readonly #replaced: readonly SealedFile[];

  constructor(engine: Engine, disk: Disk, partition: Partition, replaced: readonly SealedFile[]) {
    this.#engine = engine;
    this.#disk = disk;
    this.#partition = partition;
    this.#replaced = replaced;
    this.base = (replaced[0] as SealedFile).base;
    this.end = (replaced.at(-1) as SealedFile).end;
    this.#generation = 1 + Math.max(...replaced.map((file) => file.generation));
    this.#firstMs = (replaced[0] as SealedFile).firstMs;
    this.#newestMs = 0;
    this.#writer = new BlockWriter(engine.limits.topicBlockBytes * 2);
    this.#writer.reset(this.base);
  }

  /** Take what `frames` stands at. */
  add(frames: Frames): void {
    this.#writer.addMessage(frames);
    const receivedAtMs = receivedAt(frames.bytes, frames.start);
    this.#newestMs = Math.max(this.#newestMs, Math.floor(receivedAtMs / 1000) * 1000 + 999);
  }

  /** Write what there is, if it is enough for a block. */
  async write(): Promise<void> {
    if (this.#writer.length >= this.#engine.limits.topicBlockBytes) await this.#writeBlock();
  }

  /** Write the rest; there is nothing up to the end. */
  async finish(): Promise<void> {
    this.#writer.skipTo(this.end);
    if (this.#writer.length > BLOCK_HEADER_BYTES) await this.#writeBlock();
    await this.#closeFile();
    await this.#disk.syncFolder(TOPIC_FOLDER);
  }

  async #writeBlock(): Promise<void> {
    const writer = this.#writer;
    const { end } = writer;
    let current = this.files.at(-1);
    if (this.#file === undefined || current === undefined) {
      current = await this.#nextFile();
    }
    const bytes = writer.finish(this.#partition.id, this.#newestMs);
    await this.#file?.write(bytes, 0, bytes.length, current.bytes);
    const grown = { ...current, end, bytes: current.bytes + bytes.length, newestMs: this.#newestUpTo(end) };
    this.files[this.files.length - 1] = grown;
    writer.reset(end);
    if (grown.bytes >= (this.#partition.topic.settings.fileBytes ?? this.#engine.limits.topicFileBytes)) {
      await this.#closeFile();
    }
  }

  /** Retention must not take a file for older than what it replaces. */
  #newestUpTo(end: number): number {
    const last = this.#replaced.find((file) => file.end >= end);
    return Math.max(this.#newestMs, last?.newestMs ?? 0);
  }

  async #nextFile(): Promise<SealedFile> {
    const base = this.files.at(-1)?.end ?? this.base;
    const file = {
      base,
      generation: this.#generation,
      end: base,
      bytes: FILE_HEADER_BYTES,
      firstMs: this.#firstMs,
      newestMs: 0,
    };
    const path = pathOf(this.#partition.id, file);
    // A pass that failed may have left it.
    await this.#disk.remove(path);
    this.#file = await this.#disk.open(path, 'create');
    const header = fileHeader(this.#partition.id, base, this.#engine.clock.now());
    await this.#file.write(header, 0, header.length, 0);
    this.files.push(file);
    return file;
  }

  async #closeFile(): Promise<void> {
    await this.#file?.sync();
    await this.close();
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

/** One message at a time is looked at. */
const view = new Message();

/** The key of a message: its group, else, when it came through an exchange with bindings, its routing key; '' = none. */
function keyOf(frames: Frames): string {
  readStored(view, frames.bytes, frames.start, frames.after);
  if (view.groupEnd > view.groupStart) return `g${view.bytes.toString('latin1', view.groupStart, view.groupEnd)}`;
  if (view.exchangeEnd > view.exchangeStart) return `k${view.bytes.toString('latin1', view.keyStart, view.keyEnd)}`;
  return '';
}

/** The message `keyOf` looked at last is a tombstone. */
function isEmpty(): boolean {
  return view.bodyEnd === view.bodyStart;
}

/** Files that nothing is appended to any more, and old enough. */
function closedFiles({ files, topic }: Partition, nowMs: number): readonly SealedFile[] {
  const before = nowMs - (topic.settings.compactLagMs ?? 0);
  const young = files.findIndex((file) => file.newestMs > before);
  return files.slice(0, young < 0 ? files.length - 1 : Math.min(young, files.length - 1));
}

function isDue(partition: Partition, nowMs: number): boolean {
  if (partition.topic.settings.compact !== true || partition.deleted) return false;
  let all = 0;
  let dirty = 0;
  for (const file of closedFiles(partition, nowMs)) {
    all += file.bytes;
    if (file.end > partition.cleanEnd) dirty += file.bytes;
  }
  return dirty > 0 && dirty >= all * DIRTY_PART;
}
