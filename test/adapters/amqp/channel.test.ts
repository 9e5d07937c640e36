/** Channels: exchanges, queues, publishing, consuming, settling, and the errors each can end with. */
import t, { type Test } from 'tap';
import type { ArgumentsToSend } from '../../../src/adapters/amqp/v091/codec.ts';
import type { MethodName } from '../../../src/adapters/amqp/v091/methods.ts';
import { decodeProperties } from '../../../src/adapters/amqp/v091/properties.ts';
import { CONSUME, EXCHANGE, methodFrame, openChannel, QUEUE, type RawClient } from './_raw.ts';
import { startServer } from './_server.ts';

const server = await startServer();
const { port, broker } = server;
t.teardown(() => server.close());

const DELETE = { ifUnused: false, ifEmpty: false, noWait: false };
let count = 0;
const unique = (): string => `queue-${++count}`;

/** A connection with a queue of its own. */
async function withQueue(settings: Partial<ArgumentsToSend<'queue.declare'>> = {}): Promise<[RawClient, string]> {
  const client = await openChannel(port, { capabilities: { consumer_cancel_notify: true } });
  const queue = unique();
  await client.call(1, 'queue.declare', { ...QUEUE, queue, ...settings }, 'queue.declare-ok');
  return [client, queue];
}

/** Send a method on a new channel, which it must close with `code`. */
async function closes<M extends MethodName>(t: Test, code: number, name: M, args: ArgumentsToSend<M>, why: string) {
  const client = await openChannel(port);
  client.method(1, name, args);
  t.equal(await client.channelClosed(1), code, why);
  // The connection and the channel number stay usable.
  await client.call(1, 'channel.open', {}, 'channel.open-ok');
  client.end();
}

async function delivery(client: RawClient): Promise<{ tag: number; redelivered: boolean; body: string; key: string }> {
  const { deliveryTag, redelivered, routingKey } = await client.expect('basic.deliver');
  const { body } = await client.content();
  return { tag: deliveryTag, redelivered, body: body.toString(), key: routingKey };
}

async function counts(client: RawClient, queue: string): Promise<[messages: number, consumers: number]> {
  const passive = { ...QUEUE, queue, passive: true };
  const { messageCount, consumerCount } = await client.call(1, 'queue.declare', passive, 'queue.declare-ok');
  return [messageCount, consumerCount];
}

t.test('queues: generated names, counts, the name declared last', async (t) => {
  const client = await openChannel(port);
  const { queue } = await client.call(1, 'queue.declare', { ...QUEUE, queue: '', exclusive: true }, 'queue.declare-ok');
  t.match(queue, /^amq\.gen-[\w-]{22}$/);
  client.publish(1, { routingKey: queue, body: 'a' });
  client.publish(1, { routingKey: queue, body: 'b' });
  t.strictSame(await counts(client, ''), [2, 0], 'an empty name is the queue declared last');
  const bind = { queue: '', exchange: 'amq.direct', routingKey: '', noWait: false, arguments: {} };
  await client.call(1, 'queue.bind', bind, 'queue.bind-ok');
  client.publish(1, { exchange: 'amq.direct', routingKey: queue, body: 'c' });
  t.equal((await client.call(1, 'queue.purge', { queue: '', noWait: false }, 'queue.purge-ok')).messageCount, 3);
  t.equal((await client.call(1, 'queue.delete', { ...DELETE, queue: '' }, 'queue.delete-ok')).messageCount, 0);
  t.equal((await client.call(1, 'queue.delete', { ...DELETE, queue }, 'queue.delete-ok')).messageCount, 0, 'again');
  client.end();
});

t.test('queues: what is refused', async (t) => {
  const [client, queue] = await withQueue();
  const declare = (args: Partial<ArgumentsToSend<'queue.declare'>>) => ({ ...QUEUE, queue, ...args });
  await closes(t, 404, 'queue.declare', declare({ queue: 'missing', passive: true }), 'passive, not there');
  await closes(t, 404, 'queue.declare', declare({ queue: '', passive: true }), 'no name declared before');
  await closes(t, 403, 'queue.declare', declare({ queue: 'amq.mine' }), 'a reserved name');
  await closes(t, 406, 'queue.declare', declare({ durable: true }), 'other settings');
  await closes(
    t,
    405,
    'queue.declare',
    declare({ durable: true, exclusive: true }),
    'exclusive, before other settings',
  );
  await closes(t, 406, 'queue.declare', declare({ queue: 'x', arguments: { 'x-max-age': '1h' } }), 'for streams');
  await closes(t, 406, 'queue.declare', declare({ queue: 'x', arguments: { 'x-queue-type': 'stream' } }), 'a stream');
  await closes(
    t,
    406,
    'queue.declare',
    declare({ queue: 'x', arguments: { 'x-queue-type': 'quorum' } }),
    'not durable',
  );
  await closes(t, 404, 'queue.purge', { queue: 'missing', noWait: false }, 'purge');
  await closes(t, 404, 'basic.consume', { ...CONSUME, queue: 'missing' }, 'consume');
  await closes(t, 404, 'basic.get', { queue: 'missing', noAck: true }, 'get');
  const same = declare({ arguments: { 'x-queue-type': 'classic' } });
  t.equal((await client.call(1, 'queue.declare', same, 'queue.declare-ok')).queue, queue, 'classic is the default');
  client.publish(1, { routingKey: queue, body: 'x' });
  client.method(1, 'queue.delete', { ...DELETE, queue, ifEmpty: true });
  t.equal(await client.channelClosed(1), 406, 'not empty');
  await client.call(1, 'channel.open', {}, 'channel.open-ok');
  await client.call(1, 'basic.consume', { ...CONSUME, queue }, 'basic.consume-ok');
  await delivery(client);
  client.method(1, 'queue.delete', { ...DELETE, queue, ifUnused: true });
  t.equal(await client.channelClosed(1), 406, 'in use');
  client.end();
});

t.test('exclusive queues: 405 for others, whatever the arguments, and gone with their owner', async (t) => {
  const [owner, queue] = await withQueue({ exclusive: true });
  await closes(t, 405, 'queue.declare', { ...QUEUE, queue, passive: true }, 'passive');
  await closes(t, 405, 'queue.declare', { ...QUEUE, queue, durable: true, arguments: { 'x-expires': 1 } }, 'declare');
  await closes(t, 405, 'basic.consume', { ...CONSUME, queue }, 'consume');
  await closes(t, 405, 'basic.get', { queue, noAck: true }, 'get');
  await closes(t, 405, 'queue.purge', { queue, noWait: false }, 'purge');
  await closes(t, 405, 'queue.delete', { ...DELETE, queue }, 'delete');
  const bye = { replyCode: 200, replyText: '', classId: 0, methodId: 0 };
  await owner.call(0, 'connection.close', bye, 'connection.close-ok');
  t.equal(broker.admin.queue('/', queue), undefined);
});

t.test('exchanges: declare, alternate, bind to each other, delete', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  const [spare, main, front] = [unique(), unique(), unique()];
  const declare = async (exchange: string, args: Partial<ArgumentsToSend<'exchange.declare'>>) => {
    await client.call(1, 'exchange.declare', { ...EXCHANGE, exchange, ...args }, 'exchange.declare-ok');
  };
  await declare(spare, { type: 'fanout' });
  await declare(main, { type: 'topic', arguments: { 'alternate-exchange': spare } });
  await declare(main, { type: 'topic', arguments: { 'alternate-exchange': spare } });
  await declare(front, { type: 'direct' });
  await declare('amq.topic', { passive: true });
  const link = { destination: main, source: front, routingKey: 'lost', noWait: false, arguments: {} };
  await client.call(1, 'exchange.bind', link, 'exchange.bind-ok');
  const bind = { queue, routingKey: '', noWait: false, arguments: {} };
  await client.call(1, 'queue.bind', { ...bind, exchange: spare }, 'queue.bind-ok');
  client.publish(1, { exchange: front, routingKey: 'lost', body: 'by way of three exchanges' });
  t.strictSame(await counts(client, queue), [1, 0]);
  await client.call(1, 'exchange.unbind', link, 'exchange.unbind-ok');
  await client.call(1, 'exchange.unbind', link, 'exchange.unbind-ok');
  client.publish(1, { exchange: front, routingKey: 'lost', body: 'nowhere' });
  t.strictSame(await counts(client, queue), [1, 0]);
  await client.call(1, 'exchange.delete', { exchange: main, ifUnused: true, noWait: false }, 'exchange.delete-ok');
  await client.call(1, 'exchange.delete', { exchange: main, ifUnused: true, noWait: false }, 'exchange.delete-ok');
  client.method(1, 'exchange.delete', { exchange: spare, ifUnused: true, noWait: false });
  t.equal(await client.channelClosed(1), 406, 'in use');
  client.end();
});

t.test('exchanges: what is refused', async (t) => {
  const declare = (args: Partial<ArgumentsToSend<'exchange.declare'>>) => ({ ...EXCHANGE, exchange: 'x', ...args });
  await closes(t, 404, 'exchange.declare', declare({ passive: true, exchange: 'missing' }), 'passive, not there');
  await closes(t, 403, 'exchange.declare', declare({ exchange: 'amq.mine' }), 'a reserved name');
  await closes(t, 403, 'exchange.declare', declare({ exchange: '' }), 'the default exchange');
  await closes(t, 406, 'exchange.declare', declare({ exchange: 'amq.topic' }), 'another kind');
  await closes(
    t,
    403,
    'exchange.delete',
    { exchange: 'amq.topic', ifUnused: false, noWait: false },
    'delete amq.topic',
  );
  await closes(t, 403, 'exchange.delete', { exchange: '', ifUnused: false, noWait: false }, 'delete the default');
  const bind = { queue: 'missing', exchange: 'amq.topic', routingKey: '', noWait: false, arguments: {} };
  await closes(t, 404, 'queue.bind', bind, 'bind a missing queue');
  await closes(t, 404, 'queue.bind', { ...bind, exchange: 'missing' }, 'bind to a missing exchange');
  await closes(t, 403, 'queue.bind', { ...bind, exchange: '' }, 'bind to the default exchange');
  await closes(
    t,
    404,
    'basic.publish',
    { exchange: 'missing', routingKey: '', mandatory: false, immediate: false },
    'publish',
  );
  for (const [type, code] of [
    ['x-unknown', 503],
    ['x-consistent-hash', 540],
  ] as const) {
    const client = await openChannel(port);
    client.method(1, 'exchange.declare', declare({ type }));
    t.equal(await client.refused(), code, type);
  }
});

t.test('no-wait: no answer, and order is kept', async (t) => {
  const client = await openChannel(port);
  const [queue, exchange] = [unique(), unique()];
  const bind = { routingKey: 'k', noWait: true, arguments: {} };
  client.send(
    methodFrame(1, 'exchange.declare', { ...EXCHANGE, exchange, noWait: true }),
    methodFrame(1, 'queue.declare', { ...QUEUE, queue, noWait: true }),
    methodFrame(1, 'queue.bind', { ...bind, queue, exchange }),
    methodFrame(1, 'exchange.bind', { ...bind, destination: exchange, source: 'amq.direct' }),
    methodFrame(1, 'exchange.unbind', { ...bind, destination: exchange, source: 'amq.direct' }),
    methodFrame(1, 'confirm.select', { noWait: true }),
    methodFrame(1, 'basic.consume', { ...CONSUME, queue, noWait: true, noAck: true }),
  );
  client.publish(1, { exchange, routingKey: 'k', body: 'x' });
  const methods = [await client.anyMethod()];
  if (methods[0]?.name === 'basic.deliver') await client.content();
  methods.push(await client.anyMethod());
  if (methods[1]?.name === 'basic.deliver') await client.content();
  t.strictSame(methods.map(({ name }) => name).sort(), ['basic.ack', 'basic.deliver']);
  client.send(
    methodFrame(1, 'basic.cancel', { consumerTag: 'c', noWait: true }),
    methodFrame(1, 'queue.purge', { queue, noWait: true }),
    methodFrame(1, 'queue.delete', { ...DELETE, queue, noWait: true }),
    methodFrame(1, 'exchange.delete', { exchange, ifUnused: false, noWait: true }),
  );
  await client.call(1, 'channel.flow', { active: true }, 'channel.flow-ok');
  t.equal(broker.admin.queue('/', queue), undefined);
  client.end();
});

t.test('consumers: tags, exclusive use, priority argument', async (t) => {
  const [client, queue] = await withQueue();
  const generated = await client.call(1, 'basic.consume', { ...CONSUME, queue, consumerTag: '' }, 'basic.consume-ok');
  t.match(generated.consumerTag, /^amq\.ctag-/);
  await closes(
    t,
    403,
    'basic.consume',
    { ...CONSUME, queue, exclusive: true },
    'exclusive, with another consumer there',
  );
  await client.call(1, 'basic.cancel', { consumerTag: generated.consumerTag, noWait: false }, 'basic.cancel-ok');
  await client.call(1, 'basic.cancel', { consumerTag: 'unknown', noWait: false }, 'basic.cancel-ok');
  await client.call(1, 'basic.consume', { ...CONSUME, queue, exclusive: true }, 'basic.consume-ok');
  await closes(t, 403, 'basic.consume', { ...CONSUME, queue }, 'another one has exclusive use');
  await closes(
    t,
    406,
    'basic.consume',
    { ...CONSUME, queue, arguments: { 'x-priority': 'high' } },
    'priority is a number',
  );
  client.method(1, 'basic.consume', { ...CONSUME, queue });
  t.equal(await client.refused(), 530, 'a consumer tag used twice');
});

t.test('prefetch per consumer, acknowledgements one by one and several at once', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  await client.call(1, 'basic.qos', { prefetchSize: 0, prefetchCount: 3, global: false }, 'basic.qos-ok');
  await client.call(1, 'basic.consume', { ...CONSUME, queue }, 'basic.consume-ok');
  for (let i = 1; i <= 10; i++) client.publish(1, { routingKey: queue, body: String(i) });
  for (let i = 1; i <= 3; i++) t.match(await delivery(client), { tag: i, body: String(i), redelivered: false });
  t.strictSame(await counts(client, queue), [7, 1], 'no more than three');
  client.method(1, 'basic.ack', { deliveryTag: 2, multiple: false });
  t.match(await delivery(client), { tag: 4, body: '4' });
  client.method(1, 'basic.ack', { deliveryTag: 4, multiple: true });
  for (let i = 5; i <= 7; i++) t.match(await delivery(client), { tag: i, body: String(i) });
  t.strictSame(await counts(client, queue), [3, 1]);
  client.method(1, 'basic.ack', { deliveryTag: 0, multiple: true });
  for (let i = 8; i <= 10; i++) t.match(await delivery(client), { tag: i, body: String(i) });
  client.method(1, 'basic.ack', { deliveryTag: 99, multiple: true });
  t.equal(await client.channelClosed(1), 406, 'a tag that was never given');
  await client.call(1, 'channel.open', {}, 'channel.open-ok');
  t.strictSame(await counts(client, queue), [3, 0], 'what was not acknowledged is back');
  client.end();
});

t.test('prefetch for the whole channel', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  await client.call(1, 'basic.qos', { prefetchSize: 0, prefetchCount: 2, global: true }, 'basic.qos-ok');
  await client.call(1, 'basic.consume', { ...CONSUME, queue, consumerTag: 'a' }, 'basic.consume-ok');
  await client.call(1, 'basic.consume', { ...CONSUME, queue, consumerTag: 'b' }, 'basic.consume-ok');
  for (let i = 1; i <= 6; i++) client.publish(1, { routingKey: queue, body: String(i) });
  await delivery(client);
  await delivery(client);
  t.strictSame(await counts(client, queue), [4, 2]);
  client.method(1, 'basic.ack', { deliveryTag: 1, multiple: false });
  await delivery(client);
  t.strictSame(await counts(client, queue), [3, 2]);
  await client.call(1, 'basic.qos', { prefetchSize: 0, prefetchCount: 0, global: true }, 'basic.qos-ok');
  for (let i = 0; i < 3; i++) await delivery(client);
  t.strictSame(await counts(client, queue), [0, 2]);
  client.end();
});

t.test('acknowledging twice, or what was never delivered: 406', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  await closes(t, 406, 'basic.ack', { deliveryTag: 1, multiple: false }, 'ack');
  await closes(t, 406, 'basic.nack', { deliveryTag: 1, multiple: false, requeue: true }, 'nack');
  await closes(t, 406, 'basic.reject', { deliveryTag: 1, requeue: true }, 'reject');
  client.publish(1, { routingKey: queue, body: 'x' });
  await client.call(1, 'basic.get', { queue, noAck: false }, 'basic.get-ok');
  await client.content();
  client.method(1, 'basic.ack', { deliveryTag: 1, multiple: false });
  client.method(1, 'basic.ack', { deliveryTag: 1, multiple: false });
  t.equal(await client.channelClosed(1), 406);
  client.end();
});

t.test('reject, nack, recover: back to their place, or gone', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  for (const body of ['a', 'b', 'c', 'd']) client.publish(1, { routingKey: queue, body });
  const get = async () => {
    const {
      deliveryTag: tag,
      redelivered,
      messageCount,
    } = await client.call(1, 'basic.get', { queue, noAck: false }, 'basic.get-ok');
    return { tag, redelivered, messageCount, body: (await client.content()).body.toString() };
  };
  t.strictSame(await get(), { tag: 1, redelivered: false, messageCount: 3, body: 'a' });
  client.method(1, 'basic.reject', { deliveryTag: 1, requeue: true });
  t.strictSame(await get(), { tag: 2, redelivered: true, messageCount: 3, body: 'a' }, 'in front again');
  await get();
  client.method(1, 'basic.nack', { deliveryTag: 3, multiple: true, requeue: true });
  t.strictSame(await get(), { tag: 4, redelivered: true, messageCount: 3, body: 'a' });
  client.method(1, 'basic.nack', { deliveryTag: 4, multiple: false, requeue: false });
  t.match(await get(), { tag: 5, body: 'b', redelivered: true });
  client.method(1, 'basic.reject', { deliveryTag: 5, requeue: false });
  t.match(await get(), { tag: 6, body: 'c', redelivered: false });
  await client.call(1, 'basic.recover', { requeue: true }, 'basic.recover-ok');
  t.match(await get(), { tag: 7, body: 'c', redelivered: true });
  client.method(1, 'basic.ack', { deliveryTag: 7, multiple: false });
  await client.call(1, 'basic.get', { queue, noAck: true }, 'basic.get-ok');
  t.equal((await client.content()).body.toString(), 'd');
  await client.call(1, 'basic.get', { queue, noAck: false }, 'basic.get-empty');
  client.end();
});

t.test('cancelled consumers can still acknowledge', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  await client.call(1, 'basic.consume', { ...CONSUME, queue }, 'basic.consume-ok');
  for (const body of ['a', 'b']) client.publish(1, { routingKey: queue, body });
  await delivery(client);
  await delivery(client);
  await client.call(1, 'basic.cancel', { consumerTag: 'c', noWait: false }, 'basic.cancel-ok');
  t.strictSame(await counts(client, queue), [0, 0], 'it is no consumer any more');
  client.publish(1, { routingKey: queue, body: 'c' });
  client.method(1, 'basic.ack', { deliveryTag: 1, multiple: false });
  client.method(1, 'basic.nack', { deliveryTag: 2, multiple: false, requeue: true });
  t.strictSame(await counts(client, queue), [2, 0]);
  await client.call(1, 'basic.consume', { ...CONSUME, queue }, 'basic.consume-ok');
  t.match(await delivery(client), { tag: 3, body: 'b', redelivered: true }, 'the tag may be used again');
  client.end();
});

t.test('basic.get makes no consumer, and does not end an auto-delete queue', async (t) => {
  const [client, queue] = await withQueue({ autoDelete: true });
  client.publish(1, { routingKey: queue, body: 'a' });
  await client.call(1, 'basic.get', { queue, noAck: false }, 'basic.get-ok');
  await client.content();
  t.strictSame(await counts(client, queue), [0, 0]);
  await client.call(1, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 }, 'channel.close-ok');
  await client.call(1, 'channel.open', {}, 'channel.open-ok');
  t.strictSame(await counts(client, queue), [1, 0], 'given back');
  await client.call(1, 'queue.delete', { ...DELETE, queue, ifUnused: true }, 'queue.delete-ok');
  client.end();
});

t.test('the client is told when its queue is deleted, and may still acknowledge', async (t) => {
  const [client, queue] = await withQueue();
  await client.call(1, 'basic.consume', { ...CONSUME, queue }, 'basic.consume-ok');
  client.publish(1, { routingKey: queue, body: 'x' });
  await delivery(client);
  await broker.admin.deleteQueue('/', queue);
  t.match(await client.expect('basic.cancel'), { consumerTag: 'c', noWait: true });
  client.method(1, 'basic.ack', { deliveryTag: 1, multiple: false });
  await client.call(1, 'channel.flow', { active: true }, 'channel.flow-ok');
  client.end();
});

t.test('channel.flow stops and starts deliveries', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  await client.call(1, 'basic.consume', { ...CONSUME, queue, noAck: true }, 'basic.consume-ok');
  await client.call(1, 'channel.flow', { active: false }, 'channel.flow-ok');
  client.publish(1, { routingKey: queue, body: 'x' });
  t.strictSame(await counts(client, queue), [1, 1]);
  client.method(1, 'channel.flow', { active: true });
  const methods = [await client.anyMethod()];
  if (methods[0]?.name === 'basic.deliver') await client.content();
  methods.push(await client.anyMethod());
  t.strictSame(methods.map(({ name }) => name).sort(), ['basic.deliver', 'channel.flow-ok']);
  client.end();
});

t.test('mandatory messages without a queue come back before their confirm', async (t) => {
  const client = await openChannel(port);
  await client.call(1, 'confirm.select', { noWait: false }, 'confirm.select-ok');
  const properties = { headers: { a: 1 }, messageId: 'm' };
  client.publish(1, { exchange: 'amq.direct', routingKey: 'nowhere', body: 'back', mandatory: true, properties });
  const returned = await client.expect('basic.return');
  t.strictSame(returned, { replyCode: 312, replyText: 'NO_ROUTE', exchange: 'amq.direct', routingKey: 'nowhere' });
  const { head, body } = await client.content();
  t.same(decodeProperties(head, 0, head.length), properties);
  t.equal(body.toString(), 'back');
  t.strictSame(await client.expect('basic.ack'), { deliveryTag: 1, multiple: false });
  client.publish(1, { exchange: 'amq.direct', routingKey: 'nowhere', body: 'dropped' });
  t.strictSame(await client.expect('basic.ack'), { deliveryTag: 2, multiple: false });
  client.end();
});

t.test('persistent messages are confirmed several at once, in order, none twice', async (t) => {
  const [client, queue] = await withQueue({ durable: true });
  await client.call(1, 'confirm.select', { noWait: false }, 'confirm.select-ok');
  for (let i = 0; i < 500; i++) client.publish(1, { routingKey: queue, body: 'x', properties: { deliveryMode: 2 } });
  let confirmed = 0;
  while (confirmed < 500) {
    const { deliveryTag, multiple } = await client.expect('basic.ack');
    t.equal(multiple, deliveryTag - confirmed > 1);
    if (deliveryTag <= confirmed) t.fail(`${deliveryTag} after ${confirmed}`);
    confirmed = deliveryTag;
  }
  await client.call(1, 'queue.delete', { ...DELETE, queue }, 'queue.delete-ok');
  client.end();
});

t.test('user-id must be the user, expiration a number: 406', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  client.publish(1, { routingKey: queue, body: 'x', properties: { userId: 'guest', expiration: '60000' } });
  t.strictSame(await counts(client, queue), [1, 0]);
  client.publish(1, { routingKey: queue, body: 'x', properties: { userId: 'root' } });
  t.equal(await client.channelClosed(1), 406);
  await client.call(1, 'channel.open', {}, 'channel.open-ok');
  client.publish(1, { routingKey: queue, body: 'x', properties: { expiration: 'soon' } });
  t.equal(await client.channelClosed(1), 406);
  client.end();
});

t.test('CC and BCC name further queues; BCC is not shown', async (t) => {
  const [client, first] = await withQueue({ exclusive: true });
  const [second, third] = [unique(), unique()];
  for (const queue of [second, third]) {
    await client.call(1, 'queue.declare', { ...QUEUE, queue, exclusive: true }, 'queue.declare-ok');
  }
  client.publish(1, { routingKey: first, body: 'x', properties: { headers: { CC: [second], BCC: [third], a: 1 } } });
  for (const queue of [first, second, third]) {
    await client.call(1, 'basic.get', { queue, noAck: true }, 'basic.get-ok');
    const { head, body } = await client.content();
    t.equal(body.toString(), 'x');
    t.same(decodeProperties(head, 0, head.length).headers, { CC: [second], a: 1 }, queue);
  }
  client.end();
});

t.test('two channels of a connection do not disturb each other', async (t) => {
  const [client, queue] = await withQueue({ exclusive: true });
  await client.call(2, 'channel.open', {}, 'channel.open-ok');
  client.method(2, 'queue.declare', { ...QUEUE, queue: 'missing', passive: true });
  t.equal(await client.channelClosed(2), 404);
  client.publish(1, { routingKey: queue, body: 'x' });
  t.strictSame(await counts(client, queue), [1, 0]);
  const bye = { replyCode: 200, replyText: '', classId: 0, methodId: 0 };
  await client.call(1, 'channel.close', bye, 'channel.close-ok');
  await client.call(1, 'channel.open', {}, 'channel.open-ok');
  t.strictSame(await counts(client, queue), [1, 0], 'exclusive to the connection, not the channel');
  client.end();
});

t.test('nothing was logged as our own mistake', (t) => {
  t.strictSame(server.errors, []);
  t.end();
});
