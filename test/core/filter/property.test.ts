import t from 'tap';
import { compileFilter } from '../../../src/core/filter/filter.ts';
import { compileLike } from '../../../src/core/filter/like.ts';
import { parseFilter } from '../../../src/core/filter/parser.ts';
import { limitsWith } from '../../../src/core/limits.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { bare, CountingSource, interpret, likeSlowly, print, randomNode, randomValues } from './support.ts';

const LIMITS = limitsWith();
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32));

t.test('random filters: printed and parsed again they are the same, and decide as the plain interpreter', async (t) => {
  t.comment(`SEED=${seed}`);
  const random = new Prng(seed);
  const seen = { true: 0, false: 0, undefined: 0 };
  for (let i = 0; i < 6_000; i++) {
    const node = randomNode(random, random.between(1, 4));
    const text = print(node);
    if (text.length > 4000) continue;
    const parsed = parseFilter(text, LIMITS)!;
    if (JSON.stringify(bare(parsed)) !== JSON.stringify(bare(node))) {
      t.same(bare(parsed), bare(node), text);
      break;
    }
    const filter = compileFilter(text, LIMITS);
    const opposite = compileFilter(`NOT (${text})`, LIMITS);
    for (let message = 0; message < 5; message++) {
      const values = randomValues(random);
      const result = interpret(node, values);
      const expected = typeof result === 'boolean' ? result : undefined;
      seen[`${expected}`] += 1;
      const source = new CountingSource(values);
      const found = filter.matches(source);
      const foundOpposite = opposite.matches(new CountingSource(values));
      if (found !== (expected === true) || foundOpposite !== (expected === false)) {
        t.fail(`${text} of ${JSON.stringify(bare(values as never))}: ${found}, not ${expected}`);
        return;
      }
      if ([...source.asked.values()].some((times) => times > 1)) {
        t.fail(`${text} asks twice`);
        return;
      }
    }
  }
  for (const [truth, times] of Object.entries(seen)) t.ok(times > 1000, `${truth}: ${times} times`);
});

t.test('random LIKE patterns decide as the definition does', async (t) => {
  t.comment(`SEED=${seed}`);
  const random = new Prng(seed);
  const letters = ['a', 'b', '😀', '\ud83d'];
  const marks = ['%', '_', 'a', 'b', '😀'];
  let matched = 0;
  for (let i = 0; i < 30_000; i++) {
    const pattern = Array.from({ length: random.below(9) }, () => random.pick(marks)).join('');
    const text = Array.from({ length: random.below(12) }, () => random.pick(letters)).join('');
    const expected = likeSlowly([...text], [...pattern], undefined);
    if (expected) matched += 1;
    if (compileLike(pattern, undefined)(text) !== expected) {
      t.fail(`${JSON.stringify(text)} LIKE ${JSON.stringify(pattern)}: should be ${expected}`);
      return;
    }
  }
  t.ok(matched > 1000, `${matched} matched`);
});

t.test('pieces with _ of more than 32 characters are found, wherever they are', async (t) => {
  for (const length of [31, 32, 33, 63, 64, 65, 200]) {
    const piece = `x${'_'.repeat(length - 2)}y`;
    const like = compileLike(`%${piece}%end`, undefined);
    for (const before of [0, 1, 31, 32, 100]) {
      const inside = `x${'z'.repeat(length - 2)}y`;
      t.equal(like(`${'x'.repeat(before)}${inside}-end`), true, `${length} at ${before}`);
      t.equal(like(`${'-'.repeat(before)}${inside.slice(1)}-end`), false, `${length} at ${before}, cut`);
    }
  }
});

t.test('hostile patterns on long texts end: no backtracking', async (t) => {
  const text = 'a'.repeat(1_000_000);
  for (const pattern of [
    `${'%'.repeat(255)}b`,
    `${'%a'.repeat(127)}%b`,
    `%${'_a'.repeat(126)}b%`,
    `%${'a_'.repeat(60)}%${'_a'.repeat(60)}b%`,
    `%${'a'.repeat(200)}b%`,
  ]) {
    t.equal(compileLike(pattern, undefined)(text), false, pattern.slice(0, 20));
  }
});
