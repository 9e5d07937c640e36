import t from 'tap';
import { type HubProperties, keyText, type RedriveInfo, type RedriveOptions } from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import {
  bodyOf,
  collect,
  connect,
  contents,
  DURABLE,
  declare,
  durably,
  type Fixture,
  key,
  newDisk,
  pattern,
  publishAll,
  start,
  text,
} from '../fixture.ts';

const drive = <T>(fixture: Fixture, promise: Promise<T>): Promise<T> => fixture.clock.drive(promise);
const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };

/** Publish messages; every third is transient. */
function publish(fixture: Fixture, exchange: string, to: string, bodies: readonly string[]): Promise<void> {
  return publishAll(fixture, to, bodies, (body, n) => (n % 3 === 2 ? text(body) : durably(body)), exchange);
}

/** Publish to a queue and reject everything: it is in `dead` then. */
async function die(fixture: Fixture, exchange: string, to: string, queue: string, bodies: string[]): Promise<void> {
  await publish(fixture, exchange, to, bodies);
  const { subscription } = collect(connect(fixture), queue);
  await fixture.settle();
  subscription.settle(1, bodies.length, 'discard');
  subscription.close();
  await fixture.settle();
}

/** Begin, and do not wait until that is on disk. */
function redrive(fixture: Fixture, options: RedriveOptions = {}, queue = 'dead'): number {
  const { redrives } = fixture.broker.admin;
  void redrives.start('/', queue, options);
  return redrives.list('/')[0]?.id ?? 0;
}

const infoOf = (fixture: Fixture, id: number): RedriveInfo | undefined => fixture.broker.admin.redrives.get('/', id);

interface Peeked {
  hub: HubProperties;
  body: string;
  routingKey: string;
}

/** The next message of a queue, which is left there. */
async function peek(fixture: Fixture, queue: string): Promise<Peeked> {
  const client = connect(fixture);
  let seen: Peeked | undefined;
  client.subscribe(
    queue,
    { credit: 1 },
    {
      onDeliveries(batch) {
        batch.next();
        const { message } = batch;
        seen = { hub: fixture.broker.hub(message), body: bodyOf(message), routingKey: keyText(message) };
      },
    },
  );
  await fixture.settle();
  client.close();
  await fixture.settle();
  return seen as unknown as Peeked;
}

t.test('messages go back to where they died first, and are there what they were', async (t) => {
  const fixture = await start();
  for (const name of ['orders', 'mails']) await declare(fixture, name, toDead);
  await declare(fixture, 'dead');
  await drive(
    fixture,
    fixture.broker.admin.bind('/', 'amq.topic', { kind: 'queue', name: 'orders' }, pattern('order.#'), {}),
  );
  await die(fixture, 'amq.topic', 'order.new', 'orders', ['o1', 'o2', 'o3']);
  await die(fixture, '', 'mails', 'mails', ['m1']);
  await publish(fixture, '', 'dead', ['never died']);
  t.match(fixture.broker.admin.queue('/', 'dead'), { ready: 5 });
  const id = redrive(fixture);
  t.match(infoOf(fixture, id), { queue: 'dead', left: 5, endedAtMs: undefined });
  await fixture.settle();
  t.match(infoOf(fixture, id), { state: 'done', moved: 4, skipped: 1, left: 0, reason: undefined });
  t.match(fixture.broker.admin.queue('/', 'dead'), { ready: 1, unsettled: 0 });
  const { hub, body, routingKey } = await peek(fixture, 'orders');
  t.same([body, routingKey], ['o1', 'order.new']);
  t.match(hub.annotations.get('x-death'), [{ queue: 'orders', reason: 'rejected', count: 1, exchange: 'amq.topic' }]);
  t.same(await contents(fixture, 'orders'), ['o1', 'o2', 'o3']);
  t.same(await contents(fixture, 'mails'), ['m1']);
});

t.test('to a queue, to an exchange; some of them; not more than asked', async (t) => {
  const fixture = await start();
  for (const name of ['dead', 'there', 'bound']) await declare(fixture, name);
  const { admin } = fixture.broker;
  await drive(fixture, admin.bind('/', 'amq.fanout', { kind: 'queue', name: 'bound' }, pattern('x'), {}));
  await drive(fixture, admin.bind('/', 'amq.direct', { kind: 'queue', name: 'bound' }, pattern('special'), {}));
  await publish(fixture, '', 'dead', ['a', 'b', 'c', 'd']);
  redrive(fixture, { to: { queue: 'there' }, max: 2 });
  await fixture.settle();
  t.match(admin.redrives.list('/'), [{ state: 'done', moved: 2, left: 2, max: 2 }]);
  t.same(await contents(fixture, 'there'), ['a', 'b']);
  redrive(fixture, { to: { exchange: 'amq.direct', key: 'special' }, max: 1 });
  await fixture.settle();
  redrive(fixture, { to: { exchange: 'amq.fanout' } });
  await fixture.settle();
  t.same(await contents(fixture, 'bound'), ['c', 'd']);
  await publish(fixture, '', 'dead', ['e']);
  const id = redrive(fixture, { to: { exchange: 'amq.direct' } });
  await fixture.settle();
  t.match(infoOf(fixture, id), { state: 'done', moved: 0, skipped: 1 }, 'it leads nowhere');
  t.same(await contents(fixture, 'dead'), ['e']);
});

t.test('a filter chooses', async (t) => {
  const fixture = await start();
  for (const name of ['dead', 'there']) await declare(fixture, name);
  await drive(fixture, fixture.broker.admin.bind('/', 'amq.topic', { kind: 'queue', name: 'dead' }, pattern('#'), {}));
  await publish(fixture, 'amq.topic', 'eu.1', ['a', 'b']);
  await publish(fixture, 'amq.topic', 'us.1', ['c']);
  await publish(fixture, 'amq.topic', 'eu.2', ['d']);
  const id = redrive(fixture, { to: { queue: 'there' }, filter: "message.key LIKE 'eu.%'" });
  await fixture.settle();
  t.match(infoOf(fixture, id), { state: 'done', moved: 3, skipped: 1 });
  t.same(await contents(fixture, 'there'), ['a', 'b', 'd']);
  t.same(await contents(fixture, 'dead'), ['c']);
});

t.test('no faster than asked; cancelled on the way; what was moved stays moved', async (t) => {
  const fixture = await start();
  for (const name of ['dead', 'there']) await declare(fixture, name);
  await publish(
    fixture,
    '',
    'dead',
    Array.from({ length: 1000 }, (_, n) => `${n}`),
  );
  const id = redrive(fixture, { to: { queue: 'there' }, ratePerSecond: 100 });
  await fixture.clock.advance(2000);
  const { moved = 0 } = infoOf(fixture, id) ?? {};
  t.ok(moved >= 180 && moved <= 205, `${moved} moved in two seconds`);
  await t.rejects(fixture.broker.admin.redrives.start('/', 'dead'), { code: 'in-use' });
  t.match(await drive(fixture, fixture.broker.admin.redrives.cancel('/', id)), { state: 'cancelled', moved });
  await fixture.clock.advance(2000);
  t.match(infoOf(fixture, id), { state: 'cancelled', moved, left: 1000 - moved });
  t.match(fixture.broker.admin.queue('/', 'there'), { ready: moved });
  t.match(fixture.broker.admin.queue('/', 'dead'), { ready: 1000 - moved });
  t.equal(fixture.broker.admin.redrives.list('/').length, 1);
});

t.test('what a consumer holds, or takes meanwhile, stays its own; what comes back is moved in its place', async (t) => {
  const fixture = await start();
  for (const name of ['dead', 'there']) await declare(fixture, name, { 'x-max-length-bytes': 1_000_000 });
  await publish(fixture, '', 'dead', ['a', 'b', 'c', 'd', 'e', 'f']);
  const { subscription } = collect(connect(fixture), 'dead', { credit: 4 });
  await fixture.settle();
  subscription.settle(2, 3, 'requeue');
  await fixture.settle();
  redrive(fixture, { to: { queue: 'there' } });
  await fixture.settle();
  t.same(await contents(fixture, 'there'), ['b', 'c', 'e', 'f']);
  t.match(fixture.broker.admin.queue('/', 'dead'), { ready: 0, unsettled: 2 });
  subscription.close();
  await fixture.settle();
  t.same(await contents(fixture, 'dead'), ['a', 'd']);
});

t.test('a full queue is waited for; what does not fit is neither lost nor dropped', async (t) => {
  const fixture = await start();
  await declare(fixture, 'dead');
  await declare(fixture, 'small', { 'x-max-length': 2, 'x-overflow': 'reject-publish' });
  await publish(fixture, '', 'dead', ['a', 'b', 'c']);
  const id = redrive(fixture, { to: { queue: 'small' } });
  await fixture.settle();
  t.match(infoOf(fixture, id), { state: 'waiting', moved: 2, left: 1, reason: "queue 'small' is full" });
  await drive(fixture, fixture.broker.admin.purgeQueue('/', 'small'));
  await fixture.clock.advance(500);
  t.match(infoOf(fixture, id), { state: 'done', moved: 3, left: 0, reason: undefined });
  t.same(await contents(fixture, 'small'), ['c']);
});

t.test('a message that dies again is not moved again; one that has expired is left to expire', async (t) => {
  const fixture = await start();
  await declare(fixture, 'once', { ...toDead, 'x-max-length': 0 });
  await declare(fixture, 'dead');
  await publish(fixture, '', 'once', ['a', 'b']);
  t.match(fixture.broker.admin.queue('/', 'dead'), { ready: 2 });
  const id = redrive(fixture);
  await fixture.settle();
  t.match(infoOf(fixture, id), { state: 'done', moved: 2 });
  t.match(fixture.broker.admin.queue('/', 'dead'), { ready: 2 });
  const { hub } = await peek(fixture, 'dead');
  t.match(hub.annotations.get('x-death'), [{ queue: 'once', reason: 'maxlen', count: 2 }]);
});

t.test('the queue goes, the target goes', async (t) => {
  const fixture = await start();
  for (const name of ['dead', 'dead2', 'there']) await declare(fixture, name);
  for (const name of ['dead', 'dead2']) await publish(fixture, '', name, ['a', 'b', 'c']);
  const first = redrive(fixture, { to: { queue: 'there' }, ratePerSecond: 1 });
  const second = redrive(fixture, { to: { queue: 'there' }, ratePerSecond: 1 }, 'dead2');
  await fixture.clock.advance(100);
  await drive(fixture, fixture.broker.admin.deleteQueue('/', 'dead'));
  await drive(fixture, fixture.broker.admin.deleteQueue('/', 'there'));
  await fixture.clock.advance(5000);
  t.match(infoOf(fixture, first), { state: 'failed', moved: 1, reason: 'the queue was deleted' });
  t.match(infoOf(fixture, second), { state: 'done', moved: 1, skipped: 2 });
  t.match(fixture.broker.admin.queue('/', 'dead2'), { ready: 2 });
});

t.test('what is wrong is refused, and changes nothing', async (t) => {
  const fixture = await start({ redrivesMax: 1, redrivesKeptMax: 2 });
  for (const name of ['dead', 'other', 'there']) await declare(fixture, name);
  await publish(fixture, '', 'dead', ['a', 'b']);
  const { redrives } = fixture.broker.admin;
  const refused = (options: RedriveOptions, code: string, message: RegExp, queue = 'dead'): Promise<unknown> =>
    t.rejects(redrives.start('/', queue, options), { code, message });
  await refused({}, 'not-found', /queue 'none'/, 'none');
  await refused({ to: { queue: 'none' } }, 'not-found', /queue 'none'/);
  await refused({ to: { queue: 'dead' } }, 'invalid-argument', /to itself/);
  await refused({ to: { exchange: 'none' } }, 'not-found', /exchange 'none'/);
  await refused({ filter: 'a = ' }, 'invalid-argument', /column/);
  for (const ratePerSecond of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    await refused({ ratePerSecond }, 'invalid-argument', /a rate of/);
  for (const max of [0, -1, 0.5]) await refused({ max }, 'invalid-argument', /not a whole number/);
  await t.rejects(redrives.cancel('/', 1), { code: 'not-found' });
  t.equal(infoOf(fixture, 1), undefined);
  t.same(fixture.broker.admin.redrives.list('/'), []);
  const id = redrive(fixture, { to: { queue: 'there' }, ratePerSecond: 1 });
  await refused({}, 'limit-exceeded', /1 redrives/, 'other');
  const { moved } = await drive(fixture, redrives.cancel('/', id));
  for (let n = 0; n < 4; n++) {
    redrive(fixture, {}, 'other');
    await fixture.settle();
  }
  t.equal(fixture.broker.admin.redrives.list('/').length, 3);
  t.match(fixture.broker.admin.queue('/', 'dead'), { ready: 2 - moved });
});

/** A broker on a copy of the disk, or on the same one after an end. */
async function again(from: Fixture): Promise<Fixture> {
  const clock = new SimClock(from.clock.now());
  return start({}, clock, from.disk.clone({ clock }));
}

t.test('goes on after a restart: what was there when it began, no more; ended ones are listed', async (t) => {
  const clock = new SimClock();
  const fixture = await start({}, clock, newDisk(clock));
  for (const name of ['dead', 'there', 'other']) await declare(fixture, name, { 'x-max-priority': 1 });
  const bodies = Array.from({ length: 30 }, (_, n) => `${n}`);
  const producer = connect(fixture).producer({});
  for (const body of bodies) producer.publish(producer.address('', key('dead')), durably(body), 0);
  await fixture.settle();
  const { redrives } = fixture.broker.admin;
  const ended = (await drive(fixture, redrives.start('/', 'other'))).id;
  await fixture.settle();
  const options = { to: { queue: 'there' }, filter: "message.key = 'dead'", ratePerSecond: 10, max: 25 };
  const { id } = await drive(fixture, redrives.start('/', 'dead', options));
  await fixture.clock.advance(1_000);
  const { moved = 0 } = infoOf(fixture, id) ?? {};
  t.ok(moved >= 8 && moved <= 12, `${moved} moved in a second`);
  producer.publish(producer.address('', key('dead')), durably('late'), 0);
  await fixture.settle();
  for (const checkpoint of [false, true]) {
    if (checkpoint) await drive(fixture, fixture.internals.checkpointer.run());
    const after = await again(fixture);
    const before = infoOf(fixture, id)?.moved ?? 0;
    t.match(infoOf(after, id), { ...options, queue: 'dead', state: 'running', moved: before, left: 30 - before });
    t.match(infoOf(after, ended), { queue: 'other', state: 'done' });
    await t.rejects(after.broker.admin.redrives.start('/', 'dead'), { code: 'in-use' });
    await after.clock.advance(5_000);
    t.match(infoOf(after, id), { state: 'done', moved: 25, left: 5 });
    t.same(await contents(after, 'there'), bodies.slice(0, 25));
    t.same(await contents(after, 'dead'), [...bodies.slice(25), 'late']);
    const last = await again(after);
    t.match(infoOf(last, id), { state: 'done', moved: 25, skipped: 0, left: 5 });
    const next = (await drive(last, last.broker.admin.redrives.start('/', 'dead', { to: { queue: 'there' } }))).id;
    t.ok(next > id);
    await last.settle();
    t.match(infoOf(last, next), { state: 'done', moved: 6 });
  }
});

t.test(
  'over a restart: a cancelled one stays so, one of a queue that has gone has failed, one in memory is gone',
  async (t) => {
    const clock = new SimClock();
    const fixture = await start({}, clock, newDisk(clock));
    const { admin } = fixture.broker;
    for (const name of ['a', 'b', 'there']) await declare(fixture, name);
    await drive(fixture, admin.declareQueue('/', 'memory', { ...DURABLE, durable: false }));
    for (const name of ['a', 'b', 'memory']) await publish(fixture, '', name, ['1', '2', '3']);
    const options = { to: { queue: 'there' }, ratePerSecond: 1 };
    const ids: number[] = [];
    for (const name of ['a', 'b', 'memory'])
      ids.push((await drive(fixture, admin.redrives.start('/', name, options))).id);
    const [a = 0, b = 0, memory = 0] = ids;
    t.match(await drive(fixture, admin.redrives.cancel('/', a)), { state: 'cancelled', moved: 1 });
    await drive(fixture, admin.deleteQueue('/', 'b'));
    const after = await again(fixture);
    t.match(infoOf(after, a), { state: 'cancelled', moved: 1, left: 2 });
    t.match(infoOf(after, b), { state: 'failed', reason: 'the queue was deleted' });
    t.equal(infoOf(after, memory), undefined);
    await drive(after, after.internals.checkpointer.run());
    const last = await again(after);
    t.match(infoOf(last, b), { queue: 'b', state: 'failed', reason: 'the queue was deleted' });
  },
);
