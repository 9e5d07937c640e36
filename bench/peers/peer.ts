/** What the bench needs of a server: start it in a folder of its own on loopback, know its process, stop it by its id. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { connect, createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export type Protocol = 'mqtt' | 'amqp';

export interface RunningPeer {
  /** The process whose CPU and memory count. */
  readonly pid: number;
  port(protocol: Protocol): number;
  stop(): Promise<void>;
}

export interface Peer {
  /** For the table. */
  readonly name: string;
  readonly protocols: readonly Protocol[];
  /** Version, or undefined when it is not installed. */
  version(): string | undefined;
  /** Start with everything it writes in `folder`, which is empty. */
  start(folder: string): Promise<RunningPeer>;
}

const READY_MS = 60_000;
const STOP_MS = 20_000;

/** A port nobody listens on now. Servers that cannot pick one themselves get it; a race is possible and would be seen. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** The full path of a program, looked for in PATH and where Debian puts servers. */
export function programPath(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/lib/rabbitmq/bin'];
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** A child that is gone when we are told so, and that says what it said when it dies early. */
export class Child {
  readonly process: ChildProcess;
  readonly #name: string;
  readonly #exited: Promise<unknown>;
  #output = '';

  constructor(name: string, command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.#name = name;
    this.process = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#exited = once(this.process, 'exit');
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-20_000);
      });
    }
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error(`${this.#name} did not start`);
    return this.process.pid;
  }

  /** What it wrote last. */
  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Wait until `ready` answers something; fails when the child ends before, or in `READY_MS`. */
  async until<T>(ready: () => Promise<T | undefined> | T | undefined): Promise<T> {
    for (const start = Date.now(); Date.now() - start < READY_MS; await sleep(20)) {
      if (!this.running) throw new Error(`${this.#name} ended at its start:\n${this.#output}`);
      const answer = await ready();
      if (answer !== undefined) return answer;
    }
    throw new Error(`${this.#name} was not ready in ${READY_MS} ms:\n${this.#output}`);
  }

  /** Wait until it accepts connections. */
  async listening(port: number): Promise<void> {
    await this.until(() => accepts(port));
  }

  /** End it without asking. */
  async kill(): Promise<void> {
    if (!this.running) return;
    this.process.kill('SIGKILL');
    await this.#exited;
  }

  /** Ask it to end, and make it end when it does not. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), STOP_MS);
    await this.#exited;
    clearTimeout(timer);
  }
}

function accepts(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(undefined));
  });
}
