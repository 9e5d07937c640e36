import t from 'tap';
import { FLAG_DURABLE } from '../../src/core/index.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { collect, connect, declare, type Fixture, key, newDisk, publishAll, start, text } from './fixture.ts';

/** Publish messages whose body is "priority:text". */
function publish(fixture: Fixture, to: string, bodies: readonly string[], durable = true): Promise<void> {
  return publishAll(fixture, to, bodies, (body) => {
    const message = text(body, durable ? FLAG_DURABLE : 0);
    message.priority = Number.parseInt(body, 10);
    return message;
  });
}

for (const durable of [true, false]) {
  t.test(`the highest level first, in a level as they came (durable: ${durable})`, async (t) => {
    const fixture = await start();
    await declare(fixture, 'q', { 'x-max-priority': 9 }, durable);
    await publish(fixture, 'q', ['0:a', '5:b', '9:c', '5:d', '0:e', '9:f', '200:g'], durable);
    const client = connect(fixture);
    t.same(collect(client, 'q').bodies, []);
    await fixture.settle();
    client.close();
    const again = collect(connect(fixture), 'q');
    await fixture.settle();
    t.same(
      again.bodies,
      ['9:c', '9:f', '200:g', '5:b', '5:d', '0:a', '0:e'],
      'above the maximum counts as the maximum',
    );
    t.ok(again.redeliveries.every((count) => count === 1));
  });
}

t.test('a queue that does not ask for them ignores priorities', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', {});
  await publish(fixture, 'q', ['0:a', '5:b', '9:c']);
  const { bodies } = collect(connect(fixture), 'q');
  await fixture.settle();
  t.same(bodies, ['0:a', '5:b', '9:c']);
});

t.test('what comes back goes to its own place: after higher levels, before younger ones of its own', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-max-priority': 255 });
  await publish(fixture, 'q', ['3:a', '3:b']);
  const first = collect(connect(fixture), 'q', { credit: 1 });
  await fixture.settle();
  t.same(first.bodies, ['3:a']);
  await publish(fixture, 'q', ['7:c', '3:d', '1:e']);
  first.subscription.settle(1, 1, 'requeue');
  first.subscription.credit(10);
  await fixture.settle();
  t.same(first.bodies, ['3:a', '7:c', '3:a', '3:b', '3:d', '1:e']);
  t.equal(fixture.broker.admin.queue('/', 'q')?.unsettled, 5);
  first.subscription.settle(1, 6, 'complete');
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0, bytes: 0 });
});

t.test(
  'levels survive a restart, from the log and from a checkpoint, with what was settled and returned',
  async (t) => {
    for (const checkpoint of [false, true]) {
      const clock = new SimClock();
      const disk = newDisk(clock);
      const fixture = await start({}, clock, disk);
      await declare(fixture, 'q', { 'x-max-priority': 9 });
      await publish(fixture, 'q', ['0:a', '5:b', '9:c', '5:d', '9:e']);
      const { subscription } = collect(connect(fixture), 'q', { credit: 3 });
      await fixture.settle();
      subscription.settle(1, 1, 'complete');
      subscription.settle(3, 3, 'modify');
      await fixture.settle();
      if (checkpoint) await clock.drive(fixture.internals.checkpointer.run());
      await publish(fixture, 'q', ['9:f', '1:g']);
      await publish(fixture, 'q', ['9:gone', '2:gone'], false);
      await clock.drive(fixture.close());
      const again = await start({}, clock, disk);
      const { bodies, redeliveries } = collect(connect(again), 'q');
      await again.settle();
      t.same(bodies, ['9:e', '9:f', '5:b', '5:d', '1:g', '0:a']);
      t.same(redeliveries, [1, 0, 1, 0, 0, 0]);
      await publish(again, 'q', ['5:h']);
      t.equal(bodies.at(-1), '5:h');
      await clock.drive(again.broker.admin.deleteQueue('/', 'q'));
      await clock.drive(again.close());
      const last = await start({}, clock, disk);
      t.equal(last.broker.admin.queue('/', 'q'), undefined);
      t.equal(last.internals.engine.bodies.logged.count, 0, 'no body is left behind');
      t.equal(last.internals.engine.bodies.loggedIndex.rings.count, 0, 'no ring either');
      await clock.drive(last.close());
    }
  },
);

t.test('messages of low levels expire behind those of high ones', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-max-priority': 9 });
  const producer = connect(fixture).producer({});
  for (const [priority, ttlMs] of [
    [9, 60_000],
    [1, 1_000],
    [0, 500],
  ] as const) {
    const message = text(`${priority}`, FLAG_DURABLE);
    message.priority = priority;
    message.expiresAtMs = fixture.clock.now() + ttlMs;
    producer.publish(producer.address('', key('q')), message, 0);
  }
  await fixture.settle();
  t.equal(fixture.broker.admin.queue('/', 'q')?.ready, 3);
  await fixture.clock.advance(600);
  t.equal(fixture.broker.admin.queue('/', 'q')?.ready, 2);
  await fixture.clock.advance(600);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 1, dropped: 2 });
});

t.test('drop-head drops the oldest of the lowest level', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-max-priority': 9, 'x-max-length': 3 });
  await publish(fixture, 'q', ['9:a', '1:b', '1:c', '5:d', '0:e', '9:f']);
  const { bodies } = collect(connect(fixture), 'q');
  await fixture.settle();
  t.same(bodies, ['9:a', '9:f', '5:d']);
});

t.test('purge, drain and 255 levels', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-max-priority': 255 });
  const all = Array.from({ length: 256 }, (_, priority) => `${priority}:m`);
  await publish(fixture, 'q', all);
  t.equal(await fixture.clock.drive(fixture.broker.admin.purgeQueue('/', 'q')), 256);
  await publish(fixture, 'q', all);
  const { bodies, subscription } = collect(connect(fixture), 'q', { credit: Number.POSITIVE_INFINITY });
  let drained = false;
  subscription.drain(() => {
    drained = true;
  });
  await fixture.settle();
  t.same(bodies, all.toReversed());
  t.ok(drained);
});
