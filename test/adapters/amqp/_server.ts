/** A broker on a temporary directory with the AMQP adapter on a loopback port, for the tests of this folder. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Channel } from 'amqplib';
import { type AmqpAdapter, createAmqpAdapter } from '../../../src/adapters/amqp/adapter.ts';
import type { Authenticator, Login } from '../../../src/adapters/auth.ts';
import { listen } from '../../../src/adapters/listener.ts';
import { type Broker, type Limits, limitsWith, SystemClock } from '../../../src/core/index.ts';
import { NodeDisk } from '../../../src/core/journal/index.ts';
import { openBroker } from '../../../src/core/start.ts';

export interface TestServer {
  readonly port: number;
  readonly broker: Broker;
  readonly adapter: AmqpAdapter;
  /** Lines logged at level error: there should be none. */
  readonly errors: string[];
  close(): Promise<void>;
}

/** guest/guest and other/other; `other` may not enter the virtual host "private". */
export const AUTHENTICATOR: Authenticator = {
  login(user, password): Promise<Login | undefined> {
    const known = (user === 'guest' || user === 'other') && password === user;
    return Promise.resolve(known ? { user, vhost: '/', administrator: user === 'guest' } : undefined);
  },
  anonymous: () => undefined,
  mayEnter: (login, vhost) => login.user === 'guest' || vhost !== 'private',
};

export async function startServer(changes: Partial<Limits> = {}): Promise<TestServer> {
  const limits = limitsWith(changes);
  const folder = await mkdtemp(join(tmpdir(), 'junction-amqp-'));
  const clock = new SystemClock();
  const errors: string[] = [];
  const log = (level: string, msg: string, fields?: Readonly<Record<string, unknown>>): void => {
    if (level === 'error') errors.push(`${msg} ${JSON.stringify(fields)}`);
  };
  const running = await openBroker({ disk: new NodeDisk(folder), clock, limits, log });
  const adapter = createAmqpAdapter({
    ...{ broker: running.broker, limits, clock, log, authenticator: AUTHENTICATOR },
    ...{ product: 'JunctionMQ', version: '0.0.0' },
  });
  const listener = await listen({ host: '127.0.0.1', port: 0, limits, onConnection: (c) => adapter.accept(c) });
  return {
    port: listener.port,
    broker: running.broker,
    adapter,
    errors,
    async close() {
      await Promise.all([listener.close(), adapter.close()]);
      await running.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Take everything out of a queue: the bodies, in order. */
export async function drained(channel: Channel, queue: string): Promise<string[]> {
  const found: string[] = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (message === false) return found;
    found.push(message.content.toString());
  }
}
