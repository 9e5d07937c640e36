import t from 'tap';
import { CONFIRM, Message } from '../../../src/core/index.ts';
import { bodyOf, connect, DURABLE, durably, key, pattern, text } from '../fixture.ts';
import { append, createTopic, detail, lab, numbered, offsetOf, read, readAll } from './support.ts';

t.test('appended messages get offsets 0, 1, 2, ... and are read in order by any number of readers', async (t) => {
  const one = await lab();
  await createTopic(one);
  const bodies = numbered(30);
  const early = read(one, 0);
  await append(one, bodies);
  const late = await readAll(one);
  t.same(early.bodies, bodies);
  t.same(late.bodies, bodies);
  t.same(
    early.offsets,
    bodies.map((_, n) => n),
  );
  t.match(detail(one), { start: 0, end: 30, durableEnd: 30, readers: 1 });
});

t.test('a reader sees a message only when it is durable, and is woken then', async (t) => {
  const one = await lab();
  await createTopic(one);
  const reading = read(one, 0);
  await one.settle();
  const confirms: number[] = [];
  const producer = one.client.producer({ onConfirm: (upTo) => confirms.push(upTo) });
  producer.publish(producer.address('', key('t')), text('transient messages are kept too'), CONFIRM);
  t.equal(producer.lastOffset, 0);
  t.equal(producer.lastPartition, 0);
  t.match(detail(one), { end: 1, durableEnd: 0 });
  t.throws(() => read(one, 1), { code: 'offset-out-of-range' });
  t.same(reading.bodies, []);
  await one.settle();
  t.same(reading.bodies, ['transient messages are kept too']);
  t.same(confirms, [1]);
});

t.test(
  'messages go to the partition asked for, of their group, of their routing key, or to each in turn',
  async (t) => {
    const one = await lab();
    await createTopic(one, { partitions: 5 });
    await one.clock.drive(one.broker.admin.bind('/', 'amq.topic', { kind: 'topic', name: 't' }, pattern('a.#'), {}));
    const producer = one.client.producer({});
    const direct = producer.address('', key('t'));
    const sent = (message: Message, address = direct): number => {
      producer.publish(address, message, 0);
      return producer.lastPartition;
    };
    const grouped = (group: string): Message => {
      const message = new Message();
      message.bytes = Buffer.from(`${group}body`);
      message.groupEnd = message.headStart = message.headEnd = message.bodyStart = group.length;
      message.bodyEnd = message.bytes.length;
      return message;
    };
    const explicit = durably('x');
    explicit.partition = 3;
    t.equal(sent(explicit), 3);
    t.equal(sent(grouped('foobar')), (-790332482 & 0x7fff_ffff) % 5);
    t.equal(sent(grouped('foobar')), sent(grouped('foobar')), 'one group, one partition');
    const routed = producer.address('amq.topic', key('a.b'));
    t.equal(sent(durably('x'), routed), sent(durably('y'), routed), 'one routing key, one partition');
    const big = 'x'.repeat(70_000);
    t.same([sent(durably(big)), sent(durably(big)), sent(durably(big))], [0, 1, 2], 'each in turn');
    explicit.partition = 5;
    t.throws(() => sent(explicit), { code: 'invalid-argument' });
    t.throws(() => sent(grouped('g'.repeat(1024 * 1024))), { code: 'invalid-argument' });
    await one.settle();
    const { bodies } = await readAll(one, (-790332482 & 0x7fff_ffff) % 5);
    t.ok(bodies.includes('body'));
  },
);

t.test('a message keeps its group, key and publisher on the way through a topic', async (t) => {
  const one = await lab();
  await createTopic(one);
  const producer = one.client.producer({});
  const message = durably('body');
  message.bytes = Buffer.from('grpHbody');
  [message.groupEnd, message.headStart, message.headEnd, message.bodyStart, message.bodyEnd] = [3, 3, 4, 4, 8];
  producer.publish(producer.address('', key('t')), message, 0);
  await one.settle();
  let seen = '';
  one.client.reader('t', 0, 0, {
    onRecords: (batch) => {
      while (batch.next()) {
        const { message } = batch;
        const group = message.bytes.toString('utf8', message.groupStart, message.groupEnd);
        const user = message.publisherBytes.toString('utf8', message.userStart, message.userEnd);
        seen += `${group} ${message.keyBytes.toString('utf8', message.keyStart, message.keyEnd)} ${user} ${bodyOf(message)}`;
      }
    },
  });
  await one.settle();
  t.equal(seen, 'grp t alice body');
});

t.test('what has filled its share is sealed; every offset reads the same from files, journal and memory', async (t) => {
  const one = await lab();
  await createTopic(one);
  const bodies = numbered(400);
  const tail = read(one, 0);
  await append(one, bodies);
  await one.clock.advance(2000);
  t.ok(detail(one).files > 2, 'several files');
  t.same(tail.bodies, bodies);
  t.same((await readAll(one)).bodies, bodies);
  for (const offset of [0, 1, 7, 99, 200, 333, 399]) {
    const reading = read(one, offset);
    await one.clock.advance(100);
    t.same(reading.bodies, bodies.slice(offset), `from ${offset}`);
    reading.reader.close();
  }
});

t.test('places: first, last, next, n from the end, a number, a time', async (t) => {
  const one = await lab();
  await createTopic(one);
  const began = one.clock.now();
  for (let n = 0; n < 40; n++) {
    await append(one, numbered(10, n * 10));
    await one.clock.advance(10_000);
  }
  t.equal(await offsetOf(one, 'first'), 0);
  t.equal(await offsetOf(one, 'last'), 399);
  t.equal(await offsetOf(one, 'next'), 400);
  t.equal(await offsetOf(one, { lastN: 25 }), 375);
  t.equal(await offsetOf(one, { lastN: 1_000_000 }), 0);
  t.equal(await offsetOf(one, { offset: 1_000_000 }), 400);
  for (const n of [0, 1, 5, 20, 38, 39]) {
    const ms = n === 0 ? 0 : began + n * 10_050 - 5_000;
    t.equal(await offsetOf(one, { timeMs: ms }), n * 10, `time ${n}`);
  }
  t.equal(await offsetOf(one, { timeMs: one.clock.now() + 1 }), 400);
  await t.rejects(offsetOf(one, { offset: -1 }), { code: 'invalid-argument' });
  t.throws(() => read(one, 401), { code: 'offset-out-of-range' });
  t.throws(() => read(one, 0.5), { code: 'offset-out-of-range' });
  t.throws(() => read(one, 0, 1), { code: 'invalid-argument' });
});

t.test('a reader that leaves messages is paused; it goes on, seeks, and ends', async (t) => {
  const one = await lab();
  await createTopic(one);
  await append(one, numbered(200));
  await one.clock.advance(1000);
  const reading = read(one, 0, 0, 3);
  await one.settle();
  t.same(reading.offsets, [0, 1, 2]);
  reading.reader.resume();
  await one.settle();
  t.same(reading.offsets, [0, 1, 2, 3, 4, 5]);
  t.equal(reading.reader.position, 6);
  reading.reader.seek(198);
  await one.settle();
  t.same(reading.offsets.slice(6), [198, 199]);
  t.throws(() => reading.reader.seek(201), { code: 'offset-out-of-range' });
  await append(one, ['more']);
  t.equal(reading.bodies.at(-1), 'more', 'woken at the end without being resumed');
  await one.clock.drive(one.broker.admin.topics.delete('/', 't'));
  t.equal(reading.ended, 'not-found');
  t.throws(() => read(one, 0), { code: 'not-found' });
});

t.test('retention by bytes and by time, and truncation, remove whole files and move the start', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 1, retentionBytes: 20_000 });
  const bodies = numbered(600);
  await append(one, bodies);
  await one.clock.advance(5000);
  const { start, bytes } = detail(one);
  t.ok(start > 0 && bytes >= 20_000 && bytes < 20_000 + 3 * 8192, `${start} ${bytes}`);
  t.same((await readAll(one)).bodies, bodies.slice(start));
  t.throws(() => read(one, 0), { code: 'offset-out-of-range' });
  const files = (): number => one.disk.paths().filter((path) => path.startsWith('topic/')).length;
  t.equal(files(), detail(one).files, 'no file is left over');

  t.equal(await one.clock.drive(one.broker.admin.topics.truncate('/', 't', 0, 590)), 590);
  await one.settle();
  t.same((await readAll(one)).bodies, bodies.slice(590));
  await t.rejects(one.clock.drive(one.broker.admin.topics.truncate('/', 't', 0, 601)), { code: 'offset-out-of-range' });

  await one.clock.drive(one.broker.admin.topics.alter('/', 't', { partitions: 1, retentionMs: 3_600_000 }));
  await append(one, ['late']);
  await one.clock.advance(3_000_000);
  t.equal(detail(one).start, 590);
  await one.clock.advance(1_000_000);
  t.match(detail(one), { start: 601, end: 601, files: 0 }, 'the part in the journal too, in a file of its own');
  t.equal(files(), 0);
  await append(one, ['after']);
  t.same((await readAll(one)).offsets, [601], 'offsets go on');
});

t.test('a reader that retention overtakes goes on at the new start', async (t) => {
  const one = await lab();
  await createTopic(one);
  await append(one, numbered(300));
  await one.clock.advance(2000);
  const reading = read(one, 0, 0, 2);
  await one.settle();
  await one.clock.drive(one.broker.admin.topics.truncate('/', 't', 0, 150));
  reading.reader.resume();
  await one.settle();
  t.same(reading.offsets, [0, 1, 150, 151]);
});

t.test('settings are checked; names are shared with queues', async (t) => {
  const { broker, clock } = await lab();
  const { admin } = broker;
  const create = (settings: Parameters<typeof admin.topics.create>[2], name = 't') =>
    clock.drive(admin.topics.create('/', name, settings));
  for (const partitions of [0, -1, 1.5, Number.NaN])
    await t.rejects(create({ partitions }), { code: 'invalid-argument' });
  await t.rejects(create({ partitions: 1, retentionMs: 0 }), { code: 'invalid-argument' });
  await t.rejects(create({ partitions: 100_000 }), { code: 'limit-exceeded' });
  await create({ partitions: 2 });
  await create({ partitions: 2 });
  await t.rejects(create({ partitions: 3 }), { code: 'already-exists' });
  await t.rejects(clock.drive(admin.declareQueue('/', 't', DURABLE)), { code: 'already-exists' });
  await clock.drive(admin.declareQueue('/', 'q', DURABLE));
  await t.rejects(create({ partitions: 1 }, 'q'), { code: 'already-exists' });
  await t.rejects(clock.drive(admin.topics.alter('/', 't', { partitions: 1 })), { code: 'invalid-argument' });
  const { details } = await clock.drive(admin.topics.alter('/', 't', { partitions: 4 }));
  t.equal(details.length, 4);
  t.same(
    admin.topics.list('/').map(({ name, partitions }) => [name, partitions]),
    [['t', 4]],
  );
});

t.test('a message may go to queues and topics at once, and a topic alone makes it routable', async (t) => {
  const one = await lab();
  await createTopic(one);
  const { admin } = one.broker;
  await one.clock.drive(admin.declareQueue('/', 'q', DURABLE));
  const target = { kind: 'topic', name: 't' } as const;
  await one.clock.drive(admin.bind('/', 'amq.fanout', target, pattern(''), {}));
  await one.clock.drive(admin.bind('/', 'amq.fanout', { kind: 'queue', name: 'q' }, pattern(''), {}));
  t.same(
    admin.bindings('/', target).map((binding) => binding.target),
    [target],
  );
  const returned: string[] = [];
  const producer = one.client.producer({ onReturn: (_, code) => returned.push(code) });
  producer.publish(producer.address('amq.fanout', key('any')), durably('both'), 1);
  await one.clock.drive(admin.unbind('/', 'amq.fanout', { kind: 'queue', name: 'q' }, pattern(''), {}));
  producer.publish(producer.address('amq.fanout', key('any')), durably('topic'), 1);
  await one.settle();
  t.same(returned, []);
  t.same((await readAll(one)).bodies, ['both', 'topic']);
  t.equal(admin.queue('/', 'q')?.ready, 1);
  await one.clock.drive(admin.topics.delete('/', 't'));
  t.same(admin.bindings('/'), []);
});

t.test(
  'readers at the tail of a thousand partitions cost nothing until there is something for one of them',
  async (t) => {
    const one = await lab();
    await createTopic(one, { partitions: 1000 });
    const { engine } = one.internals;
    const readers = Array.from({ length: 1000 }, (_, partition) => read(one, 0, partition));
    await one.settle();
    let wakes = 0;
    const wake = engine.wake.bind(engine);
    engine.wake = (reader) => {
      wakes++;
      wake(reader);
    };
    await one.clock.advance(10_000);
    t.equal(wakes, 0);
    await append(one, ['for one'], 500);
    t.equal(wakes, 1);
    t.same(readers[500]?.bodies, ['for one']);
  },
);

t.test('readers are bounded, and end with their client', async (t) => {
  const one = await lab({ readersPerConnectionMax: 2 });
  await createTopic(one);
  read(one, 0);
  const second = read(one, 0);
  t.throws(() => read(one, 0), { code: 'limit-exceeded' });
  second.reader.close();
  read(one, 0);
  one.client.close();
  t.equal(detail(one).readers, 0);
  const closed = connect(one);
  const ends: string[] = [];
  closed.reader('t', 0, 0, { onRecords: () => {}, onEnd: (reason) => ends.push(reason) });
  one.broker.admin.closeClient(one.broker.admin.clients()[0]?.id as number, 'enough');
  t.same(ends, ['closed-by-operator']);
});
