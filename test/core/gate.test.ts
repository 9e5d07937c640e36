import t from 'tap';
import { Gate } from '../../src/core/gate.ts';

t.test('at most so many tasks run at once, the others in the order they came', async (t) => {
  const gate = new Gate(2);
  const started: number[] = [];
  const ends: (() => void)[] = [];
  const run = (n: number): Promise<void> =>
    gate.run(() => {
      started.push(n);
      return new Promise((resolve) => {
        ends[n] = resolve;
      });
    });
  const tasks = [0, 1, 2, 3].map(run);
  t.same([started, gate.waiting], [[0, 1], 2]);
  ends[1]!();
  // Whoever comes now does not slip in before those that wait.
  tasks.push(run(4));
  await tasks[1];
  t.same([started, gate.waiting], [[0, 1, 2], 2]);
  for (const n of [0, 2, 3, 4]) {
    ends[n]!();
    await tasks[n];
  }
  t.same([started, gate.waiting], [[0, 1, 2, 3, 4], 0]);
});

t.test('a task that fails gives its place to the next', async (t) => {
  const gate = new Gate(1);
  const failed = gate.run(() => Promise.reject(new Error('no')));
  const next = gate.run(async () => 'yes');
  await t.rejects(failed, { message: 'no' });
  t.equal(await next, 'yes');
  t.equal(await gate.run(async () => 'again'), 'again');
});
