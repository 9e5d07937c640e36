/**
 * The gateway: builds disk, clock, broker and adapters, and owns the order in which they start and stop. Nothing else.
 *
 * Start: HTTP listens first, so that `/health/ready` can say 503 while the journal recovers; then the broker opens; then
 * MQTT and AMQP listen; then it is ready. Stop: not ready any more, no new connections, adapters close (they tell their
 * peers and settle what is in hand), the broker writes and syncs everything, and the data directory is given back.
 */
import { createAmqpAdapter } from './adapters/amqp/adapter.ts';
import type { Connection } from './adapters/connection.ts';
import { createHttpAdapter } from './adapters/http/index.ts';
import { type Listener, listen } from './adapters/listener.ts';
import { createMqttAdapter } from './adapters/mqtt/adapter.ts';
import { createWsAdapter } from './adapters/ws/index.ts';
import { PasswordAuthenticator } from './auth.ts';
import { SystemClock } from './core/index.ts';
import { NodeDisk } from './core/journal/node-disk.ts';
import type { RecoveryRemedy } from './core/journal/recovery.ts';
import { openBroker, type RunningBroker } from './core/start.ts';
import type { ServerLog } from './log.ts';
import type { Options } from './options.ts';

export interface Ports {
  readonly mqtt: number;
  readonly amqp: number;
  readonly http: number;
}

/** A port could not be bound. */
export class BindError extends Error {
  constructor(flag: string, host: string, port: number, cause: NodeJS.ErrnoException) {
    const why = cause.code === 'EADDRINUSE' ? 'is in use' : `cannot be bound (${cause.message})`;
    super(`port ${port} on ${host} ${why}; choose another with --${flag}`, { cause });
    this.name = 'BindError';
  }
}

export interface StartOptions {
  readonly options: Options;
  readonly log: ServerLog;
  readonly version: string;
  /** What recovery may do with a damaged journal. */
  readonly remedy?: RecoveryRemedy | undefined;
}

export interface RunningServer {
  readonly ports: Ports;
  /** Resolves with the error that made the journal stop. The process must end: nothing more becomes durable. */
  readonly failed: Promise<Error>;
  /** Stop in order. Idempotent; resolves when the data directory is free again. */
  close(): Promise<void>;
}

type Closer = () => Promise<void> | void;

/** Bind, or say clearly what is in the way. */
async function bind<T>(flag: string, host: string, port: number, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new BindError(flag, host, port, error as NodeJS.ErrnoException);
  }
}

/** Start everything. Rejects with BindError, a `CoreError` of severity fatal, or a plain Error for a wrong user list. */
export async function startServer(start: StartOptions): Promise<RunningServer> {
  const closers: Closer[] = [];
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      while (closers.length > 0) await closers.pop()?.();
    })();
    return closing;
  };
  try {
    const { ports, running } = await build(start, closers);
    return { ports, failed: running.failed, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Build from the inside out; `closers` is filled so that closing from its end is the right order at any moment. */
async function build(start: StartOptions, closers: Closer[]): Promise<{ ports: Ports; running: RunningBroker }> {
  const { options, log, version } = start;
  const { host, limits } = options;
  const clock = new SystemClock();
  const authenticator = new PasswordAuthenticator(options);
  let ready = false;

  const web = { limits, authenticator, clock, log, version, allowedOrigins: options.allowedOrigins };
  const http = await createHttpAdapter({ ...web, ready: () => ready });
  const ws = createWsAdapter(web);
  ws.attach(http.server);
  // Closed second to last, so that `/health/ready` says 503 while the others drain.
  let httpClosed: Promise<void> | undefined;
  const closeHttp = (): Promise<void> => (httpClosed ??= http.close());
  closers.push(closeHttp);
  const httpPort = await bind('http-port', host, options.httpPort, () => http.listen(host, options.httpPort));

  const disk = new NodeDisk(options.dataDir);
  const running = await openBroker({
    disk,
    clock,
    limits,
    log,
    delayLevels: options.delayLevels,
    ...(start.remedy === undefined ? {} : { remedy: start.remedy }),
  });
  log('info', 'recovered', { summary: running.summary });
  closers.pop();
  closers.push(() => running.close(), closeHttp);

  const common = { broker: running.broker, limits, authenticator, clock, log };
  const mqtt = createMqttAdapter(common);
  const amqp = createAmqpAdapter({ ...common, product: 'JunctionMQ', version });
  closers.push(async () => {
    await Promise.all([mqtt.close(), amqp.close(), ws.close()]);
  });

  const admit = (): boolean => mqtt.connections + amqp.connections + ws.connections < limits.connectionsMax;
  const open = async (
    flag: string,
    port: number,
    adapter: { accept(connection: Connection): void },
  ): Promise<number> => {
    const listener: Listener = await bind(flag, host, port, () =>
      listen({ host, port, limits, admit, onConnection: (connection) => adapter.accept(connection) }),
    );
    // Not awaited: it resolves when the last connection is gone, and the adapters close those next.
    closers.push(() => void listener.close());
    return listener.port;
  };
  const ports: Ports = {
    http: httpPort,
    mqtt: await open('mqtt-port', options.mqttPort, mqtt),
    amqp: await open('amqp-port', options.amqpPort, amqp),
  };
  http.start(running.broker);
  ws.start(running.broker);
  ready = true;
  closers.push(() => {
    ready = false;
  });
  return { ports, running };
}
