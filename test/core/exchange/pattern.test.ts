import t from 'tap';
import type { Arguments } from '../../../src/core/door.ts';
import {
  bindingIdentity,
  canonicalKey,
  isLiteral,
  literalPattern,
  parseKey,
  parsePattern,
  patternMatches,
} from '../../../src/core/exchange/pattern.ts';
import { ANY_MANY, ANY_ONE, RoutingKey } from '../../../src/core/message.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { naiveMatches, randomKey, randomPattern } from './naive.ts';

const strict = { strict: true, hidesDollar: true };

t.test('wildcards become levels of their own kind', async (t) => {
  t.same(parsePattern('a/+/#', 0x2f, '+', '#', strict).levels, ['a', ANY_ONE, ANY_MANY]);
  t.same(parsePattern('a.*.#.b', 0x2e, '*', '#').levels, ['a', ANY_ONE, ANY_MANY, 'b']);
  t.same(parsePattern('a*.#b', 0x2e, '*', '#').levels, ['a*', '#b'], 'part of a level is literal');
  t.same(parsePattern('', 0x2e, '*', '#').levels, []);
  t.same(parsePattern('/', 0x2f, '+', '#').levels, ['', '']);
  t.equal(isLiteral(parsePattern('a.b', 0x2e, '*', '#')), true);
  t.equal(isLiteral(parsePattern('a.#', 0x2e, '*', '#')), false);
});

t.test('strict: misplaced wildcards are refused [MQTT-4.7.1-1] [MQTT-4.7.1-2]', async (t) => {
  for (const text of ['#/a', 'a#', 'a/#b', 'a+', '+a/b', 'a/b+c', '##', '++', '+#']) {
    t.throws(() => parsePattern(text, 0x2f, '+', '#', strict), { code: 'invalid-argument' }, text);
  }
  for (const text of ['#', '+', '+/+/#', '/#', '+//+', 'a/*']) {
    t.doesNotThrow(() => parsePattern(text, 0x2f, '+', '#', strict), text);
  }
});

t.test('limits of bytes and levels', async (t) => {
  const limits = { routingKeyBytesMax: 10, routingKeyLevelsMax: 3 };
  t.throws(() => parseKey('12345678901', 0x2e, limits), { code: 'limit-exceeded' });
  t.throws(() => parseKey('\u00e9'.repeat(6), 0x2e, limits), { code: 'limit-exceeded' }, 'bytes, not characters');
  t.throws(() => parsePattern('a.b.c.d', 0x2e, '*', '#', { limits }), { code: 'limit-exceeded' });
  t.same(parseKey('a.b.c', 0x2e, limits).levels, ['a', 'b', 'c']);
});

t.test('patternMatches is the definition', async (t) => {
  for (let seed = 1; seed <= 5000; seed++) {
    const random = new Prng(seed);
    const pattern = randomPattern(random);
    const key = randomKey(random);
    if (patternMatches(pattern, key.levels) !== naiveMatches(pattern, key.levels)) {
      t.fail(`seed ${seed}: '${pattern.text}' and '${key.text}'`);
    }
  }
  const key = new RoutingKey('a.*.c', 0x2e);
  t.ok(patternMatches(literalPattern(key), key.levels));
  t.notOk(patternMatches(literalPattern(key), ['a', 'b', 'c']), 'a literal * is no wildcard');
});

t.test('canonicalKey is one to one with lists of levels', async (t) => {
  t.equal(canonicalKey(new RoutingKey('a/b', 0x2f).levels), canonicalKey(new RoutingKey('a.b', 0x2e).levels));
  const lists = [
    [],
    ['a'],
    ['a.b'],
    ['a', 'b'],
    ['a\u0000b'],
    ['a', '', 'b'],
    ['a\u0000', 'b'],
    ['a\u0001b'],
    ['a\u0001', 'b'],
    ['', ''],
    ['', '', ''],
    ['\u0000'],
    ['\u0001'],
    ['\u0001a'],
    ['\u0001b'],
  ];
  t.equal(new Set(lists.map(canonicalKey)).size, lists.length);
});

t.test('bindings are the same when source, target, pattern as written and arguments are', async (t) => {
  const dot = parsePattern('a.b', 0x2e, '*', '#');
  const slash = parsePattern('a.b', 0x2f, '+', '#');
  const identity = (args: Arguments) => bindingIdentity('e', 'q', dot, args);
  t.equal(
    identity({ x: 1, y: [true, null] }),
    identity({ y: [true, null], x: 1n }),
    'order of names and width of integers',
  );
  const others = [
    bindingIdentity('e', 'q', slash, {}),
    bindingIdentity('eq', '', dot, {}),
    bindingIdentity('', 'eq', dot, {}),
    bindingIdentity('e', 'q', parsePattern('a', 0x2e, '*', '#'), {}),
    ...[
      {},
      { x: 1 },
      { x: '1' },
      { x: Buffer.from('1') },
      { x: new Date(1) },
      { x: true },
      { x: null },
      { x: [1] },
    ].map(identity),
    ...[{ x: { y: 1 } }, { x: [1, 1] }, { x: [[1], 1] }, { x: 'y1:1' }, { x: 1, y: 1 }].map(identity),
  ];
  t.equal(new Set(others).size, others.length);
});
