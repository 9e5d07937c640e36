/** Who gets the next message: priorities, weights, one active at a time; and what consumers that keep messages may do. */
import { strict as assert } from 'node:assert';
import t from 'tap';
import type { Arguments, Client, DeliveryBatch, SettleOp, SubscribeOptions } from '../../src/core/index.ts';
import { Subscription } from '../../src/core/subscription.ts';
import { bodyOf, collect, connect, DURABLE, declare, durably, type Fixture, key, start, text } from './fixture.ts';

interface Setup {
  readonly fixture: Fixture;
  readonly client: Client;
  put(count: number): Promise<void>;
}

async function queueWith(args: Record<string, string | number | boolean>, limits = {}): Promise<Setup> {
  const fixture = await start(limits);
  const client = connect(fixture);
  await declare(fixture, 'q', args, false);
  const producer = client.producer({});
  let next = 0;
  const put = (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) producer.publish(producer.address('', key('q')), text(String(next++)), 0);
    return fixture.settle();
  };
  return { fixture, client, put };
}

/** A consumer that completes at once what it gets, and counts it. */
function eager(client: Client, options: Partial<SubscribeOptions> = {}): { taken: number } {
  const counter = { taken: 0 };
  const onDeliveries = (batch: DeliveryBatch): void => {
    while (batch.next()) counter.taken++;
  };
  client.subscribe('q', { credit: Number.POSITIVE_INFINITY, settled: true, ...options }, { onDeliveries });
  return counter;
}

t.test('weights share out what comes, inside a level of priority', async (t) => {
  const { client, put } = await queueWith({});
  const one = eager(client);
  const three = eager(client, { weight: 3 });
  const six = eager(client, { weight: 6 });
  const behind = eager(client, { weight: 1000, priority: -1 });
  await put(1000);
  t.same(
    [one, three, six, behind].map(({ taken }) => taken),
    [100, 300, 600, 0],
  );
});

t.test('weights are shares of what consumers have credit for: nobody waits for one that is full', async (t) => {
  const { fixture, client, put } = await queueWith({});
  const full = collect(client, 'q', { weight: 100, credit: 5 });
  const other = eager(client);
  await put(100);
  t.same([full.bodies.length, other.taken], [5, 95]);
  full.subscription.credit(3);
  await put(10);
  t.equal(full.bodies.length, 8, 'back in line');
  full.subscription.close();
  await put(10);
  await fixture.settle();
  t.equal(other.taken, 112 + 8, 'what it held has come back');
});

t.test('a choice among ten thousand consumers looks at one that cannot take only once', async (t) => {
  const { client, put } = await queueWith({});
  for (let n = 0; n < 9_999; n++) collect(client, 'q', { credit: 0 });
  const one = eager(client);
  await put(1);
  const canTake = Object.getOwnPropertyDescriptor(Subscription.prototype, 'canTake') as PropertyDescriptor;
  let looked = 0;
  Object.defineProperty(Subscription.prototype, 'canTake', {
    ...canTake,
    get() {
      looked++;
      return canTake.get?.call(this);
    },
  });
  t.teardown(() => Object.defineProperty(Subscription.prototype, 'canTake', canTake));
  await put(100);
  t.equal(one.taken, 101);
  t.ok(looked < 300, `${looked} looks`);
});

t.test('options that cannot be are refused', async (t) => {
  const { client } = await queueWith({});
  for (const options of [{ weight: 0 }, { weight: 1001 }, { weight: 1.5 }, { priority: 0.5 }, { timeoutMs: 0 }]) {
    t.throws(() => collect(client, 'q', options), { code: 'invalid-argument' }, JSON.stringify(options));
  }
  t.throws(() => collect(client, 'q', { timeoutMs: Number.NaN }), { code: 'invalid-argument' });
});

t.test('consumers are listed, those of the highest priority first', async (t) => {
  const { fixture, client, put } = await queueWith({});
  collect(client, 'q', { tag: 'low', weight: 2, credit: 10 });
  collect(client, 'q', { tag: 'high', priority: 5, credit: 1, timeoutMs: 500 });
  await put(3);
  const { admin } = fixture.broker;
  t.match(admin.consumers('/', 'q'), [
    { tag: 'high', priority: 5, weight: 1, unsettled: 1, credit: 0, active: true, timeoutMs: 500, user: 'alice' },
    { tag: 'low', priority: 0, weight: 2, unsettled: 2, credit: 8, active: true, timeoutMs: 1_800_000, settled: false },
  ]);
  t.throws(() => admin.consumers('/', 'none'), { code: 'not-found' });
});

// ---- One active at a time -------------------------------------------------------------------------------------------

interface Watched extends ReturnType<typeof collect> {
  readonly active: boolean[];
}

function watch(client: Client, options: Partial<SubscribeOptions> = {}): Watched {
  const active: boolean[] = [];
  const bodies: string[] = [];
  const onDeliveries = (batch: DeliveryBatch): void => {
    assert(active.at(-1), 'it knows before it gets anything');
    while (batch.next()) bodies.push(bodyOf(batch.message));
  };
  const onActive = (is: boolean): void => void active.push(is);
  const subscription = client.subscribe('q', { credit: 1000, ...options }, { onDeliveries, onActive });
  return { active, bodies, subscription, redeliveries: [], ended: undefined };
}

const SINGLE = { 'x-single-active-consumer': true };

t.test('single active: the first one gets everything; the next one when it is gone, from where it was', async (t) => {
  const { fixture, client, put } = await queueWith(SINGLE);
  const first = watch(client);
  const second = watch(client);
  await put(4);
  t.same([first.bodies, first.active, second.bodies, second.active], [['0', '1', '2', '3'], [true], [], []]);
  t.match(fixture.broker.admin.consumers('/', 'q'), [{ active: true }, { active: false }]);
  first.subscription.settle(1, 2, 'complete');
  first.subscription.close();
  await put(1);
  t.same([second.active, second.bodies], [[true], ['2', '3', '4']]);
  second.subscription.close();
  await put(1);
  const third = watch(client);
  await fixture.settle();
  t.same(third.bodies, ['2', '3', '4', '5'], 'one that comes later is active too');
});

t.test('single active: one that was cancelled keeps the others waiting until it has settled', async (t) => {
  const { fixture, client, put } = await queueWith(SINGLE);
  const first = watch(client, { credit: 2 });
  const second = watch(client);
  await put(4);
  first.subscription.cancel();
  await fixture.settle();
  t.same(second.active, []);
  first.subscription.settle(1, 1, 'requeue');
  await fixture.settle();
  t.same(second.bodies, []);
  first.subscription.settle(2, 2, 'complete');
  await fixture.settle();
  t.same([second.active, second.bodies], [[true], ['0', '2', '3']]);
});

t.test('single active: a higher priority takes over when nothing is in flight any more', async (t) => {
  const { fixture, client, put } = await queueWith(SINGLE);
  const low = watch(client);
  const same = watch(client);
  await put(2);
  const high = watch(client, { priority: 1 });
  await put(2);
  t.same([low.bodies, low.active, high.active], [['0', '1'], [true, false], []], 'it gets nothing new');
  low.subscription.settle(1, 2, 'complete');
  await fixture.settle();
  t.same([high.bodies, high.active], [['2', '3'], [true]]);
  high.subscription.settle(1, 2, 'complete');
  high.subscription.close();
  await put(1);
  t.same(
    [low.active, low.bodies],
    [
      [true, false, true],
      ['0', '1', '4'],
    ],
    'the first of the highest priority again',
  );
  t.same(same.active, []);
});

t.test('single active: one that must make way and leaves instead; a newcomer that leaves again', async (t) => {
  const { fixture, client, put } = await queueWith(SINGLE);
  const low = watch(client);
  await put(1);
  const high = watch(client, { priority: 1 });
  high.subscription.close();
  await put(1);
  t.same(low.bodies, ['0'], 'still waited for');
  low.subscription.settle(1, 1, 'requeue');
  await fixture.settle();
  t.same(
    [low.bodies, low.active],
    [
      ['0', '0', '1'],
      [true, false, true],
    ],
  );
  const higher = watch(client, { priority: 2 });
  low.subscription.close();
  await fixture.settle();
  t.same(higher.bodies, ['0', '1']);
  t.same(higher.active, [true]);
});

t.test('single active: single requests are refused', async (t) => {
  const { client } = await queueWith(SINGLE);
  t.throws(() => collect(client, 'q', { pull: true }), { code: 'resource-locked' });
});

// ---- Those that keep messages too long ------------------------------------------------------------------------------

t.test('a delivery that is unsettled for too long ends its consumer, and all it holds goes back', async (t) => {
  const { fixture, client, put } = await queueWith({ 'x-consumer-timeout': 1000 });
  const slow = collect(client, 'q', { credit: 2 });
  await put(2);
  for (let n = 0; n < 20; n++) {
    await fixture.clock.advance(900);
    t.equal(slow.ended, undefined, 'as long as it settles in time');
    const newest = slow.bodies.length;
    slow.subscription.settle(newest - 1, newest, 'complete');
    slow.subscription.credit(2);
    await put(2);
  }
  const newest = slow.bodies.length;
  slow.subscription.settle(newest, newest, 'complete');
  await fixture.clock.advance(1000 + 250);
  t.equal(slow.ended, 'consumer-timeout');
  t.match(fixture.broker.admin.queue('/', 'q'), { consumers: 0, unsettled: 0, ready: 1 });
  const other = collect(client, 'q');
  await fixture.settle();
  t.same(other.redeliveries, [1]);
  await fixture.clock.advance(10_000);
  t.equal(other.ended, 'consumer-timeout');
});

t.test('the time: of the consumer, else of the queue, else of all; presettled deliveries have none', async (t) => {
  const { fixture, client, put } = await queueWith({ 'x-consumer-timeout': 5000 }, { consumerTimeoutMs: 20_000 });
  const own = collect(client, 'q', { credit: 1, timeoutMs: 100 });
  const queues = collect(client, 'q', { credit: 1 });
  const never = collect(client, 'q', { credit: 1, timeoutMs: Number.POSITIVE_INFINITY });
  const settled = collect(client, 'q', { credit: 1, settled: true });
  await put(4);
  await fixture.clock.advance(200);
  t.same(
    [own, queues, never, settled].map(({ ended }) => ended !== undefined),
    [true, false, false, false],
  );
  await fixture.clock.advance(6000);
  t.same(
    [queues, never, settled].map(({ ended }) => ended !== undefined),
    [true, false, false],
  );
  await fixture.clock.advance(1e7);
  t.same([never.ended, settled.ended], [undefined, undefined]);
  const all = await queueWith({}, { consumerTimeoutMs: 300 });
  const one = collect(all.client, 'q');
  await all.put(1);
  await all.fixture.clock.advance(400);
  t.equal(one.ended, 'consumer-timeout');
});

t.test('a time that cannot be is refused', async (t) => {
  for (const value of [0, -2, 1.5, '10', 1e12]) {
    await t.rejects(queueWith({ 'x-consumer-timeout': value }), { code: 'invalid-argument' }, String(value));
  }
  const { client, put, fixture } = await queueWith({ 'x-consumer-timeout': -1 });
  const one = collect(client, 'q');
  await put(1);
  await fixture.clock.advance(1e7);
  t.equal(one.ended, undefined, '-1: for ever');
});

// ---- Counts and the delivery limit ----------------------------------------------------------------------------------

/** A consumer that notes how often what it gets was handed out before, and how often it had failed. */
function counts(client: Client): {
  subscription: ReturnType<Client['subscribe']>;
  seen: (readonly [number, number])[];
} {
  const seen: (readonly [number, number])[] = [];
  const onDeliveries = (batch: DeliveryBatch): void => {
    while (batch.next()) seen.push([batch.redeliveries, batch.failures]);
  };
  return { subscription: client.subscribe('q', { credit: 1000 }, { onDeliveries }), seen };
}

t.test('failures are counted apart from returns, and shown', async (t) => {
  const { fixture, client, put } = await queueWith({});
  await put(1);
  const { subscription, seen } = counts(client);
  await fixture.settle();
  for (const op of ['requeue', 'modify', 'requeue', 'modify'] as const) {
    subscription.settle(seen.length, seen.length, op);
    await fixture.settle();
  }
  t.same(seen, [
    [0, 0],
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 2],
  ]);
  subscription.close();
  const vanishing = connect(fixture);
  t.same(counts(vanishing).seen, []);
  await fixture.settle();
  vanishing.close(true);
  const last = counts(client);
  await fixture.settle();
  t.same(last.seen, [[6, 3]], 'what a client gave back in order has not failed; what one that vanished held has');
});

const LETTERS = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };

async function limited(args: Record<string, string | number>): Promise<{ fixture: Fixture; client: Client }> {
  const fixture = await start();
  const client = connect(fixture);
  const { admin } = fixture.broker;
  await fixture.clock.drive(admin.declareQueue('/', 'q', { ...DURABLE, arguments: args }));
  await fixture.clock.drive(admin.declareQueue('/', 'dead', DURABLE));
  const producer = client.producer({});
  producer.publish(producer.address('', key('q')), durably('poison'), 0);
  await fixture.settle();
  return { fixture, client };
}

/** Settle the newest delivery of a consumer again and again. */
async function settleAll(fixture: Fixture, client: Client, ops: readonly SettleOp[]): Promise<number> {
  const { subscription, seen } = counts(client);
  await fixture.settle();
  for (const op of ops) {
    subscription.settle(seen.length, seen.length, op);
    await fixture.settle();
  }
  subscription.close();
  return seen.length;
}

t.test('over the delivery limit a message is given up: handed on with its reason, or dropped', async (t) => {
  const fail = ['modify', 'requeue', 'requeue', 'modify', 'modify'] as const;
  const kept = await limited({ 'x-delivery-limit': 2, ...LETTERS });
  t.equal(await settleAll(kept.fixture, kept.client, fail), 5);
  t.match(kept.fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0, deadLettered: 1, dropped: 0 });
  const deaths: unknown[] = [];
  const onDeliveries = (batch: DeliveryBatch): void => {
    while (batch.next()) deaths.push(kept.fixture.broker.hub(batch.message).annotations.get('x-death'));
  };
  kept.client.subscribe('dead', { credit: 1 }, { onDeliveries });
  await kept.fixture.settle();
  t.match(deaths, [[{ queue: 'q', reason: 'delivery_limit', count: 1 }]]);
  const dropped = await limited({ 'x-delivery-limit': 0 });
  t.equal(await settleAll(dropped.fixture, dropped.client, ['requeue', 'modify']), 2);
  t.match(dropped.fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0, deadLettered: 0, dropped: 1 });
  const none = await limited({ 'x-delivery-limit': -1 });
  t.equal(await settleAll(none.fixture, none.client, Array<SettleOp>(300).fill('modify')), 301, '-1: no limit');
  await t.rejects(limited({ 'x-delivery-limit': 255 }), { code: 'invalid-argument' }, 'the count ends at 255');
});

t.test('rules change while there are consumers', async (t) => {
  const { fixture, client, put } = await queueWith({});
  const setRules = (rules: Arguments) =>
    fixture.clock.drive(fixture.broker.admin.policies.setQueueRules('/', 'q', rules));
  const [first, second] = [collect(client, 'q', { credit: 2 }), collect(client, 'q', { credit: 2 })];
  await put(3);
  t.same([first.bodies, second.bodies], [['0', '2'], ['1']]);
  await setRules({ 'single-active-consumer': true });
  first.subscription.settle(1, 2, 'complete');
  first.subscription.credit(2);
  await put(2);
  t.equal(first.bodies.length, 2, 'the other one still has a message');
  t.match(fixture.broker.admin.consumers('/', 'q'), [{ active: false }, { active: false }]);
  second.subscription.settle(1, 1, 'complete');
  await fixture.settle();
  t.same([first.bodies, second.bodies], [['0', '2', '3', '4'], ['1']], 'from now on the first one alone');
  await setRules({ 'consumer-timeout': 500 });
  await put(1);
  t.same(second.bodies, ['1', '5'], 'and now both again');
  t.match(fixture.broker.admin.consumers('/', 'q'), [{ timeoutMs: 500 }, { timeoutMs: 500 }]);
  await fixture.clock.advance(700);
  t.same([first.ended, second.ended], ['consumer-timeout', 'consumer-timeout']);
  await setRules({ 'delivery-limit': 0, 'delayed-retry-type': 'failed', 'delayed-retry-min': 60_000 });
  const last = collect(client, 'q');
  await fixture.settle();
  last.subscription.settle(1, 1, 'modify');
  t.match(fixture.broker.admin.queue('/', 'q'), { dropped: 1, deferred: 0 });
  await setRules({ 'delayed-retry-type': 'failed', 'delayed-retry-min': 60_000 });
  last.subscription.settle(2, 2, 'modify');
  t.match(fixture.broker.admin.queue('/', 'q'), { dropped: 1, deferred: 1 });
});
