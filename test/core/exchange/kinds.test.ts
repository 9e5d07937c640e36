import t from 'tap';
import type { Arguments, ExchangeKindName } from '../../../src/core/door.ts';
import { type Bound, createKind, type ExchangeKind } from '../../../src/core/exchange/exchange.ts';
import { sameValue } from '../../../src/core/exchange/headers.ts';
import { parsePattern } from '../../../src/core/exchange/pattern.ts';
import { type HubProperties, type HubValue, RoutingKey } from '../../../src/core/message.ts';

function bound(text: string, args: Arguments = {}, separator = 0x2e): Bound {
  return { pattern: parsePattern(text, separator, '*', '#'), arguments: args };
}

function match(kind: ExchangeKind<Bound>, key: RoutingKey, hub?: Partial<HubProperties>): Bound[] {
  const out: Bound[] = [];
  const full = { durable: false, annotations: new Map(), application: [], ...hub };
  kind.match(key, () => full, out);
  return out;
}

t.test('every kind adds, finds, lists and removes', async (t) => {
  for (const name of ['direct', 'fanout', 'topic', 'headers'] as ExchangeKindName[]) {
    const kind = createKind<Bound>(name);
    const key = new RoutingKey('a.b', 0x2e);
    const all = Array.from({ length: 40 }, () => bound('a.b'));
    for (const one of all) kind.add(one);
    t.equal(kind.size, 40, name);
    t.same(new Set(match(kind, key)), new Set(all));
    for (const one of all.slice(1)) t.equal(kind.remove(one), true);
    t.equal(kind.remove(all[7]!), false, 'it is gone');
    t.equal(kind.remove(bound('zz')), false, 'it never was there');
    t.same(match(kind, key), [all[0]]);
    t.same(kind.all(), [all[0]]);
    t.equal(kind.remove(all[0]!), true);
    t.equal(kind.size, 0);
    t.same(match(kind, key), []);
  }
});

t.test('direct: the same levels, whatever separates them; wildcards are text', async (t) => {
  const kind = createKind<Bound>('direct');
  const dotted = bound('a.b');
  const slashed = bound('a/b', {}, 0x2f);
  const star = bound('a.*');
  const empty = bound('');
  for (const one of [dotted, slashed, star, empty]) kind.add(one);
  t.same(match(kind, new RoutingKey('a/b', 0x2f)), [dotted, slashed]);
  t.same(match(kind, new RoutingKey('a.b', 0x2e)), [dotted, slashed]);
  t.same(match(kind, new RoutingKey('a.b', 0x2f)), [], 'one level with a dot in it');
  t.same(match(kind, new RoutingKey('a.*', 0x2e)), [star]);
  t.same(match(kind, new RoutingKey('', 0x2e)), [empty]);
});

t.test('headers: the matrix of x-match, presence and x- names', async (t) => {
  const given: [string, HubValue][] = [
    ['colour', 'red'],
    ['size', 3],
    ['size', 4],
  ];
  const hub = { application: given, annotations: new Map<string, HubValue>([['x-trace', 'on']]) };
  const cases: [Arguments, boolean, string][] = [
    [{}, true, 'nothing asked: all of it is there'],
    [{ 'x-match': 'any' }, false, 'nothing asked: none of it is there'],
    [{ colour: 'red' }, true, 'all is the default'],
    [{ colour: 'red', size: 3 }, true, 'both'],
    [{ colour: 'red', size: 3n }, true, 'integers of any width'],
    [{ colour: 'red', size: 4 }, false, 'the first value of a name counts'],
    [{ colour: 'red', size: '3' }, false, 'text is no number'],
    [{ colour: 'blue' }, false, 'another value'],
    [{ colour: null }, true, 'null asks for presence'],
    [{ weight: null }, false, 'which it has not'],
    [{ 'x-match': 'any', colour: 'blue', size: 3 }, true, 'one of two'],
    [{ 'x-match': 'any', colour: 'blue', size: 5 }, false, 'none of two'],
    [{ 'x-match': 'any', weight: null, colour: null }, true, 'presence of one'],
    [{ colour: 'red', 'x-trace': 'off' }, true, 'all does not look at x- names'],
    [{ 'x-match': 'all-with-x', colour: 'red', 'x-trace': 'off' }, false, 'all-with-x does'],
    [{ 'x-match': 'all-with-x', colour: 'red', 'x-trace': 'on' }, true, 'and finds annotations'],
    [{ 'x-match': 'any', colour: 'blue', 'x-trace': 'on' }, false, 'any does not look at x- names'],
    [{ 'x-match': 'any-with-x', colour: 'blue', 'x-trace': 'on' }, true, 'any-with-x does'],
  ];
  for (const [args, expected, why] of cases) {
    const kind = createKind<Bound>('headers');
    const one = bound('ignored', args);
    kind.add(one);
    t.same(match(kind, new RoutingKey('k', 0x2e), hub), expected ? [one] : [], why);
  }
});

t.test('headers: a wrong x-match is refused and leaves nothing behind', async (t) => {
  const kind = createKind<Bound>('headers');
  for (const mode of ['most', 1, null, '']) {
    t.throws(() => kind.add(bound('', { 'x-match': mode })), { code: 'invalid-argument' }, String(mode));
  }
  t.equal(kind.size, 0);
  t.equal(kind.usesHeaders, false, 'an empty one needs no headers');
});

t.test('headers: without a source of headers only the bindings that ask nothing match', async (t) => {
  const kind = createKind<Bound>('headers');
  const free = bound('');
  kind.add(free);
  kind.add(bound('', { a: 1 }));
  const out: Bound[] = [];
  kind.match(new RoutingKey('k', 0x2e), undefined, out);
  t.same(out, [free]);
});

t.test('sameValue: type and content', async (t) => {
  const values: HubValue[] = [
    null,
    true,
    false,
    0,
    1,
    1.5,
    2n ** 60n,
    '',
    '1',
    'true',
    Buffer.from('1'),
    Buffer.alloc(0),
    new Date(1),
    new Date(2),
    [],
    [1],
    [1, 2],
    ['1'],
    {},
    { a: 1 },
    { a: '1' },
    { b: 1 },
    { a: { b: [1] } },
    { a: { b: [2] } },
  ];
  const copies: HubValue[] = [
    null,
    true,
    false,
    0,
    1n,
    1.5,
    2n ** 60n,
    '',
    '1',
    'true',
    Buffer.from('1'),
    Buffer.alloc(0),
    new Date(1),
    new Date(2),
    [],
    [1n],
    [1, 2n],
    ['1'],
    {},
    { a: 1n },
    { a: '1' },
    { b: 1 },
    { a: { b: [1] } },
    { a: { b: [2] } },
  ];
  for (const [i, a] of values.entries()) {
    for (const [j, b] of copies.entries()) {
      if (sameValue(a, b) !== (i === j) || sameValue(b, a) !== (i === j)) t.fail(`values ${i} and ${j}`);
    }
  }
  t.notOk(sameValue(2 ** 60, 2n ** 60n + 1n));
  t.ok(sameValue(2 ** 60, 2n ** 60n));
});
