import t from 'tap';
import { NearSearch } from '../../../src/core/delay/near-search.ts';
import type { EntryRing } from '../../../src/core/slab/entry-ring.ts';
import { IndexSlab } from '../../../src/core/slab/index-slab.ts';
import { Prng } from '../../../src/testing/prng.ts';

const SEED = 17;
/** Bits that are no time. */
const LEVEL = 0xff80_0000;

type Pair = [due: number, position: number];

/** What is in a ring, in the order in which it is due. */
function inOrder(ring: EntryRing): Pair[] {
  const pairs: Pair[] = [];
  for (let at = ring.next(0); at >= 0; at = ring.next(at + 1)) pairs.push([ring.info(at) & ~LEVEL, at]);
  return pairs.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}

/** What a search found and is still there. */
function found(search: NearSearch, ring: EntryRing): Pair[] {
  const pairs: Pair[] = [];
  const { near } = search;
  for (let left = near.size; left > 0; left--) {
    if (ring.body(near.position) !== 0) pairs.push([near.due, near.position]);
    near.pop();
  }
  t.equal(near.size, 0);
  return pairs;
}

// Times that spread over all of a slot, are few, or lie close together.
for (const [name, dues] of [
  ['spread', (prng: Prng) => prng.below(2 ** 23)],
  ['few', (prng: Prng) => prng.pick([0, 7, 4095, 4096, 2 ** 23 - 1])],
  ['close', (prng: Prng) => 1_000_000 + prng.below(3000)],
  ['equal', () => 77],
] as const) {
  t.test(`the earliest are found and sorted, while others come and go: ${name} (seed ${SEED})`, async (t) => {
    const prng = new Prng(SEED);
    for (let round = 0; round < 30; round++) {
      const ring = new IndexSlab({ tracked: false }).rings.create();
      ring.skip(prng.below(20_000));
      const push = () => ring.push(1, (dues(prng) | (prng.below(2) === 0 ? LEVEL : 0)) >>> 0);
      for (let left = prng.pick([0, 5, 500, 40_000]); left > 0; left--) push();
      for (let left = prng.below(ring.count); left > 0; left--)
        ring.settle(ring.head + prng.below(ring.tail - ring.head));
      const max = 1 + prng.below(prng.chance(0.5) ? 100 : 50_000);
      const before = inOrder(ring);
      const search = new NearSearch(ring, max);
      const isQuiet = prng.chance(0.3);
      while (!search.step(8192)) {
        if (isQuiet || ring.count === 0) continue;
        for (let left = prng.below(40); left > 0; left--) push();
        for (let left = prng.below(40); left > 0; left--) ring.settle(ring.head + prng.below(ring.tail - ring.head));
      }
      const all = inOrder(ring);
      const pairs = found(search, ring);
      // Complete up to the horizon, and in order; at the horizon those that came first.
      t.strictSame(pairs.slice(0, 20), all.slice(0, Math.min(20, pairs.length)));
      if (pairs.join() !== all.slice(0, pairs.length).join()) t.fail(`round ${round}: not the first ones`);
      const next = all[pairs.length];
      if (next !== undefined && next[0] < search.horizon) t.fail(`round ${round}: ${next} was missed`);
      if (isQuiet) t.equal(pairs.length, Math.min(max, before.length));
    }
  });
}
