/** Last-value queues and ring queues. docs/queue-rules.md "Last values", "Rings" */
import t from 'tap';
import { collect, key } from '../fixture.ts';
import { crashed, drained, marked, reopened, scene } from './support.ts';

const LAST = { 'x-last-value-key': 'device' };

t.test('a newer message takes the ready one of the same value out; messages without a value are normal', async (t) => {
  const s = await scene();
  await s.declare('q', LAST);
  s.publish('q', 'a1', { device: 'a' });
  s.publish('q', 'plain', {});
  s.publish('q', 'b1', { device: 'b' });
  s.publish('q', 'a2', { device: 'a' });
  s.publish('q', 'plain', {});
  s.publish('q', 'a3', { device: 'a' });
  await s.settle();
  t.match(s.broker.admin.queue('/', 'q'), { ready: 4, dropped: 2, bytes: Number });
  t.same(s.confirms, Array(6).fill('ok'));
  t.same(await drained(s, 'q'), ['plain', 'b1', 'plain', 'a3']);
  s.publish('q', 'a4', { device: 'a' });
  t.same(await drained(s, 'q'), ['a4']);
});

t.test('the key may be any name a filter knows', async (t) => {
  const s = await scene();
  await s.declare('q', { 'x-last-value-key': 'message.key' });
  const pattern = { text: '', separator: 0x2e, levels: [], hidesDollar: false };
  await s.clock.drive(s.broker.admin.bind('/', 'amq.fanout', { kind: 'queue', name: 'q' }, pattern, {}));
  for (const name of ['x', 'y', 'x'])
    s.producer.publish(s.producer.address('amq.fanout', key(name)), marked(name, {}), 0);
  t.same(await drained(s, 'q'), ['y', 'x']);
});

t.test('one that somebody holds stays with them, and does not come back', async (t) => {
  const s = await scene();
  await s.declare('q', LAST);
  s.publish('q', 'a1', { device: 'a' });
  s.publish('q', 'b1', { device: 'b' });
  const consumer = collect(s.client, 'q', { credit: 2 });
  await s.settle();
  t.same(consumer.bodies, ['a1', 'b1']);
  s.publish('q', 'a2', { device: 'a' });
  await s.settle();
  t.match(s.broker.admin.queue('/', 'q'), { ready: 1, unsettled: 2 });
  consumer.subscription.settle(1, 2, 'requeue');
  consumer.subscription.close();
  t.same(await drained(s, 'q'), ['b1', 'a2']);
});

t.test('given back first, and then replaced', async (t) => {
  const s = await scene();
  await s.declare('q', LAST);
  for (const device of ['a', 'b', 'c']) s.publish('q', `${device}1`, { device });
  const consumer = collect(s.client, 'q', { credit: 3 });
  await s.settle();
  consumer.subscription.close();
  s.publish('q', 'b2', { device: 'b' });
  await s.settle();
  t.same(await drained(s, 'q'), ['a1', 'c1', 'b2']);
});

t.test('survives restarts, crashes and checkpoints', async (t) => {
  for (const how of ['close', 'crash', 'checkpoint', 'later'] as const) {
    let s = await scene();
    await s.declare('q', LAST);
    for (let n = 0; n < 200; n++) s.publish('q', `${n}`, { device: `${n % 50}` });
    const consumer = collect(s.client, 'q', { credit: 10 });
    await s.settle();
    if (how === 'checkpoint') await s.clock.drive(s.internals.checkpointer.run());
    for (let n = 200; n < 205; n++) s.publish('q', `${n}`, { device: `${n % 50}` });
    await s.settle();
    if (how === 'later') await s.clock.drive(s.internals.checkpointer.run());
    t.equal(consumer.subscription.unsettled, 10);
    s = how === 'close' ? await reopened(s) : await crashed(s);
    s.publish('q', '206', { device: '6' });
    await s.settle();
    const expected = [155, ...Array.from({ length: 43 }, (_, n) => 157 + n), 200, 201, 202, 203, 204, 206];
    t.same(await drained(s, 'q'), expected.map(String), how);
  }
});

t.test('a held one that was rejected goes to the dead letters, crash or not', async (t) => {
  for (const crash of [false, true]) {
    let s = await scene();
    await s.declare('dead', {});
    await s.declare('q', { ...LAST, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
    s.publish('q', 'a1', { device: 'a' });
    const consumer = collect(s.client, 'q', { credit: 1 });
    await s.settle();
    s.publish('q', 'a2', { device: 'a' });
    consumer.subscription.settle(1, 1, 'discard');
    await s.settle();
    if (crash) s = await crashed(s);
    await s.settle();
    t.same([s.ready('q'), s.ready('dead')], [1, 1]);
  }
});

t.test('with priorities: the newer one stands where its priority is', async (t) => {
  const s = await scene();
  await s.declare('q', { ...LAST, 'x-max-priority': 5 });
  s.publish('q', 'a1', { device: 'a' }, { priority: 5 });
  s.publish('q', 'b1', { device: 'b' }, { priority: 1 });
  s.publish('q', 'a2', { device: 'a' }, { priority: 0 });
  s.publish('q', 'c1', { device: 'c' }, { priority: 3 });
  t.same(await drained(s, 'q'), ['c1', 'b1', 'a2']);
});

t.test('with a maximum length: replacing takes no room', async (t) => {
  const s = await scene();
  await s.declare('dead', {});
  const args = { 'x-max-length': 2, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
  await s.declare('q', { ...LAST, ...args });
  for (const device of ['a', 'b']) s.publish('q', `${device}1`, { device });
  s.publish('q', 'b2', { device: 'b' });
  await s.settle();
  t.same([s.ready('q'), s.ready('dead')], [2, 0]);
  s.publish('q', 'c1', { device: 'c' });
  await s.settle();
  t.same(await drained(s, 'dead'), ['a1']);
  t.same(await drained(s, 'q'), ['b2', 'c1']);
});

t.test('too many values', async (t) => {
  const s = await scene({ lastValuesPerQueueMax: 20 });
  await s.declare('q', LAST);
  for (let n = 0; n < 20; n++) s.publish('q', `${n}`, { device: n });
  t.throws(() => s.publish('q', 'one more', { device: 'new' }), { code: 'limit-exceeded', message: /20 values/ });
  s.publish('q', 'replaced', { device: 3 });
  s.publish('q', 'plain', {});
  await s.settle();
  t.equal(s.ready('q'), 21);
});

t.test('ring queues: the oldest ready go, and nowhere', async (t) => {
  const s = await scene();
  await s.declare('dead', {});
  const deadLetter = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
  await s.declare('q', { 'x-ring-size': 3, ...deadLetter });
  for (let n = 1; n <= 5; n++) s.publish('q', `${n}`, {});
  await s.settle();
  t.match(s.broker.admin.queue('/', 'q'), { ready: 3, dropped: 2, deadLettered: 0 });
  const consumer = collect(s.client, 'q', { credit: 2 });
  await s.settle();
  for (const body of ['6', '7']) s.publish('q', body, {});
  await s.settle();
  t.match(s.broker.admin.queue('/', 'q'), { ready: 3, unsettled: 2 }, 'what is held does not count');
  consumer.subscription.close();
  await s.settle();
  t.same([s.ready('q'), s.ready('dead')], [3, 0]);
  const after = await crashed(s);
  t.same(await drained(after, 'q'), ['5', '6', '7']);
});

t.test('a ring that is made smaller while the queue lives, and what that would drop', async (t) => {
  const s = await scene();
  await s.declare('q', {});
  for (let n = 1; n <= 5; n++) s.publish('q', `${n}`, {});
  await s.settle();
  const { policies } = s.broker.admin;
  const rules = { 'ring-size': 2, overflow: 'reject-publish' };
  t.match(await s.clock.drive(policies.previewQueueRules('/', 'q', rules)), {
    items: [{ overLength: 0, overRing: 3 }],
  });
  await s.clock.drive(policies.setQueueRules('/', 'q', rules));
  t.same(await drained(s, 'q'), ['4', '5']);
});

t.test('a ring inside a maximum length', async (t) => {
  const s = await scene();
  await s.declare('q', { 'x-ring-size': 5, 'x-max-length': 2 });
  for (let n = 1; n <= 5; n++) s.publish('q', `${n}`, {});
  t.same(await drained(s, 'q'), ['4', '5']);
});

t.test('bad values are refused', async (t) => {
  const s = await scene();
  for (const args of [
    { 'x-ring-size': 0 },
    { 'x-ring-size': -1 },
    { 'x-ring-size': '5' },
    { 'x-last-value-key': '' },
    { 'x-last-value-key': 5 },
    { 'x-last-value-key': 'x'.repeat(256) },
  ]) {
    await t.rejects(s.declare('bad', args), { code: 'invalid-argument' }, JSON.stringify(args));
  }
});
