import fs from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Disk, DiskFile } from '../disk.ts';
import { CoreError } from '../errors.ts';
import { SocketLock } from './socket-lock.ts';

const open = promisify(fs.open);
const close = promisify(fs.close);
const fsync = promisify(fs.fsync);
const { mkdir, readdir, rename, rm, statfs } = fs.promises;

const MODES = { create: 'wx+', read: 'r', write: 'r+' } as const;

/** A folder of the machine's file system. Uses the callback API of `node:fs`: one promise an operation and no more. */
export class NodeDisk implements Disk {
  readonly root: string;
  #lock: SocketLock | undefined;

  /** @param root path of the data directory; made by the first `makeFolder` or `lock` */
  constructor(root: string) {
    this.root = root;
  }

  async open(path: string, mode: 'create' | 'read' | 'write'): Promise<DiskFile> {
    return new NodeFile(await open(join(this.root, path), MODES[mode]));
  }

  async list(folder: string): Promise<string[]> {
    try {
      return await readdir(join(this.root, folder));
    } catch (error) {
      if (isCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  async makeFolder(folder: string): Promise<void> {
    await mkdir(join(this.root, folder), { recursive: true });
  }

  rename(from: string, to: string): Promise<void> {
    return rename(join(this.root, from), join(this.root, to));
  }

  remove(path: string): Promise<void> {
    return rm(join(this.root, path), { force: true });
  }

  async syncFolder(folder: string): Promise<void> {
    const fd = await open(join(this.root, folder), 'r');
    try {
      await fsync(fd);
    } finally {
      await close(fd);
    }
  }

  async freeBytes(): Promise<number> {
    const facts = await statfs(this.root);
    return facts.bavail * facts.bsize;
  }

  async lock(): Promise<void> {
    if (this.#lock !== undefined)
      throw new CoreError('data-dir-locked', `${this.root} is open in this process already`);
    const folder = join(this.root, 'lock');
    try {
      await mkdir(folder, { recursive: true });
    } catch (error) {
      throw new CoreError('data-dir-unusable', `${this.root}: ${(error as Error).message}`, { cause: error });
    }
    const lock = await SocketLock.take(folder);
    if (lock === undefined) throw new CoreError('data-dir-locked', this.root);
    this.#lock = lock;
  }

  async unlock(): Promise<void> {
    const lock = this.#lock;
    this.#lock = undefined;
    await lock?.release();
  }
}

function isCode(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException).code === code;
}

/** One open file. */
class NodeFile implements DiskFile {
  /** -1 once closed: the number may belong to another file by then. */
  #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(bytes: Uint8Array, start: number, end: number, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (at: number) => {
        fs.write(this.#fd, bytes, at, end - at, position + at - start, (error, count) => {
          if (error !== null) reject(error);
          else if (at + count === end) resolve();
          // A write of nothing would be tried for ever: the disk takes no more, whatever it says.
          else if (count === 0) reject(new Error('the disk wrote nothing'));
          else step(at + count);
        });
      };
      step(start);
    });
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#fd, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  read(into: Uint8Array, start: number, end: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const step = (at: number) => {
        fs.read(this.#fd, into, at, end - at, position + at - start, (error, count) => {
          if (error !== null) reject(error);
          else if (count === 0 || at + count === end) resolve(at + count - start);
          else step(at + count);
        });
      };
      step(start);
    });
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, facts) => (error === null ? resolve(facts.size) : reject(error)));
    });
  }

  truncate(size: number): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#fd, size, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  close(): Promise<void> {
    const fd = this.#fd;
    this.#fd = -1;
    return fd === -1 ? Promise.resolve() : close(fd);
  }
}
