import t, { type Test } from 'tap';
import { BodyTable } from '../../../src/core/slab/body-table.ts';
import { IndexSlab } from '../../../src/core/slab/index-slab.ts';
import { PageStore } from '../../../src/core/slab/page-store.ts';
import { loaded, pull, seeded, seedOf } from './support.ts';

interface Body {
  segment: number;
  offset: number;
  length: number;
  refs: number;
  flags: number;
}

/** Told by the last `release`. */
const was = { segment: 0, offset: 0, length: 0 };

/** Compare every accessor, the sums and the scan with the model. */
function check(test: Test, bodies: BodyTable, model: ReadonlyMap<number, Body>, note: string): void {
  const live = new Map<number, number>();
  const wrong: number[] = [];
  for (const [handle, body] of model) {
    live.set(body.segment, (live.get(body.segment) ?? 0) + body.length);
    const found = {
      segment: bodies.segment(handle),
      offset: bodies.offset(handle),
      length: bodies.length(handle),
      refs: bodies.refs(handle),
      flags: bodies.flags(handle),
    };
    if (Object.entries(body).some(([name, value]) => found[name as keyof Body] !== value)) wrong.push(handle);
  }
  test.same(wrong, [], note);
  test.equal(bodies.count, model.size, note);
  for (const [segment, bytes] of live) {
    if (bodies.liveBytes(segment) !== bytes) test.fail(`live bytes of segment ${segment}, ${note}`);
  }
  test.equal(bodies.liveBytes(123_456_789), 0);
  const listed = [...bodies.liveSegments()].filter(([segment, bytes]) => live.get(segment) !== bytes);
  test.same(listed, [], note);
  test.equal([...bodies.liveSegments()].length, [...live.values()].filter((bytes) => bytes > 0).length, note);
  test.equal(
    bodies.totalBytes,
    [...live.values()].reduce((sum, bytes) => sum + bytes, 0),
    note,
  );
}

function place(body: { segment: number; offset: number }): number {
  return body.segment * 2 ** 27 + body.offset;
}

t.test('model: random bodies, references and flags, with snapshots and reloads', async (t) => {
  const seed = seedOf(2024);
  const random = seeded(seed);
  const slab = new IndexSlab({ tracked: true });
  const model = new Map<number, Body>();
  const handles: number[] = [];
  let offset = 0;
  const step = (growing: boolean): void => {
    const choice = random(20);
    if (handles.length === 0 || choice < (growing ? 12 : 3)) {
      const body = {
        segment: random(50) === 0 ? 0x7fff_ff00 + random(8) : 1 + random(30) * random(300),
        offset: offset++,
        length: random(3) === 0 ? 0 : random(100_000),
        refs: random(100) === 0 ? 65_530 + random(12) : 1 + random(3),
        flags: random(65_536),
      };
      const handle = slab.bodies.add(body.segment, body.offset, body.length, body.refs, body.flags);
      if (model.has(handle)) t.fail(`handle ${handle} given twice, seed ${seed}`);
      model.set(handle, body);
      handles.push(handle);
      return;
    }
    const at = random(handles.length);
    const handle = handles[at]!;
    const body = model.get(handle)!;
    if (choice === 19) {
      const n = random(30) === 0 ? 100_000 : 1 + random(4);
      slab.bodies.addRef(handle, n);
      body.refs += n;
    } else if (choice === 18) {
      body.flags = random(65_536);
      slab.bodies.setFlags(handle, body.flags);
    } else {
      body.refs--;
      const last = slab.bodies.release(handle, was);
      if (last !== (body.refs === 0)) t.fail(`release answered ${last}, seed ${seed}`);
      const { segment, offset, length } = body;
      if (was.segment !== segment || was.offset !== offset || was.length !== length)
        t.fail(`another one went, seed ${seed}`);
      if (!last) return;
      model.delete(handle);
      handles[at] = handles.at(-1)!;
      handles.pop();
    }
  };
  const files: Buffer[] = [];
  for (let round = 0; round < 6; round++) {
    for (let n = 0; n < 12_000; n++) step(round % 3 !== 1);
    const before = new Map([...model].map(([handle, body]) => [handle, { ...body }]));
    const snapshot = slab.pages.snapshot(round === 0 ? 'full' : 'delta');
    files.push(pull(snapshot, () => step(true)));
    snapshot.commit();
    check(t, slab.bodies, model, `live, round ${round}, seed ${seed}`);
    const copy = await loaded(files, random);
    check(t, copy.bodies, before, `reloaded, round ${round}, seed ${seed}`);
  }
  const segments = new Set([...model.values()].filter((_, n) => n % 5 === 0).map((body) => body.segment));
  const expected = [...model.values()]
    .filter((body) => segments.has(body.segment))
    .map(({ segment, offset, length }) => ({ segment, offset, length }))
    .sort((a, b) => place(a) - place(b));
  let yields = 0;
  const scan = slab.bodies.refsIn(segments);
  let result = scan.next();
  for (; !result.done; result = scan.next()) yields++;
  t.same(result.value, expected, 'the scan finds them all, sorted');
  t.ok(yields > 3, 'in slices');
});

t.test('counts beyond 16 bits survive a restart and come down to nothing', async (t) => {
  const random = seeded(1);
  const slab = new IndexSlab({ tracked: true });
  const handle = slab.bodies.add(1, 2, 3, 65_534, 0xffff);
  slab.bodies.addRef(handle, 1);
  const other = slab.bodies.add(1, 5, 3, 100_000, 1);
  t.equal(slab.bodies.refs(handle), 65_535);
  slab.bodies.addRef(handle, 34_465);
  const snapshot = slab.pages.snapshot('full');
  const file = pull(snapshot);
  snapshot.commit();
  const { bodies } = await loaded([file], random);
  for (const one of [handle, other]) {
    t.equal(bodies.refs(one), 100_000);
    for (let n = 1; n < 100_000; n++) if (bodies.release(one, was)) t.fail(`gone after ${n} releases`);
    t.equal(bodies.refs(one), 1);
    t.equal(bodies.flags(one), one === handle ? 0xffff : 1);
    t.ok(bodies.release(one, was));
  }
  t.equal(bodies.count, 0);
  t.equal(bodies.totalBytes, 0);
  t.equal(bodies.liveBytes(1), 0);
  t.throws(() => bodies.release(handle, was), /not in the table/);
});

t.test('a scan for nothing, and of nothing', async (t) => {
  const bodies = new BodyTable(new PageStore({ tracked: false }));
  t.same([...bodies.refsIn(new Set([1]))], []);
  bodies.add(1, 0, 10, 1, 0);
  const scan = bodies.refsIn(new Set());
  let result = scan.next();
  while (!result.done) result = scan.next();
  t.same(result.value, []);
});

t.test('every order of offsets comes out sorted', async (t) => {
  const seed = seedOf(5);
  const random = seeded(seed);
  for (const count of [1, 2, 3, 1024, 1025, 20_000]) {
    const bodies = new BodyTable(new PageStore({ tracked: false }));
    const offsets = Array.from({ length: count }, () => random(2 ** 26));
    for (const offset of offsets) bodies.add(7, offset, 1, 1, 0);
    const scan = bodies.refsIn(new Set([7, 3]));
    let result = scan.next();
    while (!result.done) result = scan.next();
    t.same(
      result.value.map((ref) => ref.offset),
      offsets.sort((a, b) => a - b),
      `${count} bodies, seed ${seed}`,
    );
  }
});
