/** Rules that change while AMQP clients are at work. */
import amqplib, { type ConsumeMessage } from 'amqplib';
import t from 'tap';
import { startServer } from './_server.ts';

const server = await startServer();
t.teardown(() => server.close());
const { policies } = server.broker.admin;

async function open() {
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${server.port}/`);
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  return { connection, channel };
}

/** The next `count` messages of a queue, not acknowledged. */
async function receive(channel: amqplib.Channel, queue: string, count: number): Promise<ConsumeMessage[]> {
  const messages: ConsumeMessage[] = [];
  return new Promise((resolve, reject) => {
    const onMessage = (message: ConsumeMessage | null): void => {
      if (message !== null) messages.push(message);
      if (messages.length === count) resolve(messages);
    };
    channel.consume(queue, onMessage).catch(reject);
  });
}

t.test('declaring again: as it was declared, whatever policies say; what differs is named', async (t) => {
  const { connection, channel } = await open();
  const args = { 'x-max-length': 10, 'x-message-ttl': 60_000 };
  await channel.assertQueue('q', { arguments: args });
  await policies.set('/', 'p', { pattern: '^q$', priority: 0, definition: { 'max-length': 5, expires: 60_000 } });
  await policies.setQueueRules('/', 'q', { 'message-ttl': 5000 });
  await channel.assertQueue('q', { arguments: args });
  for (const [other, expected] of [
    [{ ...args, 'x-max-length': 5 }, /declared with x-max-length 10, not with x-max-length 5/],
    [{ 'x-max-length': 10 }, /declared with x-message-ttl 60000, not without x-message-ttl/],
    [{ ...args, 'x-expires': 60_000 }, /declared without x-expires, not with x-expires 60000/],
  ] as const) {
    const { connection: another, channel: refused } = await open();
    await t.rejects(refused.assertQueue('q', { arguments: other }), { message: expected });
    await another.close();
  }
  await policies.remove('/', 'p');
  await connection.close();
});

t.test('overflow, dead letters and the delivery limit change under a producer and a consumer', async (t) => {
  const { connection, channel } = await open();
  await channel.assertQueue('live');
  await channel.assertQueue('given-up');
  const put = (text: string): void => void channel.sendToQueue('live', Buffer.from(text), { persistent: true });
  put('a');
  put('b');
  await channel.waitForConfirms();
  const definition = { 'max-length': 2, overflow: 'reject-publish' };
  await policies.set('/', 'live', { pattern: '^live$', priority: 0, definition });
  put('refused');
  await t.rejects(channel.waitForConfirms(), /nacked/);
  const letters = { 'dead-letter-exchange': '', 'dead-letter-routing-key': 'given-up' };
  await policies.set('/', 'live', { pattern: '^live$', priority: 0, definition: { ...letters, 'delivery-limit': 0 } });
  put('c');
  await channel.waitForConfirms();
  await channel.prefetch(3);
  const [a, b, c] = await receive(channel, 'live', 3);
  channel.ack(a as ConsumeMessage);
  // A failure with the limit 0 is one too many.
  channel.reject(b as ConsumeMessage, true);
  const { channel: other, connection: second } = await open();
  const [dead] = await receive(other, 'given-up', 1);
  t.match(dead?.content.toString(), 'b');
  t.match(dead?.properties.headers?.['x-death'], [{ queue: 'live', reason: 'delivery_limit' }]);
  channel.ack(c as ConsumeMessage);
  await second.close();
  await connection.close();
  t.same(server.errors, []);
});

t.test('one active consumer from now on, and all of them again', async (t) => {
  const { connection, channel } = await open();
  await channel.assertQueue('turns');
  await channel.prefetch(1);
  const got: string[] = [];
  let arrived = (): void => {};
  for (const name of ['one', 'two']) {
    await channel.consume('turns', () => {
      got.push(name);
      arrived();
    });
  }
  const next = (): Promise<void> =>
    new Promise((resolve) => {
      arrived = resolve;
    });
  await policies.setQueueRules('/', 'turns', { 'single-active-consumer': true });
  const first = next();
  for (const text of ['a', 'b', 'c']) channel.sendToQueue('turns', Buffer.from(text));
  await channel.waitForConfirms();
  await first;
  t.match(server.broker.admin.queue('/', 'turns'), { consumers: 2, unsettled: 1, ready: 2 });
  const second = next();
  await policies.setQueueRules('/', 'turns', {});
  await second;
  t.same(got, ['one', 'two']);
  await connection.close();
});
