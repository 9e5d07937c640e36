import t, { type Test } from 'tap';
import { type EntryRing, entryColumns } from '../../../src/core/slab/entry-ring.ts';
import { IndexSlab } from '../../../src/core/slab/index-slab.ts';
import { PAGE_BYTES, PAGE_WORDS } from '../../../src/core/slab/page-store.ts';
import { loaded, pull, seeded, seedOf } from './support.ts';

const PAGE_ENTRIES = PAGE_WORDS / 2;

/** The plain form of a ring: a map from position to entry, in order of position. */
class ModelRing {
  readonly entries = new Map<number, { body: number; info: number }>();
  tail = 0;

  get head(): number {
    for (const position of this.entries.keys()) return position;
    return this.tail;
  }

  copy(): ModelRing {
    const copy = new ModelRing();
    copy.tail = this.tail;
    for (const [position, entry] of this.entries) copy.entries.set(position, { ...entry });
    return copy;
  }
}

function check(test: Test, ring: EntryRing, model: ModelRing, note: string): void {
  test.same([ring.head, ring.tail, ring.count], [model.head, model.tail, model.entries.size], note);
  // Compared by hand: deep equality of long arrays takes seconds.
  const wrong: number[] = [];
  let at = ring.next(0);
  for (const [position, entry] of model.entries) {
    if (at !== position || ring.body(at) !== entry.body || ring.info(at) !== entry.info) wrong.push(position);
    at = ring.next(at + 1);
  }
  const columns = entryColumns();
  const entries = model.entries.entries();
  for (let from = 0; from < ring.tail; ) {
    from = ring.read(from, columns);
    for (let n = 0; n < columns.count; n++) {
      const [position, entry] = entries.next().value ?? [-1];
      if (columns.positions[n] !== position || columns.infos[n] !== entry?.info) wrong.push(position);
    }
  }
  test.ok(entries.next().done, note);
  test.same(wrong.slice(0, 5), [], note);
  test.equal(at, -1, note);
}

for (const [seed, weights] of [
  [1, { grow: 10, burst: 2_000 }],
  [2, { grow: 11, burst: 60 }],
  [3, { grow: 10, burst: 30_000 }],
] as const) {
  t.test(`model: three rings, bursts up to ${weights.burst}, snapshots and reloads`, async (t) => {
    const start = seedOf(seed);
    const random = seeded(start);
    const slab = new IndexSlab({ tracked: true });
    const rings = Array.from({ length: 3 }, () => ({ ring: slab.rings.create(), model: new ModelRing() }));
    let body = 1;
    const step = (): void => {
      const n = random(rings.length);
      const { ring, model } = rings[n]!;
      const choice = random(24);
      if (choice < weights.grow) {
        for (let burst = random(weights.burst); burst >= 0; burst--) {
          const entry = { body: body++, info: random(2 ** 32) };
          if (ring.push(entry.body, entry.info) !== model.tail) t.fail(`position, seed ${start}`);
          model.entries.set(model.tail++, entry);
        }
      } else if (choice < 20) {
        // From the head, or anywhere; with an old entry left behind now and then.
        const inOrder = random(2) === 0;
        const keep = random(3) === 0 ? 1 : 0;
        const positions = [...model.entries.keys()].slice(keep);
        const count = Math.min(positions.length, random(weights.burst * 2));
        const from = inOrder ? 0 : random(positions.length - count + 1);
        for (const position of positions.slice(from, from + count)) {
          if (!inOrder && random(20) === 0) continue;
          if (!ring.settle(position)) t.fail(`settle ${position}, seed ${start}`);
          if (ring.settle(position)) t.fail(`settled twice ${position}, seed ${start}`);
          model.entries.delete(position);
        }
      } else if (choice === 20) {
        const n = random(4) === 0 ? random(40_000) : random(20);
        ring.skip(n);
        model.tail += n;
      } else if (choice === 21) {
        for (const [position, entry] of model.entries) {
          if (random(10) !== 0) continue;
          entry.info = random(2 ** 32);
          ring.setInfo(position, entry.info);
        }
      } else if (choice === 22 && random(6) === 0) {
        ring.clear();
        model.entries.clear();
      } else if (choice === 23 && random(8) === 0) {
        ring.destroy();
        rings[n] = { ring: slab.rings.create(), model: new ModelRing() };
      }
    };
    let files: Buffer[] = [];
    for (let round = 0; round < 12; round++) {
      for (let n = 0; n < 40; n++) step();
      for (const { ring, model } of rings) check(t, ring, model, `live, round ${round}, seed ${start}`);
      const before = rings.map(({ ring, model }) => ({ row: ring.row, model: model.copy() }));
      const kind = round % 5 === 0 ? 'full' : 'delta';
      const snapshot = slab.pages.snapshot(kind);
      const file = pull(snapshot, () => random(4) === 0 && step());
      snapshot.commit();
      files = kind === 'full' ? [file] : [...files, file];
      const copy = await loaded(files, random);
      for (const { row, model } of before) {
        const ring = copy.rings.open(row);
        check(t, ring, model, `reloaded, round ${round}, seed ${start}`);
        ring.push(7, 8);
        model.entries.set(model.tail++, { body: 7, info: 8 });
        check(t, ring, model, `reloaded and pushed, round ${round}, seed ${start}`);
      }
    }
    for (const { ring } of rings) ring.destroy();
    t.equal(slab.rings.count, 0);
    t.ok(slab.pages.pages <= 4, 'nothing is left but the page each table allocates from');
  });
}

t.test('what was never there, or is settled', (t) => {
  const ring = new IndexSlab({ tracked: false }).rings.create();
  t.same([ring.head, ring.tail, ring.count], [0, 0, 0]);
  t.equal(ring.next(0), -1);
  t.equal(ring.settle(0), false);
  ring.push(5, 6);
  ring.push(7, 8);
  t.equal(ring.settle(2), false);
  t.equal(ring.settle(-1), false);
  t.ok(ring.settle(0));
  t.equal(ring.settle(0), false);
  t.same([ring.body(0), ring.body(1), ring.body(2), ring.info(1)], [0, 7, 0, 8]);
  t.throws(() => ring.setInfo(0, 1), /not there/);
  t.equal(ring.next(0), 1);
  t.equal(ring.next(2), -1);
  t.end();
});

t.test('a ring grows from every place in a page', (t) => {
  const slab = new IndexSlab({ tracked: false });
  const wrong: number[] = [];
  for (let start = 0; start < PAGE_ENTRIES; start++) {
    const ring = slab.rings.create();
    ring.skip(start);
    const total = start % 16 === 0 ? 9300 : 1100;
    for (let n = 0; n < total; n++) ring.push(n + 1, n);
    let at = start;
    while (ring.body(at) === at - start + 1) at++;
    if (at !== start + total) wrong.push(start);
    ring.destroy();
  }
  t.same(wrong, []);
  t.end();
});

t.test('one old entry does not hold the pages behind it', (t) => {
  const slab = new IndexSlab({ tracked: false });
  const ring = slab.rings.create();
  const old = ring.push(1, 0);
  const total = PAGE_ENTRIES * 200;
  let most = 0;
  for (let n = 1; n < total; n++) {
    ring.push(n + 1, 0);
    if (n > 100) ring.settle(n - 100);
    most = Math.max(most, slab.pages.pages);
  }
  t.ok(most < 10, `at most ${most} pages for 1.6 million entries passed by`);
  t.same([ring.head, ring.count], [old, 101]);
  t.equal(ring.next(old + 1), total - 100, 'the gap is passed over');
  ring.settle(old);
  t.equal(ring.head, total - 100);
  for (let at = ring.head; at < total; at++) ring.settle(at);
  t.same([ring.head, ring.tail, ring.count], [total, total, 0]);
  t.ok(slab.pages.pages < 5);
  t.end();
});

t.test('a gap of a billion positions costs no pages', async (t) => {
  const slab = new IndexSlab({ tracked: true });
  const ring = slab.rings.create();
  ring.push(1, 11);
  ring.skip(1_000_000_000);
  t.equal(ring.push(2, 22), 1_000_000_001);
  ring.skip(2 ** 31);
  t.equal(ring.push(3, 33), 1_000_000_002 + 2 ** 31);
  t.ok(slab.pages.pages < 10);
  const snapshot = slab.pages.snapshot('full');
  const { rings } = await loaded([pull(snapshot)], seeded(1));
  snapshot.commit();
  for (const one of [ring, rings.open(ring.row)]) {
    t.same([one.head, one.next(1), one.next(1_000_000_002)], [0, 1_000_000_001, 1_000_000_002 + 2 ** 31]);
    one.settle(0);
    one.settle(1_000_000_001);
    t.equal(one.head, 1_000_000_002 + 2 ** 31);
    t.equal(one.info(one.head), 33);
  }
  t.end();
});

t.test('positions beyond 32 bits', async (t) => {
  const slab = new IndexSlab({ tracked: true });
  const ring = slab.rings.create();
  const start = 2 ** 32 * 1000 - 3000;
  ring.skip(start);
  for (let n = 0; n < 20_000; n++) ring.push(n + 1, n);
  for (let n = 0; n < 4000; n++) ring.settle(start + n);
  const snapshot = slab.pages.snapshot('full');
  const { rings } = await loaded([pull(snapshot)], seeded(1));
  const again = rings.open(ring.row);
  t.same([again.head, again.tail, again.count], [start + 4000, start + 20_000, 16_000]);
  for (let n = 4000; n < 20_000; n++) {
    if (again.body(start + n) !== n + 1 || again.info(start + n) !== n) t.fail(`entry ${n}`);
  }
  t.end();
});

t.test('a hundred thousand small rings', (t) => {
  const slab = new IndexSlab({ tracked: false });
  const count = 100_000;
  const rings = Array.from({ length: count }, () => slab.rings.create());
  t.ok((slab.pages.pages * PAGE_BYTES) / count < 40, 'an empty one costs its row');
  for (let n = 0; n < 10; n++) for (const ring of rings) ring.push(1, 2);
  const bytes = (slab.pages.pages * PAGE_BYTES) / count;
  t.ok(bytes < 170, `${bytes} bytes for a ring with ten entries`);
  // A burst through every queue, one after the other, leaves nothing behind.
  for (const ring of rings.slice(0, 2000)) {
    for (let n = 0; n < 1500; n++) ring.push(1, 2);
    for (let at = ring.next(0); at >= 0 && ring.count > 10; at = ring.next(at + 1)) ring.settle(at);
  }
  const after = (slab.pages.pages * PAGE_BYTES) / count;
  t.ok(after < bytes + 30, `${after} bytes after bursts`);
  for (const ring of rings) ring.destroy();
  t.ok(slab.pages.pages <= 4);
  t.end();
});

t.test('rows that do not fit together are refused', async (t) => {
  const slab = new IndexSlab({ tracked: true });
  const small = slab.rings.create();
  small.push(1, 1);
  const large = slab.rings.create();
  for (let n = 0; n < 10_000; n++) large.push(1, 1);
  const snapshot = slab.pages.snapshot('full');
  const file = pull(snapshot);
  const { rings } = await loaded([file], seeded(1));
  for (const row of [0, 3, 4096 * 50]) t.throws(() => rings.open(row), { code: 'journal-corrupt' }, `no ring ${row}`);
  const damaged = async (row: number, word: number, value: number): Promise<void> => {
    const copy = await loaded([file], seeded(1));
    const [page] = copy.pages.pagesOf(3);
    copy.pages.words(page!)[row * 8 + word] = value;
    t.throws(() => copy.rings.open(row), { code: 'journal-corrupt' }, `row ${row}, word ${word} = ${value}`);
  };
  for (const row of [small.row, large.row]) {
    await damaged(row, 0, 50_000);
    await damaged(row, 1, 7);
    await damaged(row, 2, 50_000);
    await damaged(row, 3, 2 ** 31);
    await damaged(row, 4, 0);
    await damaged(row, 4, 5);
  }
  await damaged(small.row, 4, 4);
  await damaged(small.row, 5, 0);
  await damaged(small.row, 5, 999);
  await damaged(large.row, 4, 1);
});
