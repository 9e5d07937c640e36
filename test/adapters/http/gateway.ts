/** An HTTP and WebSocket adapter on loopback over a real broker, for tests. */
import t from 'tap';
import type { Authenticator, Login } from '../../../src/adapters/auth.ts';
import { createHttpAdapter, type HttpAdapter } from '../../../src/adapters/http/index.ts';
import { createWsAdapter, type WsAdapter } from '../../../src/adapters/ws/index.ts';
import { type Broker, type Clock, type Limits, limitsWith, SystemClock, type Timer } from '../../../src/core/index.ts';
import { NodeDisk } from '../../../src/core/journal/node-disk.ts';
import { openBroker, type RunningBroker } from '../../../src/core/start.ts';

const USERS: ReadonlyMap<string, Login & { password: string }> = new Map([
  ['admin', { user: 'admin', password: 'secret', vhost: '/', administrator: true }],
  ['ann', { user: 'ann', password: 'pass:word', vhost: '/', administrator: false }],
  ['bob', { user: 'bob', password: 'b', vhost: '/', administrator: false }],
]);

/** Knows three users; everybody may enter `/`, and only administrators any other virtual host. */
export function testAuthenticator(anonymous = true): Authenticator {
  return {
    login: async (user, password) => {
      const known = USERS.get(user);
      return known !== undefined && known.password === password ? known : undefined;
    },
    anonymous: () => (anonymous ? { user: '', vhost: '/', administrator: false } : undefined),
    mayEnter: (login, vhost) => vhost === '/' || login.administrator,
  };
}

/** Real `soon`, but timers fire only when `advance` says so. */
export class TestClock implements Clock {
  #nowMs = Date.UTC(2030, 0, 1);
  #timers: { atMs: number; task: () => void }[] = [];

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  after(delayMs: number, task: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, task };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  soon(task: () => void): void {
    setImmediate(task);
  }

  /** Let time pass: timers that fall due run in order. */
  advance(ms: number): void {
    const until = this.#nowMs + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= until).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#nowMs = due.atMs;
      due.task();
    }
    this.#nowMs = until;
  }
}

export interface GatewayOptions {
  dir: string;
  limits?: Partial<Limits>;
  clock?: Clock;
  authenticator?: Authenticator;
  allowedOrigins?: readonly string[];
}

export interface Gateway {
  readonly broker: Broker;
  readonly http: HttpAdapter;
  readonly ws: WsAdapter;
  readonly port: number;
  readonly url: string;
  readonly logged: string[];
  /** `call` with a path under `/v1`. */
  ask(method: string, path: string, options?: CallOptions): Promise<Answer>;
  close(): Promise<void>;
}

/** The gateway of a test file: it goes with the file, and none of its tests may make something fail inside. */
export async function fileGateway(options: Omit<GatewayOptions, 'dir'> = {}): Promise<Gateway> {
  const gateway = await openGateway({ dir: t.testdir(), ...options });
  t.teardown(() => gateway.close());
  t.afterEach(() => t.same(gateway.logged, [], 'nothing failed inside'));
  return gateway;
}

export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const limits = limitsWith(options.limits);
  const logged: string[] = [];
  const log = (level: string, msg: string, fields?: object): void => {
    const err = (fields as { err?: unknown } | undefined)?.err;
    if (level === 'error') logged.push(err instanceof Error ? `${msg}: ${err.stack}` : msg);
  };
  const running: RunningBroker = await openBroker({
    disk: new NodeDisk(options.dir),
    clock: new SystemClock(),
    limits,
    log,
  });
  const common = {
    broker: running.broker,
    limits,
    authenticator: options.authenticator ?? testAuthenticator(),
    clock: options.clock ?? new SystemClock(),
    log,
    version: '1.2.3',
    allowedOrigins: options.allowedOrigins ?? [],
  };
  const http = await createHttpAdapter({ ...common, ready: () => true });
  const ws = createWsAdapter(common);
  ws.attach(http.server);
  const port = await http.listen('127.0.0.1', 0);
  const url = `http://127.0.0.1:${port}`;
  return {
    broker: running.broker,
    http,
    ws,
    port,
    url,
    logged,
    ask: (method, path, options) => call(url, method, `/v1${path}`, options),
    async close() {
      await ws.close();
      await http.close();
      await running.close();
    },
  };
}

interface CallOptions {
  body?: unknown;
  raw?: string | Uint8Array;
  headers?: Record<string, string>;
  user?: string;
}

interface Answer {
  status: number;
  headers: Headers;
  text: string;
  json: Record<string, unknown>;
}

/** A call as an administrator unless told otherwise; the answer's JSON with its status. */
export async function call(url: string, method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const headers: Record<string, string> = { ...options.headers };
  const user = options.user ?? 'admin:secret';
  if (user !== '') headers['authorization'] = `Basic ${Buffer.from(user).toString('base64')}`;
  let body: RequestInit['body'] = null;
  if (options.raw !== undefined) body = options.raw as NonNullable<RequestInit['body']>;
  if (options.body !== undefined) {
    headers['content-type'] = 'application/json';
    body = JSON.stringify(options.body);
  }
  const response = await fetch(`${url}${path}`, { method, headers, body });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson ? (JSON.parse(text) as Record<string, unknown>) : {},
  };
}
