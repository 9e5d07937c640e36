import t from 'tap';
import { type Moment, Roster, type Rostered } from '../../src/core/roster.ts';
import { Prng } from '../../src/testing/prng.ts';

class Item implements Rostered<Item> {
  older: Item | undefined;
  newer: Item | undefined;
  readonly n: number;
  constructor(n: number) {
    this.n = n;
  }
}

const numbers = (items: Iterable<Item>): number[] => Array.from(items, (item) => item.n);

function finish(moment: Moment<Item>): void {
  for (const _ of moment.end());
}

t.test('a moment shows what was there, whatever happens while it is read', async (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const prng = new Prng(seed);
    const roster = new Roster<Item>();
    let model: Item[] = [];
    let last = 0;
    const change = (): void => {
      for (let count = prng.below(20); count > 0; count--) {
        if (model.length === 0 || prng.chance(0.5)) {
          const item = new Item(++last);
          roster.add(item);
          model.push(item);
        } else {
          const item = prng.pick(model);
          roster.remove(item);
          model = model.filter((other) => other !== item);
        }
      }
    };
    for (let round = 0; round < 10; round++) {
      change();
      const expected = numbers(model);
      const moment = roster.moment();
      const read: number[] = [];
      for (const item of moment) {
        read.push(item.n);
        if (prng.chance(0.3)) change();
        if (prng.chance(0.02)) break;
      }
      t.same(read, expected.slice(0, read.length), `seed ${seed}`);
      t.same(numbers(roster), numbers(model), `seed ${seed}: and others see what is there now`);
      finish(moment);
      t.same(numbers(roster), numbers(model), `seed ${seed}`);
    }
  }
});

t.test('what is gone holds nothing, and there is one moment at a time', async (t) => {
  const roster = new Roster<Item>();
  const items = [1, 2, 3].map((n) => new Item(n));
  for (const item of items) roster.add(item);
  const moment = roster.moment();
  t.throws(() => roster.moment(), { code: 'ERR_ASSERTION' });
  roster.remove(items[1] as Item);
  roster.remove(items[2] as Item);
  roster.add(new Item(4));
  t.same(numbers(moment), [1, 2, 3]);
  finish(moment);
  t.same([items[1]?.older, items[1]?.newer, items[2]?.older], [undefined, undefined, undefined]);
  t.same(numbers(roster.moment()), [1, 4]);
});

t.test('much that is gone is tidied up in steps', async (t) => {
  const roster = new Roster<Item>();
  const items = Array.from({ length: 2000 }, (_, n) => new Item(n));
  for (const item of items) roster.add(item);
  const moment = roster.moment();
  for (const item of items) roster.remove(item);
  const late = new Item(-1);
  let steps = 0;
  for (const _ of moment.end()) {
    if (steps++ === 0) roster.add(late);
    if (steps === 2) roster.remove(late);
    t.same(numbers(roster), steps < 2 ? [-1] : []);
  }
  t.equal(steps, 7);
  t.same(numbers(roster.moment()), []);
});
