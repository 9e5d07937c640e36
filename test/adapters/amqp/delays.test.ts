/** Delayed messages, as RabbitMQ's users ask for them and in two more ways. */
import { once } from 'node:events';
import amqplib, { type Channel } from 'amqplib';
import t from 'tap';
import { startServer } from './_server.ts';

const server = await startServer();
t.teardown(() => server.close());
const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${server.port}`);
t.teardown(() => connection.close());
t.afterEach(() => t.same(server.errors, []));

/** What a queue hands out, in order, with the time at which it did. */
async function received(channel: Channel, queue: string, count: number): Promise<{ body: string; atMs: number }[]> {
  const found: { body: string; atMs: number }[] = [];
  await new Promise<void>((resolve) => {
    void channel.consume(
      queue,
      (message) => {
        found.push({ body: message?.content.toString() ?? '', atMs: Date.now() });
        if (found.length === count) resolve();
      },
      { noAck: true },
    );
  });
  return found;
}

t.test('x-delay, x-deliver-at and x-delay-level: in the order of due times, none early', async (t) => {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: false, durable: true });
  const nowMs = Date.now();
  const send = (body: string, headers: object): void =>
    void channel.sendToQueue(queue, Buffer.from(body), { headers, persistent: true });
  send('past', { 'x-deliver-at': nowMs - 60_000 });
  send('zero', { 'x-delay': 0 });
  send('level 0', { 'x-delay-level': 0 });
  send('level 1', { 'x-delay-level': 1 });
  send('150', { 'x-delay': 150 });
  send('500', { 'x-deliver-at': nowMs + 500 });
  send('80', { 'x-delay': 80, other: 'header' });
  await channel.waitForConfirms();
  const found = await received(channel, queue, 7);
  t.same(
    found.map(({ body }) => body),
    ['past', 'zero', 'level 0', '80', '150', '500', 'level 1'],
  );
  for (const [n, delayMs] of [80, 150, 500, 1000].entries()) {
    t.ok((found[n + 3]?.atMs ?? 0) >= nowMs + delayMs, `not before ${delayMs} ms are over`);
  }
  await channel.deleteQueue(queue);
  await channel.close();
});

t.test('an exchange of type x-delayed-message routes as its x-delayed-type does', async (t) => {
  const channel = await connection.createConfirmChannel();
  const args = { 'x-delayed-type': 'topic' };
  await channel.assertExchange('later', 'x-delayed-message', { durable: true, arguments: args });
  await channel.assertExchange('later', 'x-delayed-message', { durable: true, arguments: args });
  t.match(server.broker.admin.exchange('/', 'later'), { kind: 'topic', durable: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'later', 'a.*');
  const nowMs = Date.now();
  channel.publish('later', 'a.b', Buffer.from('one'), { headers: { 'x-delay': 60 } });
  channel.publish('later', 'b.b', Buffer.from('elsewhere'), { headers: { 'x-delay': 1 } });
  channel.publish('later', 'a.c', Buffer.from('now'));
  await channel.waitForConfirms();
  const found = await received(channel, queue, 2);
  t.same(
    found.map(({ body }) => body),
    ['now', 'one'],
  );
  t.ok((found[1]?.atMs ?? 0) >= nowMs + 60);
  await channel.deleteExchange('later');
  await channel.close();
});

t.test('a time to live counts from the due time, and every copy waits', async (t) => {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const { queue: copy } = await channel.assertQueue('', { exclusive: true });
  channel.sendToQueue(queue, Buffer.from('x'), { expiration: 30_000, CC: [copy], headers: { 'x-delay': 120 } });
  await channel.waitForConfirms();
  t.match(server.broker.admin.queue('/', queue), { ready: 0, delayed: 1 });
  t.match(server.broker.admin.queue('/', copy), { ready: 0, delayed: 1 });
  t.same((await received(channel, copy, 1)).length, 1);
  t.same((await received(channel, queue, 1)).length, 1);
  await channel.close();
});

t.test('what makes no sense closes the channel with a reason, and nothing is lost', async (t) => {
  const keeper = await connection.createConfirmChannel();
  const { queue } = await keeper.assertQueue('', { exclusive: true });
  keeper.sendToQueue(queue, Buffer.from('kept'), { headers: { 'x-delay': 10 * 60_000 } });
  await keeper.waitForConfirms();
  const refusals: [object, RegExp][] = [
    [{ 'x-delay': -1 }, /x-delay must be a whole number from 0 to \d+, not -1/],
    [{ 'x-delay': 'soon' }, /x-delay must be a whole number from 0 to \d+, not a string/],
    [{ 'x-delay': 1.5 }, /not 1\.5/],
    [{ 'x-delay': 3.2e11 }, /x-delay must be a whole number from 0 to 315360000000/],
    [{ 'x-delay-level': -3 }, /x-delay-level must be/],
    [{ 'x-deliver-at': Date.now() + 4e11 }, /at most 315360000000 \(ten years\)/],
    [{ 'x-delay': 5, 'x-deliver-at': 5 }, /only one of x-delay, x-deliver-at can be given/],
  ];
  for (const [headers, reason] of refusals) {
    const channel = await connection.createChannel();
    const failed = once(channel, 'error');
    channel.sendToQueue(queue, Buffer.from('bad'), { headers });
    const [error] = (await failed) as [Error & { code: number }];
    t.equal(error.code, 406);
    t.match(error.message, reason);
  }
  for (const args of [{}, { 'x-delayed-type': 'x-delayed-message' }, { 'x-delayed-type': 7 }]) {
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    await t.rejects(channel.assertExchange('bad', 'x-delayed-message', { arguments: args }), {
      message: /406.*'x-delayed-type' must be one of direct, fanout, topic, headers/,
    });
  }
  t.match(server.broker.admin.queue('/', queue), { ready: 0, delayed: 1 });
  await keeper.close();
});
