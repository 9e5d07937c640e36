/** Queues that remember message ids. docs/queue-rules.md "Repeats" */
import t from 'tap';
import { limitsWith } from '../../../src/core/limits.ts';
import { DedupWindow } from '../../../src/core/marks/dedup-window.ts';
import { type Print, printOf } from '../../../src/core/marks/print.ts';
import type { Queue } from '../../../src/core/queue/queue.ts';
import { collect, key } from '../fixture.ts';
import { crashed, drained, marked, reopened, scene } from './support.ts';

const WINDOW = { 'x-dedup-window-ms': 10_000 };

t.test(
  'a repeat is confirmed and does not come in; ids are message ids, or the header, which counts first',
  async (t) => {
    const s = await scene();
    await s.declare('q', WINDOW);
    s.publish('q', '1', { id: 'a' });
    s.publish('q', 'again', { id: 'a' });
    s.publish('q', '2', { id: 'b', 'x-deduplication-id': 'c' });
    s.publish('q', '3', { id: 'b' });
    s.publish('q', 'again', { id: 'other', 'x-deduplication-id': 'c' });
    s.publish('q', '4', {});
    s.publish('q', '5', {});
    s.publish('q', '6', { id: 7 });
    s.publish('q', 'again', { id: '7' });
    s.publish('q', '7', { id: '' });
    s.publish('q', '8', { id: '', 'x-deduplication-id': '' });
    await s.settle();
    t.same(s.confirms, Array(11).fill('ok'));
    t.same(await drained(s, 'q'), ['1', '2', '3', '4', '5', '6', '7', '8'], 'an empty id is none');
    s.publish('q', 'again', { id: 'a' });
    await s.settle();
    t.equal(s.ready('q'), 0, 'it is remembered also when the message is gone');
  },
);

t.test('after the window an id is new again; a repeat does not make the window longer', async (t) => {
  const s = await scene();
  await s.declare('q', WINDOW);
  s.publish('q', '1', { id: 'a' });
  await s.clock.advance(6_000);
  s.publish('q', 'again', { id: 'a' });
  await s.clock.advance(6_000);
  s.publish('q', '2', { id: 'a' });
  s.publish('q', 'again', { id: 'a' });
  await s.settle();
  t.same(await drained(s, 'q'), ['1', '2']);
});

t.test(
  'the window is remembered over a restart, a crash and a checkpoint; ids of transient messages are not',
  async (t) => {
    for (const how of ['close', 'crash', 'checkpoint'] as const) {
      let s = await scene();
      await s.declare('q', WINDOW);
      for (let n = 0; n < 100; n++) s.publish('q', `${n}`, { id: n });
      s.publish('q', 'gone', { id: 'transient' }, { durable: false });
      await s.settle();
      await drained(s, 'q');
      if (how === 'checkpoint') await s.clock.drive(s.internals.checkpointer.run());
      s = how === 'close' ? await reopened(s) : await crashed(s);
      for (let n = 0; n < 101; n++) s.publish('q', `again ${n}`, { id: n });
      s.publish('q', 'back', { id: 'transient' });
      await s.settle();
      t.same(await drained(s, 'q'), ['again 100', 'back'], how);
    }
  },
);

t.test('of several queues, one that has it already does not get it', async (t) => {
  const s = await scene();
  await s.declare('remembers', WINDOW);
  await s.declare('plain', {});
  for (const name of ['remembers', 'plain']) {
    const bound = { text: '', separator: 0x2e, levels: [], hidesDollar: false };
    await s.clock.drive(s.broker.admin.bind('/', 'amq.fanout', { kind: 'queue', name }, bound, {}));
  }
  const address = s.producer.address('amq.fanout', key(''));
  for (const body of ['1', '2']) s.producer.publish(address, marked(body, { id: 'a' }), 2);
  await s.settle();
  t.same(await drained(s, 'remembers'), ['1']);
  t.same(await drained(s, 'plain'), ['1', '2']);
});

t.test('a repeat is confirmed when the message it repeats is durable, and is not unroutable', async (t) => {
  const s = await scene();
  await s.declare('q', WINDOW);
  s.publish('q', '1', { id: 'a' });
  s.publish('q', 'again', { id: 'a' });
  t.same(s.confirms, []);
  const returned: string[] = [];
  const producer = s.client.producer({ onReturn: () => returned.push('returned') });
  producer.publish(producer.address('', key('q')), marked('again', { id: 'a' }), 1);
  await s.settle();
  t.same([s.confirms, returned], [['ok', 'ok'], []]);
});

t.test('what a full queue refuses is not remembered; a repeat is no more to it', async (t) => {
  const s = await scene();
  await s.declare('q', { ...WINDOW, 'x-max-length': 1, 'x-overflow': 'reject-publish' });
  s.publish('q', '1', { id: 'a' });
  s.publish('q', '2', { id: 'b' });
  s.publish('q', 'again', { id: 'a' });
  await s.settle();
  t.same(s.confirms, ['ok', 'refused', 'ok']);
  await drained(s, 'q');
  s.publish('q', '2', { id: 'b' });
  await s.settle();
  t.same(await drained(s, 'q'), ['2']);
});

t.test('in transactions', async (t) => {
  const s = await scene();
  await s.declare('q', WINDOW);
  s.publish('q', '1', { id: 'a' });
  const transaction = s.producer.transaction();
  const address = s.producer.address('', key('q'));
  for (const id of ['a', 'b', 'b']) transaction.publish(address, marked(id, { id }), 1);
  await s.clock.drive(new Promise<void>((resolve) => transaction.commit(resolve)));
  const after = await crashed(s);
  after.publish('q', 'again', { id: 'b' });
  await after.settle();
  t.same(await drained(after, 'q'), ['1', 'b']);
});

t.test('dead letters are not compared', async (t) => {
  const s = await scene();
  await s.declare('dead', WINDOW);
  await s.declare('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  s.publish('dead', '1', { id: 'a' });
  s.publish('q', '2', { id: 'a' });
  const consumer = collect(s.client, 'q');
  await s.settle();
  consumer.subscription.settle(1, 1, 'discard');
  await s.settle();
  t.same(await drained(s, 'dead'), ['1', '2']);
});

t.test('rules can be given and taken while the queue lives', async (t) => {
  const s = await scene();
  const { admin } = s.broker;
  await s.declare('q', {});
  s.publish('q', '1', { id: 'a' });
  await s.clock.drive(admin.policies.setQueueRules('/', 'q', { 'dedup-count-max': 100 }));
  for (const body of ['2', 'again']) s.publish('q', body, { id: 'a' });
  await s.clock.drive(admin.policies.setQueueRules('/', 'q', {}));
  s.publish('q', '3', { id: 'a' });
  await s.settle();
  t.same(await drained(s, 'q'), ['1', '2', '3']);
});

t.test('ids can be looked up, counted and forgotten, for good', async (t) => {
  let s = await scene();
  await s.declare('q', WINDOW);
  s.publish('q', '1', { id: 'a' });
  s.publish('q', '2', { id: 'b' });
  const { messageIds } = s.broker.admin;
  t.same([messageIds.count('/', 'q'), messageIds.has('/', 'q', 'a'), messageIds.has('/', 'q', 'c')], [2, true, false]);
  await s.clock.drive(messageIds.forget('/', 'q'));
  t.same([messageIds.count('/', 'q'), messageIds.has('/', 'q', 'a')], [0, false]);
  s.publish('q', '3', { id: 'b' });
  await s.settle();
  s = await crashed(s);
  const after = s.broker.admin.messageIds;
  t.same([after.count('/', 'q'), after.has('/', 'q', 'a'), after.has('/', 'q', 'b')], [1, false, true]);
  t.throws(() => after.count('/', 'none'), { code: 'not-found' });
  await t.rejects(after.forget('/', 'none'), { code: 'not-found' });
});

t.test('bad values are refused', async (t) => {
  const s = await scene();
  for (const args of [
    { 'x-dedup-window-ms': 0 },
    { 'x-dedup-window-ms': -5 },
    { 'x-dedup-window-ms': '1s' },
    { 'x-dedup-window-ms': 1e15 },
    { 'x-dedup-count-max': 0 },
    { 'x-dedup-count-max': 1.5 },
  ]) {
    await t.rejects(s.declare('bad', args), { code: 'invalid-argument' }, JSON.stringify(args));
  }
});

t.test('the count: at least so many are remembered, and not many more', (t) => {
  const rules = { dedupWindowMs: Number.POSITIVE_INFINITY, dedupCountMax: 1000 };
  const window = new DedupWindow({ rules, engine: { limits: limitsWith() } } as unknown as Queue);
  for (let n = 0; n < 10_000; n++) {
    window.add(printOf(n) as Print, n + 1, true);
    if (n < 1000 || n % 97 !== 0) continue;
    for (const back of [0, 1, 500, 999]) t.ok(window.has(printOf(n - back) as Print, n + 1));
    t.notOk(window.has(printOf(n - 1501) as Print, n + 1));
    if (window.size > 1500) t.fail(`${window.size} ids`);
  }
  t.end();
});
