/** Transactions through the door: all or none, and visible together. docs/transactions.md */
import t from 'tap';
import { type Client, MANDATORY, type Producer, type Transaction } from '../../src/core/index.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import {
  bodyOf,
  collect,
  connect,
  DURABLE,
  declare,
  durably,
  type Fixture,
  key,
  newDisk,
  start,
  text,
} from './fixture.ts';

interface Scene {
  readonly f: Fixture;
  readonly client: Client;
  readonly producer: Producer;
  readonly returned: string[];
  readonly transaction: Transaction;
  publish(queue: string, body: string): void;
  ready(queue: string): number;
}

async function scene(
  queues: readonly string[],
  options: Parameters<typeof start>[0] = {},
  f?: Fixture,
): Promise<Scene> {
  const clock = new SimClock();
  const fixture = f ?? (await start(options, clock, newDisk(clock)));
  const { admin } = fixture.broker;
  for (const queue of queues) await fixture.clock.drive(admin.declareQueue('/', queue, DURABLE));
  const client = connect(fixture);
  const returned: string[] = [];
  const producer = client.producer({ onReturn: (message) => returned.push(bodyOf(message)) });
  const transaction = producer.transaction();
  return {
    f: fixture,
    client,
    producer,
    returned,
    transaction,
    publish: (queue, body) => transaction.publish(producer.address('', key(queue)), durably(body), 0),
    ready: (queue) => admin.queue('/', queue)?.ready ?? -1,
  };
}

async function commit({ f, transaction }: Scene): Promise<void> {
  await f.clock.drive(new Promise<void>((resolve) => transaction.commit(resolve)));
}

t.test('what is held is nowhere to be seen, and all of it is there after the commit', async (t) => {
  const s = await scene(['a', 'b', 'c']);
  const [a, b] = [collect(s.client, 'a'), collect(s.client, 'b')];
  s.publish('a', 'one');
  s.publish('b', 'two');
  s.publish('a', 'three');
  await s.f.settle();
  t.same([a.bodies, b.bodies], [[], []]);
  await commit(s);
  await s.f.settle();
  t.same([a.bodies, b.bodies], [['one', 'three'], ['two']]);
  t.equal(s.ready('c'), 0);
});

t.test('messages are copied when they are held', async (t) => {
  const s = await scene(['a']);
  const message = durably('first');
  const address = s.producer.address('', key('a'));
  s.transaction.publish(address, message, 0);
  message.bytes.fill(0x78);
  await commit(s);
  const a = collect(s.client, 'a');
  await s.f.settle();
  t.same(a.bodies, ['first']);
});

t.test('nothing is handed out before the batch is durable, transient messages and queues included', async (t) => {
  const s = await scene(['a', 'b']);
  await s.f.clock.drive(s.f.broker.admin.declareQueue('/', 'memory', { ...DURABLE, durable: false }));
  const seen: string[] = [];
  for (const queue of ['a', 'b', 'memory']) {
    const onDeliveries = (batch: { next(): boolean; message: Parameters<typeof bodyOf>[0] }): void => {
      while (batch.next()) seen.push(bodyOf(batch.message));
    };
    s.client.subscribe(queue, { credit: 10 }, { onDeliveries });
  }
  s.transaction.publish(s.producer.address('', key('b')), text('transient'), 0);
  s.transaction.publish(s.producer.address('', key('memory')), text('memory'), 0);
  s.publish('a', 'logged');
  let committed = false;
  s.transaction.commit(() => {
    committed = true;
    t.same(seen, []);
  });
  t.notOk(committed);
  await s.f.settle();
  t.ok(committed);
  t.same(seen.sort(), ['logged', 'memory', 'transient']);
});

t.test('settlements take effect with the commit, and not before', async (t) => {
  const s = await scene(['in', 'out']);
  for (const body of ['1', '2', '3']) s.producer.publish(s.producer.address('', key('in')), durably(body), 0);
  const input = collect(s.client, 'in');
  await s.f.settle();
  t.equal(s.transaction.settle(input.subscription, 1, 2, 'complete'), 2);
  t.equal(s.transaction.settle(input.subscription, 3, 3, 'requeue'), 1);
  s.publish('out', 'result');
  t.equal(input.subscription.unsettled, 3);
  await commit(s);
  await s.f.settle();
  t.equal(s.ready('out'), 1);
  t.same(input.bodies, ['1', '2', '3', '3'], 'the third came back');
  t.equal(input.subscription.unsettled, 1);
});

t.test('a rollback forgets: messages are not published, deliveries stay unsettled and can be settled', async (t) => {
  const s = await scene(['in', 'out']);
  s.producer.publish(s.producer.address('', key('in')), durably('1'), 0);
  const input = collect(s.client, 'in');
  await s.f.settle();
  s.transaction.settle(input.subscription, 1, 1, 'complete');
  s.publish('out', 'never');
  s.transaction.rollback();
  await commit(s);
  await s.f.settle();
  t.equal(s.ready('out'), 0);
  t.equal(input.subscription.unsettled, 1);
  t.equal(input.subscription.settle(1, 1, 'complete'), 1);
});

t.test('discarded in a transaction: dead-lettered with it', async (t) => {
  const s = await scene(['dead', 'out']);
  const args = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
  await declare(s.f, 'in', args);
  s.producer.publish(s.producer.address('', key('in')), durably('bad'), 0);
  const input = collect(s.client, 'in');
  await s.f.settle();
  s.transaction.settle(input.subscription, 1, 1, 'discard');
  s.publish('out', 'complaint');
  await s.f.settle();
  t.equal(s.ready('dead'), 0);
  await commit(s);
  await s.f.settle();
  t.same([s.ready('dead'), s.ready('out'), s.ready('in')], [1, 1, 0]);
});

t.test('one part that cannot be done: none is, and all is still held', async (t) => {
  const s = await scene(['a']);
  const full = { ...DURABLE, arguments: { 'x-max-length': 2, 'x-overflow': 'reject-publish' } };
  await s.f.clock.drive(s.f.broker.admin.declareQueue('/', 'full', full));
  s.publish('a', '1');
  for (const body of ['x', 'y']) s.publish('full', body);
  s.publish('full', 'z');
  t.throws(() => s.transaction.commit(() => t.fail('committed')), {
    code: 'limit-exceeded',
    message: /publish 4 of the transaction: queue 'full' is full/,
  });
  await s.f.settle();
  t.same([s.ready('a'), s.ready('full')], [0, 0]);
  t.match(s.f.broker.admin.transactions(), [{ publishes: 4, settlements: 0, vhost: '/', user: 'alice' }]);
});

t.test('an exchange that has gone', async (t) => {
  const s = await scene(['a']);
  const { admin } = s.f.broker;
  const settings = { kind: 'fanout', durable: true, autoDelete: false, internal: false, arguments: {} } as const;
  await s.f.clock.drive(admin.declareExchange('/', 'e', settings));
  s.publish('a', '1');
  s.transaction.publish(s.producer.address('e', key('')), durably('2'), 0);
  await s.f.clock.drive(admin.deleteExchange('/', 'e'));
  t.throws(() => s.transaction.commit(() => t.fail('committed')), { code: 'not-found' });
  await s.f.settle();
  t.equal(s.ready('a'), 0);
});

t.test('a mandatory message that nobody takes is returned, or fails the commit, as was asked', async (t) => {
  const s = await scene(['a']);
  s.publish('a', '1');
  s.transaction.publish(s.producer.address('', key('nobody')), durably('lost'), MANDATORY);
  await commit(s);
  t.same(s.returned, ['lost']);
  t.equal(s.ready('a'), 1);
  const strict = s.producer.transaction({ unroutable: 'refuse' });
  strict.publish(s.producer.address('', key('a')), durably('2'), MANDATORY);
  strict.publish(s.producer.address('', key('nobody')), durably('lost'), MANDATORY);
  t.throws(() => strict.commit(() => {}), { code: 'unroutable', message: /publish 2/ });
  t.equal(s.ready('a'), 1);
});

t.test('deliveries that went back to their queue meanwhile, and those settled twice', async (t) => {
  const s = await scene(['in', 'out']);
  for (const body of ['1', '2', '3']) s.producer.publish(s.producer.address('', key('in')), durably(body), 0);
  const input = collect(s.client, 'in');
  await s.f.settle();
  t.throws(() => s.transaction.settle(input.subscription, 1, 4, 'complete'), { code: 'unknown-delivery' });
  s.transaction.settle(input.subscription, 1, 2, 'complete');
  s.transaction.settle(input.subscription, 2, 3, 'complete');
  t.throws(() => s.transaction.commit(() => {}), { code: 'invalid-argument', message: /settled twice/ });
  s.transaction.rollback();
  s.transaction.settle(input.subscription, 1, 2, 'complete');
  s.publish('out', 'result');
  input.subscription.close();
  t.throws(() => s.transaction.commit(() => {}), { code: 'unknown-delivery' });
  await s.f.settle();
  t.same([s.ready('in'), s.ready('out')], [3, 0]);
});

t.test('deliveries of a queue that was deleted need no settling', async (t) => {
  const s = await scene(['in', 'out']);
  s.producer.publish(s.producer.address('', key('in')), durably('1'), 0);
  const input = collect(s.client, 'in');
  await s.f.settle();
  s.transaction.settle(input.subscription, 1, 1, 'complete');
  s.publish('out', 'result');
  await s.f.clock.drive(s.f.broker.admin.deleteQueue('/', 'in'));
  await commit(s);
  t.equal(s.ready('out'), 1);
});

t.test('limits: items, bytes of one, bytes of all; each gives room back', async (t) => {
  const s = await scene(['a'], { transactionItemsMax: 2, transactionBytesMax: 4000, transactionsBytesMax: 6000 });
  s.publish('a', '1');
  s.publish('a', '2');
  t.throws(() => s.publish('a', '3'), { code: 'limit-exceeded', message: /more than 2 publishes and settlements/ });
  s.transaction.rollback();
  t.throws(() => s.publish('a', 'x'.repeat(4000)), { code: 'limit-exceeded', message: /more than 4000 bytes/ });
  s.publish('a', 'x'.repeat(3000));
  const other = s.producer.transaction();
  const address = s.producer.address('', key('a'));
  t.throws(() => other.publish(address, durably('x'.repeat(3000)), 0), {
    code: 'limit-exceeded',
    message: /6000 bytes in open transactions of all clients/,
  });
  s.transaction.close();
  other.publish(address, durably('x'.repeat(3000)), 0);
  s.client.close();
  t.same(s.f.broker.admin.transactions(), []);
});

t.test('larger than a batch of the journal', async (t) => {
  const s = await scene(['a', 'b'], { batchBytesMax: 4096, segmentBytes: 16_384 });
  for (let n = 0; n < 40; n++) s.publish(n % 2 === 0 ? 'a' : 'b', `${n}`.padEnd(1000));
  await commit(s);
  const a = collect(s.client, 'a');
  await s.f.settle();
  t.same(
    a.bodies.map((body) => Number(body)),
    Array.from({ length: 20 }, (_, n) => n * 2),
  );
});

t.test('time to live begins with the commit', async (t) => {
  const s = await scene(['a']);
  const message = durably('brief');
  message.expiresAtMs = s.f.clock.now() + 100;
  s.transaction.publish(s.producer.address('', key('a')), message, 0);
  await s.f.clock.advance(500);
  await commit(s);
  t.equal(s.ready('a'), 1);
  await s.f.clock.advance(500);
  t.equal(s.ready('a'), 0);
});

t.test('an operator sees open transactions and rolls one back; its owner learns of it', async (t) => {
  const s = await scene(['a']);
  const { admin } = s.f.broker;
  t.same(admin.transactions(), []);
  s.publish('a', '1');
  const [info] = admin.transactions('/');
  t.match(info, { publishes: 1, settlements: 0, user: 'alice', bytes: Number });
  t.same(admin.transactions('other'), []);
  admin.rollbackTransaction(info?.id ?? 0);
  t.same(admin.transactions(), []);
  t.throws(() => admin.rollbackTransaction(info?.id ?? 0), { code: 'not-found' });
  t.throws(() => s.publish('a', '2'), { code: 'precondition-failed', message: /by an operator/ });
  t.throws(() => s.transaction.commit(() => {}), { code: 'precondition-failed' });
  s.transaction.rollback();
  s.publish('a', '3');
  await commit(s);
  t.equal(s.ready('a'), 1);
});

t.test('an empty commit is done', async (t) => {
  const s = await scene([]);
  await commit(s);
  t.pass();
});

t.test('a topic and a queue in one transaction', async (t) => {
  const s = await scene(['a']);
  await s.f.clock.drive(s.f.broker.admin.topics.create('/', 'events', { partitions: 1 }));
  s.publish('a', 'one');
  s.publish('events', 'two');
  await commit(s);
  t.equal(s.ready('a'), 1);
  t.equal(s.producer.lastOffset, 0);
});

t.test('sequence numbers do not go into transactions', async (t) => {
  const s = await scene(['a']);
  const message = durably('1');
  message.sequence = 0;
  t.throws(() => s.transaction.publish(s.producer.address('', key('a')), message, 0), { code: 'invalid-argument' });
});

t.test('with other rules: delays, groups, priorities, last values, all in one commit and over a crash', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const s = await scene([], {}, await start({}, clock, disk));
  const args = { 'x-max-priority': 5, 'x-last-value-key': 'message.key', 'x-dedup-count-max': 10 };
  for (const queue of ['a', 'b']) {
    await declare(s.f, queue, args);
  }
  const message = durably('grouped');
  message.priority = 3;
  message.groupStart = message.bodyStart;
  message.groupEnd = message.bodyEnd;
  s.transaction.publish(s.producer.address('', key('a')), message, 0);
  const later = durably('later');
  later.deliverAtMs = clock.now() + 5000;
  s.transaction.publish(s.producer.address('', key('b')), later, 0);
  s.publish('b', 'old');
  s.publish('b', 'new');
  await commit(s);
  disk.crash();
  clock.clear();
  const again = await scene([], {}, await start({}, clock, disk));
  const [a, b] = [collect(again.client, 'a'), collect(again.client, 'b')];
  await again.f.settle();
  t.same([a.bodies, b.bodies], [['grouped'], ['new']]);
  await again.f.clock.advance(6000);
  t.same(b.bodies, ['new', 'later']);
});

t.test('survives a crash right after the commit', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const s = await scene(['a', 'b'], {}, await start({}, clock, disk));
  s.publish('a', '1');
  s.publish('b', '2');
  await commit(s);
  disk.crash();
  clock.clear();
  const again = await scene([], {}, await start({}, clock, disk));
  t.same([again.ready('a'), again.ready('b')], [1, 1]);
});

t.test('given back with a time: waits from the commit on, also over a crash right after it', async (t) => {
  const s = await scene(['in', 'out']);
  const { admin } = s.f.broker;
  for (const body of ['1', '2', '3', '4']) s.producer.publish(s.producer.address('', key('in')), durably(body), 0);
  const input = collect(s.client, 'in', { credit: 4 });
  await s.f.settle();
  const soonMs = s.f.clock.now() + 500;
  const lateMs = s.f.clock.now() + 5_000;
  s.transaction.settle(input.subscription, 1, 1, 'modify', lateMs);
  s.transaction.settle(input.subscription, 2, 2, 'requeue', lateMs);
  s.transaction.settle(input.subscription, 3, 3, 'requeue', soonMs);
  s.transaction.settle(input.subscription, 4, 4, 'requeue', s.f.clock.now() - 1);
  s.publish('out', 'result');
  t.equal(admin.queue('/', 'in')?.deferred, 0, 'nothing waits before the commit');
  await commit(s);
  t.equal(admin.queue('/', 'in')?.deferred, 3, 'a time in the past is none');
  s.f.disk.kill();
  s.f.clock.clear();
  const after = await scene([], {}, await start({}, s.f.clock, s.f.disk));
  t.match(admin.queue('/', 'in'), { deferred: 3 });
  const again = collect(after.client, 'in');
  await after.f.settle();
  t.same(again.bodies, ['4']);
  t.match(after.f.broker.admin.deferred('/', 'in', 10), [
    { dueMs: soonMs, failures: 0, redeliveries: 1 },
    { dueMs: lateMs, failures: 1, redeliveries: 1 },
    { dueMs: lateMs, failures: 0, redeliveries: 1 },
  ]);
  await after.f.clock.advance(1_000);
  t.same(again.bodies, ['4', '3']);
  await after.f.clock.advance(5_000);
  t.same(again.bodies, ['4', '3', '1', '2']);
  const late = s.f.clock.now() + 11 * 365 * 86_400_000;
  const { transaction } = after;
  t.throws(() => transaction.settle(again.subscription, 1, 1, 'complete', late), { code: 'invalid-argument' });
  t.throws(() => transaction.settle(again.subscription, 1, 1, 'requeue', late), { code: 'invalid-argument' });
  t.throws(() => transaction.settle(again.subscription, 1, 1, 'requeue', Number.NaN), { code: 'invalid-argument' });
});

t.test('given back with a time, and failed once too often: a dead letter, with the commit', async (t) => {
  const s = await scene(['dead']);
  const args = { 'x-delivery-limit': 0, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
  await declare(s.f, 'in', args);
  s.producer.publish(s.producer.address('', key('in')), durably('1'), 0);
  const input = collect(s.client, 'in');
  await s.f.settle();
  s.transaction.settle(input.subscription, 1, 1, 'modify', s.f.clock.now() + 1_000);
  await s.f.settle();
  t.equal(s.ready('dead'), 0);
  await commit(s);
  await s.f.settle();
  t.same([s.ready('dead'), s.f.broker.admin.queue('/', 'in')?.deferred], [1, 0]);
});
