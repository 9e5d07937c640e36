/** Message groups: each order's messages go to one worker, in order; what happens when workers come and go. */
import assert from 'node:assert/strict';
import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import { openChannel } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Page } from './page.ts';
import { Inbox, step } from './steps.ts';

interface Pinned {
  readonly bucket: number;
  readonly tag: string;
  readonly unsettled: number;
}

class Worker {
  readonly tag: string;
  readonly #inbox = new Inbox<ConsumeMessage>();

  constructor(tag: string) {
    this.tag = tag;
  }

  async start(channel: ConfirmChannel): Promise<this> {
    const options = { consumerTag: this.tag };
    await channel.consume('orders', (message) => message !== null && this.#inbox.put(message), options);
    return this;
  }

  /** The next `n` messages. */
  async take(n: number): Promise<ConsumeMessage[]> {
    const messages: ConsumeMessage[] = [];
    while (messages.length < n) messages.push(await this.#inbox.take());
    return messages;
  }
}

const texts = (messages: readonly ConsumeMessage[]): string[] => messages.map(({ content }) => content.toString());

async function send(channel: ConfirmChannel, ...orders: string[]): Promise<void> {
  for (const text of orders) {
    const headers = { 'x-group-id': text.split(' ')[0], ...(text.endsWith('closed') ? { 'x-group-seq': -1 } : {}) };
    channel.sendToQueue('orders', Buffer.from(text), { persistent: true, headers });
  }
  await channel.waitForConfirms();
}

async function pinned(gateway: Gateway): Promise<Pinned[]> {
  return ((await gateway.get('/v1/queues/orders/groups')) as unknown as { pinned: Pinned[] }).pinned;
}

async function shareOut(gateway: Gateway, channel: ConfirmChannel): Promise<[Worker, Worker]> {
  const one = await new Worker('one').start(channel);
  const two = await new Worker('two').start(channel);
  await step('AMQP: two workers; messages of two orders come mixed', async () => {
    await send(channel, 'A created', 'B created', 'A paid', 'B paid', 'A packed', 'B packed');
    const a = await one.take(3);
    const b = await two.take(3);
    assert.deepEqual(texts(a), ['A created', 'A paid', 'A packed']);
    assert.deepEqual(texts(b), ['B created', 'B paid', 'B packed']);
    assert.equal(a[0]?.properties.headers?.['x-group-first'], true);
    for (const message of b) channel.ack(message);
    // Answered after the acknowledgements have been read.
    await channel.checkQueue('orders');
    return `one: ${texts(a).join(', ')}; two: ${texts(b).join(', ')}; the first of each says x-group-first`;
  });
  await step('HTTP: whose the groups are', async () => {
    const groups = await pinned(gateway);
    assert.deepEqual(groups.map(({ tag, unsettled }) => `${tag} ${unsettled}`).sort(), ['one 3', 'two 0']);
    return groups.map(({ bucket, tag, unsettled }) => `bucket ${bucket}: ${tag}, ${unsettled} unsettled`).join('; ');
  });
  return [one, two];
}

async function handOver(gateway: Gateway, channel: ConfirmChannel, two: Worker): Promise<void> {
  await step('worker one is cancelled with three messages in its hands: A waits for them', async () => {
    await channel.cancel('one');
    await send(channel, 'A sent', 'B sent');
    assert.deepEqual(texts(await two.take(1)), ['B sent']);
    const [a] = (await pinned(gateway)).filter(({ tag }) => tag === 'one');
    assert.equal(a?.unsettled, 3);
    return 'two has got B sent, and not A sent';
  });
  await step('it gives them back: the other worker goes on, in order', async () => {
    channel.nackAll(true);
    const messages = texts(await two.take(5));
    assert.deepEqual(
      messages.filter((text) => text.startsWith('A')),
      ['A created', 'A paid', 'A packed', 'A sent'],
    );
    return `two: ${messages.join(', ')}`;
  });
}

async function end(gateway: Gateway, channel: ConfirmChannel, two: Worker): Promise<void> {
  await step('sequence -1 ends a group: its next message may go to anybody', async () => {
    await send(channel, 'A closed');
    assert.deepEqual(texts(await two.take(1)), ['A closed']);
    const { messages } = (await gateway.post('/v1/queues/orders/lease?max=1', {})) as unknown as {
      messages: unknown[];
    };
    assert.deepEqual(messages, [], 'two holds messages of A');
    channel.ackAll();
    await channel.checkQueue('orders');
    const left = await pinned(gateway);
    assert.equal(left.length, 1, 'only B is somebody’s');
    return 'A is nobody’s, B is still with two';
  });
}

async function survive(gateway: Gateway): Promise<void> {
  const { connection, channel } = await openChannel(gateway);
  await send(channel, 'C 1', 'D 1', 'C 2', 'D 2', 'C 3');
  await gateway.restart();
  await connection.close().catch(() => {});
  const page = await Page.open(gateway);
  const after = await openChannel(gateway);
  const worker = new Worker('three');
  await step('after a kill -9 the groups are shared out among whoever comes: a page and a worker', async () => {
    await page.ask({ op: 'subscribe', id: 'page', queue: 'orders', credit: 1 });
    assert.equal((await page.frames.take())['payload'], 'C 1');
    await worker.start(after.channel);
    assert.deepEqual(texts(await worker.take(2)), ['D 1', 'D 2']);
    return 'page, which may hold one message: C 1; worker: D 1, D 2';
  });
  await step('the page vanishes with it: its group goes to the worker, from its first message on', async () => {
    page.cut();
    const messages = texts(await worker.take(3));
    assert.deepEqual(messages, ['C 1', 'C 2', 'C 3']);
    return `worker: ${messages.join(', ')}`;
  });
  await after.connection.close();
}

export const groups: Feature = {
  name: 'groups',
  title: 'message groups: each group with one consumer at a time, in order',
  async run(gateway) {
    const { connection, channel } = await openChannel(gateway);
    await channel.assertQueue('orders');
    const [, two] = await shareOut(gateway, channel);
    await handOver(gateway, channel, two);
    await end(gateway, channel, two);
    await channel.deleteQueue('orders');
    await channel.assertQueue('orders');
    await connection.close();
    await survive(gateway);
  },
};
