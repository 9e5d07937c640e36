/**
 * `npm run demo`: the gateway's main job, with real clients (mqtt, amqplib, ws, fetch) against a real process. One message
 * after the other crosses from protocol to protocol, then the process is killed and started again. Every step is
 * printed when it is proven; the first that fails ends the demo with exit code 1. Takes a few seconds.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChannelModel, type ConfirmChannel, connect as connectAmqp } from 'amqplib';
import { connectAsync as connectMqtt } from 'mqtt';
import { WebSocket } from 'ws';
import { type ServerProcess, startServer } from '../test/crash/server-process.ts';

const STEP_MS = 5_000;
const QUEUE = 'readings';

let steps = 0;
/** One step: done when `task` resolves; what it resolves to is shown. */
async function step(text: string, task: () => Promise<string | undefined>): Promise<void> {
  steps += 1;
  process.stdout.write(`${String(steps).padStart(2)}. ${text}`);
  const started = performance.now();
  const seen = await within(task());
  process.stdout.write(
    `${seen === undefined ? '' : `\n      ${seen}`}  (${Math.round(performance.now() - started)} ms)\n`,
  );
}

async function within<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing happened within ${STEP_MS} ms`)), STEP_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What arrives, in order, for whoever waits for the next one. */
class Inbox<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  put(item: T): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#items.push(item);
    else next(item);
  }

  take(): Promise<T> {
    const item = this.#items.shift();
    return item === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(item);
  }
}

interface WatchFrame {
  op: string;
  topic?: string;
  payload?: string;
}

/** A browser page's view: a WebSocket subscribed to `sensors/#`. */
async function watch(httpPort: number): Promise<{ seen: Inbox<string>; close(): void }> {
  const socket = new WebSocket(`ws://127.0.0.1:${httpPort}/ws`, 'junction.json');
  const seen = new Inbox<string>();
  const subscribed = new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('open', () => socket.send(JSON.stringify({ op: 'subscribe', id: 'watch', topic: 'sensors/#' })));
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as WatchFrame;
      if (frame.op === 'error') reject(new Error(String(data)));
      if (frame.op === 'ok') resolve();
      if (frame.op === 'message') seen.put(`${frame.topic} ${frame.payload}`);
    });
  });
  await subscribed;
  return { seen, close: () => socket.terminate() };
}

async function post(httpPort: number, path: string, body?: string): Promise<{ [name: string]: unknown }> {
  const response = await fetch(`http://127.0.0.1:${httpPort}${path}`, {
    method: 'POST',
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  assert.ok(response.ok, `POST ${path} answered ${response.status}: ${text}`);
  return JSON.parse(text) as { [name: string]: unknown };
}

/** A durable queue on `amq.topic`, its consumer, and how many messages it holds. */
class Service {
  readonly connection: ChannelModel;
  readonly channel: ConfirmChannel;
  readonly seen = new Inbox<{ key: string; text: string }>();

  constructor(connection: ChannelModel, channel: ConfirmChannel) {
    this.connection = connection;
    this.channel = channel;
  }

  static async open(amqpPort: number): Promise<Service> {
    const connection = await connectAmqp(`amqp://guest:guest@127.0.0.1:${amqpPort}`);
    connection.on('error', () => {});
    const channel = await connection.createConfirmChannel();
    channel.on('error', () => {});
    await channel.assertQueue(QUEUE, { durable: true });
    await channel.bindQueue(QUEUE, 'amq.topic', 'sensors.*.temp');
    return new Service(connection, channel);
  }

  async consume(): Promise<void> {
    await this.channel.consume(
      QUEUE,
      (message) => {
        if (message === null) return;
        this.channel.ack(message);
        this.seen.put({ key: message.fields.routingKey, text: message.content.toString() });
      },
      { consumerTag: 'service' },
    );
  }

  async publish(key: string, text: string): Promise<void> {
    this.channel.publish('amq.topic', key, Buffer.from(text), { persistent: true });
    await this.channel.waitForConfirms();
  }

  async depth(): Promise<number> {
    return (await this.channel.checkQueue(QUEUE)).messageCount;
  }
}

async function acrossProtocols(server: ServerProcess): Promise<void> {
  const { ports } = server;
  const page = await watch(ports.http);
  const service = await Service.open(ports.amqp);
  await service.consume();
  const device = await connectMqtt(`mqtt://127.0.0.1:${ports.mqtt}`, { clientId: 'kitchen' });
  const display = await connectMqtt(`mqtt://127.0.0.1:${ports.mqtt}`, { clientId: 'display' });
  const shown = new Inbox<string>();
  display.on('message', (topic, payload) => shown.put(`${topic} ${payload}`));
  await display.subscribeAsync('sensors/+/temp', { qos: 1 });
  try {
    await step(
      'MQTT -> AMQP: a device publishes to sensors/kitchen/temp, a service consumes and acknowledges it',
      async () => {
        await device.publishAsync('sensors/kitchen/temp', '21.5', { qos: 1 });
        const { key, text } = await service.seen.take();
        assert.deepEqual({ key, text }, { key: 'sensors.kitchen.temp', text: '21.5' });
        return `AMQP consumer got ${key} = ${text}`;
      },
    );
    await step('... and it is gone', async () => {
      assert.equal(await service.depth(), 0);
      return `queue ${QUEUE} is empty`;
    });
    await step(
      'AMQP -> MQTT: the service publishes to sensors.cellar.temp, a display subscribed to sensors/+/temp shows it',
      async () => {
        assert.equal(await shown.take(), 'sensors/kitchen/temp 21.5');
        await service.publish('sensors.cellar.temp', '12.0');
        const text = await shown.take();
        assert.equal(text, 'sensors/cellar/temp 12.0');
        return `MQTT subscriber got ${text}`;
      },
    );
    await step('WebSocket: a page subscribed to sensors/# saw both', async () => {
      const both = [await page.seen.take(), await page.seen.take()];
      assert.deepEqual(both, ['sensors/kitchen/temp 21.5', 'sensors/cellar/temp 12.0']);
      return both.join(', ');
    });
    await service.channel.cancel('service');
    await overHttp(ports.http, page.seen);
  } finally {
    page.close();
    await Promise.all([device.endAsync(true), display.endAsync(true), service.connection.close()]);
  }
}

interface Leased {
  lease: string | null;
  messages: { topic: string; payload: string; redeliveries: number }[];
}

async function overHttp(httpPort: number, pageSaw: Inbox<string>): Promise<void> {
  await step('HTTP: curl -X POST publishes to the same place, and the page sees that too', async () => {
    await post(httpPort, '/v1/topics/sensors/attic/temp', '30.1');
    const text = await pageSaw.take();
    assert.equal(text, 'sensors/attic/temp 30.1');
    return `page got ${text}`;
  });
  await step('HTTP: curl leases the message from the queue and acknowledges it', async () => {
    const { lease, messages } = (await post(httpPort, `/v1/queues/${QUEUE}/lease?wait_ms=3000`)) as unknown as Leased;
    assert.equal(messages[0]?.payload, '30.1');
    const { settled, remaining } = await post(httpPort, `/v1/leases/${lease}/ack`);
    assert.deepEqual({ settled, remaining }, { settled: 1, remaining: 0 });
    const again = (await post(httpPort, `/v1/queues/${QUEUE}/lease`)) as unknown as Leased;
    assert.deepEqual(again.messages, []);
    return `leased ${messages[0]?.topic} = ${messages[0]?.payload}, acknowledged, gone`;
  });
}

async function acrossAKill(dataDir: string, first: ServerProcess): Promise<ServerProcess> {
  await step('kill -9: five messages are confirmed, two of them acknowledged, then the process is killed', async () => {
    const service = await Service.open(first.ports.amqp);
    for (let n = 1; n <= 5; n++) await service.publish('sensors.boiler.temp', `${60 + n}`);
    const { lease } = (await post(first.ports.http, `/v1/queues/${QUEUE}/lease?max=2`)) as unknown as Leased;
    await post(first.ports.http, `/v1/leases/${lease}/ack`);
    await first.kill();
    return `process ${first.pid} is dead`;
  });
  let second = first;
  await step('the gateway starts again on the same data', async () => {
    second = await startServer(dataDir);
    return `process ${second.pid} is ready`;
  });
  await step('what was confirmed and not acknowledged is there, in order; what was acknowledged is not', async () => {
    const service = await Service.open(second.ports.amqp);
    assert.equal(await service.depth(), 3);
    await service.consume();
    const texts = [await service.seen.take(), await service.seen.take(), await service.seen.take()].map(
      ({ text }) => text,
    );
    assert.deepEqual(texts, ['63', '64', '65']);
    await service.connection.close();
    return `AMQP consumer got ${texts.join(', ')}`;
  });
  return second;
}

async function main(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'junction-demo-'));
  let server: ServerProcess | undefined;
  try {
    await step('JunctionMQ starts with nothing configured (here: on free ports, in a temporary folder)', async () => {
      server = await startServer(dataDir);
      const { mqtt, amqp, http } = server.ports;
      return `ready: MQTT ${mqtt}, AMQP ${amqp}, HTTP and WebSocket ${http}`;
    });
    assert.ok(server !== undefined);
    await acrossProtocols(server);
    server = await acrossAKill(dataDir, server);
    await step('SIGTERM: it drains and stops', async () => {
      const code = await server?.stop();
      assert.equal(code, 0);
      return 'exit code 0';
    });
    process.stdout.write('All of it worked.\n');
  } catch (error) {
    process.stdout.write('\n');
    process.stderr.write(
      `step ${steps} failed: ${error instanceof Error ? error.stack : error}\n${server?.output() ?? ''}`,
    );
    process.exitCode = 1;
  } finally {
    await server?.kill();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

await main();
// Clients that still try to reach a killed server must not keep the demo alive.
process.exit();
