import t from 'tap';
import { CONFIRM, MANDATORY } from '../../src/core/index.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import {
  collect,
  connect,
  contents,
  declare,
  durably,
  type Fixture,
  key,
  newDisk,
  pattern,
  start,
  text,
} from './fixture.ts';

/** Publish bodies to a queue; answers the numbers confirmed and those refused, once all are answered. */
async function publish(fixture: Fixture, to: string, bodies: readonly string[], durable = true, exchange = '') {
  const refused: number[] = [];
  let confirmed = 0;
  let returned = 0;
  const producer = connect(fixture).producer({
    onConfirm: (upTo, numbers) => {
      confirmed = upTo;
      refused.push(...(numbers ?? []));
    },
    onReturn: () => {
      returned++;
    },
  });
  const address = producer.address(exchange, key(to));
  for (const body of bodies) producer.publish(address, durable ? durably(body) : text(body), CONFIRM | MANDATORY);
  await fixture.settle();
  return { confirmed, refused, returned };
}

const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
const letters = ['a', 'b', 'c', 'd', 'e'];

for (const durable of [true, false]) {
  t.test(`drop-head: the oldest go (durable: ${durable})`, async (t) => {
    const fixture = await start();
    await declare(fixture, 'q', { ...toDead, 'x-max-length': 3 }, durable);
    await declare(fixture, 'dead', {}, durable);
    t.same(await publish(fixture, 'q', letters, durable), { confirmed: 5, refused: [], returned: 0 });
    t.match(fixture.broker.admin.queue('/', 'q'), { ready: 3, deadLettered: 2 });
    t.same(await contents(fixture, 'q'), ['c', 'd', 'e']);
    t.same(await contents(fixture, 'dead'), ['a', 'b']);
  });

  t.test(`reject-publish: publishers are told (durable: ${durable})`, async (t) => {
    const fixture = await start();
    await declare(fixture, 'q', { ...toDead, 'x-max-length': 3, 'x-overflow': 'reject-publish' }, durable);
    await declare(fixture, 'dead', {}, durable);
    t.same(await publish(fixture, 'q', letters, durable), { confirmed: 5, refused: [4, 5], returned: 0 });
    t.same(await contents(fixture, 'q'), ['a', 'b', 'c']);
    t.same(await contents(fixture, 'dead'), []);
  });

  t.test(
    `reject-publish-dlx: publishers are told, and the dead letter exchange gets it (durable: ${durable})`,
    async (t) => {
      const fixture = await start();
      await declare(fixture, 'q', { ...toDead, 'x-max-length': 3, 'x-overflow': 'reject-publish-dlx' }, durable);
      await declare(fixture, 'dead', {}, durable);
      t.same(await publish(fixture, 'q', letters, durable), { confirmed: 5, refused: [4, 5], returned: 0 });
      t.match(fixture.broker.admin.queue('/', 'q'), { ready: 3, deadLettered: 2, unsettled: 0 });
      t.same(await contents(fixture, 'q'), ['a', 'b', 'c']);
      t.same(await contents(fixture, 'dead'), ['d', 'e']);
      t.same((await publish(fixture, 'q', ['f'], durable)).refused, [1]);
      t.same(await contents(fixture, 'q'), ['a', 'b', 'c']);
    },
  );
}

t.test('only ready messages count; what comes back makes the oldest go', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-max-length': 2 });
  await publish(fixture, 'q', ['a', 'b']);
  const { subscription } = collect(connect(fixture), 'q', { credit: 2 });
  await fixture.settle();
  await publish(fixture, 'q', ['c', 'd']);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 2, unsettled: 2, dropped: 0 });
  subscription.close();
  await fixture.settle();
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 2, unsettled: 0, dropped: 2 });
  t.same(await contents(fixture, 'q'), ['c', 'd']);
});

t.test('bytes count as stored; none is allowed too', async (t) => {
  const fixture = await start();
  const body = 'x'.repeat(1000);
  await declare(fixture, 'bytes', { 'x-max-length-bytes': 3500 });
  await declare(fixture, 'none', { 'x-max-length': 0 });
  await declare(fixture, 'strict', { 'x-max-length-bytes': 3500, 'x-overflow': 'reject-publish' });
  await publish(
    fixture,
    'bytes',
    Array.from({ length: 10 }, () => body),
  );
  t.match(fixture.broker.admin.queue('/', 'bytes'), { ready: 3, dropped: 7 });
  t.ok((fixture.broker.admin.queue('/', 'bytes')?.bytes ?? 0) < 3500);
  await publish(fixture, 'none', ['a']);
  t.match(fixture.broker.admin.queue('/', 'none'), { ready: 0, dropped: 1 });
  const { refused } = await publish(fixture, 'strict', [body, body, body, body, 'small']);
  t.same(refused, [4], 'a smaller one still has room');
});

t.test('one of several queues refuses: the others have the message, the publisher is told', async (t) => {
  const fixture = await start();
  await declare(fixture, 'full', { 'x-max-length': 0, 'x-overflow': 'reject-publish' });
  await declare(fixture, 'open', {});
  for (const name of ['full', 'open']) {
    const queue = { kind: 'queue', name } as const;
    await fixture.clock.drive(fixture.broker.admin.bind('/', 'amq.fanout', queue, pattern(''), {}));
  }
  t.same((await publish(fixture, 'any', ['a'], true, 'amq.fanout')).refused, [1]);
  t.same(await contents(fixture, 'open'), ['a']);
  t.match(fixture.broker.admin.queue('/', 'full'), { ready: 0, published: 0 });
});

t.test('dead letters for a full queue: dropped, or kept until there is room (at-least-once)', async (t) => {
  const fixture = await start();
  await declare(fixture, 'loose', toDead);
  await declare(fixture, 'strict', { ...toDead, 'x-dead-letter-strategy': 'at-least-once' });
  await declare(fixture, 'dead', { 'x-max-length': 0, 'x-overflow': 'reject-publish' });
  for (const queue of ['loose', 'strict']) {
    await publish(fixture, queue, ['x']);
    const { subscription } = collect(connect(fixture), queue);
    await fixture.settle();
    subscription.settle(1, 1, 'discard');
    await fixture.settle();
  }
  t.match(fixture.broker.admin.queue('/', 'loose'), { dropped: 1, deadLettered: 0 });
  t.match(fixture.broker.admin.queue('/', 'strict'), { dropped: 0, deadLettered: 0, ready: 0 });
  await fixture.clock.drive(fixture.broker.admin.deleteQueue('/', 'dead'));
  await declare(fixture, 'dead', {});
  await fixture.clock.advance(20_000);
  t.same(await contents(fixture, 'dead'), ['x']);
});

t.test('the bound holds over a restart, also for what was handed out', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const first = await start({}, clock, disk);
  await declare(first, 'q', { ...toDead, 'x-max-length': 2 });
  await declare(first, 'dead', {});
  await publish(first, 'q', ['a', 'b']);
  collect(connect(first), 'q', { credit: 2 });
  await first.settle();
  await publish(first, 'q', ['c', 'd']);
  disk.kill();
  clock.clear();
  const second = await start({}, clock, disk);
  await second.settle();
  t.same(await contents(second, 'q'), ['c', 'd']);
  t.same(await contents(second, 'dead'), ['a', 'b']);
  t.same((await publish(second, 'q', ['e'])).confirmed, 1);
  t.same(await contents(second, 'q'), ['d', 'e']);
});

t.test('purging makes room', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-max-length': 2, 'x-max-length-bytes': 10_000, 'x-overflow': 'reject-publish' });
  t.same((await publish(fixture, 'q', letters)).refused, [3, 4, 5]);
  await fixture.clock.drive(fixture.broker.admin.purgeQueue('/', 'q'));
  t.same((await publish(fixture, 'q', letters)).refused, [3, 4, 5]);
  t.match(fixture.broker.admin.queue('/', 'q'), { ready: 2 });
});

t.test('bodies of what was dropped are given up', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-max-length': 1 }, false);
  await publish(
    fixture,
    'q',
    Array.from({ length: 100 }, (_, n) => `${n} ${'x'.repeat(1000)}`),
    false,
  );
  t.ok(fixture.broker.admin.info().volatileBytes < 2000);
  const { bodies } = collect(connect(fixture), 'q');
  await fixture.settle();
  t.match(bodies, [/^99 /]);
});
