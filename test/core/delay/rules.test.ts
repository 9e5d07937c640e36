/** Delayed messages together with other rules of a queue. */
import t from 'tap';
import { FLAG_DURABLE, type Message } from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { collect, connect, declare, type Fixture, grouped, key, newDisk, start, text } from '../fixture.ts';
import { finish, prepare } from '../half/support.ts';
import { marked, scene } from '../marks/support.ts';

const HOUR_MS = 3_600_000;

function delayed(fixture: Fixture, message: Message, delayMs: number): Message {
  message.deliverAtMs = fixture.clock.now() + delayMs;
  return message;
}

async function pass(clock: SimClock, ms: number): Promise<void> {
  clock.epochMs += ms - 30_000;
  await clock.advance(30_000);
}

const info = (fixture: Fixture, name = 'q') => fixture.broker.admin.queue('/', name);

t.test('a group keeps its consumer, in the order in which its messages are due, also after a restart', async (t) => {
  for (const checkpoint of [false, true]) {
    const clock = new SimClock();
    const disk = newDisk(clock);
    const fixture = await start({}, clock, disk);
    await declare(fixture, 'q');
    const producer = connect(fixture).producer({});
    const address = producer.address('', key('q'));
    for (const [n, hours] of [3, 1, 2].entries()) {
      producer.publish(address, delayed(fixture, grouped(`a:${n}`), hours * HOUR_MS), 0);
      producer.publish(address, delayed(fixture, grouped(`b:${n}`), hours * HOUR_MS), 0);
    }
    await fixture.settle();
    if (checkpoint) await clock.drive(fixture.internals.checkpointer.run());
    disk.kill();
    clock.clear();
    const again = await start({}, clock, disk);
    const one = collect(connect(again), 'q', { credit: 1 });
    const two = collect(connect(again), 'q', { credit: 1 });
    await pass(clock, 4 * HOUR_MS);
    await again.settle();
    const groupOf = (bodies: readonly string[]): string => bodies[0]?.[0] ?? '';
    t.same([groupOf(one.bodies), groupOf(two.bodies)].sort(), ['a', 'b'], 'one each');
    for (const collector of [one, two]) {
      for (let n = 1; n <= 3; n++) {
        collector.subscription.settle(n, n, 'complete');
        collector.subscription.credit(1);
        await again.settle();
      }
      const group = groupOf(collector.bodies);
      t.same(
        collector.bodies,
        [1, 2, 0].map((n) => `${group}:${n}`),
      );
    }
    await clock.drive(again.close());
  }
});

t.test('ids are compared when a message is published, last values are not', async (t) => {
  const fixture = await scene();
  await fixture.declare('q', { 'x-dedup-count-max': 10 });
  await fixture.declare('v', { 'x-last-value-key': 'sym' });
  const send = (queue: string, message: Message): void =>
    void fixture.producer.publish(fixture.producer.address('', key(queue)), message, 2);
  send('q', delayed(fixture, marked('first', { id: 'x' }), 1000));
  send('q', marked('repeat', { id: 'x' }));
  send('v', marked('old', { sym: 'A' }));
  send('v', delayed(fixture, marked('later', { sym: 'A' }), 1000));
  send('v', marked('other', { sym: 'B' }));
  send('v', marked('new', { sym: 'A' }));
  await fixture.clock.advance(100);
  t.match(info(fixture, 'q'), { ready: 0, delayed: 1 });
  t.match(info(fixture, 'v'), { ready: 2, delayed: 1, dropped: 1 });
  await fixture.clock.advance(1000);
  const { bodies } = collect(fixture.client, 'v');
  await fixture.settle();
  t.same(bodies, ['other', 'new', 'later']);
  t.same(fixture.confirms, Array(6).fill('ok'));
});

t.test('a ring counts what is due', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-ring-size': 2 });
  const producer = connect(fixture).producer({});
  const address = producer.address('', key('q'));
  producer.publish(address, delayed(fixture, text('c', FLAG_DURABLE), 1000), 0);
  for (const body of ['a', 'b']) producer.publish(address, text(body, FLAG_DURABLE), 0);
  await fixture.settle();
  t.match(info(fixture), { ready: 2, delayed: 1 });
  await fixture.clock.advance(1000);
  const { bodies } = collect(connect(fixture), 'q');
  await fixture.settle();
  t.same(bodies, ['b', 'c']);
});

t.test('in a transaction the delay counts from the publish, and all of it is one batch', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const fixture = await start({}, clock, disk);
  await declare(fixture, 'q');
  const transaction = connect(fixture).producer({}).transaction();
  const producer = connect(fixture).producer({});
  const address = producer.address('', key('q'));
  transaction.publish(address, delayed(fixture, text('short', FLAG_DURABLE), 100), 0);
  transaction.publish(address, delayed(fixture, text('long', FLAG_DURABLE), 1000), 0);
  t.throws(() => transaction.publish(address, delayed(fixture, text('bad'), 1e15), 0), { code: 'invalid-argument' });
  await clock.advance(500);
  t.match(info(fixture), { ready: 0, delayed: 0 });
  let committed = false;
  transaction.commit(() => {
    committed = true;
  });
  await clock.advance(50);
  t.ok(committed);
  t.match(info(fixture), { ready: 1, delayed: 1 });
  disk.crash();
  clock.clear();
  const again = await start({}, clock, disk);
  t.match(info(again), { ready: 1, delayed: 1 });
  await clock.advance(1000);
  t.match(info(again), { ready: 2, delayed: 0 });
  await clock.drive(again.close());
});

t.test('a half message waits from its commit on, if its time has not come by then', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const fixture = await start({}, clock, disk);
  await declare(fixture, 'q');
  await declare(fixture, 'short', { 'x-max-length': 0, 'x-overflow': 'reject-publish' });
  await declare(fixture, 'timed', { 'x-message-ttl': 5000 });
  const producer = connect(fixture).producer({});
  const waiting = (body: string, delayMs: number): Message => delayed(fixture, text(body, FLAG_DURABLE), delayMs);
  prepare(producer, [
    ['q', waiting('soon', 100)],
    ['q', waiting('late', 60_000)],
    ['short', waiting('no room now', 60_000)],
    ['timed', waiting('timed', 60_000)],
  ]);
  await clock.advance(1000);
  t.equal(await finish(fixture, connect(fixture), 'commit'), 'done');
  t.match(info(fixture), { ready: 1, delayed: 1 });
  t.match(info(fixture, 'short'), { ready: 0, delayed: 1 });
  disk.crash();
  clock.clear();
  const again = await start({}, clock, disk);
  t.match(info(again), { ready: 1, delayed: 1 });
  const { bodies } = collect(connect(again), 'q');
  await pass(clock, 60_000);
  t.same(bodies, ['soon', 'late']);
  t.match(info(again, 'short'), { ready: 1, delayed: 0 }, 'when it is due it is taken');
  t.match(info(again, 'timed'), { ready: 1, delayed: 0 }, 'its time to live has just begun');
  await clock.advance(5000);
  t.match(info(again, 'timed'), { ready: 0, dropped: 1 });
  await clock.drive(again.close());
});

t.test('priorities that change while messages wait count when they are due', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const producer = connect(fixture).producer({});
  const address = producer.address('', key('q'));
  for (const priority of [0, 200, 3]) {
    const message = delayed(fixture, text(`${priority}`, FLAG_DURABLE), 1000);
    message.priority = priority;
    producer.publish(address, message, 0);
  }
  await fixture.settle();
  await fixture.clock.drive(fixture.broker.admin.policies.setQueueRules('/', 'q', { 'max-priority': 5 }));
  await fixture.clock.advance(2000);
  const { bodies } = collect(connect(fixture), 'q');
  await fixture.settle();
  t.same(bodies, ['200', '3', '0']);
});
