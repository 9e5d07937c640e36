import t from 'tap';
import { CONFIRM, FLAG_DURABLE, FLAG_RETAIN } from '../../src/core/index.ts';
import { dump } from '../../src/testing/dump.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { failure, type SimDisk } from '../../src/testing/sim-disk.ts';
import {
  bodyOf,
  collect,
  connect,
  DURABLE,
  declare,
  durably,
  type Fixture,
  key,
  newDisk,
  pattern,
  start,
  TRANSIENT,
  text,
} from './fixture.ts';

const SMALL = {
  segmentBytes: 64 * 1024,
  batchBytesMax: 8 * 1024,
  tailCacheBytesMax: 16 * 1024,
  readAheadBytesMax: 8 * 1024,
};

function stateOf(fixture: Fixture): string[] {
  return dump(fixture.internals.topology);
}

/** A broker on a copy of a disk, with a clock of its own. */
async function reopened(disk: SimDisk, without: (path: string) => boolean = () => false): Promise<Fixture> {
  const clock = new SimClock();
  const copy = disk.clone({ clock });
  for (const path of copy.paths()) if (without(path)) copy.lose(path);
  return start(SMALL, clock, copy);
}

/** Everything that leaves a trace in the journal, in two halves: `between` comes between them. */
async function live(fixture: Fixture, between: () => Promise<void>): Promise<void> {
  const { admin } = fixture.broker;
  const client = connect(fixture);
  const producer = client.producer({});
  const drive = <T>(promise: Promise<T>): Promise<T> => fixture.clock.drive(promise);
  const topic = { kind: 'topic', durable: true, autoDelete: false, internal: false, arguments: { a: 1 } } as const;
  await drive(admin.createVhost('tenant'));
  await drive(admin.createVhost('gone'));
  await drive(admin.declareExchange('/', 'x', { ...topic, alternate: 'amq.fanout' }));
  await drive(admin.declareExchange('/', 'y', topic));
  for (let n = 0; n < 20; n++) {
    await drive(admin.declareQueue('/', `q${n}`, DURABLE));
    await drive(admin.bind('/', 'amq.fanout', { kind: 'queue', name: `q${n}` }, pattern(''), { n }));
  }
  await drive(admin.declareQueue('/', 'volatile', TRANSIENT));
  await drive(admin.bind('/', 'amq.fanout', { kind: 'queue', name: 'volatile' }, pattern(''), {}));
  await drive(admin.bind('/', 'x', { kind: 'exchange', name: 'y' }, pattern('a.#'), {}));
  await drive(admin.bind('/', 'y', { kind: 'queue', name: 'q3' }, pattern('*.b'), {}));
  for (let half = 0; half < 2; half++) {
    const all = producer.address('amq.fanout', key('any'));
    const one = producer.address('', key('q1'));
    for (let n = 0; n < 30; n++) {
      producer.publish(all, durably(`all ${half} ${n} ${'x'.repeat(n * 10)}`), 0);
      producer.publish(one, text(`transient ${n}`), 0);
      producer.publish(one, durably(`one ${half} ${n}`), 0);
      producer.publish(producer.address('amq.topic', key(`k.${n % 7}`)), durablyRetained(`v${half}${n}`), 0);
    }
    producer.publish(producer.address('amq.topic', key('k.1')), durablyRetained(''), 0);
    producer.publish(producer.address('amq.topic', key('k.2')), text('not kept', FLAG_RETAIN), 0);
    await fixture.settle();
    const consumer = collect(client, 'q1', { credit: 40 });
    await fixture.settle();
    consumer.subscription.settle(1, 10, 'complete');
    consumer.subscription.settle(15, 15, 'discard');
    consumer.subscription.settle(20, 22, 'modify');
    consumer.subscription.settle(30, 31, 'complete');
    consumer.subscription.close();
    await drive(admin.purgeQueue('/', `q${5 + half}`));
    await drive(admin.deleteQueue('/', `q${7 + half}`));
    if (half === 1) {
      await drive(admin.unbind('/', 'y', { kind: 'queue', name: 'q3' }, pattern('*.b'), {}));
      await drive(admin.deleteExchange('/', 'y'));
      await drive(admin.deleteVhost('gone'));
    } else await between();
  }
  await fixture.settle();
}

const durablyRetained = (body: string) => text(body, FLAG_RETAIN | FLAG_DURABLE);

t.test('replay of the log alone, replay after a checkpoint, and the living state are the same', async (t) => {
  const clock = new SimClock();
  const fixture = await start(SMALL, clock, newDisk(clock));
  await live(fixture, () => clock.drive(fixture.internals.checkpointer.run()));
  const state = stateOf(fixture);
  t.ok(state.length > 500);
  t.same(stateOf(await reopened(fixture.disk)), state, 'checkpoint and rest');
  const inLog = await reopened(fixture.disk, (path) => path.startsWith('checkpoint'));
  t.match(inLog.summary, /no checkpoint/);
  t.same(stateOf(inLog), state, 'log alone');
  for (let delta = 0; delta < 2; delta++) {
    await clock.drive(fixture.internals.checkpointer.run());
    t.same(stateOf(await reopened(fixture.disk)), state, 'another checkpoint');
  }
  t.match(fixture.lines.join(), /checkpoint/);
  await clock.drive(fixture.close());
  const again = await reopened(fixture.disk);
  t.same(stateOf(again), state, 'after an orderly stop');
  t.equal(again.broker.admin.queue('/', 'volatile'), undefined);
  t.same(
    again.broker.admin.vhosts().map((vhost) => vhost.name),
    ['/', 'tenant'],
  );
  t.match(again.broker.admin.exchange('/', 'x'), { kind: 'topic', alternate: 'amq.fanout', arguments: { a: 1 } });
});

t.test('messages come back from disk in order, with their counts, also to two consumers', async (t) => {
  const clock = new SimClock();
  const first = await start(SMALL, clock, newDisk(clock));
  await declare(first, 'q');
  const producer = connect(first).producer({});
  const address = producer.address('', key('q'));
  const bodies = Array.from({ length: 300 }, (_, n) => `${n} ${'y'.repeat((n * 37) % 900)}`);
  for (const body of bodies) producer.publish(address, durably(body), 0);
  await first.settle();
  await clock.drive(first.close());
  const second = await reopened(first.disk);
  const client = connect(second);
  const one = collect(client, 'q', { credit: 100 });
  await second.settle();
  one.subscription.settle(1, 50, 'complete');
  one.subscription.settle(60, 70, 'requeue');
  const two = collect(client, 'q', { credit: 1000 });
  await second.settle();
  one.subscription.close();
  await second.settle();
  const got = [...one.bodies.slice(0, 50), ...two.bodies];
  t.same([...got].sort(byNumber), bodies, 'every message, none twice');
  t.same(two.bodies.slice(0, 11), bodies.slice(59, 70), 'the returned ones first');
  t.equal(two.redeliveries.filter((count) => count === 1).length, 50);
  t.equal(two.subscription.settle(1, 250, 'complete'), 250);
  await second.settle();
  t.match(second.broker.admin.queue('/', 'q'), { ready: 0, bytes: 0 });
  t.equal(second.internals.engine.readAheadBytes <= SMALL.readAheadBytesMax, true);
  two.subscription.close();
  t.equal(second.internals.engine.readAheadBytes, 0);
  t.equal(second.internals.engine.bodies.logged.count, 0);
});

function byNumber(a: string, b: string): number {
  return Number.parseInt(a, 10) - Number.parseInt(b, 10);
}

t.test('a purge while bodies are being read', async (t) => {
  const clock = new SimClock();
  const first = await start(SMALL, clock, newDisk(clock));
  await declare(first, 'q');
  const producer = connect(first).producer({});
  for (let n = 0; n < 100; n++) producer.publish(producer.address('', key('q')), durably(`${n} ${'z'.repeat(300)}`), 0);
  await first.settle();
  await clock.drive(first.close());
  const second = await reopened(first.disk);
  const got = collect(connect(second), 'q');
  await clock.run(() => true);
  second.broker.admin.purgeQueue('/', 'q').catch(t.threw);
  const other = connect(second).producer({});
  other.publish(other.address('', key('q')), durably('last'), 0);
  await second.settle();
  t.same(got.bodies, ['last']);
});

t.test('nothing is confirmed, delivered or answered once a sync has failed', async (t) => {
  const clock = new SimClock();
  let broken = false;
  const disk = newDisk(clock, {
    fault: (operation) => (broken && operation === 'sync' ? failure('EIO', 'x') : undefined),
  });
  const fixture = await start(SMALL, clock, disk);
  await declare(fixture, 'q');
  const confirms: number[] = [];
  const client = connect(fixture);
  const producer = client.producer({ onConfirm: (upTo) => confirms.push(upTo) });
  const got = collect(client, 'q');
  producer.publish(producer.address('', key('q')), durably('safe'), CONFIRM);
  await fixture.settle();
  t.same([confirms, got.bodies], [[1], ['safe']]);
  broken = true;
  producer.publish(producer.address('', key('q')), durably('lost'), CONFIRM);
  const declared = fixture.broker.admin.declareQueue('/', 'other', DURABLE).then(
    () => 'declared',
    (error: { code: string }) => error.code,
  );
  await fixture.settle();
  t.equal(await clock.drive(declared), 'journal-failed');
  t.match(await clock.drive(fixture.failed), { code: 'journal-failed' });
  t.same([confirms, got.bodies], [[1], ['safe']], 'nothing more');
  t.throws(() => producer.publish(producer.address('', key('q')), durably('x'.repeat(10_000)), 0), {
    code: 'journal-failed',
  });
  t.doesNotThrow(() => client.close());
  disk.crash();
  broken = false;
  const after = await reopened(disk);
  t.ok(after.broker.admin.queue('/', 'q'));
});

t.test('publishers are paused while too much is unsynced, and go on', async (t) => {
  const clock = new SimClock();
  const fixture = await start({ ...SMALL, unconfirmedBytesMax: 20_000 }, clock, newDisk(clock));
  await declare(fixture, 'q');
  let drained = 0;
  const producer = connect(fixture).producer({
    onDrain: () => {
      drained++;
    },
  });
  const address = producer.address('', key('q'));
  let taken = 0;
  while (producer.publish(address, durably('m'.repeat(500)), 0)) t.ok(++taken < 100);
  t.ok(taken > 20);
  await fixture.settle();
  t.equal(drained, 1);
  t.equal(producer.publish(address, durably('more'), 0), true);
});

t.test('disk alarm: publishers blocked, consumers and acknowledgements go on, it ends by itself', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock, { capacityBytes: 10_000_000 });
  const fixture = await start({ ...SMALL, diskFreeBytesMin: 1_000_000, unconfirmedBytesMax: 3_000 }, clock, disk);
  const { broker } = fixture;
  await clock.drive(broker.admin.declareQueue('/', 'q', DURABLE));
  const events: string[] = [];
  const client = connect(fixture, {
    onBlocked: (reason) => events.push(`blocked by ${reason}`),
    onUnblocked: () => events.push('unblocked'),
  });
  const producer = client.producer({
    onDrain: () => events.push('drain'),
    onConfirm: (upTo) => events.push(`confirmed ${upTo}`),
  });
  const address = producer.address('', key('q'));
  t.equal(producer.publish(address, durably('1'), CONFIRM), true);
  await fixture.settle();
  disk.options = { ...disk.options, capacityBytes: 500_000 };
  await clock.advance(6_000);
  t.equal(broker.blockedBy, 'disk');
  t.equal(producer.publish(address, durably('2'), CONFIRM), false, 'taken, but pause');
  t.throws(
    () => {
      for (let n = 0; n < 100; n++) producer.publish(address, durably('x'.repeat(100)), 0);
    },
    { code: 'publishing-blocked' },
  );
  const got = collect(client, 'q', { credit: 2 });
  await fixture.settle();
  t.same(got.bodies, ['1', '2']);
  let settled = false;
  got.subscription.settle(1, 2, 'complete');
  got.subscription.afterDurable(() => {
    settled = true;
  });
  t.equal(settled, false);
  await fixture.settle();
  t.equal(settled, true);
  disk.options = { ...disk.options, capacityBytes: 10_000_000 };
  await clock.advance(6_000);
  t.equal(broker.blockedBy, undefined);
  t.same(events, ['confirmed 1', 'blocked by disk', 'confirmed 2', 'unblocked', 'drain']);
  t.equal(producer.publish(address, durably('3'), 0), true);
});

t.test('disk alarm: what is consumed gives its space back, and that ends the alarm', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock, { capacityBytes: 4_000_000 });
  // Nothing else would ask for a checkpoint.
  const rare = { checkpointLogBytes: 1_000_000_000, checkpointMs: 1_000_000_000 };
  const fixture = await start({ ...SMALL, ...rare, diskFreeBytesMin: 2_000_000, diskCheckMs: 1_000 }, clock, disk);
  const { broker } = fixture;
  await clock.drive(broker.admin.declareQueue('/', 'q', DURABLE));
  const client = connect(fixture);
  const producer = client.producer({});
  const address = producer.address('', key('q'));
  let published = 0;
  for (; broker.blockedBy === undefined && published < 1_000; published++) {
    producer.publish(address, durably('x'.repeat(10_000)), 0);
    await clock.advance(50);
  }
  t.equal(broker.blockedBy, 'disk', `after ${published} messages`);
  const got = collect(client, 'q', { credit: Infinity });
  await clock.advance(500);
  t.equal(got.bodies.length, published);
  t.equal(broker.blockedBy, 'disk', 'the space is still taken');
  got.subscription.settle(1, published, 'complete');
  await clock.advance(10_000);
  t.equal(broker.blockedBy, undefined);
});

t.test('last values survive as their messages do, and are read from disk', async (t) => {
  const clock = new SimClock();
  const fixture = await start(SMALL, clock, newDisk(clock));
  const producer = connect(fixture).producer({});
  for (let n = 0; n < 200; n++) {
    producer.publish(producer.address('amq.topic', key(`k.${n}`)), durablyRetained(`${n} ${'r'.repeat(200)}`), 0);
  }
  await fixture.settle();
  const again = await reopened(fixture.disk);
  const shown: string[] = [];
  let done = false;
  const tap = connect(again).tap({ onMessage: () => true });
  tap.retained(
    'amq.topic',
    pattern('#'),
    (message) => shown.push(bodyOf(message)),
    () => {
      done = true;
    },
  );
  await again.clock.run(() => done);
  t.equal(shown.length, 200);
  t.same(shown, [...shown].sort(byNumber), 'oldest first');
});
