import t from 'tap';
import { CONFIRM, type Message, type MessageOrigin, type TopicSettings } from '../../../src/core/index.ts';
import { durably, key, pattern } from '../fixture.ts';
import {
  batchOf,
  COUNTED,
  counted,
  LINES,
  type Line,
  pack,
  plainLines,
  readSealed,
  registerFormats,
} from './batch-formats.ts';
import {
  append,
  createTopic,
  detail,
  type Lab,
  lab,
  numbered,
  offsetOf,
  read,
  readAll,
  reopened,
  SMALL,
} from './support.ts';

async function topicLab(settings: TopicSettings = { partitions: 1 }, limits: Parameters<typeof lab>[0] = SMALL) {
  const one = await lab(limits);
  registerFormats(one);
  await createTopic(one, settings);
  return one;
}

async function again(one: Lab, limits = SMALL): Promise<Lab> {
  const next = await reopened(one, limits);
  registerFormats(next);
  return next;
}

function sender(one: Lab) {
  const confirms: number[] = [];
  const producer = one.client.producer({ onConfirm: (upTo) => confirms.push(upTo) });
  const address = producer.address('', key('t'));
  return { confirms, producer, address, send: (batch: Message) => producer.appendBatch(address, batch, CONFIRM) };
}

t.test('a batch keeps its bytes for who knows the format, and is single messages for everybody else', async (t) => {
  const one = await topicLab();
  const { send, confirms } = sender(one);
  const bodies = numbered(30);
  await append(one, ['before']);
  const body = pack(plainLines(bodies), true);
  const appended = send(batchOf(body));
  t.same(appended, { partition: 0, offset: 1, count: 30, goesOn: true });
  t.equal(detail(one).durableEnd, 1, 'not durable yet');
  await append(one, ['after']);
  t.same(confirms, [1]);
  const whole = { offset: 1, sealed: 30, body: body.toString('latin1') };
  for (const stage of ['in the journal', 'in files', 'after a restart', 'restarted from a checkpoint']) {
    let from = one;
    if (stage === 'in files') {
      await append(one, numbered(100));
      await one.clock.advance(5000);
      t.ok(detail(one).files > 0);
    }
    if (stage === 'restarted from a checkpoint') await one.clock.drive(one.internals.checkpointer.run());
    if (stage.includes('restart')) from = await again(one);
    const { bodies: seen, offsets } = await readAll(from);
    t.same(seen.slice(0, 32), ['before', ...bodies, 'after'], stage);
    t.same(offsets.slice(0, 32), [...Array(32).keys()]);
    t.same((await readSealed(from, 0)).slice(0, 3), [
      { offset: 0, sealed: 0, body: 'before' },
      whole,
      { offset: 31, sealed: 0, body: 'after' },
    ]);
    t.same((await readSealed(from, 17))[0], whole, 'from an offset within: as a whole');
    t.equal((await readSealed(from, 0, COUNTED.id)).length, detail(from).end, 'to readers of another format: not');
    const middle = read(from, 17);
    await from.clock.advance(100);
    t.equal(middle.offsets[0], 17);
    t.equal(middle.bodies[0], bodies[16]);
    middle.reader.close();
  }
  t.equal(one.broker.admin.topics.get('/', 't')?.published, 132);
});

t.test('its messages have the exchange, key, publisher and time of the batch, and their own groups', async (t) => {
  const one = await topicLab();
  await one.clock.advance(5000);
  await one.clock.drive(one.broker.admin.bind('/', 'amq.topic', { kind: 'topic', name: 't' }, pattern('a.#'), {}));
  const producer = one.client.producer({});
  producer.appendBatch(producer.address('amq.topic', key('a.b')), batchOf(pack([{ group: 'g', body: 'x' }], false)), 0);
  const tookAt = one.clock.now();
  await one.settle();
  const seen: object[] = [];
  one.client.reader('t', 0, 0, {
    onRecords: (batch) => {
      while (batch.next()) {
        const { message } = batch;
        const part = (bytes: Buffer, from: number, to: number) => bytes.toString('utf8', from, to);
        seen.push({
          exchange: part(message.exchangeBytes, message.exchangeStart, message.exchangeEnd),
          key: part(message.keyBytes, message.keyStart, message.keyEnd),
          user: part(message.publisherBytes, message.userStart, message.userEnd),
          client: part(message.publisherBytes, message.userEnd, message.clientEnd),
          group: part(message.bytes, message.groupStart, message.groupEnd),
          body: part(message.bytes, message.bodyStart, message.bodyEnd),
          at: message.receivedAtMs,
        });
      }
    },
  });
  await one.settle();
  t.same(seen, [
    { exchange: 'amq.topic', key: 'a.b', user: 'alice', client: 'c-1', group: 'g', body: 'x', at: tookAt },
  ]);
});

t.test('places in and around batches', async (t) => {
  const one = await topicLab();
  const { send } = sender(one);
  const times: number[] = [];
  for (let n = 0; n < 3; n++) {
    await one.clock.advance(10_000);
    times.push(one.clock.now());
    send(batchOf(pack(plainLines(numbered(10, n * 10)), n === 1)));
    await one.settle();
  }
  for (const sealed of [false, true]) {
    if (sealed) {
      await append(one, numbered(100));
      await one.clock.advance(5000);
      t.equal(detail(one).files > 0, true);
    }
    t.equal(await offsetOf(one, { timeMs: times[1] as number }), 10, 'the first one taken at that time');
    t.equal(await offsetOf(one, { timeMs: (times[1] as number) + 1 }), 20);
    t.equal(await offsetOf(one, { offset: 15 }), 15);
  }
  const { end } = detail(one);
  t.equal(await offsetOf(one, { lastN: end - 25 }), 25);
  const info = one.broker.admin.topics;
  await one.clock.drive(info.setOffsets('/', 'g', [{ topic: 't', partition: 0, offset: 13 }]));
  t.equal(info.group('/', 'g')?.offsets[0]?.lag, end - 13);
});

t.test(
  'a start within a batch: singles from there on, the batch as a whole; in the journal, sealed and restarted',
  async (t) => {
    for (const sealFirst of [false, true]) {
      const one = await topicLab();
      const { send } = sender(one);
      const body = pack(plainLines(numbered(20)), true);
      await append(one, numbered(5));
      send(batchOf(body));
      await append(one, numbered(5, 100));
      const seal = async (): Promise<void> => {
        await append(one, numbered(150, 200));
        await one.clock.advance(5000);
        t.ok(detail(one).files > 0);
      };
      if (sealFirst) await seal();
      await one.clock.drive(one.broker.admin.topics.truncate('/', 't', 0, 12));
      const look = async (from: Lab): Promise<void> => {
        const { offsets, bodies } = await readAll(from);
        t.equal(offsets[0], 12);
        t.same(bodies.slice(0, 13), numbered(13, 7));
        t.same((await readSealed(from, 12))[0], { offset: 5, sealed: 20, body: body.toString('latin1') });
        t.equal(offsets.length, detail(from).end - 12);
        t.equal(await offsetOf(from, { timeMs: 0 }), 12);
      };
      await look(one);
      if (!sealFirst) await seal();
      await look(one);
      await look(await again(one));
      await one.clock.drive(one.internals.checkpointer.run());
      await look(await again(one));
    }
  },
);

t.test('a reader that takes a few at a time unpacks a batch once', async (t) => {
  const one = await topicLab();
  const { send } = sender(one);
  let unpacked = 0;
  const { unpack } = LINES.batches;
  t.teardown(() => {
    LINES.batches.unpack = unpack;
  });
  LINES.batches.unpack = (...args) => {
    unpacked++;
    unpack(...args);
  };
  send(batchOf(pack(plainLines(numbered(50)), true)));
  await one.settle();
  t.equal(unpacked, 1, 'to check it');
  const reading = read(one, 0, 0, 3);
  for (let n = 0; n < 30; n++) {
    await one.clock.advance(5);
    reading.reader.resume();
  }
  t.same(reading.bodies, numbered(50));
  t.equal(unpacked, 2);
  send(batchOf(pack(plainLines(numbered(50)), true)));
  for (let n = 0; n < 30; n++) {
    await one.clock.advance(5);
    reading.reader.resume();
  }
  t.equal(reading.bodies.length, 100);
  t.equal(unpacked, 3, 'who waits at the end has what was unpacked to check it');
});

t.test('share groups take the messages one by one', async (t) => {
  const one = await topicLab();
  const { send } = sender(one);
  const got: string[] = [];
  const ids: number[] = [];
  const subscription = one.client.subscribe(
    't',
    { credit: 1000, share: { group: 'w', start: 'first' } },
    {
      onDeliveries: (batch) => {
        while (batch.next()) {
          const { bytes, bodyStart, bodyEnd } = batch.message;
          got.push(`${bytes.toString('utf8', bodyStart, bodyEnd)}/${batch.redeliveries}`);
          ids.push(batch.deliveryId);
        }
      },
    },
  );
  send(batchOf(pack(plainLines(['a', 'b', 'c', 'd']), true)));
  await append(one, ['e']);
  t.same(got, ['a/0', 'b/0', 'c/0', 'd/0', 'e/0']);
  subscription.settle(2, 3, 'requeue');
  subscription.settle(4, 5, 'complete');
  await one.settle();
  t.same(got.slice(5), ['b/1', 'c/1']);
  subscription.settle(1, 7, 'complete');
  await one.settle();
  const [group] = one.broker.admin.topics.shareGroups('/', 't');
  t.match(group?.partitions[0], { start: 5, next: 5, lag: 0 });
  t.equal(ids.length, 7);
});

t.test('sequences: a repeat is answered with its offset, what overlaps or leaves a gap is refused', async (t) => {
  const one = await topicLab();
  const origin: MessageOrigin = await one.clock.drive(one.broker.admin.topics.openOrigin('/', 'p'));
  const check = (from: Lab, first: number): void => {
    const { send } = sender(from);
    const numberedBatch = (sequence: number, count: number): Message =>
      Object.assign(batchOf(pack(plainLines(numbered(count, sequence)), true)), { origin, sequence });
    const at = (sequence: number, count: number) => send(numberedBatch(sequence, count)).offset;
    t.equal(at(first, 10), first);
    t.equal(at(first + 10, 5), first + 10);
    t.equal(at(first, 10), first, 'again');
    t.equal(at(first + 10, 5), first + 10);
    t.throws(() => at(first + 20, 3), { code: 'out-of-order' });
    t.throws(() => at(first + 12, 10), { code: 'out-of-order' });
    t.equal(detail(from).end, first + 15);
  };
  check(one, 0);
  await one.settle();
  const next = await again(one);
  t.equal((await readAll(next)).bodies.length, 15);
  check(next, 15);
  const { producer, address, send } = sender(next);
  const single = Object.assign(durably('one'), { origin, sequence: 30, partition: 0 });
  producer.publish(address, single, CONFIRM);
  t.equal(producer.lastOffset, 30, 'single messages go on with the numbers');
  const zero = Object.assign(batchOf(pack(plainLines(['x']), false)), { origin: { ...origin, epoch: 1 }, sequence: 0 });
  t.throws(() => send(zero), { code: 'invalid-argument' });
});

t.test('too many messages are too many before all of them are unpacked', async (t) => {
  const one = await topicLab({ partitions: 1 });
  const { producer } = sender(one);
  const batch = batchOf(pack(plainLines(Array(70_000).fill('')), true));
  t.throws(() => producer.appendBatch(producer.address('', key('t')), batch, CONFIRM), {
    code: 'message-too-large',
    message: /more than 10000 messages/,
  });
});

t.test('bad input is a typed error, and nothing is appended', async (t) => {
  const one = await topicLab({ partitions: 2 }, { ...SMALL, batchUnpackedBytesMax: 10_000, messageBytesMax: 4000 });
  const { send, producer, confirms } = sender(one);
  const queue = { durable: true, autoDelete: false, exclusive: false, arguments: {} };
  await one.clock.drive(one.broker.admin.declareQueue('/', 'q', queue));
  const refused = (batch: Message, code: string, hint: RegExp, address = producer.address('', key('t'))): void => {
    t.throws(() => producer.appendBatch(address, batch, CONFIRM), { code, message: hint });
  };
  const good = batchOf(pack(plainLines(['x']), true));
  refused(batchOf(Buffer.from('x'), { id: 199 } as typeof LINES), 'not-supported', /batches of format 'unknown'/);
  refused(batchOf(Buffer.from('no bar')), 'invalid-argument', /no bar/);
  refused(batchOf(pack(plainLines(['x']), true).subarray(0, 15)), 'invalid-argument', /unexpected end/);
  refused(batchOf(counted(3, Buffer.from('x')).fill(1, 4, 5), COUNTED), 'invalid-argument', /checksum/);
  refused(batchOf(counted(0, Buffer.from('')), COUNTED), 'invalid-argument', /without messages/);
  refused(batchOf(counted(65_536, Buffer.from('x')), COUNTED), 'message-too-large', /more than 10000 messages/);
  refused(batchOf(counted(1_000, Buffer.from('x')), COUNTED), 'message-too-large', /when unpacked; 10000/);
  refused(batchOf(pack(plainLines(['y'.repeat(20_000)]), true)), 'message-too-large', /larger/);
  refused(batchOf(pack(plainLines(Array(900).fill('')), true)), 'message-too-large', /when unpacked/);
  refused(batchOf(pack(plainLines(['y'.repeat(5000)]), false)), 'message-too-large', /4000/);
  refused(batchOf(pack([{ group: 'g'.repeat(256), body: '' }], false)), 'invalid-argument', /255/);
  refused(batchOf(good.bytes, LINES, 2), 'invalid-argument', /partition 2/);
  refused(Object.assign(batchOf(good.bytes), { sequence: 0 }), 'invalid-argument', /producer/);
  refused(good, 'invalid-argument', /one topic/, producer.address('', key('q')));
  refused(good, 'unroutable', /nowhere/, producer.address('', key('nowhere')));
  await one.settle();
  t.same([detail(one, 0).end, detail(one, 1).end], [0, 0]);
  t.equal(send(good).offset, 0);
  await one.settle();
  t.same(confirms, [1], 'what is refused has no number');
});

t.test('a batch that cannot be taken apart any more holds nobody up', async (t) => {
  const one = await topicLab();
  const { send } = sender(one);
  const body = counted(5, Buffer.from('not | what it said'));
  await append(one, ['before']);
  send(batchOf(body, COUNTED));
  send(batchOf(counted(5, Buffer.from('nonsense')), COUNTED));
  await append(one, ['after']);
  const { bodies, offsets } = await readAll(one);
  t.same(offsets, [0, 1, 6, 11], 'one of the batches has less in it than it said, the other one is shown as it is');
  t.equal(bodies[1], ' what it said');
  t.match(one.lines.join(), /warn a batch of a topic cannot be taken apart/);
  t.same(read(one, 7).offsets, []);
  await one.settle();
  const middle = read(one, 7);
  const share = { group: 'w', start: 'first' } as const;
  let taken = 0;
  one.client.subscribe(
    't',
    { credit: 9, settled: true, share },
    { onDeliveries: (batch) => void (batch.next() && batch.next() && batch.next() && batch.next() && taken++) },
  );
  await one.settle();
  t.same(middle.offsets, [11]);
  t.equal(taken, 1);
  const next = await reopened(one);
  t.same((await readAll(next)).offsets, [0, 1, 6, 11], 'without the format, both are');
});

const COMPACT: TopicSettings = { partitions: 1, compact: true, fileBytes: 4096, tombstoneMs: 0 };

t.test('compaction keeps a batch of which all stays, and of another one what stays', async (t) => {
  const limits = { ...SMALL, topicSweepMs: 500 };
  const one = await topicLab(COMPACT, limits);
  const { send } = sender(one);
  const line = (group: string, body: string): Line => ({ group, body });
  const long = 'z'.repeat(50);
  const fresh = pack([line('a', `1${long}`), line('b', `1${long}`), line('', `1${long}`)], true);
  const mixed = pack([line('c', `1${long}`), line('a2', `1${long}`), line('c', `2${long}`), line('d', '')], true);
  send(batchOf(fresh));
  send(batchOf(mixed));
  send(batchOf(pack([line('e', 'old'), line('f', 'old')], true)));
  send(batchOf(pack([line('e', 'new'), line('f', 'new')], false)));
  await append(one, numbered(150));
  await one.clock.advance(10_000);
  await append(one, numbered(10));
  await one.clock.advance(10_000);
  for (const from of [one, await again(one, limits)]) {
    const seen = (await readSealed(from, 0)).filter(({ offset }) => offset < 11);
    t.same(
      seen.map(({ offset, sealed, body }) => [offset, sealed, sealed > 0 ? '' : body]),
      [
        [0, 3, ''],
        [4, 0, `1${long}`],
        [5, 0, `2${long}`],
        [9, 2, ''],
      ],
    );
    t.equal(seen[0]?.body, fresh.toString('latin1'), 'its bytes are the same');
    const { offsets } = await readAll(from);
    t.same(offsets.slice(0, 8), [0, 1, 2, 4, 5, 9, 10, 11]);
  }
});
