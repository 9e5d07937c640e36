import t from 'tap';
import { FLAG_DURABLE, FLAG_RETAIN, type Message } from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import {
  bodyOf,
  collect,
  connect,
  DURABLE,
  declare,
  type Fixture,
  key,
  newDisk,
  pattern,
  start,
  text,
} from '../fixture.ts';

const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

function delayed(fixture: Fixture, body: string, delayMs: number, flags = FLAG_DURABLE): Message {
  const message = text(body, flags);
  message.deliverAtMs = fixture.clock.now() + delayMs;
  return message;
}

/** Publish messages to a queue, by text and delay; answers their handles. */
async function publish(fixture: Fixture, to: string, messages: readonly Message[]): Promise<string[]> {
  const producer = connect(fixture).producer({});
  const address = producer.address('', key(to));
  const handles: string[] = [];
  for (const message of messages) {
    producer.publish(address, message, 0);
    handles.push(...producer.lastDelayed);
  }
  await fixture.clock.advance(10);
  return handles;
}

/** Let hours and years pass: the clock is looked at every 30 s, and then bodies are read. */
async function pass(clock: SimClock, ms: number): Promise<void> {
  clock.epochMs += ms - 31_000;
  await clock.advance(31_000);
}

function info(fixture: Fixture, name = 'q') {
  const found = fixture.broker.admin.queue('/', name);
  if (found === undefined) throw new Error(`no queue ${name}`);
  return found;
}

for (const durable of [true, false]) {
  t.test(`messages come when they are due, in that order, equal ones as they came (durable: ${durable})`, async (t) => {
    const fixture = await start();
    await declare(fixture, 'q', {}, durable);
    const { bodies } = collect(connect(fixture), 'q');
    const flags = durable ? FLAG_DURABLE : 0;
    await publish(fixture, 'q', [
      delayed(fixture, 'c', 3000, flags),
      delayed(fixture, 'a', 1000, flags),
      delayed(fixture, 'far', YEAR_MS, flags),
      delayed(fixture, 'd', 3000, flags),
      delayed(fixture, 'now', 0, flags),
      delayed(fixture, 'past', -5000, flags),
      delayed(fixture, 'b', 2000, flags),
    ]);
    t.same(bodies, ['now', 'past'], 'what is due at once does not wait');
    t.match(info(fixture), { ready: 0, delayed: 5, unsettled: 2, published: 7 });
    await fixture.clock.advance(989);
    t.equal(bodies.length, 2, 'not a millisecond early');
    await fixture.clock.advance(1);
    t.same(bodies.slice(2), ['a']);
    await fixture.clock.advance(5000);
    t.same(bodies.slice(2), ['a', 'b', 'c', 'd']);
    t.equal(info(fixture).delayed, 1);
    await pass(fixture.clock, YEAR_MS);
    t.same(bodies.at(-1), 'far');
    t.match(info(fixture), { ready: 0, delayed: 0, unsettled: 7, published: 7 });
    await pass(fixture.clock, 3 * HOUR_MS);
    t.equal(fixture.internals.topology.queuesById.values().next().value?.delays?.slots.length, 0, 'no slot is left');
  });
}

t.test('delayed messages survive a restart, from the log and from a checkpoint', async (t) => {
  for (const checkpoint of [false, true]) {
    const clock = new SimClock();
    const disk = newDisk(clock);
    const fixture = await start({}, clock, disk);
    await declare(fixture, 'q', { 'x-max-priority': 9 });
    const urgent = delayed(fixture, 'urgent', 2 * HOUR_MS);
    urgent.priority = 200;
    const messages = [
      delayed(fixture, 'first', 60_000),
      delayed(fixture, 'gone', 70_000, 0),
      delayed(fixture, 'second', 2 * HOUR_MS),
      urgent,
    ];
    await publish(fixture, 'q', messages);
    if (checkpoint) await clock.drive(fixture.internals.checkpointer.run());
    await publish(fixture, 'q', [delayed(fixture, 'third', 9 * HOUR_MS)]);
    await clock.advance(80_000);
    t.match(info(fixture), { ready: 2, delayed: 3 });
    await clock.drive(fixture.close());
    const again = await start({}, clock, disk);
    t.match(info(again), { ready: 1, delayed: 3 });
    const { bodies } = collect(connect(again), 'q');
    await pass(clock, 3 * HOUR_MS);
    t.same(bodies, ['first', 'urgent', 'second'], 'at one time the higher priority first');
    await pass(clock, 9 * HOUR_MS);
    t.same(bodies, ['first', 'urgent', 'second', 'third']);
    await clock.drive(again.broker.admin.deleteQueue('/', 'q'));
    await clock.drive(again.close());
    const last = await start({}, clock, disk);
    t.equal(last.internals.engine.bodies.logged.count, 0, 'no body is left behind');
    t.equal(last.internals.engine.bodies.loggedIndex.rings.count, 0, 'no ring either');
    await clock.drive(last.close());
  }
});

t.test('what became due while the broker was down comes at once, in order', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const fixture = await start({}, clock, disk);
  await declare(fixture, 'q');
  const bodies = Array.from({ length: 3000 }, (_, n) => `${(n * 7919) % 3000}`);
  await publish(
    fixture,
    'q',
    bodies.map((body) => delayed(fixture, body, 1000 + Number(body) * 20_000)),
  );
  disk.kill();
  clock.clear();
  await pass(clock, 2 * YEAR_MS);
  const again = await start({}, clock, disk);
  const consumer = collect(connect(again), 'q', { credit: 1e6 });
  await again.settle();
  t.same(
    consumer.bodies,
    bodies.toSorted((a, b) => Number(a) - Number(b)),
  );
  t.equal(info(again).delayed, 0);
});

t.test(
  'a slot of many messages is searched bit by bit, and what comes in or goes meanwhile is not missed',
  async (t) => {
    const fixture = await start();
    await declare(fixture, 'q');
    const producer = connect(fixture).producer({});
    const address = producer.address('', key('q'));
    const startMs = fixture.clock.now() + 1000;
    const expected: number[] = [];
    const put = (dueMs: number) => {
      const message = text(String(dueMs - startMs), FLAG_DURABLE);
      message.deliverAtMs = dueMs;
      producer.publish(address, message, 0);
      expected.push(dueMs - startMs);
    };
    for (let n = 0; n < 40_000; n++) put(startMs + ((n * 7919) % 40_000) * 50);
    await fixture.settle();
    const got: number[] = [];
    const subscription = connect(fixture).subscribe(
      'q',
      { credit: Number.POSITIVE_INFINITY, settled: true },
      {
        onDeliveries: (batch) => {
          while (batch.next()) got.push(Number(bodyOf(batch.message)));
        },
      },
    );
    for (let n = 0; n < 200; n++) {
      await fixture.clock.advance(1);
      fixture.clock.epochMs += 10_000;
      const now = fixture.clock.now();
      for (let more = 0; more < 20; more++) put(now + 1 + ((n * 31 + more * 977) % 60_000));
    }
    await pass(fixture.clock, 70_000);
    t.same(
      got,
      expected.toSorted((a, b) => a - b),
    );
    t.match(info(fixture), { ready: 0, delayed: 0, unsettled: 0 });
    subscription.close();
  },
);

t.test(
  'a clock that jumps ahead makes due what it passes over; one that jumps back loses and repeats nothing',
  async (t) => {
    const fixture = await start();
    await declare(fixture, 'q');
    const { bodies } = collect(connect(fixture), 'q');
    await publish(fixture, 'q', [delayed(fixture, 'a', HOUR_MS), delayed(fixture, 'b', 10 * HOUR_MS)]);
    fixture.clock.epochMs += 2 * HOUR_MS;
    await fixture.clock.advance(30_000);
    t.same(bodies, ['a'], 'noticed within 30 s');
    fixture.clock.epochMs -= 24 * HOUR_MS;
    await publish(fixture, 'q', [delayed(fixture, 'c', HOUR_MS)]);
    await pass(fixture.clock, 2 * HOUR_MS);
    t.same(bodies, ['a', 'c']);
    await pass(fixture.clock, 40 * HOUR_MS);
    t.same(bodies, ['a', 'c', 'b']);
  },
);

t.test('a time to live counts from the time a message is due', async (t) => {
  const fixture = await start();
  await declare(fixture, 'q', { 'x-message-ttl': 1000 });
  await publish(fixture, 'q', [delayed(fixture, 'a', 5000), delayed(fixture, 'late', -5000)]);
  t.match(info(fixture), { ready: 1, delayed: 1 }, 'one that is late lives as long as any');
  await fixture.clock.advance(1200);
  t.match(info(fixture), { ready: 0, dropped: 1, delayed: 1 });
  await fixture.clock.advance(4000);
  t.match(info(fixture), { ready: 1, dropped: 1, delayed: 0 });
  await fixture.clock.advance(1000);
  t.match(info(fixture), { ready: 0, dropped: 2 });
});

t.test('a maximum length counts what is due', async (t) => {
  for (const [overflow, ready, dead] of [
    ['drop-head', 2, 1],
    ['reject-publish', 3, 0],
    ['reject-publish-dlx', 2, 1],
  ] as const) {
    const fixture = await start();
    await declare(fixture, 'dead');
    const deadLetters = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
    await declare(fixture, 'q', { 'x-max-length': 2, 'x-overflow': overflow, ...deadLetters });
    const messages = [text('a', FLAG_DURABLE), text('b', FLAG_DURABLE), delayed(fixture, 'c', 1000)];
    await publish(fixture, 'q', messages);
    t.match(info(fixture), { ready: 2, delayed: 1 });
    await fixture.clock.advance(2000);
    t.match(info(fixture), { ready, delayed: 0 });
    t.match(info(fixture, 'dead'), { ready: dead, delayed: 0 }, overflow);
  }
});

t.test('a dead letter does not wait again', async (t) => {
  const fixture = await start();
  await declare(fixture, 'dead');
  await declare(fixture, 'q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  const consumer = collect(connect(fixture), 'q');
  await publish(fixture, 'q', [delayed(fixture, 'a', 1000)]);
  await fixture.clock.advance(1000);
  t.same(consumer.bodies, ['a']);
  fixture.clock.epochMs -= HOUR_MS;
  consumer.subscription.settle(1, 1, 'discard');
  await fixture.settle();
  t.match(info(fixture, 'dead'), { ready: 1, delayed: 0 });
});

t.test('a purge takes delayed messages too, for good; a queue that has some is not empty', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const fixture = await start({}, clock, disk);
  const { admin } = fixture.broker;
  await declare(fixture, 'q');
  await publish(fixture, 'q', [text('a', FLAG_DURABLE), delayed(fixture, 'b', 1000), delayed(fixture, 'c', YEAR_MS)]);
  t.equal(await clock.drive(admin.purgeQueue('/', 'q')), 3);
  t.match(info(fixture), { ready: 0, delayed: 0, bytes: 0 });
  await publish(fixture, 'q', [delayed(fixture, 'd', 20_000)]);
  await t.rejects(clock.drive(admin.deleteQueue('/', 'q', { ifEmpty: true })), { code: 'not-empty' });
  disk.kill();
  clock.clear();
  const again = await start({}, clock, disk);
  const { bodies } = collect(connect(again), 'q');
  await pass(clock, 2 * YEAR_MS);
  t.same(bodies, ['d']);
});

t.test('delayed messages: fan-out, taps, who gets none, and what is refused', async (t) => {
  const fixture = await start();
  const { clock, broker } = fixture;
  for (const name of ['one', 'two']) {
    await declare(fixture, name);
    await clock.drive(broker.admin.bind('/', 'amq.topic', { kind: 'queue', name }, pattern('a.#'), {}));
  }
  const client = connect(fixture);
  const told: string[] = [];
  const tap = client.tap({
    onMessage: (message) => {
      told.push(bodyOf(message));
      return true;
    },
  });
  tap.bind('amq.topic', pattern('#'));
  const returned: string[] = [];
  const producer = client.producer({ onReturn: (message) => returned.push(bodyOf(message)) });
  const address = producer.address('amq.topic', key('a.b'));
  producer.publish(address, delayed(fixture, 'later', 1000), 1);
  t.equal(new Set(producer.lastDelayed).size, 2, 'a handle for each queue');
  producer.publish(address, text('now'), 1);
  const elsewhere = producer.address('amq.topic', key('b'));
  producer.publish(elsewhere, delayed(fixture, 'nobody', 1000), 1);
  await clock.advance(2000);
  t.same(told, ['now'], 'taps see what is there now');
  t.same(returned, ['nobody']);
  t.match([info(fixture, 'one').ready, info(fixture, 'two').ready], [2, 2]);

  const refusals: [Message, RegExp][] = [
    [delayed(fixture, 'x', 11 * YEAR_MS), /a delay of \d+ ms; at most 315360000000 \(ten years\)/],
    [Object.assign(text('x'), { deliverAtMs: -1 }), /deliver at -1/],
    [Object.assign(text('x'), { deliverAtMs: 1.5 }), /deliver at 1.5/],
    [Object.assign(text('x'), { deliverAtMs: Number.NaN }), /deliver at NaN/],
    [delayed(fixture, 'x', 1000, FLAG_RETAIN), /a delayed message cannot be a retained last value/],
  ];
  for (const [message, problem] of refusals) {
    t.throws(() => producer.publish(address, message, 0), { code: 'invalid-argument', message: problem });
  }
  await clock.drive(broker.admin.topics.create('/', 'log', { partitions: 1 }));
  await clock.drive(broker.admin.bind('/', 'amq.topic', { kind: 'topic', name: 'log' }, pattern('a.#'), {}));
  t.throws(() => producer.publish(address, delayed(fixture, 'x', 1000), 0), {
    code: 'invalid-argument',
    message: /topic 'log' \(exchange 'amq.topic', key 'a.b'\): only queues delay/,
  });
  t.match([info(fixture, 'one').delayed, info(fixture, 'two').delayed], [0, 0]);
});

t.test('handles: list in the order of due times, page by page; cancel, fire, and what is too late', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const fixture = await start({}, clock, disk);
  const { admin } = fixture.broker;
  await declare(fixture, 'q');
  const hours = [5, 1, 30, 2, 1, 26, 9];
  const handles = await publish(
    fixture,
    'q',
    hours.map((hour, n) => delayed(fixture, `${n}`, hour * HOUR_MS, n === 2 ? 0 : FLAG_DURABLE)),
  );
  t.equal(new Set(handles).size, hours.length);
  const all = await clock.drive(admin.delays.list('/', 'q'));
  t.same(
    all.map(({ handle }) => handle),
    [1, 4, 3, 0, 6, 5, 2].map((n) => handles[n]),
  );
  t.match(all.at(-1), { durable: false, priority: 0 });
  t.ok(all.every(({ bytes, dueMs }) => bytes > 10 && dueMs > clock.now()));
  const paged: string[] = [];
  for (;;) {
    const after = paged.at(-1);
    const page = await clock.drive(
      admin.delays.list('/', 'q', { limit: 2, ...(after === undefined ? {} : { after }) }),
    );
    if (page.length === 0) break;
    paged.push(...page.map(({ handle }) => handle));
  }
  t.same(
    paged,
    all.map(({ handle }) => handle),
  );

  const [first = '', second = '', third = ''] = paged;
  await clock.drive(admin.delays.cancel('/', 'q', first));
  const after = await clock.drive(admin.delays.list('/', 'q', { after: first, limit: 1 }));
  t.equal(after[0]?.handle, second, 'a page may begin behind one that is gone');
  await clock.drive(admin.delays.fire('/', 'q', third));
  t.match(info(fixture), { ready: 1, delayed: 5 });
  for (const handle of [first, third]) {
    await t.rejects(admin.delays.cancel('/', 'q', handle), {
      code: 'not-found',
      message: /it was due, or it was cancelled/,
    });
    await t.rejects(admin.delays.fire('/', 'q', handle), { code: 'not-found' });
  }
  for (const handle of ['', 'x', '1-2', '1-2-3-4', 'a-b-\u00e9', 'zzzzzzzzzzzz-1-1']) {
    await t.rejects(admin.delays.cancel('/', 'q', handle), { code: 'invalid-argument', message: /is no handle/ });
  }
  await t.rejects(admin.delays.list('/', 'q', { after: 'x' }), { code: 'invalid-argument' });
  await t.rejects(admin.delays.list('/', 'nowhere'), { code: 'not-found' });
  const forged = second.replace(/^[^-]+/, (due) => (Number.parseInt(due, 36) + 1).toString(36));
  await t.rejects(admin.delays.cancel('/', 'q', forged), { code: 'not-found' });

  disk.kill();
  clock.clear();
  const again = await start({}, clock, disk);
  t.match(info(again), { ready: 1, delayed: 4 }, 'what was confirmed is durable');
  await t.rejects(again.broker.admin.delays.fire('/', 'q', third), { code: 'not-found' });
  const { bodies } = collect(connect(again), 'q');
  await clock.drive(again.broker.admin.delays.fire('/', 'q', handles[5] as string));
  await pass(clock, 100 * HOUR_MS);
  t.same(bodies, ['3', '5', '4', '0', '6']);
  await clock.drive(again.close());
});

t.test('a handle fired in the turn of its publish waits for the journal', async (t) => {
  const clock = new SimClock();
  const fixture = await start({}, clock, newDisk(clock));
  await declare(fixture, 'q');
  const { bodies } = collect(connect(fixture), 'q');
  const producer = connect(fixture).producer({});
  producer.publish(producer.address('', key('q')), delayed(fixture, 'a', HOUR_MS), 0);
  const [handle = ''] = producer.lastDelayed;
  const fired = fixture.broker.admin.delays.fire('/', 'q', handle);
  t.equal(info(fixture).ready, 0);
  await clock.drive(fired);
  await fixture.settle();
  t.same(bodies, ['a']);
  await clock.drive(fixture.close());
});

t.test('when all that is known to be next was cancelled, the rest is looked for', async (t) => {
  const fixture = await start({ delayedNearMin: 4 });
  const { admin } = fixture.broker;
  await declare(fixture, 'q');
  const messages = Array.from({ length: 40 }, (_, n) => delayed(fixture, `${n}`, 1000 + n));
  const handles = await publish(fixture, 'q', messages);
  for (const handle of handles.slice(0, 39)) await fixture.clock.drive(admin.delays.cancel('/', 'q', handle));
  await fixture.clock.advance(2000);
  const { bodies } = collect(connect(fixture), 'q');
  await fixture.settle();
  t.same(bodies, ['39']);
});

t.test('a fan-out to more queues than a record names', async (t) => {
  const queues = 5_000;
  const clock = new SimClock();
  const disk = newDisk(clock);
  const fixture = await start({}, clock, disk);
  for (let n = 0; n < queues; n++) {
    void fixture.broker.admin.declareQueue('/', `q${n}`, DURABLE);
    void fixture.broker.admin.bind('/', 'amq.fanout', { kind: 'queue', name: `q${n}` }, pattern(''), {});
  }
  const producer = connect(fixture).producer({});
  const address = producer.address('amq.fanout', key(''));
  producer.publish(address, delayed(fixture, 'a', 60_000), 0);
  await clock.advance(100);
  disk.kill();
  clock.clear();
  const again = await start({}, clock, disk);
  t.match([info(again, 'q0').delayed, info(again, `q${queues - 1}`).delayed], [1, 1]);
  t.equal(again.internals.engine.bodies.logged.count, 1);
});
