import t from 'tap';
import { CoreError } from '../../../src/core/errors.ts';
import { ChunkReader } from '../../../src/core/slab/chunk-reader.ts';
import { PAGE_BYTES, PAGE_WORDS, PageStore } from '../../../src/core/slab/page-store.ts';
import { cut, pull, seeded, seedOf } from './support.ts';

const KIND = 16;

/** What a store holds, by page id: label, first and last word. */
function contents(store: PageStore): Map<number, string> {
  const found = new Map<number, string>();
  for (const id of store.pagesOf(KIND)) {
    const words = store.words(id);
    found.set(id, [store.owner(id), store.ordinal(id), words[0], words[1], words[PAGE_WORDS - 1]].join());
  }
  return found;
}

async function loaded(snapshots: readonly Buffer[], random: (n: number) => number): Promise<PageStore> {
  const store = new PageStore({ tracked: true });
  for (const bytes of snapshots) {
    const reader = new ChunkReader(cut(bytes, random));
    await store.load(reader);
    t.ok(await reader.atEnd(), 'a snapshot is read to its last byte');
  }
  return store;
}

/** Random writes, allocations and frees. */
function mutate(store: PageStore, live: number[], random: (n: number) => number, steps: number): void {
  for (let n = 0; n < steps; n++) {
    const choice = random(10);
    if ((choice < 3 && live.length < 50) || live.length === 0) {
      live.push(store.allocate(KIND, random(1000), random(1000)));
    } else if (choice < 5) {
      const [id] = live.splice(random(live.length), 1);
      store.free(id!);
    } else {
      const id = live[random(live.length)]!;
      store.touch(id);
      store.words(id)[[0, 1, PAGE_WORDS - 1][random(3)]!] = random(2 ** 30);
    }
  }
}

t.test('pages are zeroed, labelled and reused', async (t) => {
  const store = new PageStore({ tracked: false });
  const first = store.allocate(KIND, 7, 8);
  t.equal(first, 1);
  t.same([store.kind(first), store.owner(first), store.ordinal(first)], [KIND, 7, 8]);
  store.touch(first);
  store.words(first).fill(9);
  store.free(first);
  t.equal(store.pages, 0);
  const second = store.allocate(KIND + 1, 0, 0);
  t.equal(second, first, 'ids are used again');
  t.ok(
    store.words(second).every((word) => word === 0),
    'without the old contents',
  );
  t.same(store.pagesOf(KIND), []);
  t.same(store.pagesOf(KIND + 1), [second]);
  t.throws(() => store.free(99), /not in use/);
  t.throws(() => store.snapshot('full'), /untracked/);
});

t.test('a snapshot is the state at its beginning, whatever is written while it is pulled', async (t) => {
  const seed = seedOf(4711);
  const random = seeded(seed);
  const store = new PageStore({ tracked: true });
  const live: number[] = [];
  let files: Buffer[] = [];
  for (let round = 0; round < 24; round++) {
    mutate(store, live, random, 20);
    const kind = round === 0 || random(5) === 0 ? 'full' : 'delta';
    const expected = contents(store);
    const snapshot = store.snapshot(kind);
    const file = pull(snapshot, () => mutate(store, live, random, 2));
    t.equal(file.length, snapshot.bytes, 'it knows its size');
    if (random(4) === 0 && round > 0) {
      snapshot.abort();
      continue;
    }
    snapshot.commit();
    files = kind === 'full' ? [file] : [...files, file];
    const copy = await loaded(files, random);
    t.same(contents(copy), expected, `round ${round} of seed ${seed}`);
    t.equal(copy.pages, expected.size);
  }
});

t.test('snapshots go on after a restart from the files of the first process', async (t) => {
  const random = seeded(seedOf(99));
  const store = new PageStore({ tracked: true });
  const live: number[] = [];
  mutate(store, live, random, 100);
  const full = store.snapshot('full');
  const files = [pull(full)];
  full.commit();
  const second = await loaded(files, random);
  mutate(second, live, random, 10);
  const expected = contents(second);
  const delta = second.snapshot('delta');
  files.push(pull(delta));
  delta.commit();
  t.same(contents(await loaded(files, random)), expected);
});

t.test('a delta holds what changed, and nothing is lost by an abort', async (t) => {
  const store = new PageStore({ tracked: true });
  const ids = Array.from({ length: 10 }, (_, n) => store.allocate(KIND, 0, n));
  const full = store.snapshot('full');
  pull(full);
  full.commit();
  const frame = PAGE_BYTES + 16;
  const size = (kind: 'full' | 'delta', end: 'commit' | 'abort'): number => {
    const snapshot = store.snapshot(kind);
    const pages = Math.floor(pull(snapshot).length / frame);
    snapshot[end]();
    return pages;
  };
  t.equal(size('delta', 'commit'), 0);
  store.touch(ids[3]!);
  store.touch(ids[3]!);
  store.free(ids[4]!);
  t.equal(size('delta', 'abort'), 1);
  store.touch(ids[5]!);
  t.equal(size('delta', 'abort'), 2);
  t.equal(size('delta', 'commit'), 2);
  t.equal(size('delta', 'commit'), 0);
  t.equal(size('full', 'commit'), 9);
});

t.test('only one snapshot at a time, pulled to its end before a commit', async (t) => {
  const store = new PageStore({ tracked: true });
  store.allocate(KIND, 0, 0);
  t.throws(() => store.snapshot('delta'), /build on/);
  const snapshot = store.snapshot('full');
  t.throws(() => store.snapshot('full'), /one snapshot/);
  t.throws(() => snapshot.commit(), /pulled to its end/);
  const chunks = snapshot.chunks();
  chunks.next();
  t.throws(() => snapshot.commit(), /pulled to its end/);
  snapshot.abort();
  t.throws(() => chunks.next(), /ended snapshot/);
  snapshot.abort();
  const second = store.snapshot('full');
  pull(second);
  second.commit();
  t.throws(() => second.chunks().next(), /once/);
});

t.test('damaged snapshots are refused', async (t) => {
  const store = new PageStore({ tracked: true });
  const gone = store.allocate(KIND, 0, 0);
  store.allocate(KIND, 0, 1);
  const snapshot = store.snapshot('full');
  const full = pull(snapshot);
  snapshot.commit();
  store.free(gone);
  const next = store.snapshot('delta');
  const delta = pull(next);
  next.commit();
  const refused = async (files: Buffer[], text: RegExp): Promise<void> => {
    const fresh = new PageStore({ tracked: true });
    const loading = (async () => {
      for (const bytes of files) await fresh.load(new ChunkReader(cut(bytes, seeded(1))));
    })();
    await t.rejects(loading, text);
    await loading.catch((error: unknown) => t.ok(error instanceof CoreError && error.code === 'journal-corrupt'));
  };
  await refused([Buffer.alloc(0)], /ends too early/);
  for (const length of [1, 23, 24, 39, 40, full.length - 1])
    await refused([full.subarray(0, length)], /ends too early/);
  await refused([delta], /without a full/);
  await refused([full, delta, delta], /not in use/);
  const garbled = (at: number, value: number): Buffer => {
    const bytes = Buffer.from(full);
    bytes.writeUInt32LE(value, at);
    return bytes;
  };
  await refused([garbled(0, 1)], /not an index snapshot/);
  await refused([garbled(4, 2)], /not an index snapshot/);
  await refused([garbled(8, 3)], /not an index snapshot/);
  await refused([garbled(12, 2 ** 31)], /too many/);
  await refused([garbled(24, 0)], /page id 0/);
  await refused([garbled(24, 2 ** 31)], /page id/);
});
