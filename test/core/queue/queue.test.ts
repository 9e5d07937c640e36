import t from 'tap';
import type { Client } from '../../../src/core/index.ts';
import { collect, connect, type Fixture, key, start, TRANSIENT, text } from '../fixture.ts';

/** A queue `q` that holds messages with these bodies. */
async function queueWith(
  bodies: readonly string[],
  limits = {},
): Promise<{ fixture: Fixture; client: Client; put(body: string): void }> {
  const fixture = await start(limits);
  const client = connect(fixture);
  await fixture.broker.admin.declareQueue('/', 'q', TRANSIENT);
  const producer = client.producer({});
  const put = (body: string): void => void producer.publish(producer.address('', key('q')), text(body), 0);
  for (const body of bodies) put(body);
  await fixture.settle();
  return { fixture, client, put };
}

const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

t.test('credit bounds what is handed out', async (t) => {
  const { fixture, client } = await queueWith(DIGITS);
  const { subscription, bodies } = collect(client, 'q', { credit: 3 });
  await fixture.settle();
  t.same(bodies, ['0', '1', '2']);
  t.equal(subscription.unsettled, 3);
  subscription.settle(1, 3, 'complete');
  await fixture.settle();
  t.equal(bodies.length, 3, 'settling gives no credit');
  subscription.credit(2);
  subscription.credit(2);
  await fixture.settle();
  t.same(bodies, DIGITS.slice(0, 7));
  subscription.setCredit(0);
  subscription.setCredit(1);
  await fixture.settle();
  t.equal(bodies.length, 8);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 2, unsettled: 5, delivered: 8, completed: 3, consumers: 1 });
});

t.test('credit without limit is bounded by the unsettled deliveries', async (t) => {
  const { fixture, client } = await queueWith(DIGITS, { unsettledPerSubscriptionMax: 4 });
  const { subscription, bodies } = collect(client, 'q', { credit: Number.POSITIVE_INFINITY });
  await fixture.settle();
  t.equal(bodies.length, 4);
  subscription.settle(2, 3, 'complete');
  await fixture.settle();
  t.equal(bodies.length, 6, 'room again');
});

t.test('returned messages go back to their places and are delivered first', async (t) => {
  const { fixture, client } = await queueWith(DIGITS);
  const { subscription, bodies, redeliveries } = collect(client, 'q', { credit: 5 });
  await fixture.settle();
  t.equal(subscription.settle(4, 4, 'requeue'), 1);
  t.equal(subscription.settle(2, 2, 'modify'), 1);
  t.equal(subscription.settle(1, 1, 'complete'), 1);
  t.equal(subscription.settle(3, 3, 'discard'), 1);
  t.equal(subscription.settle(1, 4, 'complete'), 0, 'numbers already settled are skipped');
  t.throws(() => subscription.settle(1, 6, 'complete'), { code: 'unknown-delivery' });
  subscription.credit(4);
  await fixture.settle();
  t.same(bodies.slice(5), ['1', '3', '5', '6']);
  t.same(redeliveries.slice(5), [1, 1, 0, 0]);
  subscription.close();
  const again = collect(client, 'q');
  await fixture.settle();
  t.same(again.bodies, ['1', '3', '4', '5', '6', '7', '8', '9'], 'in order, what was rejected or done is gone');
  t.same(again.redeliveries, [2, 2, 1, 1, 1, 0, 0, 0]);
  t.equal(again.subscription.settle(1, 8, 'complete'), 8);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0, bytes: 0 });
});

t.test('several consumers take turns, the higher priority first', async (t) => {
  const { fixture, client } = await queueWith(DIGITS);
  const low = collect(client, 'q', { priority: -1 });
  const one = collect(client, 'q', { credit: 3, priority: 5 });
  const two = collect(client, 'q', { credit: 2, priority: 5 });
  await fixture.settle();
  t.same(one.bodies, ['0', '2', '4'], 'one by one');
  t.same(two.bodies, ['1', '3']);
  t.same(low.bodies, ['5', '6', '7', '8', '9'], 'what the others have no credit for');
  one.subscription.close();
  await fixture.settle();
  t.same(low.bodies.slice(5), ['0', '2', '4'], 'what a consumer held goes to the others');
});

t.test('a batch left unfinished pauses the subscription until it resumes', async (t) => {
  const { fixture, client, put } = await queueWith(DIGITS);
  const taken: number[] = [];
  const subscription = client.subscribe(
    'q',
    { credit: 100 },
    {
      onDeliveries: (batch) => {
        for (let n = 0; n < 3 && batch.next(); n++) taken.push(batch.deliveryId);
      },
    },
  );
  await fixture.settle();
  t.same(taken, [1, 2, 3]);
  subscription.credit(5);
  put('more');
  await fixture.settle();
  t.equal(taken.length, 3, 'still paused');
  subscription.resume();
  await fixture.settle();
  t.equal(taken.length, 6);
});

t.test('settled subscriptions: at most once', async (t) => {
  const { fixture, client } = await queueWith(DIGITS);
  const { bodies, subscription } = collect(client, 'q', { settled: true, credit: 4 });
  await fixture.settle();
  t.same(bodies, DIGITS.slice(0, 4));
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 6, unsettled: 0, completed: 4 });
  subscription.close();
  const rest = collect(client, 'q');
  await fixture.settle();
  t.same(rest.bodies, DIGITS.slice(4));
});

t.test('exclusive consumers', async (t) => {
  const { client } = await queueWith([]);
  const only = collect(client, 'q', { exclusive: true });
  t.throws(() => collect(client, 'q'), { code: 'in-use' });
  only.subscription.close();
  collect(client, 'q');
  t.throws(() => collect(client, 'q', { exclusive: true }), { code: 'in-use' });
});

t.test('a cancelled consumer is none any more, and may settle what it holds', async (t) => {
  const { fixture, client } = await queueWith(DIGITS);
  const { admin } = fixture.broker;
  const only = collect(client, 'q', { exclusive: true, credit: 4 });
  await fixture.settle();
  only.subscription.cancel();
  only.subscription.cancel();
  only.subscription.credit(5);
  t.match(admin.queue('/', 'q'), { consumers: 0, unsettled: 4, ready: 6 });
  const next = collect(client, 'q', { credit: 3 });
  t.equal(only.subscription.settle(1, 2, 'complete'), 2);
  t.equal(only.subscription.settle(3, 3, 'requeue'), 1);
  await fixture.settle();
  t.same(only.bodies, ['0', '1', '2', '3'], 'it takes no more');
  t.same(next.bodies, ['2', '4', '5']);
  only.subscription.close();
  next.subscription.credit(1);
  await fixture.settle();
  t.same(next.bodies.at(-1), '3', 'its end gives the rest back');
  t.match(admin.queue('/', 'q'), { consumers: 1, unsettled: 4, ready: 4 });
});

t.test('an auto-delete queue goes when its last consumer is cancelled, with what that held', async (t) => {
  const fixture = await start();
  const client = connect(fixture);
  await fixture.broker.admin.declareQueue('/', 'q', { ...TRANSIENT, autoDelete: true });
  const producer = client.producer({});
  producer.publish(producer.address('', key('q')), text('x'), 0);
  const consumer = collect(client, 'q');
  const other = collect(client, 'q');
  await fixture.settle();
  consumer.subscription.cancel();
  t.match(fixture.broker.admin.queue('/', 'q'), { consumers: 1 });
  other.subscription.cancel();
  t.equal(fixture.broker.admin.queue('/', 'q'), undefined);
  t.same([consumer.ended, other.ended], [undefined, undefined], 'they had said goodbye');
  t.equal(consumer.subscription.settle(1, 1, 'complete'), 0);
  client.close();
  t.equal(fixture.internals.engine.bodies.transient.count, 0);
});

t.test('purge and delete', async (t) => {
  const { fixture, client, put } = await queueWith(DIGITS);
  const { admin } = fixture.broker;
  const holder = collect(client, 'q', { credit: 2 });
  await fixture.settle();
  t.equal(await admin.purgeQueue('/', 'q'), 8);
  t.match(admin.queue('/', 'q'), { ready: 0, unsettled: 2 });
  holder.subscription.settle(1, 1, 'requeue');
  put('new');
  await t.rejects(admin.deleteQueue('/', 'q', { ifUnused: true }), { code: 'in-use' });
  await t.rejects(admin.deleteQueue('/', 'q', { ifEmpty: true }), { code: 'not-empty' });
  t.equal(await admin.deleteQueue('/', 'q'), 2);
  t.equal(holder.ended, 'not-found');
  t.equal(holder.subscription.settle(2, 2, 'complete'), 0, 'too late, and no harm done');
  await fixture.settle();
  const { engine } = fixture.internals;
  t.equal(engine.bodies.transient.count, 0, 'every body is given back');
  t.equal(engine.bodies.arena.liveBytes, 0);
});

t.test('a purge of many messages is out of sight at once and done in slices', async (t) => {
  const many = Array.from({ length: 3000 }, (_, n) => String(n));
  const { fixture, client, put } = await queueWith(many);
  const purged = fixture.broker.admin.purgeQueue('/', 'q');
  put('after');
  const { bodies } = collect(client, 'q');
  t.equal(await fixture.clock.drive(purged), 3000);
  await fixture.settle();
  t.same(bodies, ['after']);
});

t.test('a consumer may settle, requeue, publish and leave inside its callback', async (t) => {
  const { fixture, client, put } = await queueWith(['a', 'b', 'c']);
  const seen: number[] = [];
  const subscription = client.subscribe(
    'q',
    { credit: 10 },
    {
      onDeliveries: (batch) => {
        while (batch.next()) {
          seen.push(batch.redeliveries);
          if (seen.length === 1) subscription.settle(batch.deliveryId, batch.deliveryId, 'requeue');
          else if (seen.length === 2) put('d');
          else if (seen.length === 3) subscription.close();
        }
      },
    },
  );
  await fixture.settle();
  t.same(seen, [0, 1, 0]);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 4, unsettled: 0, consumers: 0 });
});

t.test('transient messages beyond the memory bound go to the journal and come back', async (t) => {
  const bodies = Array.from({ length: 50 }, (_, n) => `${n}-${'x'.repeat(1000)}`);
  const { fixture, client } = await queueWith(bodies, { volatileBytesMax: 10_000 });
  t.ok(fixture.internals.engine.bodies.arena.liveBytes <= 10_000);
  const got = collect(client, 'q');
  await fixture.settle();
  t.same(got.bodies, bodies);
});

t.test(
  'one delivery left unsettled does not make the others cost memory, and can be settled after thousands',
  async (t) => {
    const { fixture, client, put } = await queueWith([]);
    let last = 0;
    const subscription = client.subscribe(
      'q',
      { credit: 100 },
      {
        onDeliveries: (batch) => {
          while (batch.next()) last = batch.deliveryId;
          // Every thousandth is left, and the very first one.
          const from = last > 1 ? Math.max(2, last - 99) : 2;
          for (let id = from; id <= last; id++)
            if (id % 1000 !== 0) subscription.credit(subscription.settle(id, id, 'complete'));
        },
      },
    );
    for (let n = 0; n < 200; n++) {
      for (let m = 0; m < 50; m++) put(String(n * 50 + m + 1));
      await fixture.settle();
    }
    t.equal(last, 10_000);
    t.equal(subscription.unsettled, 11);
    t.equal(subscription.settle(1, 1, 'complete'), 1);
    t.equal(subscription.settle(1, 3000, 'complete'), 3);
    t.equal(subscription.settle(5000, 5000, 'requeue'), 1);
    subscription.close();
    const rest = collect(client, 'q');
    await fixture.settle();
    t.same(rest.bodies, ['4000', '5000', '6000', '7000', '8000', '9000', '10000']);
  },
);
