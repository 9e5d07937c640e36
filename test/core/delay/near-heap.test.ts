import t from 'tap';
import { NearHeap } from '../../../src/core/delay/near-heap.ts';
import { Prng } from '../../../src/testing/prng.ts';

const SEED = 11;

type Pair = [due: number, position: number];

function inOrder(a: Pair, b: Pair): number {
  return a[0] - b[0] || a[1] - b[1];
}

function drained(heap: NearHeap): Pair[] {
  const pairs: Pair[] = [];
  for (; heap.size > 0; heap.pop()) pairs.push([heap.due, heap.position]);
  return pairs;
}

t.test(`pairs come out by time, then position (seed ${SEED})`, async (t) => {
  const prng = new Prng(SEED);
  for (let round = 0; round < 200; round++) {
    const heap = new NearHeap();
    const pairs: Pair[] = [];
    for (let left = prng.below(100); left > 0; left--) {
      const pair: Pair = [prng.below(20), prng.below(1e6)];
      pairs.push(pair);
      heap.push(...pair);
    }
    t.same(drained(heap), pairs.sort(inOrder));
  }
});

t.test(`turned round, the last one comes first; replacing it keeps the best (seed ${SEED})`, async (t) => {
  const prng = new Prng(SEED);
  for (let round = 0; round < 100; round++) {
    const best = new NearHeap();
    const pairs: Pair[] = [];
    for (let position = 0; position < 200; position++) {
      const due = prng.below(40);
      pairs.push([due, position]);
      if (best.size < 30) best.push(-due, -position);
      else if (due < -best.due) best.replace(-due, -position);
    }
    best.negate();
    t.same(drained(best), pairs.sort(inOrder).slice(0, 30));
  }
});
