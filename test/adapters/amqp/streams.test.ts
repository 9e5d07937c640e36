/** Queues of type stream, as RabbitMQ has them, with the client most Node programs use. */
import amqplib, { type Channel, type ConsumeMessage } from 'amqplib';
import t from 'tap';
import { startServer } from './_server.ts';

const server = await startServer();
t.teardown(() => server.close());
t.afterEach(() => t.same(server.errors, []));

const STREAM = { durable: true, arguments: { 'x-queue-type': 'stream' } };

async function open() {
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${server.port}/`);
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  connection.on('error', () => {});
  return { connection, channel };
}

/** Bodies and offsets of the next `count` deliveries, acknowledged. */
function take(channel: Channel, queue: string, args: object, count: number): Promise<[string, number][]> {
  return new Promise((resolve) => {
    const taken: [string, number][] = [];
    const onMessage = (message: ConsumeMessage | null): void => {
      if (message === null || taken.length === count) return;
      taken.push([message.content.toString(), message.properties.headers?.['x-stream-offset'] as number]);
      channel.ack(message);
      if (taken.length === count) resolve(taken);
    };
    void channel.consume(queue, onMessage, { arguments: args });
  });
}

t.test('declare, publish, and read again and again, from any place', async (t) => {
  const { connection, channel } = await open();
  await channel.assertQueue('log', STREAM);
  await channel.bindQueue('log', 'amq.topic', 'a.#');
  for (let n = 0; n < 5; n++) channel.sendToQueue('log', Buffer.from(`m${n}`), { headers: { n } });
  channel.publish('amq.topic', 'a.b', Buffer.from('bound'));
  await channel.waitForConfirms();
  t.equal((await channel.assertQueue('log', STREAM)).messageCount, 6);
  t.equal((await channel.checkQueue('log')).messageCount, 6);
  await channel.prefetch(2);
  const all = [0, 1, 2, 3, 4].map((n) => [`m${n}`, n]);
  t.same(await take(channel, 'log', { 'x-stream-offset': 'first' }, 6), [...all, ['bound', 5]]);
  t.same(await take(channel, 'log', { 'x-stream-offset': 3 }, 1), [['m3', 3]]);
  t.same(await take(channel, 'log', { 'x-stream-offset': 'last' }, 1), [['bound', 5]]);
  t.same(await take(channel, 'log', { 'x-stream-offset': -2 }, 1), [['m4', 4]]);
  t.same(await take(channel, 'log', { 'x-stream-offset': '1h' }, 1), [['m0', 0]]);
  const timestamp = { '!': 'timestamp', value: 1_000_000_000 };
  t.same(await take(channel, 'log', { 'x-stream-offset': timestamp }, 1), [['m0', 0]]);
  const next = take(channel, 'log', {}, 1);
  await channel.checkQueue('log');
  channel.sendToQueue('log', Buffer.from('new'));
  t.same(await next, [['new', 6]]);
  await channel.unbindQueue('log', 'amq.topic', 'a.#');
  t.equal((await channel.deleteQueue('log')).messageCount, 7);
  await connection.close();
});

t.test('unsettled deliveries are bounded by the prefetch count', async (t) => {
  const { connection, channel } = await open();
  await channel.assertQueue('window', STREAM);
  for (let n = 0; n < 10; n++) channel.sendToQueue('window', Buffer.from(`${n}`));
  await channel.waitForConfirms();
  await channel.prefetch(3);
  const seen: ConsumeMessage[] = [];
  const more = async (count: number): Promise<void> => {
    for (let n = 0; n < 1000 && seen.length < count; n++) await channel.checkQueue('window');
    await channel.checkQueue('window');
  };
  const onMessage = (message: ConsumeMessage | null) => void (message !== null && seen.push(message));
  const { consumerTag } = await channel.consume('window', onMessage, { arguments: { 'x-stream-offset': 'first' } });
  await more(3);
  t.equal(seen.length, 3);
  channel.ack(seen[1] as ConsumeMessage, true);
  await more(5);
  t.equal(seen.length, 5);
  channel.nack(seen[2] as ConsumeMessage);
  await more(6);
  t.equal(seen.length, 6, 'nothing comes back');
  await channel.cancel(consumerTag);
  channel.ackAll();
  await channel.checkQueue('window');
  t.equal(seen.length, 6);
  await connection.close();
});

t.test('settings are those of RabbitMQ; partitions are ours', async (t) => {
  const { connection, channel } = await open();
  const args = { 'x-queue-type': 'stream', 'x-max-age': '7D', 'x-max-length-bytes': 1_000_000, 'x-partitions': 3 };
  await channel.assertQueue('many', { durable: true, arguments: args });
  t.match(server.broker.admin.topics.get('/', 'many'), {
    partitions: 3,
    retentionMs: 7 * 86_400_000,
    retentionBytes: 1_000_000,
  });
  for (let n = 0; n < 3; n++) channel.sendToQueue('many', Buffer.from('x'.repeat(70_000)));
  await channel.waitForConfirms();
  await channel.prefetch(1);
  const second = await take(channel, 'many', { 'x-stream-offset': 'first', 'x-stream-partition': 1 }, 1);
  t.equal(second[0]?.[1], 0);
  await connection.close();
});

t.test('in a transaction, reading goes on: acknowledging takes nothing away', async (t) => {
  const { connection, channel } = await open();
  await channel.assertQueue('tx', STREAM);
  channel.sendToQueue('tx', Buffer.from('one'));
  channel.sendToQueue('tx', Buffer.from('two'));
  await channel.waitForConfirms();
  const other = await connection.createChannel();
  await other.prefetch(1);
  t.same(await take(other, 'tx', { 'x-stream-offset': 'first' }, 2), [
    ['one', 0],
    ['two', 1],
  ]);
  await connection.close();
});

t.test('what a stream cannot do closes the channel, or the connection', async (t) => {
  await (async () => {
    const { connection, channel } = await open();
    await channel.assertQueue('plain', STREAM);
    await connection.close();
  })();
  const cases: [string, (channel: Channel) => Promise<unknown>, RegExp][] = [
    ['no prefetch', (channel) => channel.consume('plain', () => {}), /prefetch count is not set/],
    ['no acks', (channel) => channel.consume('plain', () => {}, { noAck: true }), /without acknowledgements/],
    [
      'a filter',
      async (channel) => {
        await channel.prefetch(1);
        await channel.consume('plain', () => {}, { arguments: { 'x-filter': 'urgent' } });
      },
      /'x-filter': stream 'plain' has no filters/,
    ],
    ['get', (channel) => channel.get('plain'), /basic.get from stream/],
    ['purge', (channel) => channel.purgeQueue('plain'), /purging stream/],
    [
      'not durable',
      (channel) => channel.assertQueue('x', { ...STREAM, durable: false }),
      /must have a name, be durable/,
    ],
    ['other type', (channel) => channel.assertQueue('plain', { durable: true }), /is a topic|PRECONDITION/],
    [
      'argument',
      (channel) =>
        channel.assertQueue('x', { durable: true, arguments: { 'x-queue-type': 'stream', 'x-message-ttl': 5 } }),
      /invalid arg 'x-message-ttl'/,
    ],
    [
      'other settings',
      (channel) =>
        channel.assertQueue('plain', { durable: true, arguments: { 'x-queue-type': 'stream', 'x-max-age': '1h' } }),
      /retentionMs/,
    ],
    [
      'no such place',
      async (channel) => {
        await channel.prefetch(1);
        return channel.consume('plain', () => {}, { arguments: { 'x-stream-offset': 'yesterday' } });
      },
      /x-stream-offset/,
    ],
  ];
  for (const [name, act, text] of cases) {
    const { connection, channel } = await open();
    const texts: string[] = [];
    const closed = new Promise((resolve) => connection.on('close', resolve));
    for (const source of [connection, channel]) source.on('error', (error: Error) => texts.push(error.message));
    await t.rejects(act(channel), name);
    // An error 540 ends the connection; all others end the channel alone.
    if (!texts.some((one) => one.includes('540'))) await connection.close();
    await closed;
    t.match(texts.join(), text, name);
  }
});

t.test('a share group: consumers take turns, and what is rejected with requeue comes back', async (t) => {
  const { connection, channel } = await open();
  await channel.assertQueue('jobs', STREAM);
  for (let n = 0; n < 4; n++) channel.sendToQueue('jobs', Buffer.from(`${n}`));
  await channel.waitForConfirms();
  const args = { 'x-share-group': 'workers', 'x-stream-offset': 'first' };
  const inbox: ConsumeMessage[] = [];
  const other = await connection.createChannel();
  for (const consumer of [channel, other]) {
    await consumer.prefetch(2);
    await consumer.consume('jobs', (message) => void (message !== null && inbox.push(message)), { arguments: args });
  }
  const until = async (count: number): Promise<void> => {
    for (let n = 0; n < 1000 && inbox.length < count; n++) await other.checkQueue('jobs');
  };
  await until(4);
  t.same(inbox.map(({ content }) => content.toString()).sort(), ['0', '1', '2', '3']);
  channel.nack(inbox.find(({ fields }) => fields.deliveryTag === 1) as ConsumeMessage);
  await until(5);
  t.match(inbox[4], { fields: { redelivered: true }, content: Buffer.from('0') });
  await connection.close();
});

t.test('a share group with dead letters: what is rejected without requeue goes there, with its history', async (t) => {
  const { connection, channel } = await open();
  await channel.assertQueue('tough', STREAM);
  await channel.assertQueue('tough-dead', { durable: true });
  for (const body of ['a', 'b']) channel.sendToQueue('tough', Buffer.from(body), { persistent: true });
  await channel.waitForConfirms();
  const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'tough-dead' };
  const args = { 'x-share-group': 'workers', 'x-stream-offset': 'first', 'x-consumer-timeout': 60_000, ...dead };
  const inbox: ConsumeMessage[] = [];
  await channel.prefetch(10);
  await channel.consume('tough', (message) => void (message !== null && inbox.push(message)), { arguments: args });
  for (let n = 0; n < 1000 && inbox.length < 2; n++) await channel.checkQueue('tough');
  channel.nack(inbox[0] as ConsumeMessage, false, false);
  let letter: Awaited<ReturnType<typeof channel.get>> = false;
  for (let n = 0; n < 1000 && letter === false; n++) letter = await channel.get('tough-dead', { noAck: true });
  t.match(letter, {
    content: Buffer.from('a'),
    properties: { headers: { 'x-death': [{ queue: 'tough', reason: 'rejected' }] } },
  });
  const bad = await connection.createChannel();
  bad.on('error', () => {});
  const wrong = { ...args, 'x-share-group': 'other', 'x-dead-letter-exchange': 5 };
  await t.rejects(
    bad.consume('tough', () => {}, { arguments: wrong }),
    /x-dead-letter-exchange/,
  );
  await connection.close();
});
