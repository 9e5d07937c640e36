import t from 'tap';
import { parsePattern } from '../../../src/core/exchange/pattern.ts';
import { TopicExchange } from '../../../src/core/exchange/topic.ts';
import { type Pattern, RoutingKey } from '../../../src/core/message.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { naiveMatches, randomKey, randomPattern } from './naive.ts';

interface TestBinding {
  pattern: Pattern;
  arguments: Record<string, never>;
}

function binding(pattern: Pattern): TestBinding {
  return { pattern, arguments: {} };
}

function found(exchange: TopicExchange<TestBinding>, key: RoutingKey): string[] {
  const out: TestBinding[] = [];
  exchange.match(key, undefined, out);
  return out.map((one) => one.pattern.text).sort();
}

t.test('matches what the definition matches, each binding once, while bindings come and go', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Prng(seed);
    const exchange = new TopicExchange<TestBinding>();
    const present = new Set<TestBinding>();
    for (let step = 0; step < 150; step++) {
      if (present.size > 0 && random.chance(0.3)) {
        const gone = random.pick([...present]);
        present.delete(gone);
        if (!exchange.remove(gone)) t.fail(`seed ${seed}: ${gone.pattern.text} was in the index`);
      } else {
        const added = binding(randomPattern(random));
        present.add(added);
        exchange.add(added);
      }
      const key = randomKey(random);
      const out: TestBinding[] = [];
      exchange.match(key, undefined, out);
      const expected = [...present].filter((one) => naiveMatches(one.pattern, key.levels));
      if (out.length !== expected.length || !expected.every((one) => out.includes(one))) {
        const texts = (list: TestBinding[]) => list.map((one) => one.pattern.text).join(' , ');
        t.fail(`seed ${seed}, step ${step}: key '${key.text}' found [${texts(out)}], expected [${texts(expected)}]`);
        return;
      }
    }
    t.equal(exchange.size, present.size, `seed ${seed}`);
    t.same(new Set(exchange.all()), present);
    for (const one of present) exchange.remove(one);
    t.equal(exchange.size, 0);
    t.same(exchange.all(), []);
  }
});

t.test('levels are what counts, not the separator', async (t) => {
  const exchange = new TopicExchange<TestBinding>();
  for (const text of ['sensors.*.temp', 'sensors.#', '#']) exchange.add(binding(parsePattern(text, 0x2e, '*', '#')));
  for (const text of ['sensors/+/temp', '1.5/#']) exchange.add(binding(parsePattern(text, 0x2f, '+', '#')));
  t.same(found(exchange, new RoutingKey('sensors/kitchen/temp', 0x2f)), [
    '#',
    'sensors.#',
    'sensors.*.temp',
    'sensors/+/temp',
  ]);
  t.same(found(exchange, new RoutingKey('sensors.kitchen.temp', 0x2e)), [
    '#',
    'sensors.#',
    'sensors.*.temp',
    'sensors/+/temp',
  ]);
  t.same(found(exchange, new RoutingKey('1.5/volt', 0x2f)), ['#', '1.5/#'], 'a dot in a level is no separator');
  t.same(found(exchange, new RoutingKey('1.5.volt', 0x2e)), ['#']);
});

t.test('# takes no level at all, and the empty key', async (t) => {
  const exchange = new TopicExchange<TestBinding>();
  for (const text of ['#', 'a.#', 'a.#.b', '*', '']) exchange.add(binding(parsePattern(text, 0x2e, '*', '#')));
  t.same(found(exchange, new RoutingKey('', 0x2e)), ['', '#']);
  t.same(found(exchange, new RoutingKey('a', 0x2e)), ['#', '*', 'a.#']);
  t.same(found(exchange, new RoutingKey('a.b', 0x2e)), ['#', 'a.#', 'a.#.b']);
  t.same(found(exchange, new RoutingKey('a.x.y.b', 0x2e)), ['#', 'a.#', 'a.#.b']);
});

t.test('a leading wildcard that hides $ does not see such keys; a literal one does [MQTT-4.7.2-1]', async (t) => {
  const exchange = new TopicExchange<TestBinding>();
  const options = { hidesDollar: true };
  for (const text of ['#', '+/x', '$SYS/#', '$SYS/+'])
    exchange.add(binding(parsePattern(text, 0x2f, '+', '#', options)));
  exchange.add(binding(parsePattern('*.x', 0x2e, '*', '#')));
  t.same(found(exchange, new RoutingKey('$SYS/x', 0x2f)), ['$SYS/#', '$SYS/+', '*.x']);
  t.same(found(exchange, new RoutingKey('a/$x', 0x2f)), ['#'], 'only the first level counts');
});

t.test('many # in one pattern cost no more than the levels times the nodes', async (t) => {
  // By backtracking this would take longer than the universe has: 40 choices at 20 places.
  const exchange = new TopicExchange<TestBinding>();
  const hard = Array.from({ length: 20 }, () => '#.a').join('.');
  exchange.add(binding(parsePattern(`${hard}.b`, 0x2e, '*', '#')));
  exchange.add(binding(parsePattern(hard, 0x2e, '*', '#')));
  t.same(found(exchange, new RoutingKey(Array(40).fill('a').join('.'), 0x2e)), [hard]);
});

t.test('many bindings of one pattern are found, and any of them can go', async (t) => {
  const exchange = new TopicExchange<TestBinding>();
  const all = Array.from({ length: 1000 }, () => binding(parsePattern('a.*', 0x2e, '*', '#')));
  for (const one of all) exchange.add(one);
  for (const one of all.slice(3)) t.ok(exchange.remove(one));
  const out: TestBinding[] = [];
  exchange.match(new RoutingKey('a.b', 0x2e), undefined, out);
  t.same(out, all.slice(0, 3));
  t.notOk(exchange.remove(all[5]!), 'it is gone already');
  t.notOk(exchange.remove(binding(parsePattern('z', 0x2e, '*', '#'))), 'it was never there');
});
