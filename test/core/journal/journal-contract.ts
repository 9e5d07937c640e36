import assert from 'node:assert';
import type t from 'tap';
import { SystemClock } from '../../../src/core/clock.ts';
import type { Disk } from '../../../src/core/disk.ts';
import type { Located } from '../../../src/core/journal/index.ts';
import { limitsWith } from '../../../src/core/limits.ts';
import { assertBody, MiniCore, type MiniCoreOptions, SMALL, survivingPrefix } from './mini-core.ts';

/** Run the contract of `Journal` on a kind of disk. @param disk a new and empty one; `again` opens it once more */
export function journalContract(test: typeof t, makeDisk: () => { disk: Disk; again: () => Disk }): void {
  const clock = new SystemClock();
  const open = (disk: Disk, more: Partial<MiniCoreOptions> = {}) => MiniCore.open({ disk, clock, ...more });

  test.test('a record is durable after its batch, in order, and found in memory meanwhile', async (t) => {
    const core = await open(makeDisk().disk);
    const { journal } = core;
    const located: Located = { bytes: Buffer.alloc(0), start: 0 };
    for (let id = 1; id <= 200; id++) {
      core.publish(id, 4 + (id % 90));
      const ref = core.live.get(id)!;
      assert(journal.locate(ref.segment, ref.offset, located));
      assertBody(located.bytes, located.start, ref.length, id);
      if (id % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const batch = core.log.at(-1)!.batch;
    t.ok(journal.durableBatch < journal.openBatch);
    await core.settled();
    t.ok(journal.durableBatch >= batch);
    t.strictSame(
      core.durable,
      [...core.durable].sort((a, b) => a - b),
      'batches become durable in order',
    );
    await core.verify();
    await journal.close();
  });

  test.test('everything is there again after a restart, in segments of the size asked for', async (t) => {
    const { disk, again } = makeDisk();
    const before = await open(disk);
    for (let id = 1; id <= 1000; id++) {
      before.publish(id, 4 + (id % 200));
      if (id % 3 === 0) before.ack(id - 1);
      if (id % 100 === 0) await before.settled();
    }
    await before.journal.close();
    t.ok(before.journal.figures().segments >= 5);
    const after = await open(again());
    t.equal(survivingPrefix(before, before.journal.durableBatch, after), before.log.length);
    t.strictSame([...after.live], [...before.live], 'every body has its old name');
    await after.verify();
    t.ok(after.journal.openBatch > before.journal.openBatch - 1);
    await after.journal.close();
  });

  test.test('what has to be in one batch is, wherever the open batch stands and however large it is', async (t) => {
    const { disk, again } = makeDisk();
    const before = await open(disk);
    let id = 0;
    for (const size of [10, 900, 3000, 2 * SMALL.batchBytesMax, 2 * SMALL.segmentBytes]) {
      before.publish(++id, 700);
      const first = before.log.length;
      const batch = before.journal.atomically(size + 4 * 200, () => {
        for (let n = 0; n < 4; n++) before.publish(++id, 4 + Math.floor(size / 4));
      });
      for (const { batch: is } of before.log.slice(first)) t.equal(is, batch);
      before.publish(++id, 10);
    }
    await before.settled();
    await before.verify();
    await before.journal.close();
    const after = await open(again());
    t.strictSame([...after.live], [...before.live]);
    await after.journal.close();
  });

  test.test(
    'more than was said, or an error on the way: the journal fails, and none of it is there again',
    async (t) => {
      for (const mistake of ['more', 'error'] as const) {
        const { disk, again } = makeDisk();
        const before = await open(disk);
        before.publish(1, 100);
        await before.settled();
        t.throws(() =>
          before.journal.atomically(1000, () => {
            before.publish(2, 500);
            if (mistake === 'error') throw new Error('half way');
            for (let id = 3; id < 200; id++) before.publish(id, 500);
          }),
        );
        t.throws(() => before.publish(500, 100), { code: 'journal-failed' });
        await t.rejects(before.journal.close(), { code: 'journal-failed' });
        const after = await open(again());
        t.strictSame([...after.live.keys()], [1]);
        await after.journal.close();
      }
    },
  );

  test.test('records larger than a batch and than a segment', async (t) => {
    const { disk, again } = makeDisk();
    const before = await open(disk);
    const sizes = [
      4,
      SMALL.batchBytesMax - 60,
      SMALL.batchBytesMax,
      10_000,
      3 * SMALL.segmentBytes,
      5,
      20_000,
      SMALL.segmentBytes,
    ];
    sizes.forEach((size, index) => {
      before.publish(index + 1, size);
    });
    await before.settled();
    await before.verify();
    await before.journal.close();
    const after = await open(again());
    t.strictSame([...after.live], [...before.live]);
    await after.verify();
    await after.journal.close();
  });

  test.test('onSeal may still append to the batch, also when the batch is full', async (t) => {
    const { disk, again } = makeDisk();
    const before = await open(disk);
    before.publish(1, 100);
    before.publish(2, 100);
    const batch = before.journal.openBatch;
    before.ackAtSeal.push(1);
    await before.settled();
    t.equal(before.log.at(-1)?.type, 'ack');
    t.equal(before.log.at(-1)?.batch, batch, 'in the batch that was about to be sealed');
    before.ackAtSeal.push(2);
    for (let id = 3; id < 100; id++) before.publish(id, 100);
    await before.settled();
    t.ok(before.seals > 2);
    await before.journal.close();
    const after = await open(again());
    t.equal(after.live.size, 97);
    await after.journal.close();
  });

  test.test('pressed while too much waits for the disk, relieved once after it', async (t) => {
    const core = await open(makeDisk().disk);
    let id = 0;
    while (!core.journal.pressed) core.publish(++id, 1000);
    t.ok(id >= 60 && id <= 70, `${id} kilobytes`);
    t.equal(core.relieved, 0);
    await core.settled();
    t.equal(core.relieved, 1);
    t.notOk(core.journal.pressed);
    await core.journal.close();
  });

  test.test('load reads what has left memory, in the order given, and refuses what was never there', async (t) => {
    const core = await open(makeDisk().disk);
    for (let id = 1; id <= 2000; id++) core.publish(id, 20 + (id % 100));
    await core.settled();
    const first = core.live.get(1)!;
    t.notOk(core.journal.locate(first.segment, first.offset, { bytes: Buffer.alloc(0), start: 0 }));
    await core.verify();
    const ids = [...core.live.keys()].reverse().filter((id) => id % 7 === 0);
    const refs = ids.map((id) => core.live.get(id)!);
    let count = 0;
    await core.journal.load(refs, (index, bytes, start) => {
      count++;
      assertBody(bytes, start, refs[index]!.length, ids[index]!);
    });
    t.equal(count, refs.length);
    await Promise.all([core.verify(), core.verify(), core.verify()]);
    const none = () => t.fail('no body');
    await t.rejects(core.journal.load([{ segment: 1, offset: 70, length: 1 }], none), { code: 'journal-corrupt' });
    await t.rejects(core.journal.load([{ segment: 1, offset: first.offset, length: 1e6 }], none), {
      code: 'journal-corrupt',
    });
    await t.rejects(core.journal.load([{ segment: 99, offset: 200, length: 1 }], none), { code: 'journal-corrupt' });
    await core.journal.close();
  });

  test.test('restart from checkpoints: a full one, deltas on it, and the log after them', async (t) => {
    const { disk, again } = makeDisk();
    let core = await open(disk);
    let id = 0;
    for (const kind of ['full', 'delta', 'delta', 'full', 'delta'] as const) {
      for (let i = 0; i < 150; i++) core.publish(++id, 100);
      for (let i = 0; i < 50; i++) core.ack(id - i);
      const batch = core.journal.seal();
      await core.checkpoint(kind);
      t.equal(core.journal.figures().checkpointBatch, batch);
      t.ok(core.journal.bytesSinceCheckpoint < 100);
      core.publish(++id, 100);
      await core.settled();
      const { full, deltas } = core.journal.checkpointBytes;
      t.ok(full > 0 && (kind === 'full') === (deltas === 0));
      await core.journal.close();
      const live = [...core.live];
      core = await open(again());
      t.match(core.summary, /checkpoint \d+ at batch/);
      t.strictSame([...core.live], live);
      await core.verify();
    }
    await core.journal.close();
  });

  test.test('reclaim: dead segments go, sparse ones become cold, bodies keep their names all the time', async (t) => {
    const { disk, again } = makeDisk();
    let core = await open(disk);
    for (let id = 1; id <= 2000; id++) core.publish(id, 100);
    await core.settled();
    const bytesFull = core.journal.figures().bytes;
    for (let id = 1; id <= 2000; id++) if (id < 500 || (id % 9 !== 0 && id < 1500)) core.ack(id);
    await core.checkpoint();
    const reading = (async () => {
      for (let round = 0; round < 20; round++) await core.verify();
    })();
    await core.reclaim();
    await reading;
    await core.verify();
    t.ok(core.journal.figures().bytes < bytesFull / 2, `${core.journal.figures().bytes} of ${bytesFull}`);
    t.ok((await disk.list('journal')).some((name) => name.endsWith('.cold')));
    await core.journal.close();
    const live = [...core.live];
    core = await open(again());
    t.strictSame([...core.live], live);
    await core.verify();
    for (const id of [...core.live.keys()]) if (id % 18 !== 0) core.ack(id);
    await core.checkpoint('delta');
    await core.reclaim();
    await core.verify();
    for (const id of [...core.live.keys()]) core.ack(id);
    await core.checkpoint();
    await core.reclaim();
    t.equal(core.journal.figures().segments, 1, 'nothing live: one segment is left');
    t.equal((await disk.list('journal')).filter((name) => name !== 'manifest').length, 1);
    await core.journal.close();
    core = await open(again());
    t.equal(core.live.size, 0);
    await core.journal.close();
  });

  test.test('a bad limit of the caller is an assertion, not a record', async (t) => {
    const core = await open(makeDisk().disk, { limits: limitsWith({ segmentBytes: 16 * 1024, batchBytesMax: 2048 }) });
    t.throws(() => core.journal.append(0, 10), { code: 'ERR_ASSERTION' });
    t.throws(() => core.journal.append(256, 10), { code: 'ERR_ASSERTION' });
    t.throws(() => core.journal.append(16, -1), { code: 'ERR_ASSERTION' });
    await core.journal.close();
    t.throws(() => core.journal.append(16, 1), { code: 'ERR_ASSERTION' });
  });
}
