import t from 'tap';
import { parsePattern } from '../../../src/core/exchange/pattern.ts';
import { RetainedIndex } from '../../../src/core/exchange/retained.ts';
import { RoutingKey } from '../../../src/core/message.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { naiveMatches, randomKey, randomPattern } from './naive.ts';

t.test('finds what the definition finds, oldest first, while values come and go', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Prng(seed);
    const index = new RetainedIndex<number>(1000);
    // Insertion order of a Map is the order of arrival when a key is taken out before it is set.
    const model = new Map<string, { key: RoutingKey; value: number }>();
    for (let step = 0; step < 150; step++) {
      const key = randomKey(random);
      const id = JSON.stringify(key.levels);
      const before = model.get(id)?.value;
      model.delete(id);
      const gone = random.chance(0.25);
      if (!gone) model.set(id, { key, value: step });
      const answer = gone ? index.delete(key) : index.set(key, step);
      if (answer !== before) t.fail(`seed ${seed}, step ${step}: ${id} had ${before}, answered ${answer}`);
      const pattern = randomPattern(random);
      const found = index.match(pattern).map((entry) => entry.value);
      const expected = [...model.values()]
        .filter((one) => naiveMatches(pattern, one.key.levels))
        .map((one) => one.value);
      if (found.join() !== expected.join()) {
        t.fail(`seed ${seed}, step ${step}: '${pattern.text}' found [${found}], expected [${expected}]`);
        return;
      }
    }
    t.equal(index.size, model.size, `seed ${seed}`);
    t.same(
      index.all().map((entry) => entry.value),
      [...model.values()].map((one) => one.value),
    );
  }
});

t.test('few of many are in order too, and a match does not disturb the next', async (t) => {
  const index = new RetainedIndex<number>(100_000);
  for (let i = 0; i < 10_000; i++) index.set(new RoutingKey(`site/${i % 100}/${i}`, 0x2f), i);
  for (let i = 0; i < 100; i++) index.set(new RoutingKey(`site/7/${7 + 100 * (99 - i)}`, 0x2f), -i);
  const few = parsePattern('site/7/+', 0x2f, '+', '#');
  t.same(
    index.match(few).map((entry) => -entry.value),
    Array.from({ length: 100 }, (_, i) => i),
  );
  const all = index.match(parsePattern('#', 0x2f, '+', '#'));
  t.equal(all.length, 10_000);
  t.same(all, index.all());
  t.equal(index.match(few).length, 100);
});

t.test('the limit refuses new keys, not new values of known ones', async (t) => {
  const index = new RetainedIndex<string>(2);
  index.set(new RoutingKey('a/b', 0x2f), 'one');
  index.set(new RoutingKey('c', 0x2f), 'two');
  t.throws(() => index.set(new RoutingKey('d', 0x2f), 'three'), { code: 'limit-exceeded' });
  t.throws(() => index.set(new RoutingKey('a', 0x2f), 'three'), { code: 'limit-exceeded' }, 'a node without a value');
  t.equal(index.set(new RoutingKey('a.b', 0x2e), 'four'), 'one', 'the same levels are the same key');
  t.equal(index.get(new RoutingKey('a/b', 0x2f)), 'four');
  t.equal(index.get(new RoutingKey('d', 0x2f)), undefined);
  t.equal(index.size, 2);
  index.delete(new RoutingKey('c', 0x2f));
  index.set(new RoutingKey('d', 0x2f), 'five');
  t.same(
    index.all().map((entry) => [entry.key.text, entry.value]),
    [
      ['a.b', 'four'],
      ['d', 'five'],
    ],
  );
  index.clear();
  t.equal(index.size, 0);
  t.same(index.all(), []);
  t.same(index.match(parsePattern('#', 0x2f, '+', '#')), []);
});

t.test('# finds everything but what it must not see [MQTT-4.7.2-1]', async (t) => {
  const index = new RetainedIndex<number>(10);
  for (const [i, text] of ['$SYS/x', 'a', '', 'b/$c', '$x'].entries()) index.set(new RoutingKey(text, 0x2f), i);
  const values = (text: string, hidesDollar: boolean) =>
    index.match(parsePattern(text, 0x2f, '+', '#', { hidesDollar })).map((entry) => entry.value);
  t.same(values('#', false), [0, 1, 2, 3, 4]);
  t.same(values('#', true), [1, 2, 3]);
  t.same(values('+/#', true), [1, 3]);
  t.same(values('$SYS/#', true), [0]);
});
