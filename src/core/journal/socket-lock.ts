import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { CoreError } from '../errors.ts';

const { readdir, rename, rm } = fs.promises;
const TRIES = 4;

/**
 * A lock on a folder that dies with the process, whatever kills it. Node has no `flock`, and a file with a process id
 * lies after a reboot or between containers; so the sign of life is a listening Unix socket, which the kernel closes.
 *
 * Taking it: listen under a private name `new-*`, rename it to `hold-*`, **then** look for other `hold-*` names that
 * answer a connect; if one does, step back. Of two processes each shows itself before it looks, so at least one sees the
 * other: never do both get the lock (both may step back, hence the retries). A `hold-*` that refuses a connect is dead for
 * good, since it listened before it got that name, and is removed. Processes on different machines do not see each other.
 */
export class SocketLock {
  readonly #server: net.Server;
  readonly #path: string;

  private constructor(server: net.Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  /** The lock, or undefined when another process has it. Rejects with `data-dir-unusable` when the folder takes no sockets. */
  static async take(folder: string): Promise<SocketLock | undefined> {
    const short = new ShortPath(folder);
    try {
      for (let attempt = 0; attempt < TRIES; attempt++) {
        const lock = await SocketLock.#show(folder, short);
        if (lock !== undefined && !(await lock.#othersLive(folder, short))) return lock;
        await lock?.release();
        if (attempt + 1 < TRIES) await new Promise((resolve) => setTimeout(resolve, 20 + randomBytes(1)[0]! / 4));
      }
      return undefined;
    } finally {
      short.close();
    }
  }

  /** Listen, then take a `hold-*` name. Undefined when a process cleaning up removed the private name: try again. */
  static async #show(folder: string, short: ShortPath): Promise<SocketLock | undefined> {
    const id = randomBytes(6).toString('hex');
    const server = net.createServer((socket) => socket.destroy());
    server.unref();
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(short.of(`new-${id}`), resolve);
      });
      await rename(join(folder, `new-${id}`), join(folder, `hold-${id}`));
    } catch (error) {
      server.close();
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && fs.existsSync(folder)) return undefined;
      throw new CoreError('data-dir-unusable', `no lock in ${folder}: ${(error as Error).message}`, { cause: error });
    }
    return new SocketLock(server, join(folder, `hold-${id}`));
  }

  async #othersLive(folder: string, short: ShortPath): Promise<boolean> {
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      if (path === this.#path) continue;
      const alive = await answers(short.of(name));
      if (!alive) await rm(path, { force: true });
      else if (name.startsWith('hold-')) return true;
    }
    return false;
  }

  async release(): Promise<void> {
    await rm(this.#path, { force: true });
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** True unless the kernel says that nobody listens behind this socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT' && error.code !== 'ENOTSOCK');
    });
  });
}

/** Socket paths may have 107 bytes on Linux: reach the folder through its descriptor there. */
class ShortPath {
  readonly #folder: string;
  readonly #fd: number;

  constructor(folder: string) {
    this.#folder = folder;
    this.#fd = process.platform === 'linux' ? fs.openSync(folder, 'r') : -1;
  }

  of(name: string): string {
    return this.#fd === -1 ? join(this.#folder, name) : `/proc/self/fd/${this.#fd}/${name}`;
  }

  close(): void {
    if (this.#fd !== -1) fs.closeSync(this.#fd);
  }
}
