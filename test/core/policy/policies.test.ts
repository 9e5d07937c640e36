import t from 'tap';
import type { Arguments } from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import {
  collect,
  connect,
  contents,
  declare,
  durably,
  type Fixture,
  key,
  newDisk,
  publishAll,
  start,
} from '../fixture.ts';

const drive = <T>(fixture: Fixture, promise: Promise<T>): Promise<T> => fixture.clock.drive(promise);
const letters = ['a', 'b', 'c', 'd', 'e'];
const toDead = { 'dead-letter-exchange': '', 'dead-letter-routing-key': 'dead' };

function policy(definition: Arguments, pattern = '^q', priority = 0) {
  return { pattern, priority, definition };
}

t.test('a policy is for queues whose names match, those there are and those to come', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q1');
  await declare(fixture, 'other');
  await drive(fixture, policies.set('/', 'short', policy({ 'max-length': 2 })));
  await declare(fixture, 'q2');
  for (const [queue, ready] of [
    ['q1', 2],
    ['q2', 2],
    ['other', 5],
  ] as const) {
    await publishAll(fixture, queue, letters);
    t.match(fixture.broker.admin.queue('/', queue), { ready });
  }
  t.match(fixture.broker.admin.queue('/', 'q1'), { policy: 'short', rules: { 'max-length': 2 }, arguments: {} });
  t.equal(fixture.broker.admin.queue('/', 'other')?.policy, undefined);
  await drive(fixture, policies.remove('/', 'short'));
  await publishAll(fixture, 'q1', letters);
  t.match(fixture.broker.admin.queue('/', 'q1'), { ready: 7, policy: undefined, rules: {} });
  t.same(policies.list('/'), []);
});

t.test('the policy of the highest priority holds alone; arguments come first, and of limits the smaller', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  const args = { 'x-max-length': 10, 'x-overflow': 'reject-publish' };
  await declare(fixture, 'q', args);
  await drive(fixture, policies.set('/', 'low', policy({ 'message-ttl': 1000 }, '.*', 1)));
  await drive(fixture, policies.set('/', 'high', policy({ 'max-length': 50, overflow: 'drop-head' }, '.*', 2)));
  const rules = () => fixture.broker.admin.queue('/', 'q');
  t.match(rules(), { policy: 'high', rules: { 'max-length': 10, overflow: 'reject-publish' } });
  t.notOk('message-ttl' in (rules()?.rules ?? {}));
  await drive(fixture, policies.set('/', 'high', policy({ 'max-length': 5, overflow: 'drop-head' }, '.*', 2)));
  t.match(rules(), { rules: { 'max-length': 5, overflow: 'reject-publish' } });
  await drive(fixture, policies.set('/', 'cap', policy({ 'max-length': 3, expires: 9000 }), { operator: true }));
  t.match(rules(), { rules: { 'max-length': 3, expires: 9000 }, policy: 'high', operatorPolicy: 'cap' });
  await drive(fixture, policies.remove('/', 'high'));
  t.match(rules(), { rules: { 'max-length': 3, 'message-ttl': 1000 }, policy: 'low' });
  t.match(policies.list('/', { operator: true }), [{ name: 'cap', operator: true, pattern: '^q', priority: 0 }]);
  t.match(policies.get('/', 'low'), { name: 'low', operator: false });
  // Declaring it again asks for the same arguments, whatever is in force.
  await declare(fixture, 'q', args);
  await t.rejects(declare(fixture, 'q', { ...args, 'x-max-length': 3 }), { code: 'already-exists' });
});

t.test('live settings stand in for arguments, and null lifts one', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q', { 'x-max-length': 2 });
  const info = await drive(fixture, policies.setQueueRules('/', 'q', { 'max-length': 4 }));
  t.match(info, { rules: { 'max-length': 4 }, liveRules: { 'max-length': 4 }, arguments: { 'x-max-length': 2 } });
  await publishAll(fixture, 'q', letters);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 4 });
  await drive(fixture, policies.setQueueRules('/', 'q', { 'max-length': null }));
  await publishAll(fixture, 'q', letters);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 9, rules: {} });
  await declare(fixture, 'q', { 'x-max-length': 2 });
  await drive(fixture, policies.setQueueRules('/', 'q', {}));
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 2, dropped: 8, liveRules: {} });
  t.same(await contents(fixture, 'q'), ['d', 'e']);
});

for (const overflow of ['drop-head', 'reject-publish'] as const) {
  t.test(`a lower maximum length, ${overflow}`, async (t) => {
    const fixture = await start();
    const { policies } = fixture.broker.admin;
    await declare(fixture, 'q');
    await declare(fixture, 'dead');
    await publishAll(fixture, 'q', letters);
    await drive(fixture, policies.set('/', 'p', policy({ 'max-length': 2, overflow, ...toDead })));
    await fixture.settle();
    t.match(fixture.broker.admin.queue('/', 'q'), { ready: overflow === 'drop-head' ? 2 : 5 });
    t.same(await contents(fixture, 'dead'), overflow === 'drop-head' ? ['a', 'b', 'c'] : []);
    await publishAll(fixture, 'q', ['f']);
    t.same(await contents(fixture, 'q'), overflow === 'drop-head' ? ['e', 'f'] : letters);
  });
}

t.test('a queue too long by more than may be on their way at a time, with a producer at work', async (t) => {
  const fixture = await start();
  const { admin } = fixture.broker;
  for (const name of ['q', 'dead']) await declare(fixture, name);
  const producer = connect(fixture).producer({});
  const address = producer.address('', key('q'));
  const count = 70_000;
  for (let n = 0; n < count; n++) producer.publish(address, durably('x'), 0);
  await fixture.settle();
  await drive(fixture, admin.policies.set('/', 'p', policy({ 'max-length': 10, ...toDead })));
  for (let n = 0; n < 100; n++) producer.publish(address, durably('x'), 0);
  await fixture.clock.advance(2000);
  t.match(admin.queue('/', 'q'), { ready: 10, deadLettered: count + 90, dropped: 0 });
  t.match(admin.queue('/', 'dead'), { ready: count + 90 });
});

t.test('a maximum of bytes counts what is ready, not what is handed out or given up', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q', { 'x-dead-letter-exchange': 'nowhere', 'x-dead-letter-strategy': 'at-least-once' });
  const body = (n: number): string => `${n}`.padEnd(1000);
  await publishAll(fixture, 'q', [0, 1, 2, 3, 4, 5, 6, 7].map(body));
  const { subscription } = collect(connect(fixture), 'q', { credit: 4 });
  await fixture.settle();
  subscription.settle(1, 1, 'discard');
  subscription.settle(3, 3, 'requeue');
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 5, unsettled: 2 });
  await drive(fixture, policies.set('/', 'p', policy({ 'max-length-bytes': 3300 })));
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 3, unsettled: 2, deadLettered: 0 });
  t.match(fixture.broker.admin.queue('/', 'q')?.problems, [/needs x-overflow reject-publish/]);
  subscription.close();
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 3, unsettled: 0 });
});

t.test('a shorter time to live makes what is too old expire at once; a longer one keeps the rest', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q');
  await declare(fixture, 'dead');
  await publishAll(fixture, 'q', ['a', 'b']);
  await fixture.clock.advance(10_000);
  await publishAll(fixture, 'q', ['c']);
  await drive(fixture, policies.set('/', 'p', policy({ 'message-ttl': 5000, ...toDead })));
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 1, deadLettered: 2 });
  await drive(fixture, policies.set('/', 'p', policy({ 'message-ttl': 50_000, ...toDead })));
  await fixture.clock.advance(20_000);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 1 });
  await fixture.clock.advance(60_000);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, deadLettered: 3 });
  t.same(await contents(fixture, 'dead'), ['a', 'b', 'c']);
});

t.test('the time a queue may go unused: set, made longer, taken back', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q');
  await drive(fixture, policies.set('/', 'p', policy({ expires: 100_000 })));
  await fixture.clock.advance(90_000);
  await drive(fixture, policies.set('/', 'p', policy({ expires: 1000 })));
  await fixture.clock.advance(500);
  await drive(fixture, policies.remove('/', 'p'));
  await fixture.clock.advance(200_000);
  t.ok(fixture.broker.admin.queue('/', 'q'), 'it need not be used any more');
  await drive(fixture, policies.set('/', 'p', policy({ expires: 1000 })));
  await fixture.clock.advance(1100);
  t.notOk(fixture.broker.admin.queue('/', 'q'));
});

t.test('another dead letter exchange: what waits goes there; without one it is deleted', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q');
  await declare(fixture, 'dead');
  const keep = { 'dead-letter-strategy': 'at-least-once', 'dead-letter-exchange': '' };
  const reject = async (bodies: string[]): Promise<void> => {
    await publishAll(fixture, 'q', bodies);
    const { subscription } = collect(connect(fixture), 'q');
    await fixture.settle();
    subscription.settle(1, bodies.length, 'discard');
    subscription.close();
    await fixture.settle();
  };
  await drive(fixture, policies.set('/', 'p', policy({ ...keep, 'dead-letter-routing-key': 'nobody' })));
  await reject(['a', 'b']);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, dropped: 0, deadLettered: 0 });
  await drive(fixture, policies.set('/', 'p', policy({ ...keep, 'dead-letter-routing-key': 'dead' })));
  await fixture.settle();
  t.same(await contents(fixture, 'dead'), ['a', 'b']);
  await drive(fixture, policies.set('/', 'p', policy({ ...keep, 'dead-letter-routing-key': 'nobody' })));
  await reject(['c']);
  const preview = await drive(fixture, policies.previewRemove('/', 'p'));
  t.match(preview, { queues: 1, abandoned: 1, items: [{ queue: 'q', abandoned: 1, deadLetterExchange: undefined }] });
  await drive(fixture, policies.remove('/', 'p'));
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, dropped: 1, bytes: 0 });
});

t.test('the time to settle: shorter, and lifted; who asked for one of its own keeps it', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q');
  await publishAll(fixture, 'q', ['a', 'b']);
  const held = collect(connect(fixture), 'q', { credit: 1 });
  const own = collect(connect(fixture), 'q', { credit: 1, timeoutMs: 500_000 });
  await fixture.settle();
  await drive(fixture, policies.set('/', 'p', policy({ 'consumer-timeout': 10_000 })));
  await fixture.clock.advance(9000);
  await drive(fixture, policies.remove('/', 'p'));
  await fixture.clock.advance(100_000);
  t.same([held.ended, own.ended], [undefined, undefined]);
  await drive(fixture, policies.set('/', 'p', policy({ 'consumer-timeout': 10_000 })));
  await fixture.clock.advance(9000);
  t.equal(held.ended, undefined, 'the time begins with the rule');
  await fixture.clock.advance(5000);
  t.same([held.ended, own.ended], ['consumer-timeout', undefined]);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 1, unsettled: 1 });
});

t.test('delivery limit and delayed retry hold for what comes back from now on', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  for (const name of ['q', 'dead']) await declare(fixture, name);
  await publishAll(fixture, 'q', ['a']);
  const { subscription, bodies } = collect(connect(fixture), 'q');
  const fail = async (): Promise<void> => {
    await fixture.settle();
    subscription.settle(bodies.length, bodies.length, 'modify');
    await fixture.settle();
  };
  await fail();
  t.same(bodies, ['a', 'a']);
  const retry = { 'delayed-retry-type': 'failed', 'delayed-retry-min': 10_000 };
  await drive(fixture, policies.set('/', 'p', policy(retry)));
  await fail();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0 });
  await drive(fixture, policies.set('/', 'p', policy({ 'delivery-limit': 2, ...toDead })));
  await fixture.clock.advance(5000);
  t.equal(bodies.length, 2, 'what waits keeps its time');
  await fixture.clock.advance(30_000);
  await fail();
  t.same(await contents(fixture, 'dead'), ['a']);
});

t.test('priorities: more levels, then fewer', async (t) => {
  const fixture = await start();
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q');
  const producer = connect(fixture).producer({});
  const put = (body: string, priority: number): void => {
    const message = durably(body);
    message.priority = priority;
    producer.publish(producer.address('', key('q')), message, 0);
  };
  put('plain', 5);
  await fixture.settle();
  await drive(fixture, policies.set('/', 'p', policy({ 'max-priority': 5 })));
  put('five', 5);
  put('three', 3);
  await fixture.settle();
  await drive(fixture, policies.set('/', 'p', policy({ 'max-priority': 3 })));
  put('nine', 9);
  await fixture.settle();
  await drive(fixture, policies.remove('/', 'p'));
  put('last', 9);
  await fixture.settle();
  t.same(await contents(fixture, 'q'), ['five', 'three', 'nine', 'plain', 'last']);
});

t.test('policies and live settings survive a restart and a crash; of volatile queues they go with them', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const first = await start({}, clock, disk);
  await declare(first, 'q', { 'x-max-length': 9 });
  await declare(first, 'volatile', {}, false);
  await drive(first, first.broker.admin.policies.set('/', 'p', policy({ 'message-ttl': 5000 }, '^q', -3)));
  await drive(first, first.broker.admin.policies.set('/', 'gone', policy({ 'message-ttl': 1 })));
  await drive(first, first.broker.admin.policies.remove('/', 'gone'));
  await drive(first, first.broker.admin.policies.set('/', 'cap', policy({ 'max-length': 7 }), { operator: true }));
  await drive(
    first,
    first.broker.admin.policies.setQueueRules('/', 'q', { 'max-length': 8, overflow: 'reject-publish' }),
  );
  await drive(first, first.broker.admin.policies.setQueueRules('/', 'volatile', { 'max-length': 1 }));
  const check = (fixture: Fixture): void => {
    t.same(fixture.broker.admin.policies.list('/'), [
      { name: 'p', operator: false, pattern: '^q', priority: -3, definition: { 'message-ttl': 5000 } },
    ]);
    t.match(fixture.broker.admin.queue('/', 'q'), {
      rules: { 'max-length': 7, 'message-ttl': 5000, overflow: 'reject-publish' },
      liveRules: { 'max-length': 8, overflow: 'reject-publish' },
    });
  };
  disk.kill();
  clock.clear();
  const second = await start({}, clock, disk);
  check(second);
  t.equal(second.broker.admin.queue('/', 'volatile'), undefined);
  await drive(second, second.internals.checkpointer.run());
  disk.kill();
  clock.clear();
  const third = await start({}, clock, disk);
  check(third);
  await drive(third, third.broker.admin.policies.setQueueRules('/', 'q', {}));
  await drive(third, third.broker.admin.policies.remove('/', 'p'));
  await drive(third, third.close());
  clock.clear();
  const fourth = await start({}, clock, disk);
  t.same(fourth.broker.admin.queue('/', 'q')?.rules, { 'max-length': 7 });
  await drive(fourth, fourth.broker.admin.deleteQueue('/', 'q'));
  await declare(fourth, 'q');
  t.same(fourth.broker.admin.queue('/', 'q')?.rules, { 'max-length': 7 });
  await drive(fourth, fourth.close());
});

t.test('what is wrong is refused with names and values, and changes nothing', async (t) => {
  const fixture = await start({ policiesPerVhostMax: 1 });
  const { policies } = fixture.broker.admin;
  await declare(fixture, 'q', { 'x-dead-letter-exchange': 'x' });
  const set = (definition: Arguments, pattern = '.*', priority = 0, operator = false) =>
    drive(fixture, policies.set('/', 'p', { pattern, priority, definition }, { operator }));
  const invalid = (message: RegExp) => ({ code: 'invalid-argument', message });
  await t.rejects(set({}), invalid(/policy 'p': says nothing/));
  await t.rejects(set({ 'x-max-length': 1 }), invalid(/there is no rule 'x-max-length'; there are message-ttl, /));
  await t.rejects(set({ 'max-length': -1 }), invalid(/max-length must be a whole number from 0/));
  await t.rejects(set({ 'message-ttl': 'soon' }), invalid(/message-ttl must be a whole number/));
  await t.rejects(set({ overflow: null }), invalid(/overflow must have a value/));
  await t.rejects(
    set({ overflow: 'drop-head' }, '.*', 0, true),
    invalid(/overflow is no limit; operators may set mess/),
  );
  await t.rejects(set({ 'max-length': 1 }, '(a'), invalid(/column 3/));
  await t.rejects(set({ 'max-length': 1 }, '\ud800'), invalid(/not plain Unicode/));
  await t.rejects(set({ 'max-length': 1 }, '.*', 0.5), invalid(/priority 0.5 is not a whole number/));
  t.same(policies.list('/'), []);
  await set({ 'max-length': 1 });
  await t.rejects(drive(fixture, policies.set('/', 'p2', policy({ expires: 1 }))), { code: 'limit-exceeded' });
  await t.rejects(
    drive(fixture, policies.set('/', '', policy({ expires: 1 }))),
    invalid(/the name of a policy is empty/),
  );
  await t.rejects(drive(fixture, policies.set('/none', 'p', policy({ expires: 1 }))), { code: 'not-found' });
  await t.rejects(drive(fixture, policies.remove('/', 'none')), { code: 'not-found', message: /policy 'none'/ });
  await t.rejects(drive(fixture, policies.remove('/', 'p', { operator: true })), { code: 'not-found' });
  const live = (rules: Arguments, queue = 'q') => drive(fixture, policies.setQueueRules('/', queue, rules));
  await t.rejects(live({ 'max-length': 1 }, 'none'), { code: 'not-found' });
  await t.rejects(live({ nothing: null }), invalid(/there is no rule 'nothing'/));
  await t.rejects(live({ 'max-length': 1.5 }), invalid(/queue 'q': max-length must be/));
  await t.rejects(
    live({ 'dead-letter-exchange': null, 'dead-letter-routing-key': 'k' }),
    invalid(/x-dead-letter-routing-key needs x-dead-letter-exchange/),
  );
  t.same(fixture.broker.admin.queue('/', 'q')?.liveRules, {});
});
