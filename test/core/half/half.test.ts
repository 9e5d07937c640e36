import t from 'tap';
import { FLAG_RETAIN } from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import {
  bodyOf,
  collect,
  connect,
  declare,
  durably,
  type Fixture,
  key,
  newDisk,
  pattern,
  start,
  text,
} from '../fixture.ts';
import { CONFIRM, confirming, drain, finish, prepare } from './support.ts';

const ready = (fixture: Fixture, name: string): number | undefined => fixture.broker.admin.queue('/', name)?.ready;
const list = (fixture: Fixture) => fixture.broker.admin.halves.list('/');

t.test('nobody sees a half message before its commit, and everybody it is routed to after it', async (t) => {
  const fixture = await start();
  for (const name of ['a', 'b']) await declare(fixture, name);
  const client = connect(fixture);
  const producer = client.producer({});
  prepare(producer, [['a', 'one']]);
  await fixture.settle();
  t.equal(ready(fixture, 'a'), 0);
  t.match(list(fixture), [{ group: 'shop', id: 'h1', messages: 1, checks: 0 }]);
  t.equal(await finish(fixture, client, 'commit'), 'done');
  t.same(list(fixture), []);
  t.same(await drain(fixture, 'a'), ['one']);
  t.equal(ready(fixture, 'b'), 0);
});

t.test('a set goes to several queues, all of it or none', async (t) => {
  const fixture = await start();
  for (const name of ['a', 'b']) await declare(fixture, name);
  const client = connect(fixture);
  const producer = client.producer({});
  prepare(producer, [
    ['a', 'one'],
    ['b', 'two'],
  ]);
  prepare(producer, [['a', 'three']]);
  t.match(list(fixture), [{ id: 'h1', messages: 3 }], 'what is prepared under the same id is added to it');
  prepare(
    producer,
    [
      ['a', 'no'],
      ['b', 'no'],
    ],
    { id: 'h2' },
  );
  t.equal(await finish(fixture, client, 'rollback', 'h2'), 'done');
  t.equal(await finish(fixture, client, 'commit'), 'done');
  t.same(await drain(fixture, 'a'), ['one', 'three']);
  t.same(await drain(fixture, 'b'), ['two']);
});

t.test('a commit moves the reference: the body is not written again', async (t) => {
  const fixture = await start();
  for (const name of ['a', 'b']) await declare(fixture, name);
  await fixture.clock.drive(
    fixture.broker.admin.bind('/', 'amq.fanout', { kind: 'queue', name: 'a' }, pattern(''), {}),
  );
  await fixture.clock.drive(
    fixture.broker.admin.bind('/', 'amq.fanout', { kind: 'queue', name: 'b' }, pattern(''), {}),
  );
  const { engine } = fixture.internals;
  const client = connect(fixture);
  prepare(client.producer({}), [['k', 'x'.repeat(10_000)]], { exchange: 'amq.fanout' });
  const { count } = engine.bodies.logged;
  const before = engine.journal.bytesSinceCheckpoint;
  t.equal(await finish(fixture, client, 'commit'), 'done');
  t.ok(engine.journal.bytesSinceCheckpoint - before < 200, 'the record of a commit is small');
  t.equal(engine.bodies.logged.count, count);
  const [body] = await drain(fixture, 'a');
  t.equal(body?.length, 10_000);
  t.equal((await drain(fixture, 'b'))[0], body);
  await fixture.settle();
  t.equal(engine.bodies.logged.count, 0, 'and is given up with the last entry');
});

t.test('ending twice the same way is fine; another way, an unknown or a foreign one is not', async (t) => {
  const fixture = await start();
  await declare(fixture, 'a');
  const client = connect(fixture);
  const producer = client.producer({});
  prepare(producer, [['a', 'one']]);
  prepare(producer, [['a', 'two']], { id: 'h2' });
  t.equal(await finish(fixture, client, 'commit', 'h1', 'other'), 'not-found', 'of another group');
  t.equal(await finish(fixture, client, 'commit', 'h9'), 'not-found', 'unknown');
  t.equal(await finish(fixture, client, 'commit'), 'done');
  t.equal(await finish(fixture, client, 'commit'), 'done');
  t.equal(await finish(fixture, client, 'rollback'), 'precondition-failed');
  t.equal(await finish(fixture, client, 'rollback', 'h2'), 'done');
  t.equal(await finish(fixture, client, 'rollback', 'h2'), 'done');
  t.equal(await finish(fixture, client, 'commit', 'h2'), 'precondition-failed');
  t.throws(
    () => prepare(producer, [['a', 'late']]),
    { code: 'precondition-failed' },
    'nothing is added to an ended one',
  );
  t.same(await drain(fixture, 'a'), ['one']);
});

t.test('the ends of so many are remembered', async (t) => {
  const fixture = await start({ halvesRememberedMax: 2 });
  await declare(fixture, 'a');
  const client = connect(fixture);
  const producer = client.producer({});
  for (const id of ['h1', 'h2', 'h3']) {
    prepare(producer, [['a', id]], { id });
    await finish(fixture, client, 'commit', id);
  }
  t.equal(await finish(fixture, client, 'commit', 'h1'), 'not-found');
  t.equal(await finish(fixture, client, 'commit', 'h2'), 'done');
  t.equal(fixture.broker.admin.halves.groups('/').length, 1);
});

t.test('confirms: of a prepare, a commit, and a commit that is refused', async (t) => {
  const clock = new SimClock();
  const fixture = await start({}, clock, newDisk(clock));
  t.teardown(() => fixture.clock.drive(fixture.close()));
  await declare(fixture, 'full', { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
  await declare(fixture, 'a');
  const { producer, confirms } = confirming(connect(fixture));
  prepare(
    producer,
    [
      ['full', 'one'],
      ['a', 'one'],
      ['full', 'two'],
    ],
    { options: CONFIRM },
  );
  producer.publish(producer.address('', key('a')), durably('plain'), CONFIRM);
  t.same(confirms, []);
  await fixture.settle();
  t.same(confirms, [1, 2]);
  producer.finishHalf('shop', 'h1', 'commit', CONFIRM);
  await fixture.settle();
  t.same(confirms, [1, 2, -3], 'two have no room in a queue of one');
  t.equal(ready(fixture, 'full'), 0, 'none came in');
  t.equal(ready(fixture, 'a'), 1);
  producer.finishHalf('shop', 'h1', 'rollback', CONFIRM);
  producer.publish(producer.address('', key('a')), durably('plain'), CONFIRM);
  await fixture.settle();
  t.same(confirms, [1, 2, -3, 4, 5]);
});

t.test('a commit whose messages have left memory reads them first, and later confirms wait for it', async (t) => {
  const clock = new SimClock();
  const fixture = await start({ tailCacheBytesMax: 1024, batchBytesMax: 1024 }, clock, newDisk(clock));
  t.teardown(() => fixture.clock.drive(fixture.close()));
  for (const name of ['a', 'b']) await declare(fixture, name);
  const client = connect(fixture);
  const { producer, confirms } = confirming(client);
  prepare(producer, [['a', 'one']], { options: CONFIRM });
  for (let n = 0; n < 20; n++) {
    producer.publish(producer.address('', key('b')), durably('x'.repeat(500)), CONFIRM);
    await fixture.settle();
  }
  t.equal(confirms.length, 21);
  producer.finishHalf('shop', 'h1', 'commit', CONFIRM);
  let told = 0;
  client.finishHalf('shop', 'h1', 'commit', () => told++);
  t.throws(() => client.finishHalf('shop', 'h1', 'rollback', () => {}), { code: 'precondition-failed' });
  t.throws(() => prepare(producer, [['a', 'more']]), { code: 'precondition-failed' });
  producer.publish(producer.address('', key('nowhere')), text('transient'), CONFIRM);
  t.equal(confirms.length, 21, 'the commit is not through');
  await fixture.settle();
  t.same(confirms.slice(21), [22, 23]);
  t.equal(told, 1, 'committing what is being committed waits for the same end');
  t.same(await drain(fixture, 'a'), ['one']);
});

t.test('what cannot be committed stays open, whole', async (t) => {
  const fixture = await start();
  await declare(fixture, 'a');
  const { admin } = fixture.broker;
  const settings = { kind: 'direct', durable: true, autoDelete: false, internal: false, arguments: {} } as const;
  await fixture.clock.drive(admin.declareExchange('/', 'x', settings));
  const client = connect(fixture);
  const producer = client.producer({});
  prepare(producer, [['a', 'one']]);
  prepare(producer, [['k', 'two']], { exchange: 'x' });
  await fixture.clock.drive(admin.deleteExchange('/', 'x'));
  t.equal(await finish(fixture, client, 'commit'), 'not-found', 'its exchange is gone');
  t.equal(ready(fixture, 'a'), 0);
  await fixture.clock.drive(admin.declareExchange('/', 'x', settings));
  const address = producer.address('x', key('k'));
  producer.prepareHalf([{ address, message: durably('three'), mandatory: true }], { group: 'shop', id: 'h1' }, 0);
  t.equal(await finish(fixture, client, 'commit'), 'unroutable', 'nobody takes a mandatory one');
  t.match(list(fixture), [{ id: 'h1', messages: 3 }]);
  await fixture.clock.drive(admin.bind('/', 'x', { kind: 'queue', name: 'a' }, pattern('k'), {}));
  t.equal(await finish(fixture, client, 'commit'), 'done');
  t.same(await drain(fixture, 'a'), ['one', 'two', 'three']);
});

t.test('taps and transient queues see a message when its commit is durable', async (t) => {
  const clock = new SimClock();
  const fixture = await start({}, clock, newDisk(clock));
  t.teardown(() => fixture.clock.drive(fixture.close()));
  await declare(fixture, 'brief', {}, false);
  await declare(fixture, 'a');
  const { admin } = fixture.broker;
  for (const name of ['brief', 'a']) {
    await fixture.clock.drive(admin.bind('/', 'amq.topic', { kind: 'queue', name }, pattern('#'), {}));
  }
  const client = connect(fixture);
  const seen: string[] = [];
  client.tap({ onMessage: (message) => seen.push(bodyOf(message)) > 0 }).bind('amq.topic', pattern('k.*'));
  prepare(
    client.producer({}),
    [
      ['k.1', 'one'],
      ['k.2', text('two')],
    ],
    { exchange: 'amq.topic' },
  );
  await fixture.settle();
  client.finishHalf('shop', 'h1', 'commit', () => {});
  const brief = collect(connect(fixture), 'brief');
  await clock.advance(0);
  t.same(seen, []);
  t.same(brief.bodies, []);
  await fixture.settle();
  t.same(seen, ['one', 'two']);
  t.same(brief.bodies, ['one', 'two']);
  brief.subscription.settle(1, 2, 'complete');
  t.same(await drain(fixture, 'a'), ['two', 'one'].reverse());
  await fixture.settle();
  t.equal(fixture.internals.engine.bodies.logged.count, 0);
  t.equal(fixture.internals.engine.bodies.transient.count, 0);
});

t.test('rules of the queue hold from the commit on: priority, time to live', async (t) => {
  const fixture = await start();
  await declare(fixture, 'ranked', { 'x-max-priority': 9 });
  await declare(fixture, 'timed', { 'x-message-ttl': 1000 });
  const client = connect(fixture);
  const producer = client.producer({});
  const low = durably('low');
  const high = durably('high');
  high.priority = 9;
  prepare(producer, [
    ['ranked', low],
    ['ranked', high],
    ['timed', 'now'],
  ]);
  await fixture.clock.advance(5_000);
  t.equal(await finish(fixture, client, 'commit'), 'done');
  await fixture.clock.advance(500);
  t.same(await drain(fixture, 'ranked'), ['high', 'low']);
  t.same(await drain(fixture, 'timed'), ['now'], 'its time in the queue began with the commit');
  t.equal(fixture.internals.engine.bodies.logged.count, 0);
});

t.test('a half goes to a topic as well', async (t) => {
  const fixture = await start();
  await fixture.clock.drive(fixture.broker.admin.topics.create('/', 'log', { partitions: 2 }));
  const client = connect(fixture);
  const message = durably('one');
  message.partition = 1;
  prepare(client.producer({}), [['log', message]]);
  t.equal(await finish(fixture, client, 'commit'), 'done');
  await fixture.settle();
  t.match(fixture.broker.admin.topics.get('/', 'log')?.details, [{ end: 0 }, { end: 1 }]);
});

t.test('what makes no sense is refused, and nothing is lost', async (t) => {
  const fixture = await start({ halvesMax: 2, halfMessagesMax: 3, halfBytesMax: 5000, producerGroupsPerVhostMax: 1 });
  await declare(fixture, 'a');
  const client = connect(fixture);
  const producer = client.producer({});
  const refuses = (code: string, settings: object, body: Parameters<typeof prepare>[1] = [['a', 'x']]) =>
    t.throws(() => prepare(producer, body, settings), { code }, JSON.stringify(settings));
  refuses('invalid-argument', { id: '' });
  refuses('invalid-argument', { id: 'x'.repeat(256) });
  refuses('invalid-argument', { group: '' });
  refuses('invalid-argument', { group: 'g'.repeat(1_000_000) });
  refuses('invalid-argument', { firstCheckMs: -1 });
  refuses('invalid-argument', { checkEveryMs: 0 });
  refuses('invalid-argument', { checkEveryMs: 1.5 });
  refuses('invalid-argument', { checksMax: 1001 });
  refuses('invalid-argument', { checksMax: Number.NaN });
  refuses('invalid-argument', {}, [['a', text('x', FLAG_RETAIN)]]);
  t.same(list(fixture), []);
  prepare(producer, [
    ['a', '1'],
    ['a', '2'],
  ]);
  refuses('limit-exceeded', { group: 'second', id: 'h2' });
  refuses('limit-exceeded', {}, [
    ['a', '3'],
    ['a', '4'],
  ]);
  refuses('limit-exceeded', {}, [['a', 'x'.repeat(5000)]]);
  prepare(producer, [['a', '1']], { id: 'h2' });
  refuses('limit-exceeded', { id: 'h3' });
  t.throws(() => producer.address('none', key('a')), { code: 'not-found' });
  t.throws(() => client.checker('', { onCheck: () => true }), { code: 'invalid-argument' });
  t.equal(await finish(fixture, client, 'commit'), 'done');
  t.same(await drain(fixture, 'a'), ['1', '2']);
});

t.test('the operator lists halves, looks into them, commits and drops them', async (t) => {
  const fixture = await start();
  await declare(fixture, 'a');
  const { halves } = fixture.broker.admin;
  const { drive } = fixture.clock;
  const producer = connect(fixture).producer({});
  prepare(producer, [
    ['a', 'one'],
    ['a', 'two'],
  ]);
  prepare(producer, [['a', 'three']], { id: 'h2' });
  prepare(producer, [['a', 'four']], { group: 'other', id: 'h1' });
  t.equal(halves.list('/').length, 3);
  t.match(halves.list('/', 'other'), [{ group: 'other', id: 'h1', messages: 1 }]);
  t.same(halves.list('/', 'none'), []);
  t.match(halves.groups('/'), [
    { name: 'shop', halves: 2, parked: 0, checkers: 0 },
    { name: 'other', halves: 1 },
  ]);
  const bodies: string[] = [];
  await drive.call(
    fixture.clock,
    halves.messages('/', 'shop', 'h1', (message) => bodies.push(bodyOf(message))),
  );
  t.same(bodies, ['one', 'two']);
  await drive.call(fixture.clock, halves.finish('/', 'shop', 'h1', 'commit'));
  await drive.call(fixture.clock, halves.finish('/', 'shop', 'h1', 'commit'));
  await drive.call(fixture.clock, halves.finish('/', 'shop', 'h2', 'rollback'));
  t.equal(halves.get('/', 'shop', 'h1'), undefined);
  await t.rejects(halves.finish('/', 'shop', 'h2', 'commit'), { code: 'precondition-failed' });
  await t.rejects(halves.finish('/', 'shop', 'h7', 'commit'), { code: 'not-found' });
  await t.rejects(
    halves.messages('/', 'shop', 'h7', () => {}),
    { code: 'not-found' },
  );
  t.throws(() => halves.list('nowhere'), { code: 'not-found' });
  t.same(await drain(fixture, 'a'), ['one', 'two']);
  await drive.call(fixture.clock, fixture.broker.admin.createVhost('v'));
  await drive.call(fixture.clock, fixture.broker.admin.deleteVhost('/'));
  t.equal(fixture.internals.engine.bodies.logged.count, 0, 'a virtual host goes with its halves');
});
