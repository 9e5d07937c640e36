import t from 'tap';
import { exchangeName, type HubProperties, keyText } from '../../src/core/index.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
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
  SLASH,
  start,
  text,
} from './fixture.ts';

async function bind(fixture: Fixture, exchange: string, name: string, to: string): Promise<void> {
  await fixture.clock.drive(fixture.broker.admin.bind('/', exchange, { kind: 'queue', name }, pattern(to), {}));
}

interface Seen {
  body: string;
  exchange: string;
  key: string;
  hub: HubProperties;
}

/** Take everything out of a queue, with what a consumer sees of it. */
async function drain(fixture: Fixture, queue: string): Promise<Seen[]> {
  const seen: Seen[] = [];
  const client = connect(fixture);
  client.subscribe(
    queue,
    { credit: 1000, settled: true },
    {
      onDeliveries: (batch) => {
        while (batch.next()) {
          const { message } = batch;
          const hub = fixture.broker.hub(message);
          seen.push({ body: bodyOf(message), exchange: exchangeName(message), key: keyText(message), hub });
        }
      },
    },
  );
  await fixture.settle();
  client.close();
  return seen;
}

/** Reject everything that is in a queue. */
async function rejectAll(fixture: Fixture, queue: string): Promise<number> {
  const client = connect(fixture);
  const { subscription, bodies } = collect(client, queue);
  await fixture.settle();
  if (bodies.length > 0) subscription.settle(1, bodies.length, 'discard');
  await fixture.settle();
  client.close();
  return bodies.length;
}

const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };

t.test('a rejected message goes to the dead letter exchange, with its history', async (t) => {
  const fixture = await start();
  await declare(fixture, 'work', toDead);
  await declare(fixture, 'dead', {});
  const producer = connect(fixture).producer({});
  await bind(fixture, 'amq.topic', 'work', 'a.*');
  producer.publish(producer.address('amq.topic', key('a/b', SLASH)), durably('one'), 0);
  await fixture.settle();
  t.equal(await rejectAll(fixture, 'work'), 1);
  const work = fixture.broker.admin.queue('/', 'work');
  t.match(work, { ready: 0, unsettled: 0, bytes: 0, deadLettered: 1, dropped: 0 });
  const [dead] = await drain(fixture, 'dead');
  t.match(dead, { body: 'one', exchange: '', key: 'dead' });
  const annotations = dead?.hub.annotations ?? new Map();
  const [death] = annotations.get('x-death') as { [name: string]: unknown }[];
  t.match(death, { queue: 'work', reason: 'rejected', count: 1, exchange: 'amq.topic', 'routing-keys': ['a/b'] });
  t.ok(death?.['time'] instanceof Date);
  t.equal(annotations.get('x-first-death-queue'), 'work');
  t.equal(annotations.get('x-first-death-reason'), 'rejected');
  t.equal(annotations.get('x-first-death-exchange'), 'amq.topic');
  t.equal(annotations.get('x-last-death-queue'), 'work');
});

t.test('without a routing key of the rule a message keeps its own', async (t) => {
  const fixture = await start();
  await declare(fixture, 'work', { 'x-dead-letter-exchange': 'amq.topic' });
  await declare(fixture, 'dead', {});
  await bind(fixture, 'amq.topic', 'dead', 'work');
  const producer = connect(fixture).producer({});
  producer.publish(producer.address('', key('work')), durably('one'), 0);
  await fixture.settle();
  await rejectAll(fixture, 'work');
  t.match(await drain(fixture, 'dead'), [{ body: 'one', exchange: 'amq.topic', key: 'work' }]);
});

t.test('each further death is counted; the first one stays first', async (t) => {
  const fixture = await start();
  await declare(fixture, 'a', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'b' });
  await declare(fixture, 'b', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'a' });
  const producer = connect(fixture).producer({});
  producer.publish(producer.address('', key('a')), durably('round'), 0);
  for (const queue of ['a', 'b', 'a', 'b', 'a']) {
    await fixture.settle();
    t.equal(await rejectAll(fixture, queue), 1, 'a cycle with a reject in it goes on');
  }
  const [seen] = await drain(fixture, 'b');
  t.match(seen?.hub.annotations.get('x-death'), [
    { queue: 'a', count: 3, exchange: '', 'routing-keys': ['a'] },
    { queue: 'b', count: 2 },
  ]);
  t.equal(seen?.hub.annotations.get('x-first-death-queue'), 'a');
  t.equal(seen?.hub.annotations.get('x-last-death-queue'), 'a');
});

t.test('a long history is kept whole', async (t) => {
  const fixture = await start();
  const name = (n: number) => `${'queue'.repeat(30)}-${n}`;
  for (let n = 0; n < 20; n++) {
    await declare(fixture, name(n), { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': name(n + 1) });
  }
  await declare(fixture, name(20), {});
  const producer = connect(fixture).producer({});
  producer.publish(producer.address('', key(name(0))), durably('x'), 0);
  for (let n = 0; n < 20; n++) {
    await fixture.settle();
    t.equal(await rejectAll(fixture, name(n)), 1);
  }
  const [seen] = await drain(fixture, name(20));
  const deaths = (seen?.hub.annotations.get('x-death') ?? []) as { queue: string }[];
  t.same(
    deaths.map(({ queue }) => queue),
    Array.from({ length: 20 }, (_, n) => name(19 - n)),
  );
});

t.test('an expired message goes there too, and cannot expire twice', async (t) => {
  const fixture = await start();
  await declare(fixture, 'work', toDead);
  await declare(fixture, 'dead', {});
  const producer = connect(fixture).producer({});
  const message = durably('late');
  message.expiresAtMs = fixture.clock.now() + 10;
  producer.publish(producer.address('', key('work')), message, 0);
  await fixture.settle();
  t.same(await drain(fixture, 'work'), []);
  await fixture.clock.advance(10_000);
  const [seen] = await drain(fixture, 'dead');
  t.equal(seen?.body, 'late');
  t.equal(seen?.hub.annotations.get('x-first-death-reason'), 'expired');
});

t.test('a cycle without a reject is cut', async (t) => {
  const fixture = await start();
  await declare(fixture, 'self', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'self' });
  const producer = connect(fixture).producer({});
  const message = durably('late');
  message.expiresAtMs = fixture.clock.now() + 10;
  producer.publish(producer.address('', key('self')), message, 0);
  await fixture.settle();
  t.same(await drain(fixture, 'self'), []);
  t.match(fixture.broker.admin.queue('/', 'self'), { ready: 0, deadLettered: 0, dropped: 1 });
});

t.test('what nobody wants is dropped, or kept and tried again (at-least-once)', async (t) => {
  const fixture = await start();
  await declare(fixture, 'loose', toDead);
  await declare(fixture, 'strict', { ...toDead, 'x-dead-letter-strategy': 'at-least-once' });
  const producer = connect(fixture).producer({});
  producer.publish(producer.address('', key('loose')), durably('lost'), 0);
  producer.publish(producer.address('', key('strict')), durably('kept'), 0);
  await fixture.settle();
  await rejectAll(fixture, 'loose');
  await rejectAll(fixture, 'strict');
  t.match(fixture.broker.admin.queue('/', 'loose'), { ready: 0, dropped: 1 });
  t.match(fixture.broker.admin.queue('/', 'strict'), { ready: 0, dropped: 0, deadLettered: 0 });
  t.same(await drain(fixture, 'strict'), [], 'it is not delivered again');
  await declare(fixture, 'dead', {});
  await fixture.clock.advance(20_000);
  t.match(await drain(fixture, 'dead'), [{ body: 'kept' }]);
});

t.test('taps and transient queues get dead letters as well', async (t) => {
  const fixture = await start();
  await declare(fixture, 'work', { 'x-dead-letter-exchange': 'amq.fanout' });
  await declare(fixture, 'volatile', {}, false);
  await bind(fixture, 'amq.fanout', 'volatile', '');
  const client = connect(fixture);
  const seen: string[] = [];
  const onMessage = (message: Parameters<typeof bodyOf>[0]): boolean => {
    seen.push(`${bodyOf(message)} ${fixture.broker.hub(message).annotations.get('x-first-death-queue')}`);
    return true;
  };
  client.tap({ onMessage }).bind('amq.fanout', pattern(''));
  const producer = client.producer({});
  producer.publish(producer.address('', key('work')), durably('one'), 0);
  producer.publish(producer.address('', key('work')), text('two'), 0);
  await fixture.settle();
  await rejectAll(fixture, 'work');
  t.same(seen.sort(), ['one work', 'two work']);
  t.same((await drain(fixture, 'volatile')).map(({ body }) => body).sort(), ['one', 'two']);
  t.match(fixture.broker.admin.queue('/', 'work'), { ready: 0, bytes: 0, deadLettered: 2 });
});

t.test('messages that left memory are read back, in order, and a restart goes on with them', async (t) => {
  const limits = { segmentBytes: 64 * 1024, batchBytesMax: 8 * 1024, tailCacheBytesMax: 16 * 1024 };
  const clock = new SimClock();
  const disk = newDisk(clock);
  const first = await start(limits, clock, disk);
  await declare(first, 'work', toDead);
  const client = connect(first);
  const producer = client.producer({});
  for (let n = 0; n < 500; n++)
    producer.publish(producer.address('', key('work')), durably(`${n} ${'x'.repeat(500)}`), 0);
  await first.settle();
  const { subscription, bodies } = collect(client, 'work');
  await first.settle();
  t.equal(bodies.length, 500);
  await declare(first, 'dead', {});
  subscription.settle(1, 500, 'discard');
  let durable = false;
  subscription.afterDurable(() => {
    durable = true;
  });
  await clock.run(() => durable);
  disk.kill();
  clock.clear();
  const second = await start(limits, clock, disk);
  await second.settle();
  t.match(second.broker.admin.queue('/', 'work'), { ready: 0 });
  const seen = await drain(second, 'dead');
  t.same(
    seen.map(({ body }) => Number.parseInt(body, 10)),
    Array.from({ length: 500 }, (_, n) => n),
  );
  t.equal(seen[0]?.hub.annotations.get('x-first-death-reason'), 'rejected');
});

t.test('what waits for somebody to take it waits over a restart, and is not delivered', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const first = await start({}, clock, disk);
  await declare(first, 'strict', { ...toDead, 'x-dead-letter-strategy': 'at-least-once' });
  const producer = connect(first).producer({});
  for (const body of ['a', 'b', 'c']) producer.publish(producer.address('', key('strict')), durably(body), 0);
  await first.settle();
  const client = connect(first);
  const { subscription } = collect(client, 'strict');
  await first.settle();
  subscription.settle(2, 2, 'discard');
  await first.settle();
  await clock.drive(first.close());
  const second = await start({}, clock, disk);
  t.match(second.broker.admin.queue('/', 'strict'), { ready: 2 });
  t.same(
    (await drain(second, 'strict')).map(({ body }) => body),
    ['a', 'c'],
  );
  await declare(second, 'dead', {});
  await clock.advance(20_000);
  t.match(await drain(second, 'dead'), [{ body: 'b' }]);
});
