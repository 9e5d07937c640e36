/** The gateway a demonstration talks to: a real process on free ports, with its data in a temporary folder. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Ports, type ServerProcess, startServer } from '../../test/crash/server-process.ts';
import { step } from './steps.ts';

/** What a demonstration shows, chosen by `--feature`. */
export interface Feature {
  readonly name: string;
  /** One line for the list of features. */
  readonly title: string;
  /** Rejects when anything is not as it should be. */
  run(gateway: Gateway): Promise<void>;
}

/** How long a process that was started is waited for, to end it. */
const LATE_MS = 10_000;

export class Gateway {
  readonly #dataDir = mkdtempSync(join(tmpdir(), 'junction-demo-'));
  #server: ServerProcess | undefined;
  #starting: Promise<ServerProcess> | undefined;

  get ports(): Ports {
    return this.#running.ports;
  }

  get pid(): number {
    return this.#running.pid;
  }

  get #running(): ServerProcess {
    assert.ok(this.#server !== undefined, 'the gateway was not started');
    return this.#server;
  }

  async start(): Promise<void> {
    this.#starting = startServer(this.#dataDir);
    this.#server = await this.#starting;
  }

  /** End the process without mercy: it cannot write anything more. */
  async kill(): Promise<void> {
    await this.#running.kill();
  }

  /** A step: kill the process and start it again on the same data. */
  async restart(): Promise<void> {
    await step('kill -9, and the gateway starts again on the same data', async () => {
      const { pid } = this;
      await this.kill();
      await this.start();
      return `process ${pid} is dead, process ${this.pid} is ready`;
    });
  }

  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null> {
    return this.#running.stop();
  }

  /** What the process wrote, for when something failed. */
  output(): string {
    return this.#server?.output() ?? '';
  }

  async cleanUp(): Promise<void> {
    // On a busy machine it may come up after the step that waited for it has given up.
    const late = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), LATE_MS));
    const server = await Promise.race([this.#starting, late]).catch(() => undefined);
    await server?.kill();
    rmSync(this.#dataDir, { recursive: true, force: true });
  }

  /** POST to the HTTP API, as `curl -u guest:guest` would. Text is sent as it is, anything else as JSON. */
  post(path: string, body?: string | object): Promise<{ [name: string]: unknown }> {
    return this.#ask('POST', path, body);
  }

  put(path: string, body: object): Promise<{ [name: string]: unknown }> {
    return this.#ask('PUT', path, body);
  }

  get(path: string): Promise<{ [name: string]: unknown }> {
    return this.#ask('GET', path);
  }

  delete(path: string): Promise<{ [name: string]: unknown }> {
    return this.#ask('DELETE', path);
  }

  async #ask(method: string, path: string, body?: string | object): Promise<{ [name: string]: unknown }> {
    const response = await fetch(`http://127.0.0.1:${this.ports.http}${path}`, { method, ...requestOf(body) });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path} answered ${response.status}: ${text}`);
    return text === '' ? {} : (JSON.parse(text) as { [name: string]: unknown });
  }
}

function requestOf(body: string | object | undefined): RequestInit {
  const headers = { authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}` };
  if (body === undefined) return { headers };
  if (typeof body === 'string') return { headers, body };
  return { headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) };
}
