import assert from 'node:assert';
import type { Disk, DiskFile } from '../core/disk.ts';
import { CoreError } from '../core/errors.ts';
import { Prng } from './prng.ts';
import type { SimClock } from './sim-clock.ts';

/** What a disk writes in one piece. */
const SECTOR_BYTES = 512;

export type DiskOperation =
  | 'open'
  | 'write'
  | 'sync'
  | 'read'
  | 'truncate'
  | 'rename'
  | 'remove'
  | 'syncFolder'
  | 'list'
  | 'makeFolder'
  | 'freeBytes'
  | 'lock';

export interface SimDiskOptions {
  readonly seed: number;
  /** Operations take time on this clock; without one they are done at once (in a microtask). */
  readonly clock?: SimClock | undefined;
  /** Longest duration of an operation in milliseconds. */
  readonly latencyMsMax?: number | undefined;
  /** Bytes the disk can hold. */
  readonly capacityBytes?: number | undefined;
  /** Probability that a sync answers "done" and does nothing. */
  readonly lyingSync?: number | undefined;
  /** Called before every operation; an error answered makes it fail. For faults at a chosen place and for counting. */
  readonly fault?: ((operation: DiskOperation, path: string) => Error | undefined) | undefined;
}

/** A file: what programs see, and what the platter has. */
interface SimFileData {
  seen: Buffer;
  size: number;
  durable: Buffer;
  durableSize: number;
  /** Sectors written and not synced. */
  readonly dirty: Set<number>;
}

/** A change of names that a crash may undo. */
type NameChange = { readonly folder: string; readonly undo: () => void };

/**
 * A disk in memory that behaves as badly as the rules allow. `crash` forgets what was not synced: of every file any subset of
 * the unsynced sectors survives, of every folder a prefix of the unsynced name changes. One seed, one behaviour.
 */
export class SimDisk implements Disk {
  readonly prng: Prng;
  options: SimDiskOptions;
  /** Operations done so far. */
  operations = 0;
  readonly #files = new Map<string, SimFileData>();
  readonly #folders = new Set<string>(['']);
  #pending: NameChange[] = [];
  #locked = false;
  /** Counts crashes: handles and operations of an earlier life are dead. */
  life = 0;

  constructor(options: SimDiskOptions) {
    this.options = options;
    this.prng = new Prng(options.seed);
  }

  async open(path: string, mode: 'create' | 'read' | 'write'): Promise<DiskFile> {
    await this.begin('open', path);
    let data = this.#files.get(path);
    if (mode === 'create') {
      if (data !== undefined) throw failure('EEXIST', path);
      if (!this.#folders.has(folderOf(path))) throw failure('ENOENT', path);
      data = { seen: Buffer.alloc(0), size: 0, durable: Buffer.alloc(0), durableSize: 0, dirty: new Set() };
      this.#files.set(path, data);
      this.#pending.push({ folder: folderOf(path), undo: () => this.#files.delete(path) });
    } else if (data === undefined) throw failure('ENOENT', path);
    return new SimFile(this, path, data, mode !== 'read');
  }

  async list(folder: string): Promise<string[]> {
    await this.begin('list', folder);
    const prefix = folder === '' ? '' : `${folder}/`;
    return [...this.#files.keys()].filter((path) => folderOf(path) === folder).map((path) => path.slice(prefix.length));
  }

  async makeFolder(folder: string): Promise<void> {
    await this.begin('makeFolder', folder);
    this.#folders.add(folder);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.begin('rename', from);
    const data = this.#files.get(from);
    if (data === undefined) throw failure('ENOENT', from);
    const replaced = this.#files.get(to);
    this.#files.delete(from);
    this.#files.set(to, data);
    this.#pending.push({
      folder: folderOf(to),
      undo: () => {
        this.#files.set(from, data);
        if (replaced === undefined) this.#files.delete(to);
        else this.#files.set(to, replaced);
      },
    });
  }

  async remove(path: string): Promise<void> {
    await this.begin('remove', path);
    const data = this.#files.get(path);
    if (data === undefined) return;
    this.#files.delete(path);
    this.#pending.push({ folder: folderOf(path), undo: () => this.#files.set(path, data) });
  }

  async syncFolder(folder: string): Promise<void> {
    await this.begin('syncFolder', folder);
    if (this.lies()) return;
    this.#pending = this.#pending.filter((change) => change.folder !== folder);
  }

  async freeBytes(): Promise<number> {
    await this.begin('freeBytes', '');
    return this.free;
  }

  async lock(): Promise<void> {
    await this.begin('lock', '');
    if (this.#locked) throw new CoreError('data-dir-locked', 'simulated disk');
    this.#locked = true;
  }

  async unlock(): Promise<void> {
    this.#locked = false;
  }

  get free(): number {
    const capacity = this.options.capacityBytes ?? Number.MAX_SAFE_INTEGER;
    let used = 0;
    for (const data of this.#files.values()) used += data.size;
    return Math.max(0, capacity - used);
  }

  /** Let there be room for so many bytes more; undefined: as much as anybody wants. */
  leave(freeBytes: number | undefined): void {
    let used = 0;
    for (const data of this.#files.values()) used += data.size;
    this.options = { ...this.options, capacityBytes: freeBytes === undefined ? undefined : used + freeBytes };
  }

  lies(): boolean {
    return this.options.lyingSync !== undefined && this.prng.chance(this.options.lyingSync);
  }

  /** Start an operation: count it, let it take its time, fail it if told to. Never resolves after a crash. */
  async begin(operation: DiskOperation, path: string, life = this.life): Promise<void> {
    this.operations++;
    const { clock, latencyMsMax, fault } = this.options;
    const error = fault?.(operation, path);
    if (clock !== undefined) {
      const delay = this.prng.float() * (latencyMsMax ?? 1);
      await new Promise<void>((resolve) => clock.after(delay, resolve));
    } else await Promise.resolve();
    // The process that asked is dead: it must never hear an answer.
    if (life !== this.life) await new Promise<never>(() => {});
    if (error !== undefined) throw error;
  }

  /**
   * The power goes, or the machine does: what was not synced is there or not, sector by sector, as the seed wants. Operations
   * under way never end, old handles are dead, the lock is free. Clear the clock as well.
   */
  crash(): void {
    this.life++;
    this.#locked = false;
    const folders = new Map<string, NameChange[]>();
    for (const change of this.#pending) folders.set(change.folder, [...(folders.get(change.folder) ?? []), change]);
    for (const changes of folders.values()) {
      const kept = this.prng.below(changes.length + 1);
      for (const change of changes.slice(kept).reverse()) change.undo();
    }
    this.#pending = [];
    for (const data of this.#files.values()) this.#crashFile(data);
  }

  #crashFile(data: SimFileData): void {
    const sectors = [...data.dirty].sort((a, b) => a - b);
    // Sometimes everything or nothing got there: the common cases must not be rare ones here.
    const probability = this.prng.pick([0, 0.5, 0.9, 1]);
    let size = data.durableSize;
    const result = Buffer.alloc(Math.max(data.size, data.durableSize));
    data.durable.copy(result, 0, 0, data.durableSize);
    for (const sector of sectors) {
      if (!this.prng.chance(probability)) continue;
      const start = sector * SECTOR_BYTES;
      const end = Math.min(start + SECTOR_BYTES, data.size);
      if (end <= start) continue;
      data.seen.copy(result, start, start, end);
      size = Math.max(size, end);
    }
    // A truncation that was not synced may have happened too.
    if (data.size < size && this.prng.chance(0.5)) size = data.size;
    result.fill(0, size);
    data.seen = result;
    data.size = size;
    data.durable = Buffer.from(result);
    data.durableSize = size;
    data.dirty.clear();
  }

  /** A process dies (kill -9) and the machine lives: everything written stays, operations under way never end. */
  kill(): void {
    this.life++;
    this.#locked = false;
  }

  /** Paths of all files. */
  paths(): string[] {
    return [...this.#files.keys()].sort();
  }

  /** A copy of what is in a file. */
  contents(path: string): Buffer {
    const data = this.#data(path);
    return Buffer.from(data.seen.subarray(0, data.size));
  }

  /** Put a file there, durable, or replace it. */
  plant(path: string, bytes: Uint8Array): void {
    this.#folders.add(folderOf(path));
    const dirty = new Set<number>();
    const size = bytes.length;
    this.#files.set(path, { seen: Buffer.from(bytes), size, durable: Buffer.from(bytes), durableSize: size, dirty });
  }

  /** Take a file away, for good. */
  lose(path: string): void {
    assert(this.#files.delete(path), `there is no ${path}`);
  }

  /** Turn one bit round, as a dying disk does. */
  flip(path: string, byte: number, bit: number): void {
    const data = this.#data(path);
    assert(byte < data.size);
    data.seen[byte]! ^= 1 << bit;
    if (byte < data.durableSize) data.durable[byte]! ^= 1 << bit;
  }

  /** A copy of the disk as it is, everything on it durable, unlocked. */
  clone(changes: Partial<SimDiskOptions> = {}): SimDisk {
    const copy = new SimDisk({ ...this.options, ...changes });
    for (const folder of this.#folders) copy.#folders.add(folder);
    for (const [path, data] of this.#files) copy.plant(path, data.seen.subarray(0, data.size));
    return copy;
  }

  #data(path: string): SimFileData {
    const data = this.#files.get(path);
    assert(data !== undefined, `there is no ${path}`);
    return data;
  }
}

class SimFile implements DiskFile {
  readonly #disk: SimDisk;
  readonly #path: string;
  readonly #data: SimFileData;
  readonly #writable: boolean;
  readonly #life: number;
  #open = true;

  constructor(disk: SimDisk, path: string, data: SimFileData, writable: boolean) {
    this.#disk = disk;
    this.#path = path;
    this.#data = data;
    this.#writable = writable;
    this.#life = disk.life;
  }

  async write(bytes: Uint8Array, start: number, end: number, position: number): Promise<void> {
    this.#check(true);
    const data = this.#data;
    // As the system call does: the bytes are taken now, whatever the caller does with its buffer later.
    const taken = Buffer.from(bytes.subarray(start, end));
    await this.#disk.begin('write', this.#path, this.#life);
    const after = position + taken.length;
    const fits = Math.min(taken.length, Math.max(0, data.size - position) + this.#disk.free);
    resize(data, Math.max(data.size, position + fits));
    taken.copy(data.seen, position, 0, fits);
    for (let sector = Math.floor(position / SECTOR_BYTES); sector * SECTOR_BYTES < position + fits; sector++)
      data.dirty.add(sector);
    if (position + fits < after) throw failure('ENOSPC', this.#path);
  }

  async sync(): Promise<void> {
    this.#check(false);
    const data = this.#data;
    // Writes under way when a sync starts are not part of it; there are none here.
    await this.#disk.begin('sync', this.#path, this.#life);
    if (this.#disk.lies()) return;
    settleSectors(data);
  }

  async read(into: Uint8Array, start: number, end: number, position: number): Promise<number> {
    this.#check(false);
    await this.#disk.begin('read', this.#path, this.#life);
    const got = Math.max(0, Math.min(end - start, this.#data.size - position));
    into.set(this.#data.seen.subarray(position, position + got), start);
    return got;
  }

  async size(): Promise<number> {
    this.#check(false);
    return this.#data.size;
  }

  async truncate(size: number): Promise<void> {
    this.#check(true);
    await this.#disk.begin('truncate', this.#path, this.#life);
    resize(this.#data, size);
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  #check(writes: boolean): void {
    assert(this.#open, `${this.#path} is closed`);
    assert(!writes || this.#writable, `${this.#path} is open for reading`);
  }
}

/** What is seen becomes what the platter has. */
function settleSectors(data: SimFileData): void {
  if (data.size > data.durable.length) {
    const grown = Buffer.alloc(Math.max(data.size, data.durable.length * 2));
    data.durable.copy(grown, 0, 0, data.durableSize);
    data.durable = grown;
  } else if (data.size < data.durableSize) data.durable.fill(0, data.size, data.durableSize);
  for (const sector of data.dirty) {
    const start = sector * SECTOR_BYTES;
    data.seen.copy(data.durable, start, start, Math.min(start + SECTOR_BYTES, data.size));
  }
  data.durableSize = data.size;
  data.dirty.clear();
}

function resize(data: SimFileData, size: number): void {
  if (size > data.seen.length) {
    const grown = Buffer.alloc(Math.max(size, data.seen.length * 2));
    data.seen.copy(grown, 0, 0, data.size);
    data.seen = grown;
  } else if (size < data.size) data.seen.fill(0, size, data.size);
  data.size = size;
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash === -1 ? '' : path.slice(0, slash);
}

/** An error as the file system gives it. */
export function failure(code: 'ENOSPC' | 'EIO' | 'ENOENT' | 'EEXIST', path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: simulated, ${path}`), { code });
}
