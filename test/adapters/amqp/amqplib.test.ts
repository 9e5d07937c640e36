/** The client most Node programs use, against the adapter over a real socket. */
import { once } from 'node:events';
import amqplib, { type ConsumeMessage, type GetMessage } from 'amqplib';
import t from 'tap';
import { startServer } from './_server.ts';

const server = await startServer();
t.teardown(() => server.close());
const url = (query = '') => `amqp://guest:guest@127.0.0.1:${server.port}/${query}`;

t.test('publish with confirms, consume, acknowledge', async (t) => {
  const connection = await amqplib.connect(url());
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.prefetch(20);
  const bodies: string[] = [];
  const all = new Promise<void>((resolve) => {
    const onMessage = (message: ConsumeMessage | null): void => {
      if (message === null) return;
      bodies.push(message.content.toString());
      channel.ack(message);
      if (bodies.length === 500) resolve();
    };
    void channel.consume(queue, onMessage);
  });
  for (let i = 0; i < 500; i++) channel.sendToQueue(queue, Buffer.from(`message ${i}`), { persistent: i % 2 === 0 });
  await channel.waitForConfirms();
  await all;
  t.strictSame(
    bodies,
    Array.from({ length: 500 }, (_, i) => `message ${i}`),
  );
  await connection.close();
});

t.test('every property arrives as it was sent', async (t) => {
  const connection = await amqplib.connect(url());
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const options = {
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { text: 'é', number: 1, list: [1, 'two'], inner: { yes: true }, 'x-own': 5 },
    deliveryMode: 2,
    priority: 5,
    correlationId: 'c',
    replyTo: queue,
    expiration: '60000',
    messageId: 'm',
    timestamp: 1_700_000_000,
    type: 'kind',
    userId: 'guest',
    appId: 'test',
  };
  channel.sendToQueue(queue, Buffer.from([0, 255, 1]), options);
  const message = (await channel.get(queue, { noAck: true })) as GetMessage;
  t.strictSame(message.content, Buffer.from([0, 255, 1]));
  t.same({ ...message.properties, clusterId: undefined }, { ...options, clusterId: undefined });
  await connection.close();
});

t.test('dead letters: x-death and the headers of the first and the last death', async (t) => {
  const connection = await amqplib.connect(url());
  const channel = await connection.createConfirmChannel();
  const dead = (await channel.assertQueue('', { exclusive: true })).queue;
  const work = 'work-with-dead-letters';
  await channel.assertQueue(work, { deadLetterExchange: '', deadLetterRoutingKey: dead });
  const options = { headers: { own: 1 }, expiration: '60000', messageId: 'm', persistent: true };
  channel.sendToQueue(work, Buffer.from('poison'), options);
  await channel.waitForConfirms();
  const next = (queue: string): Promise<ConsumeMessage> =>
    new Promise((resolve) => {
      void channel.consume(queue, (message) => {
        if (message !== null) resolve(message);
      });
    });
  channel.nack(await next(work), false, false);
  const { content, fields, properties } = await next(dead);
  t.equal(content.toString(), 'poison');
  t.match(fields, { exchange: '', routingKey: dead, redelivered: false });
  t.equal(properties.messageId, 'm');
  t.equal(properties.expiration, undefined, 'it cannot expire twice');
  t.match(properties.headers, {
    own: 1,
    'x-death': [
      {
        queue: work,
        reason: 'rejected',
        count: 1,
        exchange: '',
        'routing-keys': [work],
        'original-expiration': '60000',
      },
    ],
    'x-first-death-queue': work,
    'x-first-death-reason': 'rejected',
    'x-first-death-exchange': '',
    'x-last-death-queue': work,
  });
  await channel.deleteQueue(work);
  await connection.close();
});

t.test('a full queue that refuses: the publisher gets a nack', async (t) => {
  const connection = await amqplib.connect(url());
  const channel = await connection.createConfirmChannel();
  const options = { exclusive: true, arguments: { 'x-max-length': 2, 'x-overflow': 'reject-publish' } };
  const { queue } = await channel.assertQueue('', options);
  const outcomes = ['a', 'b', 'c', 'd'].map(
    (body) =>
      new Promise<string>((resolve) => {
        const answered = (error: unknown): void => resolve(`${body} ${error === null ? 'ack' : 'nack'}`);
        channel.sendToQueue(queue, Buffer.from(body), {}, answered);
      }),
  );
  t.same(await Promise.all(outcomes), ['a ack', 'b ack', 'c nack', 'd nack']);
  t.equal((await channel.checkQueue(queue)).messageCount, 2);
  await connection.close();
});

t.test('topic, headers and fanout exchanges', async (t) => {
  const connection = await amqplib.connect(url());
  const channel = await connection.createChannel();
  const queues = await Promise.all([0, 1, 2].map(() => channel.assertQueue('', { exclusive: true })));
  const [topic = '', headers = '', fanout = ''] = queues.map(({ queue }) => queue);
  await channel.bindQueue(topic, 'amq.topic', 'a.*.#');
  await channel.bindQueue(headers, 'amq.headers', '', { 'x-match': 'all', kind: 'x', size: 2 });
  await channel.bindQueue(fanout, 'amq.fanout', '');
  for (const key of ['a.b', 'a.b.c.d', 'a', 'b.b']) channel.publish('amq.topic', key, Buffer.from(key));
  channel.publish('amq.headers', '', Buffer.from('both'), { headers: { kind: 'x', size: 2 } });
  channel.publish('amq.headers', '', Buffer.from('one'), { headers: { kind: 'x' } });
  channel.publish('amq.fanout', 'whatever', Buffer.from('all'));
  const drained = async (queue: string): Promise<string[]> => {
    const found: string[] = [];
    for (;;) {
      const message = await channel.get(queue, { noAck: true });
      if (message === false) return found;
      found.push(message.content.toString());
    }
  };
  t.strictSame(await drained(topic), ['a.b', 'a.b.c.d']);
  t.strictSame(await drained(headers), ['both']);
  t.strictSame(await drained(fanout), ['all']);
  await connection.close();
});

t.test('the smallest frames, as older clients ask for', async (t) => {
  const connection = await amqplib.connect(url('?frameMax=4096'));
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const body = Buffer.alloc(50_000, 7);
  channel.sendToQueue(queue, body);
  const message = (await channel.get(queue, { noAck: true })) as GetMessage;
  t.ok(message.content.equals(body));
  await connection.close();
});

t.test('errors come as errors, and a cancelled consumer is told', async (t) => {
  const connection = await amqplib.connect(url());
  const channel = await connection.createChannel();
  const closed = once(channel, 'error') as Promise<[Error & { code: number }]>;
  await t.rejects(channel.checkQueue('missing'));
  t.equal((await closed)[0].code, 404);
  const other = await connection.createChannel();
  await other.assertQueue('to-go', { durable: false });
  const cancelled = new Promise((resolve) => {
    void other.consume('to-go', resolve).then(() => connection.createChannel().then((c) => c.deleteQueue('to-go')));
  });
  t.equal(await cancelled, null);
  await connection.close();
  await t.rejects(amqplib.connect(`amqp://guest:wrong@127.0.0.1:${server.port}`), /403|ACCESS_REFUSED|ACCESS-REFUSED/);
});

t.test('nothing was logged as our own mistake', (t) => {
  t.strictSame(server.errors, []);
  t.end();
});
