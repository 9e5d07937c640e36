/** Delayed messages: over AMQP, HTTP and WebSocket, in the order of their times, by handle, and over a kill. */
import assert from 'node:assert/strict';
import type { ConfirmChannel } from 'amqplib';
import { WebSocket } from 'ws';
import { openChannel, send, take } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Inbox, step } from './steps.ts';

/** Soon enough for a demonstration, and long enough for what is done before. */
const SOON_MS = 1200;

interface Frame {
  op: string;
  delayed?: string[];
}

interface Waiting {
  handle: string;
  due_ms: number;
}

/** Consume a queue for the rest of the connection. */
async function consume(channel: ConfirmChannel, queue: string): Promise<Inbox<string>> {
  const inbox = new Inbox<string>();
  await channel.consume(queue, (message) => inbox.put(message?.content.toString() ?? ''), { noAck: true });
  return inbox;
}

async function taken(inbox: Inbox<string>, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) found.push(await inbox.take());
  return found;
}

/** The answer to a JSON WebSocket's publish. */
async function publishByPage(gateway: Gateway, frame: object): Promise<Frame> {
  const socket = new WebSocket(`ws://127.0.0.1:${gateway.ports.http}/ws`, 'junction.json');
  const frames = new Inbox<Frame>();
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data)) as Frame;
    if (frame.op !== 'hello') frames.put(frame);
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.send(JSON.stringify({ op: 'publish', id: 1, ...frame }));
  const answer = await frames.take();
  socket.terminate();
  return answer;
}

async function inOrder(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  const dueMs = Date.now() + SOON_MS;
  await step(
    `AMQP, HTTP and WebSocket publish to the queue jobs, to be delivered in ${SOON_MS} ms and around`,
    async () => {
      await channel.assertQueue('jobs', { durable: true });
      await send(channel, 'jobs', 'third', { headers: { 'x-deliver-at': dueMs + 200 } });
      await gateway.post('/v1/batch', [{ queue: 'jobs', payload: 'first', deliver_at_ms: dueMs - 200 }]);
      const { op } = await publishByPage(gateway, { queue: 'jobs', payload: 'second', deliver_at_ms: dueMs });
      assert.equal(op, 'ok');
      await send(channel, 'jobs', 'at once');
      return 'AMQP: third, header x-deliver-at; HTTP: first, WebSocket: second, member deliver_at_ms; and one without a delay';
    },
  );
  await step('a consumer gets them in the order of their times, none early', async () => {
    const inbox = await consume(channel, 'jobs');
    const found = await taken(inbox, 3);
    assert.ok(Date.now() >= dueMs, 'the second one came early');
    found.push(...(await taken(inbox, 1)));
    assert.deepEqual(found, ['at once', 'first', 'second', 'third']);
    return `${found.join(', ')}; the last one after ${Date.now() - dueMs + SOON_MS} ms`;
  });
}

async function byHandle(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  let handles: string[] = [];
  await step('HTTP: three messages for the queue mails, in two hours (level 18), in a day, in a year', async () => {
    await channel.assertQueue('mails', { durable: true });
    const answer = await gateway.post('/v1/batch', [
      { queue: 'mails', payload: 'in two hours', delay_level: 18 },
      { queue: 'mails', payload: 'in a day', delay_ms: 86_400_000 },
      { queue: 'mails', payload: 'in a year', delay_ms: 365 * 86_400_000 },
    ]);
    const results = answer['results'] as { delayed: string[] }[];
    handles = results.flatMap(({ delayed }) => delayed);
    assert.equal(handles.length, 3);
    assert.deepEqual(await take(channel, 'mails'), []);
    return `nothing can be consumed; handles: ${handles.join(', ')}`;
  });
  await gateway.restart();
  await step(
    'they are still there; the one of tomorrow is cancelled, the one of next year is delivered now',
    async () => {
      const listed = (await gateway.get('/v1/queues/mails/delayed'))['items'] as Waiting[];
      assert.deepEqual(
        listed.map(({ handle }) => handle),
        handles,
      );
      await gateway.delete(`/v1/queues/mails/delayed/${handles[1]}`);
      await gateway.post(`/v1/queues/mails/delayed/${handles[2]}/fire`);
      const after = await openChannel(gateway);
      assert.deepEqual(await take(after.channel, 'mails'), ['in a year']);
      await assert.rejects(gateway.delete(`/v1/queues/mails/delayed/${handles[2]}`), /404/);
      await after.connection.close();
      const left = (await gateway.get('/v1/queues/mails/delayed'))['items'] as Waiting[];
      assert.deepEqual(
        left.map(({ handle }) => handle),
        [handles[0]],
      );
      return 'taken: in a year; left: in two hours; cancelling what was delivered answers 404';
    },
  );
}

async function asThePlugIn(gateway: Gateway): Promise<void> {
  await step("RabbitMQ's delayed exchange: declared, bound, published to with x-delay", async () => {
    const { connection, channel } = await openChannel(gateway);
    await channel.assertExchange('later', 'x-delayed-message', { arguments: { 'x-delayed-type': 'topic' } });
    await channel.assertQueue('news', { durable: true });
    await channel.bindQueue('news', 'later', 'news.#');
    const inbox = await consume(channel, 'news');
    const sentMs = Date.now();
    channel.publish('later', 'news.today', Buffer.from('good news'), { headers: { 'x-delay': 150 } });
    assert.equal(await inbox.take(), 'good news');
    const afterMs = Date.now() - sentMs;
    assert.ok(afterMs >= 150);
    await connection.close();
    return `good news, after ${afterMs} ms`;
  });
}

export const delay: Feature = {
  name: 'delay',
  title: 'messages wait for their time, over restarts, and can be listed, cancelled and delivered now',
  async run(gateway) {
    const { connection, channel } = await openChannel(gateway);
    await inOrder(gateway, channel);
    await byHandle(gateway, channel);
    await connection.close().catch(() => {});
    await asThePlugIn(gateway);
  },
};
