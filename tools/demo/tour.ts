/**
 * The gateway's main job, with real clients (mqtt, amqplib, ws, fetch) against a real process: one message after the other crosses
 * from protocol to protocol, then the process is killed and started again.
 */
import assert from 'node:assert/strict';
import { type ChannelModel, type ConfirmChannel, connect as connectAmqp } from 'amqplib';
import { connectAsync as connectMqtt } from 'mqtt';
import { WebSocket } from 'ws';
import type { Feature, Gateway } from './gateway.ts';
import { Inbox, step } from './steps.ts';

const QUEUE = 'readings';

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

async function acrossProtocols(gateway: Gateway): Promise<void> {
  const { ports } = gateway;
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
    await overHttp(gateway, page.seen);
  } finally {
    page.close();
    await Promise.all([device.endAsync(true), display.endAsync(true), service.connection.close()]);
  }
}

interface Leased {
  lease: string | null;
  messages: { topic: string; payload: string; redeliveries: number }[];
}

async function overHttp(gateway: Gateway, pageSaw: Inbox<string>): Promise<void> {
  await step('HTTP: curl -X POST publishes to the same place, and the page sees that too', async () => {
    await gateway.post('/v1/topics/sensors/attic/temp', '30.1');
    const text = await pageSaw.take();
    assert.equal(text, 'sensors/attic/temp 30.1');
    return `page got ${text}`;
  });
  await step('HTTP: curl leases the message from the queue and acknowledges it', async () => {
    const { lease, messages } = (await gateway.post(`/v1/queues/${QUEUE}/lease?wait_ms=3000`)) as unknown as Leased;
    assert.equal(messages[0]?.payload, '30.1');
    const { settled, remaining } = await gateway.post(`/v1/leases/${lease}/ack`);
    assert.deepEqual({ settled, remaining }, { settled: 1, remaining: 0 });
    const again = (await gateway.post(`/v1/queues/${QUEUE}/lease`)) as unknown as Leased;
    assert.deepEqual(again.messages, []);
    return `leased ${messages[0]?.topic} = ${messages[0]?.payload}, acknowledged, gone`;
  });
}

async function acrossAKill(gateway: Gateway): Promise<void> {
  await step('kill -9: five messages are confirmed, two of them acknowledged, then the process is killed', async () => {
    const service = await Service.open(gateway.ports.amqp);
    for (let n = 1; n <= 5; n++) await service.publish('sensors.boiler.temp', `${60 + n}`);
    const { lease } = (await gateway.post(`/v1/queues/${QUEUE}/lease?max=2`)) as unknown as Leased;
    await gateway.post(`/v1/leases/${lease}/ack`);
    await gateway.kill();
    return `process ${gateway.pid} is dead`;
  });
  await step('the gateway starts again on the same data', async () => {
    await gateway.start();
    return `process ${gateway.pid} is ready`;
  });
  await step('what was confirmed and not acknowledged is there, in order; what was acknowledged is not', async () => {
    const service = await Service.open(gateway.ports.amqp);
    assert.equal(await service.depth(), 3);
    await service.consume();
    const texts = [await service.seen.take(), await service.seen.take(), await service.seen.take()].map(
      ({ text }) => text,
    );
    assert.deepEqual(texts, ['63', '64', '65']);
    await service.connection.close();
    return `AMQP consumer got ${texts.join(', ')}`;
  });
}

export const tour: Feature = {
  name: 'tour',
  title: 'one message after the other crosses from protocol to protocol, and survives a kill',
  async run(gateway) {
    await acrossProtocols(gateway);
    await acrossAKill(gateway);
  },
};
