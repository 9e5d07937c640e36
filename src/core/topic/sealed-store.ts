/** Reading sealed files: open files, their indexes, and the blocks read last, shared by all readers and each bounded. */
import type { Disk } from '../disk.ts';
import { Gate } from '../gate.ts';
import { OpenFiles } from '../journal/open-files.ts';
import type { Limits } from '../limits.ts';
import type { Block } from './block.ts';
import type { Partition } from './partition.ts';
import { BlockBuffers, FileIndex, type PlacedBlock, pathOf, type SealedFile } from './sealed-file.ts';

const OPEN_FILES_MAX = 64;
/** About 12 KB each for a file of 64 MiB. */
const INDEXES_MAX = 1024;
/** Reads under way at once: they share libuv's four threads with the commits. */
const READS_MAX = 3;
/** Buffers of blocks kept for the next ones. */
const BUFFERS_MAX = 16;

interface CachedBlock {
  readonly ready: Promise<Block>;
  /** Set when it has been read. */
  block: Block | undefined;
}

export class SealedStore {
  readonly #files: OpenFiles;
  readonly #bytesMax: number;
  /** Least recently used first, as the other maps here. */
  readonly #indexes = new Map<string, FileIndex>();
  readonly #blocks = new Map<string, CachedBlock>();
  readonly #buffers: BlockBuffers;
  #bytes = 0;
  readonly #gate = new Gate(READS_MAX);

  constructor(disk: Disk, limits: Limits) {
    this.#files = new OpenFiles(disk, OPEN_FILES_MAX);
    this.#bytesMax = limits.topicCacheBytesMax;
    this.#buffers = new BlockBuffers(limits.topicBlockBytes, BUFFERS_MAX);
  }

  /** The block of a sealed file that has `offset`, held for the caller. Rejects with `journal-corrupt` or the error of the file
   *  system. */
  async block(partition: Partition, file: SealedFile, offset: number): Promise<Block> {
    const index = await this.#index(partition, file);
    const key = `${index.path}:${index.baseOf(offset)}`;
    const known = this.#blocks.get(key);
    if (known !== undefined) this.#blocks.delete(key);
    const entry = known ?? this.#read(key, index, offset);
    this.#blocks.set(key, entry);
    // At once, where it can be: it may leave the cache in between.
    return (entry.block ?? (await entry.ready)).hold();
  }

  #read(key: string, index: FileIndex, offset: number): CachedBlock {
    const ready = this.#gate.run(() => this.#files.use(index.path, (file) => index.read(file, offset, this.#buffers)));
    const entry: CachedBlock = { ready, block: undefined };
    ready.then(
      (block) => this.#arrived(key, entry, block),
      // Whoever asked for it is told; the next one tries again.
      () => this.#blocks.get(key) === entry && this.#blocks.delete(key),
    );
    return entry;
  }

  /** The first offset of a block that may have a message not older than `timeMs`. */
  async offsetAt(partition: Partition, file: SealedFile, timeMs: number): Promise<number> {
    return (await this.#index(partition, file)).offsetAt(timeMs);
  }

  /** These blocks of a file count now: nobody needs to look for them. */
  sealed(partition: Partition, file: SealedFile, blocks: readonly PlacedBlock[]): void {
    const index = this.#indexOf(partition, file);
    for (const block of blocks) index.add(block);
  }

  #indexOf(partition: Partition, file: SealedFile): FileIndex {
    const path = pathOf(partition.id, file);
    const index = this.#indexes.get(path) ?? new FileIndex(partition.id, file);
    this.#indexes.delete(path);
    this.#indexes.set(path, index);
    if (this.#indexes.size > INDEXES_MAX) this.#indexes.delete(this.#indexes.keys().next().value as string);
    return index;
  }

  async #index(partition: Partition, file: SealedFile): Promise<FileIndex> {
    const index = this.#indexOf(partition, file);
    if (!index.covers(file.bytes)) {
      await this.#gate.run(() => this.#files.use(index.path, (open) => index.walk(open, file.bytes)));
    }
    return index;
  }

  #arrived(key: string, entry: CachedBlock, block: Block): void {
    entry.block = block;
    if (this.#blocks.get(key) !== entry) {
      block.leave();
      return;
    }
    this.#bytes += block.bytes.length;
    for (const [oldest, { block: old }] of this.#blocks) {
      if (this.#bytes <= this.#bytesMax || this.#blocks.size === 1) return;
      if (old !== undefined) this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    const block = this.#blocks.get(key)?.block;
    this.#blocks.delete(key);
    if (block === undefined) return;
    this.#bytes -= block.bytes.length;
    block.leave();
  }

  /** The file is going away. Reads under way still end well. */
  retire(path: string): void {
    this.#files.retire(path);
    this.#indexes.delete(path);
    for (const key of [...this.#blocks.keys()]) if (key.startsWith(`${path}:`)) this.#forget(key);
  }

  close(): Promise<void> {
    return this.#files.closeAll();
  }
}
