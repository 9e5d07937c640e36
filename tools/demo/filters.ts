/** Filters on bindings and subscriptions: who gets which order, over AMQP, HTTP, WebSocket and MQTT, before and after a kill. */
import assert from 'node:assert/strict';
import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import { connectAsync as connectMqtt } from 'mqtt';
import { WebSocket } from 'ws';
import { openChannel, send, take } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Inbox, step } from './steps.ts';

const URGENT = "region STARTSWITH 'eu-' AND urgent";
const LARGE = "amount >= 1000 OR message.key = 'orders/by-device'";
/** Orders in one queue, with their headers. */
const WORK = {
  '1': { region: 'north' },
  '2': { region: 'south', TAGS: 'paid' },
  '3': { region: 'south' },
  '4': { region: 'north' },
};
const WRONG = 'amount > 10 AND region LIKE 5';

interface Frame {
  op: string;
  payload?: string;
  message?: string;
}

/** A WebSocket with the frames it got, except the greeting. */
async function openPage(httpPort: number): Promise<{ socket: WebSocket; frames: Inbox<Frame> }> {
  const socket = new WebSocket(`ws://127.0.0.1:${httpPort}/ws`, 'junction.json');
  const frames = new Inbox<Frame>();
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data)) as Frame;
    if (frame.op !== 'hello') frames.put(frame);
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  return { socket, frames };
}

async function order(channel: ConfirmChannel, text: string, headers: object): Promise<void> {
  channel.publish('amq.topic', 'orders.new', Buffer.from(text), { headers, persistent: true });
  await channel.waitForConfirms();
}

async function bindAll(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  await step('AMQP: the queue urgent is bound to orders.# with a condition', async () => {
    await channel.assertQueue('urgent', { durable: true });
    await channel.bindQueue('urgent', 'amq.topic', 'orders.#', { 'x-filter': URGENT });
    return `x-filter: ${URGENT}`;
  });
  await step('HTTP: the queue ledger is bound to the same key with two tags', async () => {
    await channel.assertQueue('ledger', { durable: true });
    const args = { 'x-filter-tags': 'paid || refunded' };
    await gateway.post('/v1/bindings', { source: 'amq.topic', queue: 'ledger', key: 'orders.#', arguments: args });
    return 'x-filter-tags: paid || refunded';
  });
}

async function whoGetsWhat(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  const page = await openPage(gateway.ports.http);
  const device = await connectMqtt(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, { clientId: 'device' });
  try {
    await step('WebSocket: a page subscribes to orders/# with a condition of its own', async () => {
      page.socket.send(JSON.stringify({ op: 'subscribe', id: 'large', topic: 'orders/#', filter: LARGE }));
      assert.equal((await page.frames.take()).op, 'ok');
      return `filter: ${LARGE}`;
    });
    await step('four orders are published, over AMQP, HTTP and MQTT', async () => {
      await order(channel, 'A', { region: 'eu-west', urgent: true, amount: 20, TAGS: 'paid' });
      await order(channel, 'B', { region: 'us-east', urgent: true, amount: 5000 });
      const headers = { region: 'eu-north', urgent: false, amount: 1000, TAGS: 'refunded' };
      await gateway.post('/v1/batch', [{ topic: 'orders/web', payload: 'C', headers }]);
      await device.publishAsync('orders/by-device', 'D', { qos: 1 });
      return 'A: eu-west urgent 20 paid, B: us-east urgent 5000, C: eu-north 1000 refunded, D: by a device, no properties';
    });
    await step('each got what its filter lets pass', async () => {
      const urgent = await take(channel, 'urgent');
      const ledger = await take(channel, 'ledger');
      const large = [await page.frames.take(), await page.frames.take(), await page.frames.take()].map(
        ({ payload }) => payload,
      );
      assert.deepEqual({ urgent, ledger, large }, { urgent: ['A'], ledger: ['A', 'C'], large: ['B', 'C', 'D'] });
      return `urgent: ${urgent.join(', ')}; ledger: ${ledger.join(', ')}; the page: ${large.join(', ')}`;
    });
    await step('a filter that makes no sense is refused, with the column', async () => {
      page.socket.send(JSON.stringify({ op: 'subscribe', id: 'wrong', topic: 'orders/#', filter: WRONG }));
      const { op, message } = await page.frames.take();
      assert.equal(op, 'error');
      assert.match(message ?? '', /filter, column \d+: /);
      return `${WRONG}\n      ${message}`;
    });
  } finally {
    page.socket.terminate();
    await device.endAsync(true);
  }
}

/** Filters of consumers: what does not pass stays in the queue for others. */
async function fromOneQueue(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  const page = await openPage(gateway.ports.http);
  const northern = new Inbox<string>();
  try {
    await step('one queue, three consumers: AMQP and WebSocket with filters, HTTP without', async () => {
      await channel.assertQueue('work', { durable: true });
      const onMessage = (message: ConsumeMessage | null): unknown =>
        message !== null && northern.put(message.content.toString());
      await channel.consume('work', onMessage, { noAck: true, arguments: { 'x-filter': "region = 'north'" } });
      page.socket.send(JSON.stringify({ op: 'subscribe', id: 'paid', queue: 'work', tags: 'paid' }));
      assert.equal((await page.frames.take()).op, 'ok');
      for (const [text, headers] of Object.entries(WORK)) await send(channel, 'work', text, { headers });
      const { messages } = (await gateway.post('/v1/queues/work/lease?max=5', {})) as { messages: Frame[] };
      const got = {
        north: [await northern.take(), await northern.take()],
        paid: (await page.frames.take()).payload,
        rest: messages.map(({ payload }) => payload),
      };
      assert.deepEqual(got, { north: ['1', '4'], paid: '2', rest: ['3'] });
      return `x-filter: region = 'north': 1, 4; tags paid: 2; the lease got what was left: 3`;
    });
  } finally {
    page.socket.terminate();
  }
}

async function comesBack(channel: ConfirmChannel): Promise<void> {
  const returned = new Inbox<string>();
  channel.on('return', (message) => returned.put(message.content.toString()));
  await step('the filters are still there, and what none lets pass comes back when it is mandatory', async () => {
    await order(channel, 'E', { region: 'eu-west', urgent: true });
    const options = { headers: { region: 'us-east' }, mandatory: true };
    channel.publish('amq.topic', 'orders.new', Buffer.from('F'), options);
    assert.equal(await returned.take(), 'F');
    const urgent = await take(channel, 'urgent');
    const ledger = await take(channel, 'ledger');
    assert.deepEqual({ urgent, ledger }, { urgent: ['E'], ledger: [] });
    return `urgent: ${urgent.join(', ')}; F was returned`;
  });
}

export const filters: Feature = {
  name: 'filters',
  title: 'conditions and tags on bindings and subscriptions choose who gets which message',
  async run(gateway) {
    const before = await openChannel(gateway);
    await bindAll(gateway, before.channel);
    await whoGetsWhat(gateway, before.channel);
    await fromOneQueue(gateway, before.channel);
    // What was taken is gone for good once something that came after it is on disk.
    await before.channel.assertQueue('last', { durable: true });
    await gateway.restart();
    const after = await openChannel(gateway);
    await comesBack(after.channel);
    await after.connection.close();
  },
};
