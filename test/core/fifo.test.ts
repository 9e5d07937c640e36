import t from 'tap';
import { Fifo } from '../../src/core/fifo.ts';
import { Prng } from '../../src/testing/prng.ts';

t.test('like an array, whatever the order of pushes and shifts', async (t) => {
  const seed = 4711;
  const prng = new Prng(seed);
  const fifo = new Fifo<number>();
  const model: number[] = [];
  for (let n = 0; n < 20_000; n++) {
    // Long runs of either, so that it grows, wraps and is given back.
    if ((n >> 12) % 2 === 0 ? prng.chance(0.7) : prng.chance(0.2)) {
      fifo.push(n);
      model.push(n);
    } else if (fifo.first !== model[0] || fifo.shift() !== model.shift()) t.fail(`seed ${seed}, step ${n}`);
    if (fifo.size !== model.length) t.fail(`seed ${seed}, step ${n}: ${fifo.size}`);
    if (n % 1000 === 0) t.same(fifo.toArray(), model);
  }
  while (model.length > 0) if (fifo.shift() !== model.shift()) t.fail(`seed ${seed}, at the end`);
  t.same([fifo.size, fifo.first, fifo.shift()], [0, undefined, undefined]);
});

t.test('what was taken is not held on to', async (t) => {
  const fifo = new Fifo<object>();
  fifo.push({});
  fifo.shift();
  fifo.push({ next: true });
  t.same(fifo.first, { next: true });
});
