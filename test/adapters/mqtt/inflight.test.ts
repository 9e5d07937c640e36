import t from 'tap';
import { IntegerQueue, SentIds } from '../../../src/adapters/mqtt/inflight.ts';
import { Prng } from '../../../src/testing/prng.ts';

t.test('packet ids are never 0 and never used twice at a time, up to 65,535', async (t) => {
  const ids = new SentIds();
  const used = new Set<number>();
  for (let delivery = 1; delivery <= 65_535; delivery++) used.add(ids.take(delivery));
  t.equal(used.size, 65_535);
  t.notOk(used.has(0));
  t.equal(Math.max(...used), 65_535);
  t.equal(ids.release(7), 7);
  t.equal(ids.take(70_000), 7, 'the only free one');
});

t.test('random takes and releases against a plain map', async (t) => {
  const random = new Prng(1);
  const ids = new SentIds();
  const model = new Map<number, number>();
  for (let delivery = 1; delivery < 20_000; delivery++) {
    if (random.chance(0.55)) {
      const id = ids.take(delivery);
      if (model.has(id)) t.fail(`id ${id} was in use`);
      model.set(id, delivery);
    } else {
      const id = random.below(80);
      if (ids.release(id) !== (model.get(id) ?? 0)) t.fail(`release of ${id}`);
      model.delete(id);
    }
  }
  t.equal(ids.count, model.size);
  const inOrder = [...model].sort((a, b) => a[1] - b[1]).map(([id]) => id);
  t.strictSame([...ids.inOrder()], inOrder);
});

t.test('an id can be taken again under its old number', async (t) => {
  const ids = new SentIds();
  t.ok(ids.takeThis(40_000, 1));
  t.notOk(ids.takeThis(40_000, 2));
  t.equal(ids.release(40_000), 1);
  t.equal(ids.release(40_000), 0);
  t.equal(ids.release(65_535), 0);
});

t.test('the integer queue is first in, first out over any growth', async (t) => {
  const random = new Prng(2);
  const queue = new IntegerQueue();
  const model: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    const action = random.below(10);
    if (action < 5) {
      queue.push(i);
      model.push(i);
    } else if (action < 6 && model.length > 0) {
      queue.pop();
      model.pop();
    } else if (model.length > 0) {
      if (queue.shift() !== model.shift()) t.fail(`at ${i}`);
    }
  }
  t.equal(queue.size, model.length);
});
