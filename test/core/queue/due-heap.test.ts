import t from 'tap';
import { DueHeap } from '../../../src/core/queue/due-heap.ts';
import { Prng } from '../../../src/testing/prng.ts';

t.test('random pushes and pops: always the earliest, of equals the lowest position', async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const prng = new Prng(seed);
    const heap = new DueHeap();
    const model: (readonly [dueMs: number, position: number])[] = [];
    for (let step = 0; step < 600; step++) {
      if (prng.chance(step < 300 ? 0.7 : 0.3)) {
        const entry = [prng.below(40), step] as const;
        heap.push(entry[1], entry[0]);
        model.push(entry);
        model.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
      } else if (model.length > 0) {
        const [dueMs, position] = model.shift() as [number, number];
        if (heap.firstDueMs !== dueMs || heap.pop() !== position) t.fail(`seed ${seed}, step ${step}`);
      }
      if (heap.size !== model.length) t.fail(`seed ${seed}: ${heap.size} and not ${model.length}`);
    }
    const { positions, dueMs } = heap.entries();
    const entries = [...positions].map((position, n) => [dueMs[n] as number, position] as const);
    t.same(
      entries.sort((a, b) => a[0] - b[0] || a[1] - b[1]),
      model,
      `seed ${seed}`,
    );
  }
  t.equal(new DueHeap().firstDueMs, Number.POSITIVE_INFINITY);
});
