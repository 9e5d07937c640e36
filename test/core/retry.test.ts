/** What came back and waits before it is handed out again. */
import t from 'tap';
import type { Arguments, Client, SettleOp } from '../../src/core/index.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { type Collector, collect, connect, declare, durably, type Fixture, key, newDisk, start } from './fixture.ts';

const BACKOFF = { 'x-delayed-retry-type': 'failed', 'x-delayed-retry-min': 100, 'x-delayed-retry-max': 250 };

interface Setup {
  readonly fixture: Fixture;
  readonly client: Client;
  put(...bodies: string[]): Promise<void>;
}

async function setUp(
  args: Arguments,
  options: { disk?: SimDisk; clock?: SimClock; limits?: object } = {},
): Promise<Setup> {
  const fixture = await start(options.limits, options.clock, options.disk);
  const client = connect(fixture);
  await declare(fixture, 'q', args);
  const producer = client.producer({});
  const put = (...bodies: string[]): Promise<void> => {
    for (const body of bodies) producer.publish(producer.address('', key('q')), durably(body), 0);
    return fixture.settle();
  };
  return { fixture, client, put };
}

const info = ({ broker }: Fixture) => broker.admin.queue('/', 'q');

/** Settle the newest delivery, and answer after how many milliseconds the next one comes. */
async function waited(fixture: Fixture, consumer: Collector, op: SettleOp, deliverAtMs = 0): Promise<number> {
  const { bodies, subscription } = consumer;
  const before = bodies.length;
  subscription.settle(before, before, op, deliverAtMs);
  for (let ms = 0; ms < 2000; ms++) {
    await fixture.clock.advance(ms === 0 ? 0 : 1);
    if (bodies.length > before) return ms;
  }
  return Number.POSITIVE_INFINITY;
}

t.test('failures wait longer and longer, up to the maximum; what did not fail comes at once', async (t) => {
  const { fixture, client, put } = await setUp(BACKOFF);
  await put('m');
  const consumer = collect(client, 'q');
  await fixture.settle();
  const times: number[] = [];
  for (const op of ['modify', 'requeue', 'modify', 'modify', 'modify'] as const) {
    times.push(await waited(fixture, consumer, op));
  }
  t.same(times, [100, 0, 200, 250, 250]);
});

t.test('each type of retry, and both limits with their defaults', async (t) => {
  const times = async (type: string, ...ops: SettleOp[]): Promise<number[]> => {
    const { fixture, client, put } = await setUp({ 'x-delayed-retry-type': type, 'x-delayed-retry-min': 10 });
    await put('m');
    const consumer = collect(client, 'q');
    await fixture.settle();
    const waits: number[] = [];
    for (const op of ops) waits.push(await waited(fixture, consumer, op));
    return waits;
  };
  t.same(await times('failed', 'requeue', 'modify', 'modify'), [0, 10, 20]);
  t.same(await times('returned', 'requeue', 'modify', 'requeue'), [10, 0, 30], 'counts how often it came back');
  t.same(await times('all', 'requeue', 'modify', 'requeue'), [10, 10, 30]);
  t.same(await times('disabled', 'requeue', 'modify'), [0, 0]);
  const long = await times('failed', ...Array<SettleOp>(12).fill('modify'));
  t.same(long.slice(-3), [100, 100, 100], 'ten times the minimum unless said otherwise');
});

t.test('a time that comes with the settlement goes before the rule; one that has passed means at once', async (t) => {
  const { fixture, client, put } = await setUp(BACKOFF);
  await put('m');
  const consumer = collect(client, 'q');
  await fixture.settle();
  const now = () => fixture.clock.now();
  t.equal(await waited(fixture, consumer, 'modify', now() + 700), 700);
  t.equal(await waited(fixture, consumer, 'requeue', now() + 30), 30);
  t.equal(await waited(fixture, consumer, 'modify', now() - 1000), 0);
  const { subscription, bodies } = consumer;
  const newest = bodies.length;
  for (const [op, time] of [
    ['complete', now() + 5],
    ['discard', now() + 5],
    ['modify', -5],
    ['modify', Number.NaN],
    ['requeue', Number.POSITIVE_INFINITY],
    ['requeue', now() + 1e12],
  ] as const) {
    t.throws(() => subscription.settle(newest, newest, op, time), { code: 'invalid-argument' }, `${op} ${time}`);
  }
  t.equal(subscription.unsettled, 1, 'nothing was settled');
});

t.test('others go on; what waits is in its place again when its time has come', async (t) => {
  const { fixture, client, put } = await setUp(BACKOFF);
  await put('a', 'b', 'c');
  const first = collect(client, 'q', { credit: 1 });
  await fixture.settle();
  first.subscription.settle(1, 1, 'modify');
  t.match(info(fixture), { ready: 2, deferred: 1, unsettled: 0 });
  first.subscription.credit(1);
  await fixture.clock.advance(10);
  t.same(first.bodies, ['a', 'b']);
  await fixture.clock.advance(100);
  t.match(info(fixture), { ready: 2, deferred: 0 });
  first.subscription.credit(10);
  await fixture.settle();
  t.same(first.bodies, ['a', 'b', 'a', 'c']);
});

async function deferThree(args: Arguments = BACKOFF): Promise<Setup & { clock: SimClock; disk: SimDisk }> {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const setup = await setUp(args, { clock, disk });
  await setup.put('a', 'b', 'c', 'd');
  const consumer = collect(setup.client, 'q', { credit: 3 });
  await setup.fixture.settle();
  const now = clock.now();
  consumer.subscription.settle(1, 1, 'modify', now + 5000);
  consumer.subscription.settle(2, 2, 'modify', now + 3000);
  consumer.subscription.settle(3, 3, 'modify', now + 4000);
  consumer.subscription.close();
  await setup.fixture.settle();
  return { ...setup, clock, disk };
}

/** A start on what a crash or an orderly end left on a disk, `ms` later. */
async function restarted(setup: { clock: SimClock; disk: SimDisk }, ms: number): Promise<Fixture> {
  const clock = new SimClock(setup.clock.now() + ms);
  return start({}, clock, setup.disk.clone({ clock, latencyMsMax: 1 }));
}

for (const how of ['a crash', 'a crash after a checkpoint', 'an orderly end'] as const) {
  t.test(`after ${how} what waits still waits`, async (t) => {
    const setup = await deferThree();
    if (how === 'a crash after a checkpoint') await setup.clock.drive(setup.fixture.internals.checkpointer.run());
    if (how === 'an orderly end') await setup.clock.drive(setup.fixture.close());
    else setup.disk.crash();
    const again = await restarted(setup, 3200);
    t.match(info(again), { ready: 2, deferred: 2 }, 'b was due while nobody ran');
    const consumer = collect(connect(again), 'q');
    await again.settle();
    t.same(consumer.bodies, ['b', 'd']);
    t.same(consumer.redeliveries, [1, 0]);
    await again.clock.advance(5000);
    t.same(consumer.bodies, ['b', 'd', 'c', 'a'], 'when they are due, not in their order');
    t.match(info(again), { deferred: 0, unsettled: 4 });
  });
}

t.test('a deferral that is over does not come back; nor does one of a message that is gone', async (t) => {
  const setup = await deferThree();
  const { fixture, clock } = setup;
  await clock.advance(3500);
  const consumer = collect(setup.client, 'q', { credit: 2 });
  await fixture.settle();
  t.same(consumer.bodies, ['b', 'd']);
  consumer.subscription.settle(1, 1, 'requeue');
  consumer.subscription.settle(2, 2, 'complete');
  await fixture.settle();
  setup.disk.crash();
  const again = await restarted(setup, 0);
  t.match(info(again), { ready: 1, deferred: 2 });
});

t.test('everything is handed out at once when an operator says so, also after a crash', async (t) => {
  const setup = await deferThree();
  const { fixture, clock } = setup;
  const now = clock.now();
  const waiting = fixture.broker.admin.deferred('/', 'q', 2);
  t.match(
    waiting,
    [{ redeliveries: 1, failures: 1, priority: 0, bytes: Number }, { dueMs: Number }],
    'the next ones first',
  );
  t.same(
    waiting.map(({ dueMs }) => dueMs > now),
    [true, true],
  );
  t.equal(await clock.drive(fixture.broker.admin.releaseDeferred('/', 'q')), 3);
  t.match(info(fixture), { ready: 4, deferred: 0 });
  t.equal(await clock.drive(fixture.broker.admin.releaseDeferred('/', 'q')), 0);
  await t.rejects(fixture.broker.admin.releaseDeferred('/', 'none'), { code: 'not-found' });
  setup.disk.crash();
  const again = await restarted(setup, 0);
  t.match(info(again), { ready: 4, deferred: 0 });
});

t.test('a purge takes what waits, before and after a restart; a queue with it is not empty', async (t) => {
  const setup = await deferThree();
  const { admin } = setup.fixture.broker;
  await t.rejects(admin.deleteQueue('/', 'q', { ifEmpty: true }), { code: 'not-empty', message: /4 messages/ });
  setup.disk.crash();
  const again = await restarted(setup, 0);
  t.equal(await again.clock.drive(again.broker.admin.purgeQueue('/', 'q')), 4);
  t.match(info(again), { ready: 0, deferred: 0, bytes: 0 });
  await again.clock.advance(10_000);
  t.match(info(again), { ready: 0, unsettled: 0 });
  const other = await deferThree();
  t.equal(await other.clock.drive(other.fixture.broker.admin.purgeQueue('/', 'q')), 4);
  t.equal(await other.clock.drive(other.fixture.broker.admin.deleteQueue('/', 'q')), 0);
  const third = await deferThree();
  t.equal(await third.clock.drive(third.fixture.broker.admin.deleteQueue('/', 'q')), 4);
  await third.clock.advance(10_000);
});

t.test('what expires while it waits is given up when its turn comes', async (t) => {
  const { clock, fixture } = await deferThree({ ...BACKOFF, 'x-message-ttl': 1000 });
  await clock.advance(2500);
  t.match(info(fixture), { ready: 0, deferred: 3, dropped: 1 });
  await clock.advance(3000);
  t.match(info(fixture), { ready: 0, deferred: 0, dropped: 4 });
});

t.test('what waits does not count for the maximum length, and does when it is back', async (t) => {
  const { fixture, clock, put } = await deferThree({ ...BACKOFF, 'x-max-length': 4, 'x-overflow': 'reject-publish' });
  t.match(info(fixture), { ready: 1, deferred: 3 });
  await put('e', 'f', 'g', 'h');
  t.match(info(fixture), { ready: 4, deferred: 3 }, 'h was refused');
  await clock.advance(6000);
  t.match(info(fixture), { ready: 7, deferred: 0 }, 'what comes back is taken back');
  const head = await deferThree({ ...BACKOFF, 'x-max-length': 4, 'x-overflow': 'drop-head' });
  await head.put('e', 'f');
  await head.clock.advance(6000);
  t.match(info(head.fixture), { ready: 4, dropped: 2 });
});

t.test('a queue with a bound is deleted in the turn in which more come back than it may have', async (t) => {
  const { fixture, client, put } = await setUp({ ...BACKOFF, 'x-max-length': 2 });
  const consumer = collect(client, 'q');
  for (const body of ['a', 'b', 'c']) await put(body);
  t.same(consumer.bodies, ['a', 'b', 'c']);
  consumer.subscription.settle(1, 3, 'modify');
  const deleted = fixture.broker.admin.deleteQueue('/', 'q');
  await fixture.clock.drive(deleted);
  await fixture.clock.advance(1000);
  t.equal(info(fixture), undefined);
});

t.test('too many that wait: the others come back at once', async (t) => {
  const { fixture, client, put } = await setUp(BACKOFF, { limits: { deferredPerQueueMax: 2 } });
  await put('a', 'b', 'c');
  const consumer = collect(client, 'q', { credit: 3 });
  await fixture.settle();
  consumer.subscription.settle(1, 3, 'modify');
  t.match(info(fixture), { ready: 1, deferred: 2 });
});

t.test('a clock that jumps ahead is noticed; one that jumps back loses nothing', async (t) => {
  const ahead = await deferThree();
  ahead.clock.epochMs += 3_600_000;
  await ahead.clock.advance(31_000);
  t.match(info(ahead.fixture), { deferred: 0, ready: 4 });
  const back = await deferThree();
  back.clock.epochMs -= 60_000;
  await back.clock.advance(6000);
  t.match(info(back.fixture), { deferred: 3 });
  await back.clock.advance(60_000);
  t.match(info(back.fixture), { deferred: 0, ready: 4 });
});

t.test('levels of priority: what waits keeps its level, also over a restart', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const { fixture, client } = await setUp({ ...BACKOFF, 'x-max-priority': 9 }, { clock, disk });
  const producer = client.producer({});
  for (const body of ['9', '5', '0']) {
    const message = durably(body);
    message.priority = Number(body);
    producer.publish(producer.address('', key('q')), message, 0);
  }
  const consumer = collect(client, 'q', { credit: 2 });
  await fixture.settle();
  t.same(consumer.bodies, ['9', '5']);
  consumer.subscription.settle(1, 2, 'modify', clock.now() + 1000);
  await fixture.settle();
  for (const checkpoint of [false, true]) {
    if (checkpoint) await clock.drive(fixture.internals.checkpointer.run());
    const again = await restarted({ clock, disk }, 0);
    await again.clock.advance(1100);
    const other = collect(connect(again), 'q');
    await again.settle();
    t.same(other.bodies, ['9', '5', '0']);
  }
});

t.test('rules that cannot be are refused', async (t) => {
  for (const args of [
    { 'x-delayed-retry-type': 'sometimes' },
    { 'x-delayed-retry-min': 0 },
    { 'x-delayed-retry-max': 1.5 },
    { 'x-delayed-retry-type': 'all', 'x-delayed-retry-min': 100, 'x-delayed-retry-max': 99 },
  ]) {
    await t.rejects(setUp(args), { code: 'invalid-argument' }, JSON.stringify(args));
  }
});
