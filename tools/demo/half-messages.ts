/** Half messages: a shop writes a row and sends messages about it, both or neither, whatever dies in between. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ConfirmChannel } from 'amqplib';
import { WebSocket } from 'ws';
import { openChannel, take } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Inbox, step } from './steps.ts';

const GROUP = 'shop';
/** So that nobody has to wait for the usual 6 s and 30 s. */
const SOON_MS = 200;

function half(op: string, id: string, more: object = {}): object {
  return { persistent: true, headers: { 'x-half': op, 'x-half-group': GROUP, 'x-half-id': id, ...more } };
}

async function send(channel: ConfirmChannel, queue: string, text: string, options: object): Promise<void> {
  channel.publish('', queue, Buffer.from(text), options);
  await channel.waitForConfirms();
}

async function counts(channel: ConfirmChannel): Promise<string> {
  const found: string[] = [];
  for (const queue of ['orders', 'mails']) found.push(`${queue} ${(await channel.checkQueue(queue)).messageCount}`);
  return found.join(', ');
}

/** Half messages that are open. */
async function open(gateway: Gateway): Promise<{ half: string; messages: number; parked: boolean }[]> {
  return (await gateway.get('/v1/half-messages'))['items'] as { half: string; messages: number; parked: boolean }[];
}

async function allOrNone(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  await step('AMQP: a shop prepares an order and a mail under one id, writes its own row, and commits', async () => {
    await channel.assertQueue('orders');
    await channel.assertQueue('mails');
    await send(channel, 'orders', 'order 1', half('prepare', 'order-1'));
    await send(channel, 'mails', 'thank you for 1', half('prepare', 'order-1'));
    assert.equal(await counts(channel), 'orders 0, mails 0');
    await send(channel, '', '', half('commit', 'order-1'));
    assert.equal(await counts(channel), 'orders 1, mails 1');
    return `before the commit: orders 0, mails 0; after it: ${await counts(channel)}`;
  });
  await step('another order comes to nothing: it rolls back. A commit that is sent twice does no harm', async () => {
    await send(channel, 'orders', 'order 2', half('prepare', 'order-2'));
    await send(channel, '', '', half('rollback', 'order-2'));
    await send(channel, '', '', half('commit', 'order-1'));
    assert.deepEqual(await open(gateway), []);
    return await counts(channel);
  });
}

async function killed(gateway: Gateway, channel: ConfirmChannel): Promise<ConfirmChannel> {
  await step('HTTP: a third order is prepared, and the gateway is killed before the commit', async () => {
    const messages = [
      { queue: 'orders', payload: 'order 3' },
      { queue: 'mails', payload: 'thank you for 3' },
    ];
    await gateway.post(`/v1/half-messages/${GROUP}`, { half: 'order-3', messages });
    return await counts(channel);
  });
  await gateway.restart();
  const { channel: after } = await openChannel(gateway);
  await step('it is still prepared, as a whole, and is committed now', async () => {
    assert.deepEqual(
      (await open(gateway)).map((one) => [one.half, one.messages]),
      [['order-3', 2]],
    );
    const before = await counts(after);
    await gateway.post(`/v1/half-messages/${GROUP}/order-3/commit`);
    assert.equal(await counts(after), 'orders 2, mails 2');
    return `${before}; then ${await counts(after)}`;
  });
  return after;
}

interface Frame {
  op: string;
  half?: string;
  messages?: { payload: string }[];
}

async function checkedLive(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${gateway.ports.http}/ws`, 'junction.json');
  const frames = new Inbox<Frame>();
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data)) as Frame;
    if (frame.op !== 'hello') frames.put(frame);
  });
  await once(socket, 'open');
  try {
    await step(
      'a shop prepares order 4 over AMQP and is gone; another one of its group is there over WebSocket',
      async () => {
        socket.send(JSON.stringify({ op: 'join', id: 1, group: GROUP }));
        assert.equal((await frames.take()).op, 'ok');
        const dying = await openChannel(gateway);
        await send(
          dying.channel,
          'orders',
          'order 4',
          half('prepare', 'order-4', { 'x-half-check-after-ms': SOON_MS }),
        );
        await dying.connection.close();
        return undefined;
      },
    );
    await step('it is asked what became of order 4, finds the row, and commits', async () => {
      const check = await frames.take();
      assert.equal(check.op, 'check');
      assert.deepEqual(
        check.messages?.map(({ payload }) => payload),
        ['order 4'],
      );
      socket.send(JSON.stringify({ op: 'commit', id: 2, group: GROUP, half: check.half }));
      assert.equal((await frames.take()).op, 'ok');
      assert.equal(await counts(channel), 'orders 3, mails 2');
      return `check about ${check.half}: ${check.messages?.[0]?.payload}; ${await counts(channel)}`;
    });
  } finally {
    socket.terminate();
  }
}

/** A service that knows of no order. */
async function answering(asked: Inbox<string>): Promise<{ server: Server; url: string }> {
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    asked.put((JSON.parse(text) as { half: string }).half);
    response.end('{"answer":"rollback"}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/checks` };
}

async function checkedByAddress(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  const asked = new Inbox<string>();
  const { server, url } = await answering(asked);
  try {
    await step(
      'nobody of the group is connected any more: its check address is called, which knows of no order 5',
      async () => {
        await gateway.put(`/v1/producer-groups/${GROUP}/check-url`, { url });
        await send(channel, 'orders', 'order 5', half('prepare', 'order-5', { 'x-half-check-after-ms': SOON_MS }));
        const id = await asked.take();
        while ((await open(gateway)).length > 0) await gateway.get('/health/ready');
        assert.equal(await counts(channel), 'orders 3, mails 2');
        return `POST ${url} about ${id} was answered with rollback`;
      },
    );
  } finally {
    server.close();
  }
}

async function parked(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  await step('nobody ever answers for order 6: it is parked, listed, and the operator commits it', async () => {
    const never = { 'x-half-check-after-ms': 1, 'x-half-checks': 0 };
    await send(channel, 'orders', 'order 6', half('prepare', 'order-6', never));
    let list = await open(gateway);
    while (list[0]?.parked !== true) list = await open(gateway);
    await gateway.post(`/v1/half-messages/${GROUP}/order-6/commit`);
    const orders = await take(channel, 'orders');
    assert.deepEqual(orders, ['order 1', 'order 3', 'order 4', 'order 6']);
    return `in the queue, each once: ${orders.join(', ')}`;
  });
}

export const halfMessages: Feature = {
  name: 'half-messages',
  title: 'messages prepared, committed and rolled back as a whole; producers are asked when they do not say',
  async run(gateway) {
    const before = await openChannel(gateway);
    await allOrNone(gateway, before.channel);
    const channel = await killed(gateway, before.channel);
    await checkedLive(gateway, channel);
    await checkedByAddress(gateway, channel);
    await parked(gateway, channel);
  },
};
