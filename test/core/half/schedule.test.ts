import t from 'tap';
import { Schedule, type Scheduled } from '../../../src/core/half/schedule.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';

interface Item extends Scheduled {
  readonly name: number;
}

const item = (name: number): Item => ({ name, dueMs: 0, heapAt: -1 });

t.test('everything is called once, at its time, whatever was set and taken out', async (t) => {
  const seed = 99;
  const prng = new Prng(seed);
  const clock = new SimClock();
  const called: string[] = [];
  const schedule = new Schedule<Item>(clock, (one) => called.push(`${Math.round(clock.monotonic())} ${one.name}`));
  const items = Array.from({ length: 50 }, (_, name) => item(name));
  /** When each is due; those of one millisecond come in any order. */
  const model = new Map<number, number>();
  const expected: string[] = [];
  for (let step = 0; step < 3000; step++) {
    const one = prng.pick(items);
    const what = prng.weighted({ set: 5, delete: 2, advance: 3 });
    if (what === 'set') {
      const delayMs = prng.between(0, 100);
      schedule.set(one, delayMs);
      model.set(one.name, clock.monotonic() + delayMs);
    } else if (what === 'delete') {
      schedule.delete(one);
      model.delete(one.name);
    } else {
      const until = clock.monotonic() + prng.between(1, 20);
      await clock.advance(until - clock.monotonic());
      for (const [name, dueMs] of model) {
        if (dueMs > until) continue;
        expected.push(`${dueMs} ${name}`);
        model.delete(name);
      }
    }
    if (schedule.size !== model.size) t.fail(`seed ${seed}, step ${step}: ${schedule.size} are in it`);
  }
  t.same(called.toSorted(), expected.toSorted(), `seed ${seed}`);
  const times = called.map((line) => Number(line.split(' ')[0]));
  t.same(
    times,
    times.toSorted((a, b) => a - b),
  );
  t.ok(called.length > 500);
});

t.test('a time far away fits into a timer, and a stopped one calls nobody', async (t) => {
  const clock = new SimClock();
  const called: number[] = [];
  const schedule = new Schedule<Item>(clock, ({ name }) => called.push(name));
  const year = 365 * 24 * 3_600_000;
  schedule.set(item(1), year);
  await clock.advance(year - 1);
  t.same(called, []);
  await clock.advance(2);
  t.same(called, [1]);
  schedule.set(item(2), 10);
  schedule.stop();
  schedule.set(item(3), 5);
  await clock.advance(100);
  t.same(called, [1]);
});
