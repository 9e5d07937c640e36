/** Half messages with the client most Node programs use, over a real socket. */
import amqplib, { type ChannelModel, type ConfirmChannel, type ConsumeMessage, type Options } from 'amqplib';
import t from 'tap';
import { Message, RoutingKey } from '../../../src/core/index.ts';
import { Inbox } from '../../../tools/demo/steps.ts';
import { CONSUME, openChannel } from './_raw.ts';
import { startServer } from './_server.ts';

const server = await startServer();
t.teardown(() => server.close());
t.afterEach(() => t.same(server.errors, [], 'nothing failed inside'));

async function open(): Promise<{ connection: ChannelModel; channel: ConfirmChannel; closed: Promise<Error> }> {
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${server.port}/`);
  connection.on('error', () => {});
  t.teardown(() => connection.close().catch(() => {}));
  const channel = await connection.createConfirmChannel();
  const closed = new Promise<Error>((resolve) => channel.once('error', resolve));
  await channel.assertQueue('q');
  await channel.purgeQueue('q');
  return { connection, channel, closed };
}

const half = (op: string, id: string, headers: object = {}, group = 'shop'): Options.Publish => ({
  headers: { 'x-half': op, 'x-half-group': group, 'x-half-id': id, ...headers },
  persistent: true,
});

/** Publish and wait for the confirm; answers whether it was one. */
async function publish(channel: ConfirmChannel, body: string, options: Options.Publish, queue = 'q'): Promise<boolean> {
  return new Promise((resolve) => {
    channel.publish('', queue, Buffer.from(body), options, (error) => resolve(error === null));
  });
}

const ready = () => server.broker.admin.queue('/', 'q')?.ready;

/** Checks of a group, as they come. */
async function checks(channel: ConfirmChannel, group = 'shop') {
  const inbox = new Inbox<ConsumeMessage>();
  const { consumerTag } = await channel.consume(`amq.half.checks.${group}`, (message) => {
    if (message !== null) inbox.put(message);
  });
  return { consumerTag, next: () => inbox.take() };
}

t.test('prepare, commit, roll back', async (t) => {
  const { channel } = await open();
  t.ok(await publish(channel, 'one', half('prepare', 'h1', { own: 1 })));
  t.ok(await publish(channel, 'two', half('prepare', 'h1')));
  t.ok(await publish(channel, 'three', half('prepare', 'h2')));
  t.equal(ready(), 0);
  t.match(server.broker.admin.halves.list('/'), [
    { id: 'h1', messages: 2 },
    { id: 'h2', messages: 1 },
  ]);
  t.ok(await publish(channel, '', half('rollback', 'h2')));
  t.ok(await publish(channel, '', half('commit', 'h1')));
  t.ok(await publish(channel, '', half('commit', 'h1')), 'twice is fine');
  t.equal(ready(), 2);
  const first = await channel.get('q', { noAck: true });
  t.match(first, { content: Buffer.from('one'), properties: { headers: { own: 1 } } });
  const names = first === false ? [] : Object.keys(first.properties.headers ?? {});
  t.same(names, ['own'], 'the headers of half messages are gone');
});

t.test('a commit that is refused is a nack, and the half stays', async (t) => {
  const { channel } = await open();
  await channel.assertQueue('full', { arguments: { 'x-max-length': 0, 'x-overflow': 'reject-publish' } });
  t.ok(await publish(channel, 'one', half('prepare', 'f1')));
  t.ok(await publish(channel, 'two', half('prepare', 'f1'), 'full'));
  t.notOk(await publish(channel, '', half('commit', 'f1')));
  t.equal(ready(), 0);
  t.match(server.broker.admin.halves.get('/', 'shop', 'f1'), { messages: 2 });
  t.ok(await publish(channel, '', half('rollback', 'f1')));
});

t.test('checks are deliveries, and settling one is the answer', async (t) => {
  const dying = await open();
  const { channel } = await open();
  const { next, consumerTag } = await checks(channel);
  const soon = { 'x-half-check-after-ms': 20, 'x-half-check-every-ms': 20, 'x-half-checks': 500 };
  await publish(dying.channel, 'one', { ...half('prepare', 'c1', { ...soon, CC: ['q'] }), messageId: 'm1' });
  await dying.connection.close();
  const first = await next();
  t.equal(first.content.toString(), 'one');
  t.equal(first.fields.routingKey, 'q');
  t.match(first.properties, {
    messageId: 'm1',
    headers: { 'x-half-group': 'shop', 'x-half-id': 'c1', 'x-half-messages': 2, 'x-half-checks': 500 },
  });
  // Many more are due before this one is answered.
  for (let n = 0; n < 20; n++) await channel.checkQueue('q');
  channel.nack(first, false, true);
  const second = await next();
  t.ok(
    second.properties.headers?.['x-half-check'] > first.properties.headers?.['x-half-check'],
    'unknown: asked again',
  );
  channel.ack(second);
  await publish(channel, '', half('commit', 'c1'));
  t.equal(ready(), 2);
  await publish(channel, 'three', half('prepare', 'c2', soon));
  channel.reject(await next(), false);
  await publish(channel, '', half('rollback', 'c2'));
  t.equal(ready(), 2);
  t.match(await channel.checkQueue('amq.half.checks.shop'), { messageCount: 0, consumerCount: 1 });
  await channel.cancel(consumerTag);
  t.match(await channel.checkQueue('amq.half.checks.shop'), { consumerCount: 0 });
});

t.test('a check shows a message of another protocol', async (t) => {
  const { channel } = await open();
  const { next } = await checks(channel, 'web');
  server.broker.registerFormat({
    id: 5,
    name: 'json',
    toHub: () => ({ durable: true, annotations: new Map(), application: [['own', 7]] }),
  });
  const client = server.broker.client('/', { user: 'u', clientId: '', protocol: 'test', peer: '' }, {});
  const producer = client.producer({});
  const message = new Message();
  Object.assign(message, { format: 5, bytes: Buffer.from('web'), bodyEnd: 3 });
  const address = producer.address('amq.topic', new RoutingKey('a/b', 0x2f));
  producer.prepareHalf([{ address, message }], { group: 'web', id: 'w1', firstCheckMs: 1 }, 0);
  const check = await next();
  t.equal(check.content.toString(), 'web');
  t.equal(check.fields.routingKey, 'a.b');
  t.match(check.properties.headers, { own: 7, 'x-topic': 'a/b', 'x-half-id': 'w1' });
  channel.ack(check);
  await publish(channel, '', half('commit', 'w1', {}, 'web'));
  client.close();
});

t.test('prefetch holds for checks as well', async (t) => {
  const { channel } = await open();
  await channel.prefetch(1);
  const { next } = await checks(channel, 'narrow');
  const soon = { 'x-half-check-after-ms': 1, 'x-half-check-every-ms': 20, 'x-half-checks': 500 };
  await publish(channel, 'one', half('prepare', 'p1', soon, 'narrow'));
  const first = await next();
  await publish(channel, 'two', half('prepare', 'p2', soon, 'narrow'));
  const second = next();
  channel.ack(first);
  t.equal((await second).properties.headers?.['x-half-id'], 'p2');
});

t.test('CC and BCC prepare copies', async (t) => {
  const { channel } = await open();
  await channel.assertQueue('copy');
  t.ok(await publish(channel, 'x', half('prepare', 'cc', { CC: ['copy'], BCC: ['copy2'] })));
  t.match(server.broker.admin.halves.get('/', 'shop', 'cc'), { messages: 3 });
  t.ok(await publish(channel, '', half('commit', 'cc')));
  t.equal((await channel.checkQueue('copy')).messageCount, 1);
});

t.test('what makes no sense closes the channel with a reason', async (t) => {
  const refused = async (text: RegExp, act: (channel: ConfirmChannel) => unknown) => {
    const { channel, closed } = await open();
    act(channel);
    t.match((await closed).message, text);
  };
  const sends =
    (options: Options.Publish, body = '') =>
    (channel: ConfirmChannel) => {
      channel.publish('', 'q', Buffer.from(body), options);
      channel.on('close', () => {});
    };
  await refused(/406.*x-half must be/, sends(half('maybe', 'x')));
  await refused(/406.*x-half-group must be/, sends({ headers: { 'x-half': 'prepare', 'x-half-id': 'x' } }));
  await refused(/406.*x-half-wrong is not known/, sends(half('prepare', 'x', { 'x-half-wrong': 1 })));
  await refused(/406.*x-half must be/, sends({ headers: { 'x-half-id': 'x' } }));
  await refused(/406.*checks must be a number/, sends(half('prepare', 'x', { 'x-half-checks': 'many' })));
  await refused(/406.*first check is -1/, sends(half('prepare', 'x', { 'x-half-check-after-ms': -1 })));
  await refused(/406.*must be empty/, sends(half('commit', 'x'), 'body'));
  await refused(/404.*half message 'x'/, sends(half('commit', 'x')));
  await refused(/404.*half message 'x'/, sends(half('rollback', 'x', {}, 'foreign')));
  await refused(/406.*must be acknowledged/, (channel) =>
    channel.consume('amq.half.checks.g', () => {}, { noAck: true }).catch(() => {}),
  );
  await refused(/403/, (channel) => channel.assertQueue('amq.half.checks.g').catch(() => {}));
});

t.test('transactions and half messages are two things', async (t) => {
  const headers = { 'x-half': 'prepare', 'x-half-group': 'shop', 'x-half-id': 'x' };
  const client = await openChannel(server.port);
  await client.call(1, 'tx.select', {}, 'tx.select-ok');
  client.publish(1, { routingKey: 'q', body: 'x', properties: { headers } });
  t.equal(await client.channelClosed(1), 406);
  client.end();
  const asking = await openChannel(server.port);
  await asking.call(1, 'basic.consume', { ...CONSUME, queue: 'amq.half.checks.shop' }, 'basic.consume-ok');
  asking.method(1, 'tx.select', {});
  t.equal(await asking.channelClosed(1), 406);
  asking.end();
});
