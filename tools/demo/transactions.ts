/** Transactions: an order is taken, and all that follows from it happens with its acknowledgement, or nothing does. */
import assert from 'node:assert/strict';
import type { ConfirmChannel, Message } from 'amqplib';
import { WebSocket } from 'ws';
import { openChannel, send, take } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Inbox, step } from './steps.ts';

/** amqplib speaks the tx class, and has no functions for it: this is what they would do. */
interface Rpc {
  rpc(method: number, fields: object, answer: number): Promise<unknown>;
}
/** Class 90 of AMQP 0-9-1; the answer to a method is the one after it. */
const TX = { select: 0x5a_000a, commit: 0x5a_0014, rollback: 0x5a_001e } as const;

function tx(channel: unknown, what: keyof typeof TX): Promise<unknown> {
  return (channel as Rpc).rpc(TX[what], {}, TX[what] + 1);
}

async function counts(channel: ConfirmChannel): Promise<string> {
  const found: string[] = [];
  for (const queue of ['orders', 'invoices', 'parcels']) {
    found.push(`${queue} ${(await channel.checkQueue(queue)).messageCount}`);
  }
  return found.join(', ');
}

async function overAmqp(gateway: Gateway, plain: ConfirmChannel): Promise<void> {
  const { connection } = await openChannel(gateway);
  const worker = await connection.createChannel();
  let order: Message | false = false;
  await step(
    'AMQP: a worker selects transactions, takes an order, publishes an invoice and a parcel, acknowledges',
    async () => {
      await tx(worker, 'select');
      order = await worker.get('orders');
      assert.ok(order !== false);
      worker.sendToQueue('invoices', Buffer.from('invoice 1'), { persistent: true });
      worker.sendToQueue('parcels', Buffer.from('parcel 1'), { persistent: true });
      worker.ack(order);
      await worker.checkQueue('orders');
      assert.equal(await counts(plain), 'orders 2, invoices 0, parcels 0');
      return `nothing is to be seen yet: ${await counts(plain)}`;
    },
  );
  await step('it rolls back, publishes and acknowledges again, and commits', async () => {
    await tx(worker, 'rollback');
    worker.sendToQueue('invoices', Buffer.from('invoice 1'), { persistent: true });
    worker.sendToQueue('parcels', Buffer.from('parcel 1'), { persistent: true });
    worker.ack(order as Message);
    await tx(worker, 'commit');
    assert.equal(await counts(plain), 'orders 2, invoices 1, parcels 1');
    return await counts(plain);
  });
  await step('it takes another order, does its work, and the process is killed before the commit', async () => {
    const next = await worker.get('orders');
    assert.ok(next !== false);
    worker.sendToQueue('invoices', Buffer.from('invoice 2'), { persistent: true });
    worker.ack(next);
    await worker.checkQueue('orders');
    return undefined;
  });
}

async function overHttp(gateway: Gateway): Promise<void> {
  await step('HTTP: a lease, a result and its acknowledgement in one request', async () => {
    const { lease } = await gateway.post('/v1/queues/orders/lease');
    const body = {
      publishes: [
        { queue: 'invoices', payload: 'invoice 2' },
        { queue: 'parcels', payload: 'parcel 2' },
      ],
      settlements: [{ lease, op: 'ack' }],
    };
    const done = await gateway.post('/v1/transactions', body);
    assert.deepEqual(done, { published: 2, settled: 1 });
    return JSON.stringify(done);
  });
}

async function overWebSocket(gateway: Gateway): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${gateway.ports.http}/ws`, 'junction.json');
  const frames = new Inbox<{ op: string; id?: number; delivery?: number; code?: string; message?: string }>();
  socket.on('message', (data) => frames.put(JSON.parse(String(data))));
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const settlements = [{ sub: 1, op: 'ack', delivery: 1 }];
  const invoice = { queue: 'invoices', payload: 'invoice 3' };
  const answerTo = async (frame: { id: number }): Promise<{ op: string; message?: string }> => {
    socket.send(JSON.stringify(frame));
    for (;;) {
      const answer = await frames.take();
      if (answer.id === frame.id) return answer;
    }
  };
  await step('WebSocket: one part that cannot be done, and none is', async () => {
    await answerTo({ op: 'subscribe', id: 1, queue: 'orders' } as { id: number });
    for (;;) if ((await frames.take()).op === 'message') break;
    const publishes = [invoice, { queue: 'a queue that is not there', payload: '' }];
    const refused = await answerTo({ op: 'transaction', id: 2, publishes, settlements } as { id: number });
    assert.equal(refused.op, 'error');
    return refused.message;
  });
  await step('WebSocket: all of it', async () => {
    const publishes = [invoice, { queue: 'parcels', payload: 'parcel 3' }];
    const done = await answerTo({ op: 'transaction', id: 3, publishes, settlements } as { id: number });
    assert.equal(done.op, 'ok');
    return JSON.stringify(done);
  });
  socket.terminate();
}

export const transactions: Feature = {
  name: 'transactions',
  title: 'publishes and acknowledgements that happen together, or not at all',
  async run(gateway) {
    const { channel } = await openChannel(gateway);
    await step('three orders are in a durable queue', async () => {
      for (const queue of ['orders', 'invoices', 'parcels']) await channel.assertQueue(queue, { durable: true });
      for (const n of [1, 2, 3]) await send(channel, 'orders', `order ${n}`);
      return await counts(channel);
    });
    await overAmqp(gateway, channel);
    await gateway.restart();
    const after = await openChannel(gateway);
    await step('what was committed is there, what was not never was', async () => {
      assert.equal(await counts(after.channel), 'orders 2, invoices 1, parcels 1');
      return await counts(after.channel);
    });
    await overHttp(gateway);
    await overWebSocket(gateway);
    await step('every order has one invoice and one parcel', async () => {
      assert.equal(await counts(after.channel), 'orders 0, invoices 3, parcels 3');
      const invoices = await take(after.channel, 'invoices');
      assert.deepEqual(invoices, ['invoice 1', 'invoice 2', 'invoice 3']);
      return invoices.join(', ');
    });
    await after.connection.close();
  },
};
