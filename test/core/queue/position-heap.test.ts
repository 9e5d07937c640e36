import t from 'tap';
import { PositionHeap } from '../../../src/core/queue/position-heap.ts';
import { Prng } from '../../../src/testing/prng.ts';

t.test('the smallest first, whatever the order of arrival', async (t) => {
  const prng = new Prng(5);
  const heap = new PositionHeap();
  const model: number[] = [];
  for (let n = 0; n < 5000; n++) {
    if (model.length > 0 && prng.chance(0.48)) {
      model.sort((a, b) => a - b);
      if (heap.first !== model[0] || heap.pop() !== model.shift()) t.fail(`step ${n}`);
    } else {
      const position = prng.u32() * 1000;
      heap.push(position);
      model.push(position);
    }
  }
  t.equal(heap.size, model.length);
  heap.clear();
  t.equal(heap.size, 0);
});
