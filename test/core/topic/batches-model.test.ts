/** Sealed batches and single messages, crashes at random moments, against a model. `--seed N --seeds N` for other and more seeds. */
import t from 'tap';
import { CONFIRM, type MessageOrigin } from '../../../src/core/index.ts';
import { dump } from '../../../src/testing/dump.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { durably, key, newDisk } from '../fixture.ts';
import { seedsOf } from '../seeds.ts';
import { batchOf, type Line, pack, plainLines, readSealed, registerFormats } from './batch-formats.ts';
import { createTopic, detail, keyed, type Lab, lab, readAll, reopened, SMALL } from './support.ts';

const { seeds, timeout } = seedsOf(15);

interface ModelBatch {
  readonly offset: number;
  readonly count: number;
  readonly body: string;
}

interface Model {
  /** Bodies by offset, with those in batches. */
  bodies: string[];
  batches: ModelBatch[];
  /** So many were confirmed, or shown to a reader. */
  sure: number;
  /** Batches that were sent with a sequence, in order. */
  sent: { readonly first: number; readonly body: Buffer; readonly count: number }[];
}

async function live(one: Lab, model: Model, origin: MessageOrigin, prng: Prng): Promise<void> {
  const pending: number[] = [];
  let confirmed = 0;
  const producer = one.client.producer({
    onConfirm: (upTo) => {
      for (; confirmed < upTo; confirmed++) model.sure = Math.max(model.sure, pending[confirmed] as number);
    },
  });
  const address = producer.address('', key('t'));
  one.client.reader('t', 0, detail(one).end, {
    onRecords: (batch) => {
      while (batch.next()) model.sure = Math.max(model.sure, batch.offset + 1);
    },
  });
  for (let steps = prng.between(5, 40); steps > 0; steps--) {
    const act = prng.weighted({ batch: 8, repeat: 2, single: 5, wait: 8, truncate: 1, checkpoint: 1 });
    if (act === 'wait') await one.clock.advance(prng.between(1, 40));
    else if (act === 'checkpoint') void one.internals.checkpointer.run();
    else if (act === 'truncate') {
      const { start, durableEnd } = detail(one);
      one.broker.admin.topics.truncate('/', 't', 0, prng.between(start, durableEnd)).catch(() => {});
    } else if (act === 'single') {
      for (let n = prng.between(1, 20); n > 0; n--) {
        const body = `${model.bodies.length} ${'y'.repeat(prng.below(120))}`;
        producer.publish(address, Object.assign(durably(body), { partition: 0 }), CONFIRM);
        model.bodies.push(body);
        pending.push(model.bodies.length);
      }
    } else if (act === 'repeat') {
      const known = prng.pick(model.sent.slice(-4).length > 0 ? model.sent.slice(-4) : [undefined]);
      if (known === undefined) continue;
      const { offset } = producer.appendBatch(
        address,
        Object.assign(batchOf(known.body), { origin, sequence: known.first }),
        CONFIRM,
      );
      const before = model.batches.find(({ body }) => body === known.body.toString('latin1'));
      if (offset >= 0 && offset !== before?.offset) throw new Error(`a repeat at ${offset}, not ${before?.offset}`);
      pending.push(0);
    } else {
      const offset = model.bodies.length;
      const bodies = Array.from(
        { length: prng.between(1, 40) },
        (_, n) => `${offset + n} ${'b'.repeat(prng.below(200))}`,
      );
      const body = pack(plainLines(bodies), prng.chance(0.5));
      const last = model.sent.at(-1);
      const sequence = prng.chance(0.5) ? (last === undefined ? 0 : last.first + last.count) : -1;
      const appended = producer.appendBatch(address, Object.assign(batchOf(body), { origin, sequence }), CONFIRM);
      if (appended.offset !== offset) throw new Error(`a batch at ${appended.offset}, not ${offset}`);
      if (sequence >= 0) model.sent.push({ first: sequence, body, count: bodies.length });
      model.batches.push({ offset, count: bodies.length, body: body.toString('latin1') });
      model.bodies.push(...bodies);
      pending.push(model.bodies.length);
    }
  }
}

async function compare(one: Lab, model: Model, where: string): Promise<void> {
  const { start, end } = detail(one);
  if (end < model.sure || end > model.bodies.length) throw new Error(`${where}: end ${end}, not ${model.sure}..`);
  const cut = model.batches.find(({ offset, count }) => offset < end && offset + count > end);
  if (cut !== undefined) throw new Error(`${where}: half of the batch at ${cut.offset} is there`);
  model.bodies.length = end;
  model.sure = end;
  model.batches = model.batches.filter(({ offset }) => offset < end);
  model.sent = model.sent.filter(({ body }) => model.batches.some((one) => one.body === body.toString('latin1')));
  const { bodies, offsets } = await readAll(one);
  const wrong = offsets.findIndex((offset, n) => bodies[n] !== model.bodies[offset]);
  if (wrong >= 0) throw new Error(`${where}: offset ${offsets[wrong]} is ${bodies[wrong]}`);
  const now = detail(one).start;
  const kept = offsets.filter((offset) => offset >= now).length;
  if (kept !== end - now) throw new Error(`${where}: ${kept} from ${start} to ${end}`);
  const sealed = (await readSealed(one, now)).filter((seen) => seen.sealed > 0);
  const wanted = model.batches.filter(({ offset, count }) => offset + count > now);
  const found = wanted.filter(({ offset, count, body }) =>
    sealed.some((seen) => seen.offset === offset && seen.sealed === count && seen.body === body),
  );
  if (found.length !== wanted.length) throw new Error(`${where}: ${found.length} of ${wanted.length} batches`);
}

t.test(
  'crashes leave a batch whole or not at all, and never change its bytes or its offsets',
  { timeout },
  async (t) => {
    for (const seed of seeds) {
      const prng = new Prng(seed);
      const clock = new SimClock();
      const disk = newDisk(clock, { seed });
      let one = await lab(SMALL, disk, clock);
      registerFormats(one);
      await createTopic(one, { partitions: 1, retentionBytes: 20_000 });
      const origin = await clock.drive(one.broker.admin.topics.openOrigin('/', 'p'));
      const model: Model = { bodies: [], batches: [], sure: 0, sent: [] };
      for (let life = 0; life < 4; life++) {
        await live(one, model, origin, prng);
        if (prng.chance(0.3)) disk.kill();
        else disk.crash();
        clock.clear();
        one = await lab(SMALL, disk, clock);
        registerFormats(one);
        const where = `seed ${seed}, life ${life}`;
        const replayed = dump((await reopened(one)).internals.topology);
        t.same(replayed, dump(one.internals.topology), where);
        await compare(one, model, where);
      }
      await clock.drive(one.close());
    }
    t.pass(`${seeds.length} seeds from ${seeds[0]}`);
  },
);

// ---- Compaction ---------------------------------------------------------------------------------------------------

interface KeyedModel {
  /** By offset; an empty body is a tombstone. */
  readonly lines: Line[];
  readonly batches: Map<number, { readonly count: number; readonly body: string }>;
}

/** Append to a compacted topic until a random moment; answers how much is sure to be there. */
async function liveCompacted(one: Lab, model: KeyedModel, prng: Prng): Promise<number> {
  let sure = 0;
  const ends: number[] = [];
  const producer = one.client.producer({
    onConfirm: (upTo) => {
      sure = ends[upTo - 1] as number;
    },
  });
  const address = producer.address('', key('t'));
  const lineAt = (offset: number): Line => {
    const body = prng.chance(0.15) ? '' : `${offset} ${'c'.repeat(prng.below(150))}`;
    return { group: prng.chance(0.2) ? '' : `k${prng.below(prng.chance(0.5) ? 5 : 100)}`, body };
  };
  for (let steps = prng.between(10, 60); steps > 0; steps--) {
    const act = prng.weighted({ batch: 10, single: 6, wait: 4, sweep: 2, truncate: 1, checkpoint: 1 });
    if (act === 'wait') await one.clock.advance(prng.between(1, 40));
    else if (act === 'sweep') await one.clock.advance(prng.between(500, 2000));
    else if (act === 'checkpoint') void one.internals.checkpointer.run();
    else if (act === 'truncate') {
      const { start, durableEnd } = detail(one);
      const offset = Math.min(durableEnd, start + prng.below(20));
      one.broker.admin.topics.truncate('/', 't', 0, offset).catch(() => {});
    } else {
      const offset = model.lines.length;
      const count = act === 'single' ? 1 : prng.between(1, 12);
      const lines = Array.from({ length: count }, (_, n) => lineAt(offset + n));
      model.lines.push(...lines);
      ends.push(model.lines.length);
      if (act === 'single') {
        const { group, body } = lines[0] as Line;
        producer.publish(address, keyed(group, body), CONFIRM);
      } else {
        const body = pack(lines, prng.chance(0.5));
        producer.appendBatch(address, batchOf(body), CONFIRM);
        model.batches.set(offset, { count, body: body.toString('latin1') });
      }
    }
  }
  return sure;
}

async function compareCompacted(one: Lab, model: KeyedModel, where: string): Promise<void> {
  const { bodies, offsets } = await readAll(one);
  const { start, end } = detail(one);
  const wrong = offsets.findIndex((offset, n) => bodies[n] !== model.lines[offset]?.body);
  if (wrong >= 0) throw new Error(`${where}: offset ${offsets[wrong]} is ${bodies[wrong]}`);
  const there = new Set(offsets);
  const newest = new Map<string, number>();
  for (let offset = end - 1; offset >= start; offset--) {
    const { group, body } = model.lines[offset] as Line;
    const isNewest = group === '' || !newest.has(group);
    if (!newest.has(group)) newest.set(group, offset);
    if (isNewest && !there.has(offset) && (group === '' || body !== '')) {
      throw new Error(`${where}: offset ${offset}, the newest of '${group}', is gone; ${start} to ${end}`);
    }
  }
  const seen = await readSealed(one, start);
  for (const { offset, sealed, body } of seen) {
    if (sealed === 0) continue;
    const batch = model.batches.get(offset);
    if (batch?.count !== sealed || batch.body !== body)
      throw new Error(`${where}: the batch at ${offset} is another one`);
  }
  // Compaction may go on between the readings.
  const shown = new Set(
    seen.flatMap(({ offset, sealed }) => Array.from({ length: sealed || 1 }, (_, n) => offset + n)),
  );
  const extra = [...shown].find((offset) => offset >= start && !there.has(offset));
  const missing = (await readAll(one)).offsets.find((offset) => !shown.has(offset));
  if (extra !== undefined || missing !== undefined)
    throw new Error(`${where}: ${extra ?? missing} is not the same, whole and as single messages`);
}

t.test(
  'compaction with batches, starts within them and crashes: of each key the newest stays',
  { timeout },
  async (t) => {
    const limits = { ...SMALL, topicSweepMs: 500 };
    let kept = 0;
    let removed = 0;
    for (const seed of seeds) {
      const prng = new Prng(seed);
      const clock = new SimClock();
      const disk = newDisk(clock, { seed });
      let one = await lab(limits, disk, clock);
      registerFormats(one);
      await createTopic(one, { partitions: 1, compact: true, fileBytes: 4096, tombstoneMs: 1000 });
      const model: KeyedModel = { lines: [], batches: new Map() };
      for (let life = 0; life < 3; life++) {
        const sure = await liveCompacted(one, model, prng);
        if (prng.chance(0.3)) disk.kill();
        else disk.crash();
        clock.clear();
        one = await lab(limits, disk, clock);
        registerFormats(one);
        const where = `seed ${seed}, life ${life}`;
        const { end } = detail(one);
        if (end < sure || end > model.lines.length) throw new Error(`${where}: end ${end}, not ${sure}..`);
        model.lines.length = end;
        for (const offset of model.batches.keys()) if (offset >= end) model.batches.delete(offset);
        await compareCompacted(one, model, where);
        await clock.advance(3000);
        await compareCompacted(one, model, `${where}, later`);
      }
      const left = await readSealed(one, detail(one).start);
      kept += left.filter(({ sealed }) => sealed > 1).length;
      removed += model.lines.length - detail(one).start - (await readAll(one)).offsets.length;
      await clock.drive(one.close());
    }
    t.ok(seeds.length === 1 || (kept > 0 && removed > 0), `${kept} batches are whole, ${removed} messages are gone`);
  },
);
