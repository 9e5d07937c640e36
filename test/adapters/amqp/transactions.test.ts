/** The tx class (AMQP 0-9-1, 1.9), as RabbitMQ does it. docs/transactions.md */
import t from 'tap';
import { CONSUME, openChannel, QUEUE, type RawClient } from './_raw.ts';
import { startServer } from './_server.ts';

const server = await startServer({ transactionItemsMax: 20 });
t.teardown(() => server.close());
const { port, broker } = server;

let names = 0;

/** A channel in a transaction, and a queue of its own. */
async function transactional(queue = `tx-${++names}`): Promise<{ client: RawClient; queue: string }> {
  const client = await openChannel(port);
  t.teardown(() => client.end());
  await client.call(1, 'queue.declare', { ...QUEUE, durable: true, queue }, 'queue.declare-ok');
  await client.call(1, 'tx.select', {}, 'tx.select-ok');
  return { client, queue };
}

const ready = (queue: string): number => broker.admin.queue('/', queue)?.ready ?? -1;
const commit = (client: RawClient): Promise<object> => client.call(1, 'tx.commit', {}, 'tx.commit-ok');
/** Answers come in order: what was sent before has been dealt with. */
const roundTrip = (client: RawClient): Promise<object> =>
  client.call(1, 'channel.flow', { active: true }, 'channel.flow-ok');

async function delivery(client: RawClient): Promise<{ tag: number; body: string; redelivered: boolean }> {
  const { deliveryTag, redelivered } = await client.expect('basic.deliver');
  return { tag: Number(deliveryTag), body: (await client.content()).body.toString(), redelivered };
}

t.test('publishes wait for the commit, and a rollback forgets them', async (t) => {
  const { client, queue } = await transactional();
  const properties = { deliveryMode: 2 } as const;
  client.publish(1, { routingKey: queue, body: 'one', properties });
  client.publish(1, { routingKey: queue, body: 'two', cut: 2 });
  await roundTrip(client);
  t.equal(ready(queue), 0);
  t.match(broker.admin.transactions('/'), [{ publishes: 2, user: 'guest' }]);
  await commit(client);
  t.equal(ready(queue), 2);
  client.publish(1, { routingKey: queue, body: 'never', properties });
  await client.call(1, 'tx.rollback', {}, 'tx.rollback-ok');
  await commit(client);
  t.equal(ready(queue), 2);
});

t.test('acknowledgements are held too; after a rollback they can be given again', async (t) => {
  const { client, queue } = await transactional();
  for (const body of ['a', 'b', 'c', 'd']) client.publish(1, { routingKey: queue, body });
  await commit(client);
  await client.call(1, 'basic.consume', { ...CONSUME, queue }, 'basic.consume-ok');
  const tags: number[] = [];
  for (let n = 0; n < 4; n++) tags.push((await delivery(client)).tag);
  client.method(1, 'basic.ack', { deliveryTag: tags[1] as number, multiple: true });
  client.method(1, 'basic.nack', { deliveryTag: tags[3] as number, multiple: false, requeue: false });
  await client.call(1, 'tx.rollback', {}, 'tx.rollback-ok');
  t.equal(broker.admin.queue('/', queue)?.unsettled, 4);
  client.method(1, 'basic.ack', { deliveryTag: tags[0] as number, multiple: false });
  client.method(1, 'basic.ack', { deliveryTag: tags[2] as number, multiple: true });
  client.method(1, 'basic.reject', { deliveryTag: tags[3] as number, requeue: true });
  await roundTrip(client);
  t.equal(broker.admin.queue('/', queue)?.unsettled, 4);
  await commit(client);
  const again = await delivery(client);
  t.same([again.body, again.redelivered], ['d', true]);
  t.match(broker.admin.queue('/', queue), { unsettled: 1, ready: 0 });
});

t.test('a delivery is acknowledged once in a transaction', async (t) => {
  const { client, queue } = await transactional();
  client.publish(1, { routingKey: queue, body: 'a' });
  await commit(client);
  await client.call(1, 'basic.consume', { ...CONSUME, queue }, 'basic.consume-ok');
  const { tag } = await delivery(client);
  client.method(1, 'basic.ack', { deliveryTag: tag, multiple: false });
  client.method(1, 'basic.ack', { deliveryTag: tag, multiple: false });
  t.equal(await client.channelClosed(1), 406);
  t.equal(ready(queue), 1, 'what the transaction held is back');
});

t.test('prefetch is given back by the commit', async (t) => {
  for (const global of [false, true]) {
    const { client, queue } = await transactional();
    for (const body of ['1', '2', '3']) client.publish(1, { routingKey: queue, body });
    await commit(client);
    await client.call(1, 'basic.qos', { prefetchSize: 0, prefetchCount: 2, global }, 'basic.qos-ok');
    await client.call(1, 'basic.consume', { ...CONSUME, queue }, 'basic.consume-ok');
    await delivery(client);
    const { tag } = await delivery(client);
    client.method(1, 'basic.ack', { deliveryTag: tag, multiple: true });
    await roundTrip(client);
    t.equal(ready(queue), 1);
    client.method(1, 'tx.commit', {});
    const next = [await client.frame(), await client.frame()];
    t.ok(next.every(({ type }) => type === 1 || type === 2));
    await server.broker.admin.deleteQueue('/', queue);
  }
});

t.test('unroutable and mandatory: returned at the commit, before its answer', async (t) => {
  const { client, queue } = await transactional();
  client.publish(1, { routingKey: 'nobody', body: 'lost', mandatory: true });
  client.publish(1, { routingKey: queue, body: 'found', mandatory: true });
  client.method(1, 'tx.commit', {});
  t.match(await client.expect('basic.return'), { replyCode: 312, exchange: '', routingKey: 'nobody' });
  t.equal((await client.content()).body.toString(), 'lost');
  await client.expect('tx.commit-ok');
  t.equal(ready(queue), 1);
});

t.test('a commit that cannot be done closes the channel, and nothing of it is done', async (t) => {
  const { client, queue } = await transactional();
  const full = `full-${queue}`;
  const args = { 'x-max-length': 1, 'x-overflow': 'reject-publish' };
  await client.call(1, 'queue.declare', { ...QUEUE, queue: full, arguments: args }, 'queue.declare-ok');
  client.publish(1, { routingKey: queue, body: 'a' });
  for (const body of ['b', 'c']) client.publish(1, { routingKey: full, body });
  client.method(1, 'tx.commit', {});
  t.equal(await client.channelClosed(1), 406);
  t.same([ready(queue), ready(full)], [0, 0]);
  t.same(broker.admin.transactions(), []);
});

t.test('more than a transaction may hold', async (t) => {
  const { client, queue } = await transactional();
  for (let n = 0; n < 21; n++) client.publish(1, { routingKey: queue, body: 'x' });
  t.equal(await client.channelClosed(1), 406);
  t.equal(ready(queue), 0);
});

t.test('a closed channel or connection rolls back', async (t) => {
  const { client, queue } = await transactional();
  client.publish(1, { routingKey: queue, body: 'x' });
  await roundTrip(client);
  await client.call(1, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 }, 'channel.close-ok');
  t.same([ready(queue), broker.admin.transactions().length], [0, 0]);
});

t.test('rolled back by an operator: the channel learns of it', async (t) => {
  const { client, queue } = await transactional();
  client.publish(1, { routingKey: queue, body: 'x' });
  await roundTrip(client);
  broker.admin.rollbackTransaction(broker.admin.transactions()[0]?.id ?? 0);
  client.method(1, 'tx.commit', {});
  t.equal(await client.channelClosed(1), 406);
});

t.test('confirms and transactions exclude each other, and tx methods need tx.select', async (t) => {
  const confirming = await openChannel(port);
  await confirming.call(1, 'confirm.select', { noWait: false }, 'confirm.select-ok');
  confirming.method(1, 'tx.select', {});
  t.equal(await confirming.channelClosed(1), 406);
  confirming.end();
  const { client } = await transactional();
  await client.call(1, 'tx.select', {}, 'tx.select-ok');
  client.method(1, 'confirm.select', { noWait: false });
  t.equal(await client.channelClosed(1), 406);
  for (const method of ['tx.commit', 'tx.rollback'] as const) {
    const plain = await openChannel(port);
    plain.method(1, method, {});
    t.equal(await plain.channelClosed(1), 406);
    plain.end();
  }
});

t.test('no mistakes of our own', async (t) => {
  t.same(server.errors, []);
});
