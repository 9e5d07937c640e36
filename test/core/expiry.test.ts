import t from 'tap';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { bodyOf, collect, connect, declare, durably, type Fixture, key, newDisk, start, text } from './fixture.ts';

function publish(fixture: Fixture, queue: string, body: string, ttlMs?: number, durable = true): void {
  const client = connect(fixture);
  const producer = client.producer({});
  const message = durable ? durably(body) : text(body);
  if (ttlMs !== undefined) message.expiresAtMs = fixture.clock.now() + ttlMs;
  producer.publish(producer.address('', key(queue)), message, 0);
}

const readyIn = (fixture: Fixture, queue: string): number | undefined => fixture.broker.admin.queue('/', queue)?.ready;
const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };

for (const durable of [true, false]) {
  t.test(`messages expire where nobody consumes (durable: ${durable})`, async (t) => {
    const fixture = await start();
    await declare(fixture, 'q', { 'x-message-ttl': 1000 }, durable);
    publish(fixture, 'q', 'a', undefined, durable);
    await fixture.clock.advance(600);
    publish(fixture, 'q', 'b', undefined, durable);
    publish(fixture, 'q', 'soon', 100, durable);
    await fixture.clock.advance(350);
    t.equal(readyIn(fixture, 'q'), 3, 'what is behind the head waits until it is the head');
    await fixture.clock.advance(60);
    t.equal(readyIn(fixture, 'q'), 1 + 1, 'the time of the queue holds for the one, its own for the other');
    await fixture.clock.advance(700);
    t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, dropped: 3, bytes: 0 });
  });
}

t.test('a message of its own time in a queue without one', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', toDead);
  await declare(fixture, 'dead', {});
  publish(fixture, 'q', 'short', 200);
  publish(fixture, 'q', 'stays');
  await fixture.clock.advance(150);
  t.equal(readyIn(fixture, 'q'), 2);
  await fixture.clock.advance(100);
  t.equal(readyIn(fixture, 'q'), 1);
  t.equal(readyIn(fixture, 'dead'), 1);
});

t.test('time in a queue counts from when a message came to that queue', async (t) => {
  const fixture = await start();
  await declare(fixture, 'first', { ...toDead, 'x-message-ttl': 1000 });
  await declare(fixture, 'dead', { 'x-message-ttl': 500 });
  publish(fixture, 'first', 'a');
  await fixture.clock.advance(1200);
  t.same([readyIn(fixture, 'first'), readyIn(fixture, 'dead')], [0, 1]);
  await fixture.clock.advance(400);
  t.equal(readyIn(fixture, 'dead'), 0);
});

t.test('a time to live of 0: to a consumer that waits, or to nobody', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-message-ttl': 0 });
  publish(fixture, 'q', 'lost');
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, dropped: 1 });
  const { bodies, subscription } = collect(connect(fixture), 'q', { credit: 2 });
  for (const body of ['a', 'b', 'too many']) publish(fixture, 'q', body);
  await fixture.settle();
  t.same(bodies, ['a', 'b']);
  subscription.settle(1, 2, 'requeue');
  subscription.credit(5);
  await fixture.settle();
  t.same(bodies, ['a', 'b'], 'what comes back has waited');
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0, dropped: 4 });
});

t.test('what a consumer holds does not expire; what it gives back does', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-message-ttl': 500 });
  publish(fixture, 'q', 'a');
  publish(fixture, 'q', 'b');
  const { subscription, bodies } = collect(connect(fixture), 'q');
  await fixture.clock.advance(2000);
  t.same(bodies, ['a', 'b']);
  t.match(fixture.broker.admin.queue('/', 'q'), { unsettled: 2, dropped: 0 });
  subscription.close();
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0, dropped: 2 });
});

t.test('over a restart: a wait queue hands on what has expired meanwhile, bodies read from disk', async (t) => {
  const limits = {
    segmentBytes: 64 * 1024,
    batchBytesMax: 8 * 1024,
    tailCacheBytesMax: 16 * 1024,
    readAheadBytesMax: 8192,
  };
  const clock = new SimClock();
  const disk = newDisk(clock);
  const first = await start(limits, clock, disk);
  await declare(first, 'wait', { ...toDead, 'x-message-ttl': 60_000 });
  await declare(first, 'own', toDead);
  await declare(first, 'dead', {});
  for (let n = 0; n < 300; n++) publish(first, 'wait', `${n} ${'x'.repeat(400)}`);
  publish(first, 'own', 'late', 30_000);
  await first.settle();
  await clock.drive(first.close());
  clock.epochMs += 40_000;
  const second = await start(limits, clock, disk);
  await second.settle();
  t.same([readyIn(second, 'wait'), readyIn(second, 'own'), readyIn(second, 'dead')], [300, 0, 1]);
  await clock.advance(30_000);
  t.same([readyIn(second, 'wait'), readyIn(second, 'dead')], [0, 301]);
  const bodies: number[] = [];
  connect(second).subscribe(
    'dead',
    { credit: 1000 },
    {
      onDeliveries: (batch) => {
        while (batch.next()) bodies.push(Number.parseInt(bodyOf(batch.message), 10));
      },
    },
  );
  await second.settle();
  t.same(
    bodies.slice(1),
    Array.from({ length: 300 }, (_, n) => n),
    'in order',
  );
});

t.test('several levels whose next messages are on disk: each is read once, and a new one is seen', async (t) => {
  const clock = new SimClock();
  const limits = { batchBytesMax: 8 * 1024, tailCacheBytesMax: 16 * 1024, readAheadBytesMax: 8192 };
  const fixture = await start(limits, clock, newDisk(clock));
  await declare(fixture, 'q', { ...toDead, 'x-max-priority': 9, 'x-message-ttl': 60_000 });
  await declare(fixture, 'filler', {});
  const producer = connect(fixture).producer({});
  const put = (priority: number, ttlMs = 0): void => {
    const message = durably(`${priority} ${'x'.repeat(2000)}`);
    message.priority = priority;
    if (ttlMs > 0) message.expiresAtMs = clock.now() + ttlMs;
    producer.publish(producer.address('', key('q')), message, 0);
  };
  for (let level = 0; level < 6; level++) for (let n = 0; n < 10; n++) put(level);
  for (let n = 0; n < 20; n++) publish(fixture, 'filler', 'x'.repeat(2000));
  // Advancing would not end if the queue went on reading.
  await clock.advance(30_000);
  t.equal(readyIn(fixture, 'q'), 60);
  put(8, 1000);
  await clock.advance(1100);
  t.equal(readyIn(fixture, 'q'), 60, 'in a level of its own it does not wait for the others');
  await clock.advance(30_000);
  t.equal(readyIn(fixture, 'q'), 0);
});

t.test('a wall clock that jumps ahead is noticed', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-message-ttl': 3_600_000 });
  publish(fixture, 'q', 'a');
  await fixture.clock.advance(1000);
  fixture.clock.epochMs += 3_600_000;
  await fixture.clock.advance(60_000);
  t.equal(readyIn(fixture, 'q'), 0);
});

t.test('queues with a time to live share a timer', async (t) => {
  const fixture = await start();
  const clock = fixture.clock;
  let timers = 0;
  const after = clock.after.bind(clock);
  clock.after = (ms, task) => {
    timers++;
    return after(ms, task);
  };
  for (let n = 0; n < 1000; n++) {
    await declare(fixture, `q${n}`, { 'x-message-ttl': 1000 }, false);
    publish(fixture, `q${n}`, 'x', undefined, false);
  }
  await fixture.settle();
  t.ok(timers < 10, `${timers} timers for 1,000 queues`);
  await clock.advance(1100);
  t.equal(fixture.broker.admin.vhosts()[0]?.messages, 0);
});

t.test('an unused queue goes: consumers and declaring again count as use', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const fixture = await start({}, clock, disk);
  const expires = { 'x-expires': 1000 };
  await declare(fixture, 'q', expires);
  await declare(fixture, 'other', expires);
  await clock.advance(600);
  await declare(fixture, 'q', expires);
  await clock.advance(600);
  t.equal(fixture.broker.admin.queue('/', 'other'), undefined);
  t.ok(fixture.broker.admin.queue('/', 'q'), 'declared again in time');
  const { subscription } = collect(connect(fixture), 'q');
  await clock.advance(5000);
  t.ok(fixture.broker.admin.queue('/', 'q'), 'it has a consumer');
  subscription.close();
  await clock.advance(500);
  await clock.drive(fixture.close());
  const again = await start({}, clock, disk);
  t.equal(again.broker.admin.queue('/', 'other'), undefined, 'gone for good');
  await clock.advance(700);
  t.ok(again.broker.admin.queue('/', 'q'), 'time starts again with the broker');
  await clock.advance(500);
  t.equal(again.broker.admin.queue('/', 'q'), undefined);
});

t.test('single requests count as use, also those that wait', async (t) => {
  const fixture = await start();
  const { broker, clock } = fixture;
  await declare(fixture, 'q', { 'x-expires': 1000 });
  const { subscription } = collect(connect(fixture), 'q', { pull: true, credit: 0 });
  for (let n = 0; n < 3; n++) {
    await clock.advance(600);
    subscription.credit(1);
    subscription.drain(() => {});
    await fixture.settle();
  }
  t.ok(broker.admin.queue('/', 'q'), 'asked in time');
  subscription.credit(1);
  await clock.advance(5000);
  t.ok(broker.admin.queue('/', 'q'), 'somebody waits for a message');
  subscription.setCredit(0);
  await clock.advance(600);
  t.ok(broker.admin.queue('/', 'q'), 'and has only just given up');
  await clock.advance(600);
  t.equal(broker.admin.queue('/', 'q'), undefined);
});
