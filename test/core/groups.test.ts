import t from 'tap';
import { FLAG_ENDS_GROUP } from '../../src/core/index.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { collect, connect, declare, type Fixture, grouped, newDisk, publishAll, start } from './fixture.ts';

/** Publish messages of groups; one that ends with `!` ends its group. */
function publish(fixture: Fixture, to: string, bodies: readonly string[]): Promise<void> {
  return publishAll(fixture, to, bodies, (body) => grouped(body, body.endsWith('!') ? FLAG_ENDS_GROUP : 0));
}

t.test('a group goes to one consumer, in order; what is in none to whoever has room', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const client = connect(fixture);
  const one = collect(client, 'q', { credit: 3 });
  const two = collect(client, 'q', { credit: 100 });
  await publish(fixture, 'q', ['a:1', 'b:1', 'a:2', 'b:2', 'a:3', ':x', 'a:4', 'b:3', ':y', 'a:5']);
  t.same(one.bodies, ['a:1', 'a:2', 'a:3']);
  t.same(two.bodies, ['b:1', 'b:2', ':x', 'b:3', ':y']);
  one.subscription.settle(1, 3, 'complete');
  await fixture.settle();
  t.same(two.bodies.length, 5, 'the group stays with its owner, also when nothing of it is out');
  one.subscription.credit(5);
  await fixture.settle();
  t.same(one.bodies, ['a:1', 'a:2', 'a:3', 'a:4', 'a:5']);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 7 });
});

t.test('a group goes on elsewhere only when nothing of it is in the hands of its owner', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const client = connect(fixture);
  const one = collect(client, 'q', { credit: 2 });
  await publish(fixture, 'q', ['a:1', 'a:2', 'a:3']);
  const two = collect(client, 'q');
  one.subscription.cancel();
  await fixture.settle();
  t.same(two.bodies, []);
  one.subscription.settle(2, 2, 'complete');
  await fixture.settle();
  t.same(two.bodies, []);
  one.subscription.settle(1, 1, 'requeue');
  await fixture.settle();
  t.same(two.bodies, ['a:1', 'a:3']);
  two.subscription.close();
  const three = collect(client, 'q');
  await fixture.settle();
  t.same(three.bodies, ['a:1', 'a:3']);
  t.same(three.redeliveries, [2, 1]);
});

t.test('the last message of a group lets go of it once everything is settled', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const client = connect(fixture);
  const one = collect(client, 'q', { credit: 2 });
  await publish(fixture, 'q', ['a:1', 'a:2!', 'a:3', 'a:4']);
  const two = collect(client, 'q');
  await fixture.settle();
  t.same(two.bodies, []);
  one.subscription.settle(2, 2, 'complete');
  await fixture.settle();
  t.same(two.bodies, []);
  one.subscription.settle(1, 1, 'complete');
  await fixture.settle();
  t.same(two.bodies, ['a:3', 'a:4']);
});

t.test('what comes back goes out before later ones of its group', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const one = collect(connect(fixture), 'q', { credit: 3 });
  const two = collect(connect(fixture), 'q', { credit: 0 });
  await publish(fixture, 'q', ['a:1', 'a:2', 'a:3', 'a:4', 'a:5']);
  one.subscription.settle(1, 2, 'requeue');
  two.subscription.credit(10);
  one.subscription.credit(10);
  await fixture.settle();
  t.same(one.bodies, ['a:1', 'a:2', 'a:3', 'a:1', 'a:2', 'a:4', 'a:5']);
  t.same(two.bodies, []);
});

t.test('groups are shared out anew when a consumer comes, where that is wished', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-group-rebalance': true });
  const { messageGroups } = fixture.broker.admin;
  const owned = (): string[] =>
    messageGroups
      .info('/', 'q')
      .pinned.map(({ tag }) => tag)
      .sort();
  const client = connect(fixture);
  const one = collect(client, 'q', { tag: 'one' });
  await publish(fixture, 'q', ['a:1', 'b:1', 'c:1', 'd:1']);
  t.same(owned(), ['one', 'one', 'one', 'one']);
  const two = collect(client, 'q', { tag: 'two' });
  const ending = messageGroups.info('/', 'q').pinned.filter((group) => group.ending);
  t.equal(ending.length, 2, 'half of them are given up');
  await publish(fixture, 'q', ['a:2', 'b:2', 'c:2', 'd:2']);
  t.same(two.bodies, [], 'and wait until they are settled');
  t.equal(one.bodies.length, 6);
  one.subscription.settle(1, 4, 'complete');
  await fixture.settle();
  t.equal(two.bodies.length, 2);
  t.same(owned(), ['one', 'one', 'two', 'two']);
  const high = collect(client, 'q', { tag: 'high', priority: 1 });
  one.subscription.settle(5, 6, 'complete');
  two.subscription.settle(1, 2, 'complete');
  await publish(fixture, 'q', ['a:3', 'b:3', 'c:3', 'd:3']);
  t.equal(high.bodies.length, 4, 'all go to one of higher priority');
});

t.test('with one consumer at a time, the groups are those of the active one', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-single-active-consumer': true });
  const client = connect(fixture);
  const one = collect(client, 'q');
  await publish(fixture, 'q', ['a:1', 'b:1']);
  const two = collect(client, 'q', { priority: 1 });
  await publish(fixture, 'q', ['a:2', 'b:2']);
  t.same([one.bodies, two.bodies], [['a:1', 'b:1'], []]);
  one.subscription.settle(1, 2, 'complete');
  await fixture.settle();
  t.same(two.bodies, ['a:2', 'b:2']);
  two.subscription.close();
  await fixture.settle();
  t.same(one.bodies, ['a:1', 'b:1', 'a:2', 'b:2']);
});

t.test('the number of buckets changes while the queue lives', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-group-buckets': 0 });
  const { admin } = fixture.broker;
  const change = (buckets: number) =>
    fixture.clock.drive(admin.policies.setQueueRules('/', 'q', { 'group-buckets': buckets }));
  const client = connect(fixture);
  const one = collect(client, 'q', { credit: 2, tag: 'one' });
  const two = collect(client, 'q', { credit: 2, tag: 'two' });
  await publish(fixture, 'q', ['a:1', 'a:2', 'b:1']);
  t.same([one.bodies.length, two.bodies.length], [2, 1], 'groups mean nothing');
  t.same(admin.messageGroups.info('/', 'q'), { buckets: 0, pinned: [] });
  one.subscription.cancel();
  await change(4096);
  await publish(fixture, 'q', ['a:3', 'b:2']);
  t.same(
    admin.messageGroups
      .info('/', 'q')
      .pinned.map(({ unsettled }) => unsettled)
      .sort(),
    [1, 2],
  );
  t.same(
    two.bodies.filter((body) => body.startsWith('a')),
    ['a:2'],
    'a is in two hands still',
  );
  one.subscription.settle(1, 2, 'complete');
  two.subscription.settle(1, 1, 'complete');
  two.subscription.credit(5);
  await fixture.settle();
  t.ok(two.bodies.includes('a:3') && two.bodies.includes('b:2'));
  await change(0);
  const three = collect(client, 'q');
  await publish(fixture, 'q', ['a:4', 'a:5', 'a:6']);
  t.ok(three.bodies.length > 0);
});

t.test('a consumer that does not keep up holds up its own groups only, however many wait', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-group-buckets': 2, 'x-max-priority': 2 });
  const client = connect(fixture);
  const bodies = (group: string) => Array.from({ length: 3000 }, (_, n) => `${group}:${n}`);
  const { messageGroups } = fixture.broker.admin;
  t.not(messageGroups.bucketOf('/', 'q', 'a'), messageGroups.bucketOf('/', 'q', 'e'));
  const slow = collect(client, 'q', { credit: 1 });
  await publish(fixture, 'q', ['a:first']);
  const fast = collect(client, 'q', { credit: 10_000 });
  const [a, b] = [bodies('a'), bodies('e')];
  await publish(
    fixture,
    'q',
    a.flatMap((body, n) => [body, b[n] as string]),
  );
  t.same(fast.bodies, b);
  t.same(slow.bodies, ['a:first']);
  slow.subscription.credit(10_000);
  await fixture.clock.advance(500);
  t.same(slow.bodies, ['a:first', ...a]);
});

t.test('a queue with groups and filters is deleted, and its consumers are told', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q');
  const client = connect(fixture);
  const one = collect(client, 'q', { credit: 2 });
  const two = collect(client, 'q', { credit: 0, filter: 'a = 1' });
  const three = collect(client, 'q', { pull: true, credit: 1 });
  await publish(
    fixture,
    'q',
    Array.from({ length: 2000 }, (_, n) => `g${n % 7}:${n}`),
  );
  one.subscription.cancel();
  await fixture.clock.drive(fixture.broker.admin.deleteQueue('/', 'q'));
  await fixture.settle();
  t.same([two.ended, three.ended], ['not-found', 'not-found']);
  one.subscription.settle(1, 1, 'complete');
  client.close();
  await declare(fixture, 'q');
  await publish(fixture, 'q', ['a:1']);
  const again = collect(connect(fixture), 'q');
  await fixture.settle();
  t.same(again.bodies, ['a:1']);
});

t.test('groups survive a restart, from the log and from a checkpoint', async (t) => {
  for (const checkpoint of [false, true]) {
    const clock = new SimClock();
    const disk = newDisk(clock);
    const fixture = await start({}, clock, disk);
    await declare(fixture, 'q');
    await publish(fixture, 'q', ['a:1', 'b:1', 'a:2', 'b:2', 'a:3!', 'a:4']);
    if (checkpoint) await clock.drive(fixture.internals.checkpointer.run());
    await clock.drive(fixture.close());
    const again = await start({}, clock, disk);
    const client = connect(again);
    const one = collect(client, 'q', { credit: 3 });
    const two = collect(client, 'q', { credit: 3 });
    await again.settle();
    t.same(
      [one.bodies, two.bodies],
      [
        ['a:1', 'a:2', 'a:3!'],
        ['b:1', 'b:2'],
      ],
    );
    await clock.drive(again.close());
  }
});
