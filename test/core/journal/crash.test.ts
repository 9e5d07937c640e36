import assert from 'node:assert';
import t from 'tap';
import { CoreError } from '../../../src/core/errors.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { type DiskOperation, failure, SimDisk } from '../../../src/testing/sim-disk.ts';
import { MiniCore, survivingPrefix } from './mini-core.ts';

/** Publish, acknowledge, checkpoint and reclaim for a while; the same commands for the same seed, whatever becomes of them. */
async function work(core: MiniCore, seed: number, rounds: number): Promise<void> {
  const prng = new Prng(seed);
  let id = Math.max(0, ...core.live.keys(), ...core.log.map((entry) => entry.id)) + 10_000;
  for (let round = 0; round < rounds; round++) {
    for (let count = prng.between(1, 20); count > 0; count--)
      core.publish(++id, prng.between(4, prng.chance(0.02) ? 5000 : 200));
    for (const live of [...core.live.keys()]) if (prng.chance(0.4)) core.ack(live);
    if (prng.chance(0.7)) await core.settled();
    if (prng.chance(0.15))
      await core.checkpoint(round > 0 && core.journal.checkpointBytes.full > 0 && prng.chance(0.5) ? 'delta' : 'full');
    if (prng.chance(0.15)) await core.reclaim();
    if (prng.chance(0.1)) await core.verify();
  }
  await core.journal.close();
}

interface Crashed {
  /** State before, and the batch that was durable when the lights went out; undefined when it never opened. */
  readonly core: MiniCore | undefined;
  readonly durableBatch: number;
  readonly finished: boolean;
}

/** Open and work on a disk that stops for good at operation number `at`. */
async function workUntil(
  disk: SimDisk,
  clock: SimClock,
  at: number,
  seed: number,
  how: 'crash' | 'kill',
): Promise<Crashed> {
  let core: MiniCore | undefined;
  let durableBatch = 0;
  let operations = 0;
  let down = false;
  disk.options = {
    ...disk.options,
    fault: () => {
      if (++operations !== at) return undefined;
      durableBatch = core?.journal?.durableBatch ?? 0;
      down = true;
      disk[how]();
      clock.clear();
      return undefined;
    },
  };
  const done = (async () => {
    core = await MiniCore.open({ disk, clock });
    await work(core, seed, 40);
  })();
  await clock.run(done);
  clock.clear();
  if (!down) await done;
  disk.options = { ...disk.options, fault: undefined };
  return { core, durableBatch, finished: !down };
}

async function reopened(disk: SimDisk, clock: SimClock): Promise<MiniCore> {
  const core = await clock.drive(MiniCore.open({ disk, clock }));
  await clock.drive(core.verify());
  return core;
}

for (const how of ['crash', 'kill'] as const) {
  t.test(`${how} at every operation: nothing confirmed is lost, nothing acknowledged comes back`, async (t) => {
    const seed = 42;
    let at = 1;
    for (let finished = false; !finished; at++) {
      const clock = new SimClock();
      const disk = new SimDisk({ seed: seed + at, clock });
      const crashed = await workUntil(disk, clock, at, seed, how);
      finished = crashed.finished;
      const after = await reopened(disk, clock);
      try {
        if (crashed.core !== undefined) survivingPrefix(crashed.core, crashed.durableBatch, after);
      } catch (error) {
        throw new Error(`seed ${seed}, ${how} at operation ${at}`, { cause: error });
      }
      after.publish(1, 10);
      await clock.drive(after.journal.close());
    }
    t.ok(at > 200, `${at} operations`);
  });
}

t.test('crash again and again on one disk, also during recovery', async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const prng = new Prng(seed);
    const clock = new SimClock();
    const disk = new SimDisk({ seed, clock });
    let before: MiniCore | undefined;
    let durableBatch = 0;
    for (let life = 0; life < 12; life++) {
      const crashed = await workUntil(disk, clock, prng.between(1, 150), prng.u32(), prng.pick(['crash', 'kill']));
      try {
        if (crashed.core !== undefined) {
          if (before !== undefined) {
            // What this life started with came out of the one before.
            const start = Object.assign(new MiniCore(), { live: startOf(crashed.core) });
            survivingPrefix(before, durableBatch, start);
          }
          before = withHistory(crashed.core);
          durableBatch = crashed.durableBatch;
        }
      } catch (error) {
        throw new Error(`seed ${seed}, life ${life}`, { cause: error });
      }
    }
    const after = await reopened(disk, clock);
    if (before !== undefined) survivingPrefix(before, durableBatch, after);
    await clock.drive(after.journal.close());
  }
  t.pass('20 seeds');
});

/** What a life started with: the state it ended with, its log undone. */
function startOf(core: MiniCore): MiniCore['live'] {
  const published = new Set(core.log.filter((entry) => entry.type === 'publish').map((entry) => entry.id));
  const acked = core.log.filter((entry) => entry.type === 'ack' && !published.has(entry.id)).map((entry) => entry.id);
  const left = [...core.live.keys()].filter((id) => !published.has(id));
  const none = { segment: 0, offset: 0, length: 0 };
  return new Map([...left, ...acked].sort((a, b) => a - b).map((id) => [id, none]));
}

/** The same life, with what it started with as a part of its log that is surely durable. */
function withHistory(core: MiniCore): MiniCore {
  const start = [...startOf(core).keys()].map((id) => ({ type: 'publish' as const, id, batch: 0 }));
  return Object.assign(new MiniCore(), { live: core.live, log: [...start, ...core.log] });
}

t.test('a disk that lies about syncs: recovery refuses or gives back a consistent past, never rubbish', async (t) => {
  let refused = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const prng = new Prng(seed);
    const clock = new SimClock();
    const disk = new SimDisk({ seed, clock, lyingSync: 0.3 });
    const crashed = await workUntil(disk, clock, prng.between(20, 250), seed, 'crash');
    try {
      const after = await clock.drive(MiniCore.open({ disk, clock }));
      if (crashed.core !== undefined) survivingPrefix(crashed.core, 0, after);
      await clock.drive(after.journal.close());
    } catch (error) {
      if (!(error instanceof CoreError)) throw new Error(`seed ${seed}`, { cause: error });
      refused++;
    }
  }
  t.ok(refused < 60, `${refused} of 60 refused`);
});

t.test('a failed write or sync confirms nothing, now or later', async (t) => {
  const operations: DiskOperation[] = ['write', 'sync'];
  for (const broken of operations) {
    for (let nth = 1; nth <= 12; nth++) {
      const clock = new SimClock();
      const disk = new SimDisk({ seed: nth, clock });
      const core = await clock.drive(MiniCore.open({ disk, clock }));
      let count = 0;
      const fault = (operation: DiskOperation) =>
        operation === broken && ++count === nth ? failure('EIO', 'disk') : undefined;
      disk.options = { ...disk.options, fault };
      let settled: unknown;
      for (let id = 1; core.failed === undefined; id++) {
        assert(id < 1000, 'no failure');
        core.publish(id, 700);
        settled = await clock.drive(core.settled()).catch((error: unknown) => error);
      }
      const durable = core.journal.durableBatch;
      t.match(settled, { code: 'journal-failed' });
      t.match(core.failed, { code: 'journal-failed' });
      t.equal(core.durable.at(-1) ?? 1, durable);
      t.throws(() => core.publish(5000, 10), { code: 'journal-failed' });
      await clock.advance(10_000);
      t.equal(core.journal.durableBatch, durable, `${broken} ${nth}: nothing more became durable`);
      await t.rejects(clock.drive(core.journal.close()), { code: 'journal-failed' });
      const after = await reopened(disk, clock);
      survivingPrefix(core, durable, after);
      await clock.drive(after.journal.close());
    }
  }
});

t.test('a full disk is a failed write; what was confirmed is there when there is room again', async (t) => {
  const clock = new SimClock();
  const disk = new SimDisk({ seed: 3, clock, capacityBytes: 40_000 });
  const core = await clock.drive(MiniCore.open({ disk, clock }));
  for (let id = 1; core.failed === undefined; id++) {
    core.publish(id, 700);
    await clock.drive(core.settled().catch(() => {}));
  }
  t.match(core.failed, { code: 'journal-failed', message: /ENOSPC/ });
  t.ok(core.log.length > 40);
  await clock.drive(core.journal.close().catch(() => {}));
  disk.options = { ...disk.options, capacityBytes: 100_000 };
  const after = await reopened(disk, clock);
  survivingPrefix(core, core.journal.durableBatch, after);
  await clock.drive(after.journal.close());
});

t.test('no room for a checkpoint or a cold segment: the old ones stay in force and the journal goes on', async (t) => {
  const clock = new SimClock();
  const disk = new SimDisk({ seed: 4, clock });
  const core = await clock.drive(MiniCore.open({ disk, clock }));
  for (let id = 1; id <= 300; id++) core.publish(id, 200);
  await clock.drive(core.checkpoint());
  for (let id = 1; id <= 300; id++) if (id % 4 !== 0) core.ack(id);
  await clock.drive(core.settled());
  const capacityBytes = () => disk.paths().reduce((sum, path) => sum + disk.contents(path).length, 0) + 300;
  disk.options = { ...disk.options, capacityBytes: capacityBytes() };
  await t.rejects(clock.drive(core.checkpoint()), { code: 'ENOSPC' });
  t.equal(core.journal.figures().checkpointBatch > 0, true);
  disk.options = { ...disk.options, capacityBytes: Number.MAX_SAFE_INTEGER };
  await clock.drive(core.checkpoint('delta'));
  disk.options = { ...disk.options, capacityBytes: capacityBytes() };
  await t.rejects(clock.drive(core.reclaim()), { code: 'ENOSPC' });
  t.strictSame(
    disk.paths().filter((path) => /tmp|cold/.test(path)),
    [],
    'nothing half-done is left',
  );
  await clock.drive(core.verify());
  disk.options = { ...disk.options, capacityBytes: Number.MAX_SAFE_INTEGER };
  await clock.drive(core.reclaim());
  await clock.drive(core.verify());
  await clock.drive(core.journal.close());
  const after = await reopened(disk, clock);
  survivingPrefix(core, core.journal.durableBatch, after);
  await clock.drive(after.journal.close());
});

t.test('what a start has seen stays, though the process before was killed between write and sync', async (t) => {
  for (let nth = 1; nth <= 60; nth++) {
    const clock = new SimClock();
    const disk = new SimDisk({ seed: nth, clock });
    const first = await clock.drive(MiniCore.open({ disk, clock }));
    let syncs = 0;
    const fault = (operation: DiskOperation) => {
      if (operation === 'sync' && ++syncs === nth) disk.kill();
      return undefined;
    };
    disk.options = { ...disk.options, fault };
    for (let id = 1; syncs < nth; id++) {
      first.publish(id, 700);
      await clock.run(first.settled());
    }
    clock.clear();
    disk.options = { ...disk.options, fault: undefined };
    const second = await reopened(disk, clock);
    disk.crash();
    clock.clear();
    const third = await reopened(disk, clock);
    assert.deepEqual([...third.live.keys()], [...second.live.keys()], `killed at sync ${nth}`);
    await clock.drive(third.journal.close());
  }
  t.pass('60 kills');
});

t.test('a segment goes only after the settlements that emptied it are durable', async (t) => {
  const clock = new SimClock();
  const disk = new SimDisk({ seed: 6, clock });
  const core = await clock.drive(MiniCore.open({ disk, clock }));
  for (let id = 1; id <= 300; id++) core.publish(id, 200);
  await clock.drive(core.checkpoint());
  let removed = 0;
  const fault = (operation: DiskOperation, path: string) => {
    if (operation !== 'remove' || !path.endsWith('.log')) return undefined;
    removed++;
    assert(core.journal.durableBatch >= core.log.at(-1)!.batch, `${path} is removed while acks are not durable`);
    return undefined;
  };
  disk.options = { ...disk.options, fault };
  for (let id = 1; id <= 300; id++) if (id < 150 || id % 4 !== 0) core.ack(id);
  await clock.drive(core.reclaim());
  t.ok(removed >= 3);
  await clock.drive(core.verify());
  await clock.drive(core.journal.close());
});

t.test('one seed, one run', async (t) => {
  const runs = [];
  for (let run = 0; run < 2; run++) {
    const clock = new SimClock();
    const disk = new SimDisk({ seed: 5, clock });
    await workUntil(disk, clock, 170, 5, 'crash');
    runs.push(disk.paths().map((path) => [path, disk.contents(path).toString('base64')]));
  }
  t.strictSame(runs[0], runs[1]);
});
