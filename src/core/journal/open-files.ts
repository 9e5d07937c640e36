import type { Disk, DiskFile } from '../disk.ts';

interface OpenFile {
  readonly file: Promise<DiskFile>;
  users: number;
  /** Close it when the last user is done. */
  retired: boolean;
}

/** Files kept open for reading, a bounded number of them. */
export class OpenFiles {
  readonly #disk: Disk;
  readonly #max: number;
  /** Least recently used first. */
  readonly #files = new Map<string, OpenFile>();

  constructor(disk: Disk, max: number) {
    this.#disk = disk;
    this.#max = max;
  }

  /** Use a file; it stays open until `task` is done, whatever happens to its name. */
  async use<T>(path: string, task: (file: DiskFile) => Promise<T>): Promise<T> {
    let entry = this.#files.get(path);
    if (entry === undefined) entry = { file: this.#disk.open(path, 'read'), users: 0, retired: false };
    else this.#files.delete(path);
    this.#files.set(path, entry);
    entry.users++;
    try {
      return await task(await entry.file);
    } catch (error) {
      // One failure may mean a bad descriptor: the next user opens the file again.
      this.retire(path);
      throw error;
    } finally {
      entry.users--;
      if (entry.retired && entry.users === 0) await closed(entry);
      await this.#trim();
    }
  }

  /** Close this file as soon as nobody uses it, and forget it. */
  retire(path: string): void {
    const entry = this.#files.get(path);
    if (entry === undefined) return;
    this.#files.delete(path);
    entry.retired = true;
    if (entry.users === 0) void closed(entry);
  }

  async #trim(): Promise<void> {
    for (const [path, entry] of this.#files) {
      if (this.#files.size <= this.#max) return;
      if (entry.users > 0) continue;
      this.#files.delete(path);
      await closed(entry);
    }
  }

  async closeAll(): Promise<void> {
    const entries = [...this.#files.values()];
    this.#files.clear();
    await Promise.all(entries.map(closed));
  }
}

async function closed(entry: OpenFile): Promise<void> {
  const file = await entry.file.catch(() => undefined);
  await file?.close().catch(() => {});
}
