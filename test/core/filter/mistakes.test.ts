import t from 'tap';
import { CoreError } from '../../../src/core/errors.ts';
import { compileFilter } from '../../../src/core/filter/filter.ts';
import { limitsWith } from '../../../src/core/limits.ts';
import { Prng } from '../../../src/testing/prng.ts';

const LIMITS = limitsWith();

t.test('a bad filter is refused with its column and the reason', async (t) => {
  const cases: [text: string, column: number, reason: RegExp][] = [
    ['a =', 4, /expected a value, found the end/],
    ['a = = 1', 5, /expected a value, found =/],
    ['a = 1 b', 7, /expected AND, OR or the end, found b/],
    ['(a = 1', 7, /expected \), found the end/],
    ['a = 1)', 6, /expected AND, OR or the end, found \)/],
    ['()', 2, /expected a value, found \)/],
    ["a = 'x", 5, /a text has no closing '/],
    ["a = 'x''", 5, /a text has no closing '/],
    ['"a = 1', 1, /a quoted name has no closing "/],
    ['"" = 1', 1, /a quoted name is empty/],
    ['a = 1 /* and', 7, /comment does not end/],
    ['a ? 1', 3, /"\?" means nothing here/],
    ["😀 = 'x'", 1, /"😀" means nothing here/],
    ["a = '😀' AND ?", 13, /means nothing here/],
    ['a\n= ?', 5, /means nothing here/],
    ['a = 1b', 5, /this number runs into what follows/],
    ['a = 0x', 5, /this number runs into what follows/],
    ['a = 1.2.3', 5, /runs into/],
    ['a = 010', 5, /starts with 0/],
    ['a = 1.5L', 5, /only a whole number/],
    ['a = 1e999', 5, /too large/],
    ['a = 18446744073709551616', 5, /at most 64 bits/],
    ['a = NULL', 5, /ask with IS NULL/],
    ['1 IS NULL', 3, /asks about a name/],
    ['a IS 1', 6, /expected NULL or NOT NULL, found 1/],
    ['a IS NOT 1', 10, /expected NULL, found 1/],
    ['a NOT = 1', 7, /expected BETWEEN, IN, LIKE/],
    ['a BETWEEN 1 OR 2', 13, /expected AND, the other bound/],
    ["a BETWEEN 'x' AND 2", 11, /expected a number for BETWEEN, not a text/],
    ['a IN 1', 6, /expected \(, found 1/],
    ['a IN ()', 7, /expected a text or a number/],
    ["a IN ('x', 1)", 12, /not both; expected a text/],
    ["a IN (1, -'x')", 11, /expected a number, found 'x'/],
    ['a IN (b)', 7, /expected a text or a number, found b/],
    ["1 IN ('x')", 1, /expected a text for this list, not a number/],
    ['a LIKE b', 8, /expected a text in '...', found b/],
    ["a LIKE 'x' ESCAPE ''", 8, /ESCAPE takes one character/],
    ["a LIKE 'x!' ESCAPE '!'", 8, /ends with its escape character/],
    ["a LIKE 'x!y' ESCAPE '!'", 8, /! is followed by y/],
    ["1 LIKE 'x'", 1, /expected a text, not a number/],
    ["a > 'x'", 5, /expected a number for >, not a text/],
    ['TRUE < a', 1, /expected a number for <, not a condition/],
    ["a + 'x' = 1", 5, /expected a number, not a text/],
    ["-'x' = 1", 2, /expected a number, not a text/],
    ['NOT 1', 5, /expected a condition, not a number/],
    ['a = 1 AND 2', 11, /expected a condition, not a number/],
    ['1 + 2', 3, /expected a condition, not a number/],
    ["'x'", 1, /expected a condition, not a text/],
    ['1 < a < 3', 7, /comparisons do not chain/],
    ['a = NOT b', 5, /NOT needs parentheses/],
    ['a. = 1', 2, /means nothing here/],
  ];
  for (const [text, column, reason] of cases) {
    t.throws(() => compileFilter(text, LIMITS), { code: 'invalid-argument', message: reason }, text);
    t.throws(() => compileFilter(text, LIMITS), { message: new RegExp(`filter, column ${column}: `) }, text);
  }
});

t.test('limits: at the limit it works, beyond it is refused, by name', async (t) => {
  const refused = (text: string, limit: string, changes = {}) =>
    t.throws(() => compileFilter(text, limitsWith(changes)), { code: 'limit-exceeded', message: new RegExp(limit) });
  const { filterBytesMax, filterDepthMax, filterPatternCharsMax } = LIMITS;

  const long = (bytes: number) => `a = '${'x'.repeat(bytes - 6)}'`;
  t.ok(compileFilter(long(filterBytesMax), LIMITS));
  refused(long(filterBytesMax + 1), 'filterBytesMax');
  refused(`a = '${'é'.repeat(filterBytesMax / 2)}'`, 'filterBytesMax');
  refused(' '.repeat(100_000_000), 'filterBytesMax');

  const nested = (depth: number) => `${'('.repeat(depth - 1)}a${')'.repeat(depth - 1)}`;
  t.ok(compileFilter(nested(filterDepthMax), LIMITS));
  refused(nested(filterDepthMax + 1), 'filterDepthMax');
  refused('('.repeat(filterBytesMax), 'filterDepthMax');
  refused(`${'NOT '.repeat(1000)}a`, 'filterDepthMax');
  refused(`a = ${'- '.repeat(1000)}1`, 'filterDepthMax');
  const sum = (terms: number) => `a = ${Array.from({ length: terms }, () => '1').join(' + ')}`;
  t.ok(compileFilter(sum(filterDepthMax - 1), LIMITS));
  refused(sum(filterDepthMax), 'filterDepthMax');

  const list = (values: number) => `a IN (${Array.from({ length: values }, (_, i) => i).join(',')})`;
  t.ok(compileFilter(list(998), LIMITS), 'with the name and the operator 1000');
  refused(list(999), 'filterNodesMax');
  t.ok(compileFilter(Array.from({ length: 333 }, () => 'a=1').join(' OR '), LIMITS), 'a long run is not deep');

  const pattern = (length: number) => `a LIKE '${'%'.repeat(length)}'`;
  t.ok(compileFilter(pattern(filterPatternCharsMax), LIMITS));
  refused(pattern(filterPatternCharsMax + 1), 'filterPatternCharsMax');
  refused('a = 1', 'filterNodesMax = 2', { filterNodesMax: 2 });
});

t.test('any text is taken or refused with an error of the table, at a column of the text', async (t) => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32));
  t.comment(`SEED=${seed}`);
  const random = new Prng(seed);
  const parts = [
    'a',
    'b',
    ' ',
    ' ',
    '1',
    '0',
    '.5',
    'e',
    "'",
    '"',
    '(',
    ')',
    '=',
    '<',
    '>',
    '!',
    '-',
    '+',
    '*',
    '/',
    '%',
    ',',
  ];
  parts.push(
    ' AND ',
    ' OR ',
    ' NOT ',
    ' IN ',
    ' LIKE ',
    ' ESCAPE ',
    ' IS ',
    ' NULL',
    ' BETWEEN ',
    'TRUE',
    '😀',
    '\n',
    '\u0000',
  );
  let taken = 0;
  for (let i = 0; i < 20_000; i++) {
    const text = Array.from({ length: random.between(1, 12) }, () => random.pick(parts)).join('');
    try {
      compileFilter(text, LIMITS).matches({ value: () => 1 });
      taken += 1;
    } catch (error) {
      const column = Number(/column (\d+): ./.exec(String(error))?.[1]);
      const good = error instanceof CoreError && error.code === 'invalid-argument' && column <= [...text].length + 1;
      if (!good) t.fail(`${JSON.stringify(text)}: ${error}`);
    }
  }
  t.ok(taken > 100, `${taken} were taken`);
});
