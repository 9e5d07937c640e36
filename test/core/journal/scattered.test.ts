import t from 'tap';
import { SystemClock } from '../../../src/core/clock.ts';
import type { BodyRef, Places } from '../../../src/core/journal/journal.ts';
import { segmentPath } from '../../../src/core/journal/segment.ts';
import { limitsWith } from '../../../src/core/limits.ts';
import { Prng } from '../../../src/testing/prng.ts';

import { type DiskOperation, failure, SimDisk } from '../../../src/testing/sim-disk.ts';
import { assertBody, MiniCore, SMALL, writeBody } from './mini-core.ts';

const SEED = 29;
const NEVER = (): boolean => false;

/** Bodies of `MiniCore` can be told from anything else. */
function proves(bytes: Buffer, start: number, end: number): boolean {
  const expected = Buffer.alloc(end - start);
  if (end - start < 4) return false;
  writeBody(expected, 0, expected.length, bytes.readUInt32LE(start));
  return expected.compare(bytes, start, end) === 0;
}

interface Fixture {
  readonly core: MiniCore;
  readonly disk: SimDisk;
  /** Reads since the start, not counting what opening took. */
  readonly reads: () => number;
}

async function start(limits = SMALL, messages = 600, fails?: () => boolean): Promise<Fixture> {
  let reads = 0;
  const beforeOperation = (operation: DiskOperation, path: string) => {
    if (operation !== 'read') return undefined;
    reads++;
    return fails?.() === true ? failure('EIO', path) : undefined;
  };
  const disk = new SimDisk({ seed: SEED, fault: beforeOperation });
  const core = await MiniCore.open({ disk, clock: new SystemClock(), limits });
  for (let id = 1; id <= messages; id++) core.publish(id, 20 + (id % 100));
  await core.settled();
  reads = 0;
  return { core, disk, reads: () => reads };
}

function placesOf(refs: readonly BodyRef[]): [places: Places, order: number[]] {
  const places = {
    segments: Uint32Array.from(refs, (ref) => ref.segment),
    offsets: Uint32Array.from(refs, (ref) => ref.offset),
    lengths: Uint32Array.from(refs, (ref) => ref.length),
  };
  return [places, [...refs.keys()]];
}

/** Load some of the live bodies; answers the ids that came, each checked. */
async function load(core: MiniCore, ids: readonly number[], proof = proves): Promise<number[]> {
  const refs = ids.map((id) => core.live.get(id)!);
  const came: number[] = [];
  await core.journal.loadScattered(...placesOf(refs), proof, (index, bytes, at) => {
    assertBody(bytes, at, refs[index]!.length, ids[index]!);
    came.push(ids[index]!);
  });
  return came.sort((a, b) => a - b);
}

t.test(`each body comes once, from disk and from memory, whatever it proves (seed ${SEED})`, async (t) => {
  const { core } = await start();
  const prng = new Prng(SEED);
  for (let round = 0; round < 60; round++) {
    const ids = [...core.live.keys()].filter(() => prng.chance(prng.chance(0.5) ? 0.02 : 0.9));
    const odd = (bytes: Buffer, from: number, end: number) =>
      bytes.readUInt32LE(from) % 2 === 1 && proves(bytes, from, end);
    t.same(await load(core, ids, [proves, odd, NEVER][round % 3]), ids);
  }
  t.same(await load(core, []), []);
  await core.journal.close();
});

t.test('it comes from cold segments, too', async (t) => {
  const { core } = await start();
  for (let id = 1; id <= 500; id++) if (id % 10 !== 0) core.ack(id);
  await core.settled();
  await core.checkpoint();
  await core.settled();
  await core.reclaim();
  t.ok(core.journal.figures().segments < 4);
  const ids = [...core.live.keys()];
  t.same(await load(core, ids), ids);
  await core.journal.close();
});

t.test('only what is asked for is read, neighbours together; other bodies are no concern', async (t) => {
  const limits = limitsWith({ ...SMALL, segmentBytes: 8 * 1024 * 1024, batchBytesMax: 256 * 1024 });
  const { core, disk, reads } = await start(limits, 30_000);
  const path = segmentPath(1);
  const { offset } = core.live.get(9)!;
  disk.flip(path, offset + 10, 3);
  t.same(await load(core, [2, 8, 10, 11]), [2, 8, 10, 11]);
  t.equal(reads(), 1);
  // Half a megabyte on.
  t.same(await load(core, [3, 7000]), [3, 7000]);
  t.equal(reads(), 3);
  await t.rejects(load(core, [8, 9, 10]), { code: 'journal-corrupt' }, 'the one that was hit');
  await core.journal.close();
});

t.test('a damaged body is never handed over', async (t) => {
  const { core, disk } = await start();
  const ids = [...core.live.keys()];
  const { segment, offset, length } = core.live.get(40)!;
  disk.flip(segmentPath(segment), offset + length - 1, 0);
  const refs = ids.map((id) => core.live.get(id)!);
  const came: number[] = [];
  const loading = core.journal.loadScattered(...placesOf(refs), proves, (index, bytes, at) => {
    assertBody(bytes, at, refs[index]!.length, ids[index]!);
    came.push(index);
  });
  await t.rejects(loading, { code: 'journal-corrupt' });
  t.notOk(came.includes(ids.indexOf(40)));
  await core.journal.close();
});

t.test('what was never there is refused', async (t) => {
  const { core } = await start();
  const { offset } = core.live.get(1)!;
  const none = () => t.fail('no body');
  for (const ref of [
    { segment: 1, offset: 70, length: 1 },
    { segment: 1, offset, length: 1e6 },
    { segment: 99, offset: 200, length: 1 },
  ]) {
    await t.rejects(core.journal.loadScattered(...placesOf([ref]), proves, none), { code: 'journal-corrupt' });
  }
  await core.journal.close();
});

t.test('a read that fails is tried the other way, and then it is an error', async (t) => {
  let failures = 1;
  const { core } = await start(SMALL, 600, () => failures-- > 0);
  t.same(await load(core, [5, 6]), [5, 6]);
  failures = 1000;
  await t.rejects(load(core, [300]), { code: 'EIO' });
  failures = 0;
  t.same(await load(core, [300]), [300]);
  await core.journal.close();
});
