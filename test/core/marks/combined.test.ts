/** Last values and ids together with other rules. */
import t from 'tap';
import { collect, key } from '../fixture.ts';
import { crashed, drained, marked, scene } from './support.ts';

const LAST = { 'x-last-value-key': 'device' };

t.test('last values and message groups: what waits for a consumer is replaced as well', async (t) => {
  const s = await scene();
  await s.declare('q', LAST);
  const send = (body: string, device: string, group: string): void => {
    const message = marked(`${group}${body}`, { device });
    message.groupStart = message.bodyStart;
    message.groupEnd = message.bodyStart + 1;
    s.producer.publish(s.producer.address('', key('q')), message, 2);
  };
  const [one, two] = [collect(s.client, 'q', { credit: 1 }), collect(s.client, 'q', { credit: 1 })];
  send('1', 'a', 'G');
  await s.settle();
  send('2', 'b', 'G');
  send('3', 'c', 'G');
  await s.settle();
  send('4', 'b', 'G');
  await s.settle();
  const first = one.bodies.length > 0 ? one : two;
  t.same(first.bodies, ['G1']);
  for (let n = 1; n <= 3; n++) {
    first.subscription.settle(n, n, 'complete');
    first.subscription.credit(1);
    await s.settle();
  }
  t.same(
    [one.bodies, two.bodies].filter((bodies) => bodies.length > 0),
    [['G1', 'G3', 'G4']],
  );
  t.match(s.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0, bytes: 0 });
});

t.test('last values and delayed retry: one that waits to be tried again does not come back', async (t) => {
  const s = await scene();
  await s.declare('q', { ...LAST, 'x-delayed-retry-type': 'all', 'x-delayed-retry-min': 1000 });
  s.publish('q', 'a1', { device: 'a' });
  const consumer = collect(s.client, 'q', { credit: 1 });
  await s.settle();
  consumer.subscription.settle(1, 1, 'modify');
  consumer.subscription.close();
  s.publish('q', 'a2', { device: 'a' });
  await s.settle();
  t.same(await drained(s, 'q'), ['a2']);
  await s.clock.advance(20_000);
  t.same(await drained(s, 'q'), []);
  t.match(s.broker.admin.queue('/', 'q'), { ready: 0, unsettled: 0, deferred: 0, bytes: 0 });
});

t.test('last values and expiry', async (t) => {
  const s = await scene();
  await s.declare('q', { ...LAST, 'x-message-ttl': 1000 });
  s.publish('q', 'a1', { device: 'a' });
  await s.clock.advance(800);
  s.publish('q', 'a2', { device: 'a' });
  await s.clock.advance(800);
  t.equal(s.ready('q'), 1);
  await s.clock.advance(800);
  t.equal(s.ready('q'), 0);
  s.publish('q', 'a3', { device: 'a' });
  t.same(await drained(s, 'q'), ['a3']);
});

t.test('ids, last values and a ring in one queue', async (t) => {
  let s = await scene();
  await s.declare('q', { ...LAST, 'x-dedup-count-max': 100, 'x-ring-size': 2 });
  s.publish('q', 'a1', { id: 1, device: 'a' });
  s.publish('q', 'b1', { id: 2, device: 'b' });
  s.publish('q', 'a2', { id: 3, device: 'a' });
  s.publish('q', 'again', { id: 1, device: 'a' });
  await s.settle();
  t.equal(s.ready('q'), 2);
  s.publish('q', 'c1', { id: 4, device: 'c' });
  await s.settle();
  s = await crashed(s);
  s.publish('q', 'again', { id: 2, device: 'b' });
  await s.settle();
  t.same(await drained(s, 'q'), ['a2', 'c1']);
});

t.test('ids of delayed messages count from when they are published', async (t) => {
  const s = await scene();
  await s.declare('q', { 'x-dedup-window-ms': 60_000 });
  const send = (body: string): void => {
    const message = marked(body, { id: 'a' });
    message.deliverAtMs = s.clock.now() + 5_000;
    s.producer.publish(s.producer.address('', key('q')), message, 2);
  };
  send('later');
  send('again');
  await s.settle();
  s.publish('q', 'again', { id: 'a' });
  await s.clock.advance(6_000);
  t.same(await drained(s, 'q'), ['later']);
});

t.test('a delayed message is no last value, before it is due and after', async (t) => {
  const s = await scene();
  await s.declare('q', LAST);
  s.publish('q', 'b1', { device: 'b' });
  const later = marked('a1', { device: 'a' });
  later.deliverAtMs = s.clock.now() + 5_000;
  s.producer.publish(s.producer.address('', key('q')), later, 2);
  s.publish('q', 'a2', { device: 'a' });
  await s.clock.advance(6_000);
  t.same(await drained(s, 'q'), ['b1', 'a2', 'a1']);
});

t.test('a purge forgets no ids', async (t) => {
  const s = await scene();
  await s.declare('q', { 'x-dedup-window-ms': 60_000, ...LAST });
  s.publish('q', '1', { id: 'a', device: 'a' });
  await s.settle();
  await s.clock.drive(s.broker.admin.purgeQueue('/', 'q'));
  s.publish('q', 'again', { id: 'a', device: 'a' });
  s.publish('q', '2', { id: 'b', device: 'a' });
  t.same(await drained(s, 'q'), ['2']);
});
