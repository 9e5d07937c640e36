import t from 'tap';
import { CONFIRM } from '../../../src/core/index.ts';
import { dump } from '../../../src/testing/dump.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { failure } from '../../../src/testing/sim-disk.ts';
import { durably, type Fixture, key, newDisk, pattern } from '../fixture.ts';
import { seedsOf } from '../seeds.ts';
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

const stateOf = (fixture: Fixture): string[] => dump(fixture.internals.topology);

t.test('replay of the log, replay after a checkpoint, and the living state are the same', async (t) => {
  const one = await lab();
  const { admin } = one.broker;
  const drive = <T>(promise: Promise<T>): Promise<T> => one.clock.drive(promise);
  const checkpoint = (): Promise<void> => drive(one.internals.checkpointer.run());
  await createTopic(one, { partitions: 2, retentionBytes: 100_000 });
  await createTopic(one, { partitions: 1 }, 'gone');
  await drive(admin.bind('/', 'amq.topic', { kind: 'topic', name: 't' }, pattern('a.*'), {}));
  for (let round = 0; round < 4; round++) {
    await append(one, numbered(150, round * 150), round % 2);
    await one.clock.advance(1000);
    if (round === 0) await drive(admin.topics.delete('/', 'gone'));
    if (round === 1) await drive(admin.topics.alter('/', 't', { partitions: 3, fileBytes: 4096 }));
    if (round === 2) await drive(admin.topics.truncate('/', 't', 0, 60));
    await append(one, numbered(5, 1000), 1);
    const state = stateOf(one);
    t.same(stateOf(await reopened(one)), state, `round ${round}`);
    if (round < 2) await checkpoint();
    t.same(stateOf(await reopened(one)), state, 'and after a checkpoint');
  }
  const state = stateOf(one);
  t.ok(state.some((line) => line.includes('file')));
  await drive(one.close());
  const again = await reopened(one);
  t.same(stateOf(again), state, 'after an orderly stop');
  t.equal(again.broker.admin.bindings('/', { kind: 'topic', name: 't' }).length, 1);
  t.same((await readAll(again, 1)).bodies, (await readAll(await reopened(one), 1)).bodies);
});

t.test('sealed messages let the journal go, and are read after a restart', async (t) => {
  const one = await lab();
  await createTopic(one);
  const bodies = numbered(2000);
  await append(one, bodies);
  await one.clock.advance(5000);
  await one.clock.drive(one.internals.checkpointer.run());
  const { bytes, liveBytes } = one.broker.admin.info().journal;
  t.ok(liveBytes < 8192 && bytes < 150_000, `${liveBytes} live of ${bytes}`);
  const again = await reopened(one);
  t.same((await readAll(again)).bodies, bodies);
  t.equal(await offsetOf(again, { lastN: 1 }), 1999);
});

t.test('a missing or short file is refused, a damaged block is never shown', async (t) => {
  const one = await lab();
  await createTopic(one);
  await append(one, numbered(300));
  await one.clock.advance(3000);
  await one.clock.drive(one.close());
  const files = one.disk.paths().filter((path) => path.startsWith('topic/'));
  t.ok(files.length > 1);
  const broken = (change: (disk: typeof one.disk) => void): Promise<Lab> => {
    const clock = new SimClock();
    const disk = one.disk.clone({ clock });
    change(disk);
    return lab(SMALL, disk, clock);
  };
  await t.rejects(
    broken((disk) => disk.lose(files[0] as string)),
    { code: 'journal-corrupt' },
  );
  const last = files.at(-1) as string;
  await t.rejects(
    broken((disk) => disk.plant(last, disk.contents(last).subarray(0, 100))),
    { code: 'journal-corrupt' },
  );
  const flipped = await broken((disk) => disk.flip(files[0] as string, 700, 3));
  const reading = read(flipped, 0);
  await flipped.clock.advance(100);
  t.same(reading.bodies, []);
  t.match(flipped.lines.join(), /error messages of a topic cannot be read/);
  reading.reader.seek(299);
  await flipped.clock.advance(100);
  t.same(reading.offsets, [299], 'the rest can be read');
});

t.test('sealing goes on when the disk had an error, and loses nothing', async (t) => {
  const clock = new SimClock();
  const disk = newDisk(clock);
  const one = await lab(SMALL, disk, clock);
  await createTopic(one);
  let failures = 3;
  disk.options = {
    ...disk.options,
    fault: (operation, path) =>
      path.startsWith('topic/') && operation !== 'read' && failures-- > 0 ? failure('EIO', path) : undefined,
  };
  const bodies = numbered(300);
  await append(one, bodies);
  await clock.advance(30_000);
  t.match(one.lines.join(), /cannot be sealed/);
  t.ok(detail(one).files > 0);
  t.same((await readAll(one)).bodies, bodies);
  t.same((await readAll(await reopened(one))).bodies, bodies);
});

t.test('files that nothing knows of are removed at the start', async (t) => {
  const one = await lab();
  await createTopic(one);
  await append(one, numbered(100));
  await one.clock.drive(one.close());
  one.disk.plant('topic/0000000099-0000000000000000.seg', Buffer.from('left over'));
  one.disk.plant('topic/notes.txt', Buffer.from('not ours'));
  const again = await reopened(one);
  const paths = again.disk.paths().filter((path) => path.startsWith('topic/'));
  t.notOk(paths.some((path) => path.includes('0099')));
  t.ok(paths.includes('topic/notes.txt'));
});

const { seeds, timeout } = seedsOf(25);

// ---- Crashes at random moments, against a model -------------------------------------------------------------------

interface Model {
  /** Bodies by offset. */
  readonly bodies: string[];
  /** So many were confirmed, or shown to a reader: a crash must not take them. */
  sure: number;
  /** Highest start that was asked for. */
  start: number;
}

/** One life of a broker: random work until a random moment. */
async function live(one: Lab, models: readonly Model[], prng: Prng): Promise<void> {
  const pending: { partition: number; upTo: number }[] = [];
  let confirmed = 0;
  const producer = one.client.producer({
    onConfirm: (upTo) => {
      for (; confirmed < upTo; confirmed++) {
        const { partition, upTo: sure } = pending[confirmed] as (typeof pending)[number];
        (models[partition] as Model).sure = sure;
      }
    },
  });
  for (const [number, model] of models.entries()) {
    one.client.reader('t', number, detail(one, number).end, {
      onRecords: (batch) => {
        while (batch.next()) model.sure = Math.max(model.sure, batch.offset + 1);
      },
    });
  }
  const address = producer.address('', key('t'));
  for (let steps = prng.between(5, 40); steps > 0; steps--) {
    const number = prng.below(models.length);
    const model = models[number] as Model;
    const act = prng.weighted({ append: 10, wait: 6, truncate: 1, checkpoint: 1 });
    if (act === 'append') {
      for (let n = prng.between(1, 60); n > 0; n--) {
        const body = `${number}:${model.bodies.length} ${'y'.repeat(prng.below(120))}`;
        const message = durably(body);
        message.partition = number;
        producer.publish(address, message, CONFIRM);
        model.bodies.push(body);
        pending.push({ partition: number, upTo: model.bodies.length });
      }
    } else if (act === 'wait') await one.clock.advance(prng.between(1, 40));
    else if (act === 'checkpoint') void one.internals.checkpointer.run();
    else {
      const { start, durableEnd } = detail(one, number);
      const offset = prng.between(start, durableEnd);
      model.start = Math.max(model.start, offset);
      one.broker.admin.topics.truncate('/', 't', number, offset).catch(() => {});
    }
  }
}

t.test('crashes lose nothing that was confirmed or read, and never change an offset', { timeout }, async (t) => {
  for (const seed of seeds) {
    const prng = new Prng(seed);
    const clock = new SimClock();
    const disk = newDisk(clock, { seed });
    let one = await lab(SMALL, disk, clock);
    const partitions = prng.pick([1, 2, 6]);
    await createTopic(one, { partitions, retentionBytes: 12_000 });
    const models = Array.from({ length: partitions }, (): Model => ({ bodies: [], sure: 0, start: 0 }));
    for (let life = 0; life < 4; life++) {
      await live(one, models, prng);
      if (prng.chance(0.3)) disk.kill();
      else disk.crash();
      clock.clear();
      one = await lab(SMALL, disk, clock);
      for (const [number, model] of models.entries()) {
        const where = `seed ${seed}, life ${life}, partition ${number}`;
        const { start, end } = detail(one, number);
        if (end < model.sure || end > model.bodies.length) t.fail(`${where}: end ${end}, not ${model.sure}..`);
        const { bodies, offsets } = await readAll(one, number);
        const wrong = offsets.findIndex((offset, n) => bodies[n] !== model.bodies[offset]);
        if (wrong >= 0) t.fail(`${where}: offset ${offsets[wrong]} is ${bodies[wrong]}`);
        // Retention may have gone on while we read: what is left must all have come.
        const kept = offsets.filter((offset) => offset >= detail(one, number).start).length;
        if (start > end || kept !== end - detail(one, number).start) t.fail(`${where}: ${kept} up to ${end}`);
        model.bodies.length = end;
        model.sure = end;
      }
    }
    await clock.drive(one.close());
    const still = await lab({ ...SMALL, topicSealBytes: 1_000_000 }, disk, clock);
    await still.settle();
    const known = still.broker.admin.topics.get('/', 't')?.details.reduce((sum, partition) => sum + partition.files, 0);
    t.equal(disk.paths().filter((path) => path.startsWith('topic/')).length, known, `seed ${seed}: files`);
    await clock.drive(still.close());
  }
});
