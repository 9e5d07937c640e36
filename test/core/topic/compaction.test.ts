import t from 'tap';
import type { Message, TopicSettings } from '../../../src/core/index.ts';
import { dump } from '../../../src/testing/dump.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { failure } from '../../../src/testing/sim-disk.ts';
import { durably, key, newDisk, pattern } from '../fixture.ts';
import { createTopic, detail, keyed, type Lab, lab, numbered, offsetOf, readAll, reopened, SMALL } from './support.ts';

const COMPACT: TopicSettings = { partitions: 1, compact: true, fileBytes: 4096, tombstoneMs: 60_000 };
/** A pass is looked for often. */
const LIMITS = { ...SMALL, topicSweepMs: 500 };

async function put(one: Lab, messages: readonly Message[]): Promise<void> {
  const producer = one.client.producer({});
  const address = producer.address('', key('t'));
  for (const [n, message] of messages.entries()) {
    producer.publish(address, message, 0);
    if (n % 20 === 19) await one.clock.advance(5);
  }
  await one.clock.advance(50);
  producer.close();
}

/** Enough without a key to close files. */
const filler = (count: number): Message[] =>
  numbered(count).map((body) => Object.assign(durably(body), { partition: 0 }));

t.test('the newest of each key stays, in order, at its offset; a removed offset leads to the next', async (t) => {
  const one = await lab(LIMITS);
  await createTopic(one, COMPACT);
  const written = Array.from({ length: 400 }, (_, n) => keyed(`k${n % 7}`, `${n} ${'x'.repeat(60)}`));
  await put(one, written);
  await put(one, filler(100));
  await one.clock.advance(5000);
  const { bodies, offsets } = await readAll(one);
  const old = offsets.filter((offset) => offset < 393);
  t.ok(old.length < 60, `${old.length} of 393 that have a newer one are left`);
  t.same(
    offsets.filter((offset) => offset >= 393 && offset < 400),
    [393, 394, 395, 396, 397, 398, 399],
  );
  t.equal(offsets.filter((offset) => offset >= 400).length, 100, 'what has no key stays');
  for (const [n, offset] of offsets.entries()) if (offset < 400) t.equal(bodies[n], `${offset} ${'x'.repeat(60)}`);
  t.equal(detail(one).start, 0, 'nothing was cut off');
  const gap = old.length > 0 ? (old[0] as number) : 393;
  const reading = one.client.reader('t', 0, 0, { onRecords: (batch) => void batch.next() });
  await one.clock.advance(100);
  t.equal(reading.position, gap + 1, 'from a removed offset to the next there is');
  t.equal(await offsetOf(one, { timeMs: 0 }), gap);
  const state = dump(one.internals.topology);
  for (const checkpoint of [false, true]) {
    if (checkpoint) await one.clock.drive(one.internals.checkpointer.run());
    const again = await reopened(one, LIMITS);
    t.same(dump(again.internals.topology), state);
    t.same((await readAll(again)).offsets, offsets);
  }
});

t.test('through an exchange the routing key is the key', async (t) => {
  const one = await lab(LIMITS);
  await createTopic(one, COMPACT);
  await one.clock.drive(one.broker.admin.bind('/', 'amq.topic', { kind: 'topic', name: 't' }, pattern('#'), {}));
  const producer = one.client.producer({});
  for (let n = 0; n < 200; n++) {
    producer.publish(producer.address('amq.topic', key(`room.${n % 3}`)), durably(`${n} ${'x'.repeat(60)}`), 0);
    if (n % 20 === 0) await one.clock.advance(5);
  }
  await put(one, filler(100));
  await one.clock.advance(5000);
  const { offsets } = await readAll(one);
  t.same(
    [197, 198, 199].every((offset) => offsets.includes(offset)),
    true,
  );
  t.ok(offsets.filter((offset) => offset < 197).length < 60);
});

t.test('a tombstone outlives its key for a while, then goes too; what is too young is left alone', async (t) => {
  const one = await lab(LIMITS);
  await createTopic(one, { ...COMPACT, compactLagMs: 10_000 });
  await put(one, [keyed('a', 'value'), keyed('b', 'value'), keyed('a', '')]);
  await put(one, filler(200));
  await one.clock.advance(5000);
  t.equal((await readAll(one)).offsets[0], 0, 'too young');
  await one.clock.advance(20_000);
  t.same((await readAll(one)).offsets.slice(0, 3), [1, 2, 3], 'the value is gone, that it is gone is still told');
  await one.clock.advance(60_000);
  await put(one, filler(400));
  await one.clock.advance(30_000);
  t.same((await readAll(one)).offsets.slice(0, 2), [1, 3]);
});

t.test('a pass that fails changes nothing, and the next one does its work', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const one = await lab(LIMITS, disk, clock);
  await createTopic(one, COMPACT);
  let failures = 4;
  disk.options = {
    ...disk.options,
    fault: (operation, path) =>
      /-1\.seg$/.test(path) && operation !== 'read' && failures-- > 0 ? failure('EIO', path) : undefined,
  };
  await put(
    one,
    Array.from({ length: 300 }, (_, n) => keyed(`k${n % 3}`, `${n} ${'x'.repeat(60)}`)),
  );
  await put(one, filler(100));
  await one.clock.advance(20_000);
  t.match(one.lines.join(), /cannot be compacted/);
  const { offsets } = await readAll(one);
  t.ok(offsets.length < 200 && [297, 298, 299].every((offset) => offsets.includes(offset)));
});

t.test('settings are checked', async (t) => {
  const one = await lab();
  const create = (more: object) => one.clock.drive(one.broker.admin.topics.create('/', 'x', { ...COMPACT, ...more }));
  await t.rejects(create({ compactLagMs: -1 }), { code: 'invalid-argument' });
  await t.rejects(create({ tombstoneMs: 0.5 }), { code: 'invalid-argument' });
  await create({});
  await t.rejects(create({ compact: false }), { code: 'already-exists' });
});

t.test(
  'appending, compacting, crashes: every message there is is its own, and the newest of each key is there',
  async (t) => {
    for (let seed = 1; seed <= 25; seed++) {
      const prng = new Prng(seed);
      const clock = new SimClock();
      const disk = newDisk(clock, { seed });
      const limits = { ...LIMITS, topicCompactBytes: prng.pick([300, 1_000_000]) };
      let one = await lab(limits, disk, clock);
      await createTopic(one, COMPACT);
      /** By offset: key ('' = none) and body. */
      const written: [string, string][] = [];
      let compacted = 0;
      for (let life = 0; life < 4; life++) {
        for (let steps = prng.between(2, 12); steps > 0; steps--) {
          const act = prng.weighted({ append: 5, wait: 5, checkpoint: 1 });
          if (act === 'append') {
            const messages = Array.from({ length: prng.between(1, 100) }, () => {
              const group = prng.chance(0.1) ? '' : `k${prng.below(8)}`;
              const body = `${written.length} ${'y'.repeat(prng.below(100))}`;
              written.push([group, body]);
              return keyed(group, body);
            });
            await put(one, messages);
          } else if (act === 'checkpoint') void one.internals.checkpointer.run();
          else await clock.advance(prng.between(1, 800));
        }
        if (prng.chance(0.3)) disk.kill();
        else disk.crash();
        clock.clear();
        one = await lab(limits, disk, clock);
        const { end } = detail(one);
        written.length = end;
        const { bodies, offsets } = await readAll(one);
        compacted += end - offsets.length;
        const there = new Set(offsets);
        const newest = new Map<string, number>();
        for (const [offset, [group]] of written.entries()) newest.set(group === '' ? `#${offset}` : group, offset);
        for (const [group, offset] of newest)
          if (!there.has(offset)) t.fail(`seed ${seed}: ${offset} of ${group} is gone`);
        for (const [n, offset] of offsets.entries()) {
          if (bodies[n] !== written[offset]?.[1]) t.fail(`seed ${seed}: offset ${offset} is ${bodies[n]}`);
          if (n > 0 && offset <= (offsets[n - 1] as number)) t.fail(`seed ${seed}: out of order at ${offset}`);
        }
      }
      if (compacted === 0 && seed === 1) t.fail('nothing was ever compacted');
      await clock.drive(one.close());
      const still = await lab({ ...limits, topicSealBytes: 1_000_000, topicSweepMs: 1_000_000 }, disk, clock);
      await still.settle();
      const known = detail(still).files;
      t.equal(disk.paths().filter((path) => path.startsWith('topic/')).length, known, `seed ${seed}: files`);
      await clock.drive(still.close());
    }
  },
);
