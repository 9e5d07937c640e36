/** Bindings with filters, through the client most Node programs use. */
import { once } from 'node:events';
import amqplib from 'amqplib';
import t from 'tap';
import { drained, startServer } from './_server.ts';

const server = await startServer();
t.teardown(() => server.close());
const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${server.port}`);
t.teardown(() => connection.close());

t.test('queue and exchange bindings with x-filter and x-filter-tags', async (t) => {
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange('orders', 'topic', { durable: false, alternateExchange: 'rest' });
  await channel.assertExchange('rest', 'fanout', { durable: false });
  for (const queue of ['eu', 'tagged', 'rest']) await channel.assertQueue(queue, { exclusive: true });
  const eu = { 'x-filter': 'region STARTSWITH \'eu-\' AND JMSPriority > 5 AND "x-trace" IS NULL' };
  await channel.bindQueue('eu', 'orders', '#', eu);
  await channel.bindExchange('amq.fanout', 'orders', 'order.*', { 'x-filter-tags': 'new || paid' });
  await channel.bindQueue('tagged', 'amq.fanout', '');
  await channel.bindQueue('rest', 'rest', '');
  const send = (key: string, text: string, priority: number, headers: object): void =>
    void channel.publish('orders', key, Buffer.from(text), { priority, headers, persistent: true });
  send('order.1', 'eu', 9, { region: 'eu-west' });
  send('order.2', 'eu and tagged', 9, { region: 'eu-north', TAGS: 'paid' });
  send('order.3', 'not urgent', 5, { region: 'eu-west' });
  send('order.4', 'traced', 9, { region: 'eu-west', 'x-trace': 1 });
  send('refund.5', 'another key', 0, { TAGS: 'paid' });
  send('order.6', 'tagged', 0, { TAGS: 'new' });
  await channel.waitForConfirms();
  t.same(await drained(channel, 'eu'), ['eu', 'eu and tagged']);
  t.same(await drained(channel, 'tagged'), ['eu and tagged', 'tagged']);
  t.same(
    await drained(channel, 'rest'),
    ['not urgent', 'traced', 'another key'],
    'the alternate exchange has the rest',
  );
  await channel.unbindQueue('eu', 'orders', '#', eu);
  send('order.7', 'unbound', 9, { region: 'eu-west' });
  await channel.waitForConfirms();
  t.same(await drained(channel, 'eu'), []);
  await channel.close();
});

t.test('mandatory messages that no filter lets pass come back', async (t) => {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'amq.direct', 'k', { 'x-filter': 'size BETWEEN 1 AND 5' });
  const returned: string[] = [];
  channel.on('return', (message) => returned.push(message.content.toString()));
  for (const size of [1, 6, 5]) {
    channel.publish('amq.direct', 'k', Buffer.from(`${size}`), { headers: { size }, mandatory: true });
  }
  await channel.waitForConfirms();
  t.same(returned, ['6']);
  t.same(await drained(channel, queue), ['1', '5']);
  await channel.close();
});

t.test('a bad filter closes the channel with 406, column and reason', async (t) => {
  for (const [args, reason] of [
    [{ 'x-filter': 'shade IN (1, colour)' }, 'filter, column 14: expected a text or a number, found colour'],
    [{ 'x-filter-tags': 'a ||' }, 'filter, column 5: expected a tag'],
    [{ 'x-filter': true }, 'x-filter must be text'],
  ] as const) {
    for (const target of ['queue', 'exchange']) {
      const channel = await connection.createChannel();
      const { queue } = await channel.assertQueue('', { exclusive: true });
      const closed = once(channel, 'error') as Promise<[Error & { code: number }]>;
      const bound =
        target === 'queue'
          ? channel.bindQueue(queue, 'amq.topic', '#', args)
          : channel.bindExchange('amq.fanout', 'amq.topic', '#', args);
      await t.rejects(bound);
      const [error] = await closed;
      t.equal(error.code, 406);
      t.ok(error.message.includes(reason), error.message);
    }
  }
  t.same(server.broker.admin.bindings('/', { kind: 'exchange', name: 'amq.topic' }), []);
  t.same(server.errors, []);
});
