import t from 'tap';
import { limitsWith } from '../../../src/core/index.ts';
import { NamePattern } from '../../../src/core/policy/pattern.ts';
import { Prng } from '../../../src/testing/prng.ts';

const limits = limitsWith();
const matches = (pattern: string, name: string): boolean => new NamePattern(pattern, limits).matches(name);

t.test('a pattern is searched for in the name, as usual', (t) => {
  for (const [pattern, name, expected] of [
    ['', 'orders', true],
    ['.*', 'orders', true],
    ['rder', 'orders', true],
    ['^rder', 'orders', false],
    ['^orders$', 'orders', true],
    ['^orders$', 'orders.eu', false],
    ['^orders\\.(eu|us)\\.', 'orders.us.1', true],
    ['^orders\\.(?:eu|us)\\.', 'orders.de.1', false],
    ['^[a-z]{2,3}-\\d+$', 'abc-12', true],
    ['^[a-z]{2,3}-\\d+$', 'abcd-12', false],
    ['^[^.]+$', 'a.b', false],
    ['^\\w+?$', 'a_1', true],
    ['[\\d.]$', 'a.', true],
    ['^.$', '\u{1f600}', true],
    ['^a|b$', 'xb', true],
    ['$^', '', true],
    ['()*x(|y){2}z', 'xyz', true],
  ] as const) {
    t.equal(matches(pattern, name), expected, `/${pattern}/ in '${name}'`);
  }
  t.end();
});

t.test('what cannot be matched in linear time, and what is no pattern, is refused with its column', (t) => {
  for (const [pattern, reason] of [
    ['(a', /column 3: "\)" is missing/],
    ['a)', /column 2: "\)" closes nothing/],
    ['[a', /"\]" is missing/],
    ['a]', /"\]" closes nothing/],
    ['*a', /column 1: nothing to repeat/],
    ['a**', /nothing to repeat/],
    ['^*', /nothing to repeat/],
    ['a{2,1}', /a repetition is/],
    ['a{99999}', /a repetition is/],
    ['[z-a]', /a range goes/],
    ['(?=a)', /only "\(\?:" is supported/],
    ['(a)\\1', /"\\1" is not supported/],
    ['\\bx', /"\\b" is not supported/],
    ['\\', /nothing follows/],
    ['('.repeat(100), /more than 64 parentheses/],
  ] as const) {
    t.throws(() => matches(pattern, ''), { code: 'invalid-argument', message: reason }, pattern);
  }
  t.throws(() => matches('x'.repeat(1025), ''), { code: 'limit-exceeded', message: /1025 bytes; 1024/ });
  t.throws(() => matches('((a{99}){99}){99}', ''), { code: 'limit-exceeded', message: /2000 steps/ });
  t.notOk(matches('((((){9999}){9999}){9999}){9999}a', ''), 'repeating nothing costs nothing');
  t.end();
});

t.test('what makes other engines wait for ever', (t) => {
  t.notOk(matches('^(a+)+$', `${'a'.repeat(254)}b`));
  t.notOk(matches('^(a|a|aa)*c', 'a'.repeat(255)));
  t.notOk(matches('(x+x+)+y', 'x'.repeat(255)));
  t.ok(matches('(a?){99}(a){99}', 'a'.repeat(99)));
  t.end();
});

/** A random pattern over a small alphabet. */
function randomPattern(prng: Prng, depth: number): string {
  const items = Array.from({ length: prng.below(4) }, () => {
    const what = prng.below(depth > 0 ? 9 : 6);
    const item = ['a', 'b', '.', '[ab]', '[^a]', '\\.', '^', '$'][what] ?? `(${randomPattern(prng, depth - 1)})`;
    return item + (item === '^' || item === '$' ? '' : prng.pick(['', '', '', '*', '+', '?', '{2}', '{0,2}', '{1,}']));
  });
  return depth > 0 && prng.chance(0.3) ? `${items.join('')}|${randomPattern(prng, depth - 1)}` : items.join('');
}

t.test('matches what the language itself matches', (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  const prng = new Prng(seed);
  for (let n = 0; n < 5000; n++) {
    const pattern = randomPattern(prng, 3);
    const name = Array.from({ length: prng.below(7) }, () => prng.pick(['a', 'b', '.'])).join('');
    const expected = new RegExp(pattern, 'u').test(name);
    if (matches(pattern, name) !== expected) t.fail(`seed ${seed}: /${pattern}/ in '${name}' is ${expected}`);
  }
  t.pass(`seed ${seed}`);
  t.end();
});
