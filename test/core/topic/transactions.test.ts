import t from 'tap';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { connect, durably, key, newDisk } from '../fixture.ts';
import { append, createTopic, detail, type Lab, lab, numbered, readAll, reopened, SMALL } from './support.ts';

const committed = (one: Lab, group: string) =>
  one.broker.admin.topics.group('/', group)?.offsets.map(({ offset }) => offset);

/** A message for a partition of topic `t`. */
const to = (partition: number, body: string) => Object.assign(durably(body), { partition });

t.test('messages for several partitions and offsets become visible together, when they are durable', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 3 });
  await append(one, ['a', 'b'], 0);
  const producer = one.client.producer({});
  const address = producer.address('', key('t'));
  const seen: string[] = [];
  for (const partition of [1, 2]) {
    one.client.reader('t', partition, 0, {
      onRecords: (batch) => {
        while (batch.next()) seen.push(`${partition}:${batch.offset} with ${committed(one, 'g')}`);
      },
    });
  }
  const transaction = producer.transaction();
  transaction.publish(address, to(1, 'one'), 0);
  transaction.publish(address, to(2, 'two'), 0);
  transaction.commitOffsets('g', [{ topic: 't', partition: 0, offset: 2, metadata: 'both' }]);
  await one.settle();
  t.same(seen, []);
  t.same(committed(one, 'g') ?? [], []);
  let isDone = false;
  transaction.commit(() => {
    isDone = true;
  });
  t.same(seen, [], 'not before it is durable');
  await one.settle();
  t.ok(isDone);
  t.same(seen.sort(), ['1:0 with 2', '2:0 with 2']);
  const again = await reopened(one);
  t.same([(await readAll(again, 1)).bodies, (await readAll(again, 2)).bodies], [['one'], ['two']]);
  t.same(committed(again, 'g'), [2]);
});

t.test('one bad part, and nothing is done', async (t) => {
  const one = await lab();
  await createTopic(one, { partitions: 2 });
  const producer = one.client.producer({});
  const address = producer.address('', key('t'));
  const transaction = producer.transaction();
  const commit = (): void => transaction.commit(() => {});
  transaction.publish(address, to(0, 'x'), 0);
  transaction.commitOffsets('g', [{ topic: 't', partition: 0, offset: 1 }]);
  t.throws(commit, { code: 'offset-out-of-range' }, 'its own messages are not there yet');
  transaction.rollback();
  transaction.publish(address, to(0, 'x'), 0);
  transaction.publish(address, to(7, 'x'), 0);
  t.throws(commit, { code: 'invalid-argument' });
  transaction.rollback();
  t.throws(() => transaction.commitOffsets('g', [{ topic: 'none', partition: 0, offset: 0 }]), { code: 'not-found' });
  t.throws(() => transaction.commitOffsets('g', [{ topic: 't', partition: 9, offset: 0 }]), {
    code: 'invalid-argument',
  });
  const handlers = { onAssigned: () => {}, onRevoked: () => {} };
  const member = connect(one).joinGroup('taken', { topics: ['t'] }, handlers);
  await one.settle();
  transaction.publish(address, to(0, 'x'), 0);
  transaction.commitOffsets('taken', [{ topic: 't', partition: 0, offset: 0 }]);
  t.throws(commit, { code: 'fenced' }, 'somebody else holds it');
  member.leave();
  commit();
  await one.settle();
  t.equal(detail(one).end, 1, 'only the last one was done');
  t.same(committed(one, 'taken'), [0]);
});

t.test('read, make something of it, append that, and remember: exactly once, whatever crashes', async (t) => {
  for (let seed = 1; seed <= 25; seed++) {
    const prng = new Prng(seed);
    const clock = new SimClock();
    const disk = newDisk(clock, { seed });
    let one = await lab(SMALL, disk, clock);
    await createTopic(one, { partitions: 3 });
    const source = numbered(150);
    await append(one, source, 0);
    for (let life = 0; life < 5; life++) {
      const producer = one.client.producer({});
      const address = producer.address('', key('t'));
      let next = committed(one, 'g')?.[0] ?? 0;
      const bodies: string[] = [];
      one.client.reader('t', 0, next, {
        onRecords: (batch) => {
          while (batch.next())
            bodies.push(batch.message.bytes.toString('utf8', batch.message.bodyStart, batch.message.bodyEnd));
        },
      });
      for (let steps = prng.between(2, 20); steps > 0; steps--) {
        await clock.advance(prng.below(20));
        const some = bodies.splice(0, prng.between(1, 12));
        if (some.length === 0) continue;
        const transaction = producer.transaction();
        // One half of each result to either partition.
        for (const body of some)
          for (const partition of [1, 2]) transaction.publish(address, to(partition, `made of ${body}`), 0);
        next += some.length;
        transaction.commitOffsets('g', [{ topic: 't', partition: 0, offset: next }]);
        transaction.commit(() => {});
        transaction.close();
        if (prng.chance(0.1)) void one.internals.checkpointer.run();
      }
      if (prng.chance(0.3)) disk.kill();
      else disk.crash();
      clock.clear();
      one = await lab(SMALL, disk, clock);
      const done = committed(one, 'g')?.[0] ?? 0;
      const wanted = source.slice(0, done).map((body) => `made of ${body}`);
      for (const partition of [1, 2]) {
        const made = (await readAll(one, partition)).bodies;
        if (JSON.stringify(made) !== JSON.stringify(wanted)) {
          t.fail(`seed ${seed}, life ${life}: partition ${partition} has ${made.length} of ${done}`);
        }
      }
    }
    await clock.drive(one.close());
  }
  t.pass('25 seeds');
});
