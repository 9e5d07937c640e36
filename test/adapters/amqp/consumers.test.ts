/** What consumers are told of earlier attempts, what becomes of what they keep, and their arguments. */
import t from 'tap';
import { withCounts } from '../../../src/adapters/amqp/v091/counts.ts';
import { Writer } from '../../../src/adapters/amqp/v091/fields.ts';
import {
  type BasicProperties,
  decodeProperties,
  encodeProperties,
} from '../../../src/adapters/amqp/v091/properties.ts';
import type { DeliveryBatch } from '../../../src/core/index.ts';
import { CONSUME, openChannel, QUEUE, type RawClient } from './_raw.ts';
import { startServer, type TestServer } from './_server.ts';

let server: TestServer;
t.before(async () => {
  server = await startServer({ consumerTimeoutMs: 60_000 });
});
t.teardown(() => server.close());
t.afterEach(() => t.same(server.errors, []));

async function declare(client: RawClient, queue: string, args: object = {}): Promise<void> {
  const declaration = { ...QUEUE, queue, arguments: args as typeof QUEUE.arguments };
  await client.call(1, 'queue.declare', declaration, 'queue.declare-ok');
}

/** The next delivery, with its headers. */
async function next(client: RawClient): Promise<{ tag: number; body: string; headers: unknown }> {
  const { deliveryTag: tag } = await client.expect('basic.deliver');
  const { head, body } = await client.content();
  return { tag, body: body.toString(), headers: decodeProperties(head, 0, head.length).headers };
}

t.test('headers are added to any properties, and nothing else changes', async (t) => {
  const cases: BasicProperties[] = [
    {},
    { deliveryMode: 2 },
    { headers: {} },
    { headers: { a: 1, 'x-b': [true, 'c'] } },
    { contentType: 'text/plain', contentEncoding: 'gzip', headers: { a: 'b' }, deliveryMode: 2, appId: 'app' },
    { contentEncoding: 'gzip', messageId: 'm', timestamp: 1 },
  ];
  const batch = { redeliveries: 3, failures: 1 } as DeliveryBatch;
  for (const properties of cases) {
    const writer = new Writer();
    encodeProperties(writer.reset(), properties);
    const encoded = writer.toBuffer();
    const bytes = Buffer.concat([Buffer.from('noise'), encoded, Buffer.from('noise')]);
    const counted = withCounts({ head: bytes, headStart: 5, headEnd: 5 + encoded.length }, batch);
    const headers = { ...properties.headers, 'x-acquired-count': 3, 'x-delivery-count': 1 };
    t.same(decodeProperties(counted, 0, counted.length), { ...properties, headers });
  }
});

t.test('nack gives a message back, reject and a lost connection let it fail: headers count both', async (t) => {
  const client = await openChannel(server.port);
  await declare(client, 'counted');
  client.publish(1, { routingKey: 'counted', body: 'm', properties: { headers: { own: 'x' } } });
  await client.call(1, 'basic.consume', { ...CONSUME, queue: 'counted' }, 'basic.consume-ok');
  const first = await next(client);
  t.same(first.headers, { own: 'x' }, 'as it was published');
  client.method(1, 'basic.nack', { deliveryTag: first.tag, multiple: false, requeue: true });
  const second = await next(client);
  t.same(second.headers, { own: 'x', 'x-acquired-count': 1, 'x-delivery-count': 0 });
  client.method(1, 'basic.reject', { deliveryTag: second.tag, requeue: true });
  t.match((await next(client)).headers, { 'x-acquired-count': 2, 'x-delivery-count': 1 });
  const other = await openChannel(server.port);
  await other.call(1, 'basic.consume', { ...CONSUME, queue: 'counted' }, 'basic.consume-ok');
  client.end();
  const fourth = await next(other);
  t.match(fourth.headers, { 'x-acquired-count': 3, 'x-delivery-count': 2 }, 'lost');
  const bye = { replyCode: 200, replyText: '', classId: 0, methodId: 0 };
  await other.call(1, 'channel.close', bye, 'channel.close-ok');
  await other.call(1, 'channel.open', {}, 'channel.open-ok');
  other.method(1, 'basic.get', { queue: 'counted', noAck: true });
  await other.expect('basic.get-ok');
  const { head } = await other.content();
  const { headers } = decodeProperties(head, 0, head.length);
  t.match(headers, { 'x-acquired-count': 4, 'x-delivery-count': 2 }, 'a channel closed in order');
  other.end();
});

t.test('over the delivery limit: the dead letter exchange', async (t) => {
  const client = await openChannel(server.port);
  const letters = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'limited.dead' };
  await declare(client, 'limited.dead');
  await declare(client, 'limited', { 'x-delivery-limit': 1, ...letters });
  client.publish(1, { routingKey: 'limited', body: 'poison' });
  await client.call(1, 'basic.consume', { ...CONSUME, queue: 'limited' }, 'basic.consume-ok');
  for (let n = 0; n < 2; n++)
    client.method(1, 'basic.reject', { deliveryTag: (await next(client)).tag, requeue: true });
  await client.call(1, 'basic.consume', { ...CONSUME, queue: 'limited.dead', consumerTag: 'd' }, 'basic.consume-ok');
  const { headers } = await next(client);
  t.match(headers, { 'x-death': [{ queue: 'limited', reason: 'delivery_limit' }], 'x-first-death-queue': 'limited' });
  client.end();
});

t.test(
  'a delivery kept for too long: basic.cancel where the client knows it, else the channel is closed',
  async (t) => {
    const capable = await openChannel(server.port, { capabilities: { consumer_cancel_notify: true } });
    await declare(capable, 'slow', { 'x-consumer-timeout': 20 });
    capable.publish(1, { routingKey: 'slow', body: 'm' });
    await capable.call(1, 'basic.consume', { ...CONSUME, queue: 'slow', consumerTag: 'c' }, 'basic.consume-ok');
    const { tag } = await next(capable);
    t.same(await capable.expect('basic.cancel'), { consumerTag: 'c', noWait: true });
    capable.method(1, 'basic.ack', { deliveryTag: tag, multiple: false });
    const old = await openChannel(server.port);
    await old.call(1, 'basic.consume', { ...CONSUME, queue: 'slow', consumerTag: 'c' }, 'basic.consume-ok');
    t.match((await next(old)).headers, { 'x-acquired-count': 1, 'x-delivery-count': 0 }, 'it has not failed');
    t.equal(await old.channelClosed(1), 406);
    await old.call(1, 'channel.open', {}, 'channel.open-ok');
    const args = { 'x-consumer-timeout': -1 } as typeof CONSUME.arguments;
    await old.call(1, 'basic.consume', { ...CONSUME, queue: 'slow', arguments: args }, 'basic.consume-ok');
    await next(old);
    t.match(server.broker.admin.consumers('/', 'slow'), [{ timeoutMs: Number.POSITIVE_INFINITY }]);
    for (const client of [capable, old]) client.end();
  },
);

t.test('what a timed-out consumer held takes no part in the prefetch of its channel any more', async (t) => {
  const client = await openChannel(server.port, { capabilities: { consumer_cancel_notify: true } });
  await declare(client, 'window');
  for (const body of ['1', '2', '3']) client.publish(1, { routingKey: 'window', body });
  await client.call(1, 'basic.qos', { prefetchSize: 0, prefetchCount: 1, global: true }, 'basic.qos-ok');
  const consume = (consumerTag: string, args: object) => {
    const wanted = { ...CONSUME, queue: 'window', consumerTag, arguments: args as typeof CONSUME.arguments };
    return client.call(1, 'basic.consume', wanted, 'basic.consume-ok');
  };
  await consume('slow', { 'x-consumer-timeout': 20 });
  const stale = await next(client);
  await client.expect('basic.cancel');
  await consume('fast', {});
  const again = await next(client);
  t.equal(again.body, '1');
  for (const tag of [stale.tag, again.tag]) client.method(1, 'basic.ack', { deliveryTag: tag, multiple: false });
  const second = await next(client);
  t.equal(second.body, '2');
  client.method(1, 'basic.ack', { deliveryTag: 0, multiple: true });
  t.equal((await next(client)).body, '3', 'one at a time');
  client.end();
});

t.test('arguments of a consumer: weight and priority; what they cannot be is refused', async (t) => {
  const client = await openChannel(server.port);
  await declare(client, 'shared');
  const consume = (args: object) => ({
    ...CONSUME,
    queue: 'shared',
    consumerTag: '',
    arguments: args as typeof CONSUME.arguments,
  });
  await client.call(1, 'basic.consume', consume({ 'x-weight': 3, 'x-priority': 7 }), 'basic.consume-ok');
  t.match(server.broker.admin.consumers('/', 'shared'), [{ weight: 3, priority: 7, timeoutMs: 60_000 }]);
  for (const args of [{ 'x-weight': 0 }, { 'x-weight': 'many' }, { 'x-priority': 1.5 }, { 'x-consumer-timeout': 0 }]) {
    client.method(1, 'basic.consume', consume(args));
    t.equal(await client.channelClosed(1), 406, JSON.stringify(args));
    await client.call(1, 'channel.open', {}, 'channel.open-ok');
  }
  client.end();
});

t.test('single active consumer: basic.get is refused with 405', async (t) => {
  const client = await openChannel(server.port);
  await declare(client, 'single', { 'x-single-active-consumer': true });
  client.method(1, 'basic.get', { queue: 'single', noAck: true });
  t.equal(await client.channelClosed(1), 405);
  client.end();
});
