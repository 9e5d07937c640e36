/** What the indexes are compared with: matching by definition, and random keys and patterns that collide often. */
import { ANY_MANY, ANY_ONE, type Pattern, type PatternLevel, RoutingKey } from '../../../src/core/message.ts';
import type { Prng } from '../../../src/testing/prng.ts';

const SLASH = 0x2f;
const DOT = 0x2e;

/** Does the rest of a pattern match the rest of a key? Straight from the words of the standards, by backtracking. */
function restMatches(pattern: readonly PatternLevel[], levels: readonly string[]): boolean {
  const [wanted, ...patternRest] = pattern;
  if (wanted === undefined) return levels.length === 0;
  if (wanted === ANY_MANY) {
    for (let skip = 0; skip <= levels.length; skip++) if (restMatches(patternRest, levels.slice(skip))) return true;
    return false;
  }
  const [level, ...levelsRest] = levels;
  return level !== undefined && (wanted === ANY_ONE || wanted === level) && restMatches(patternRest, levelsRest);
}

export function naiveMatches(pattern: Pattern, levels: readonly string[]): boolean {
  const wildcardFirst = typeof pattern.levels[0] === 'symbol';
  if (pattern.hidesDollar && wildcardFirst && levels[0]?.startsWith('$')) return false;
  return restMatches(pattern.levels, levels);
}

/** Few words, so that levels meet; the empty one and those with a dollar or the other separator among them. */
const WORDS = ['a', 'b', 'c', '', '$s', 'x.y', 'x/y', '*', '#'];

export function randomKey(random: Prng): RoutingKey {
  const separator = random.chance(0.5) ? SLASH : DOT;
  const words = Array.from({ length: random.below(6) }, () => random.pick(WORDS));
  return new RoutingKey(words.join(String.fromCharCode(separator)), separator);
}

export function randomPattern(random: Prng): Pattern {
  const separator = random.chance(0.5) ? SLASH : DOT;
  const levels: PatternLevel[] = Array.from({ length: random.below(6) }, () => {
    const kind = random.below(10);
    if (kind < 2) return ANY_ONE;
    if (kind < 4) return ANY_MANY;
    // A literal level never holds the separator: it would be two.
    return random.pick(WORDS).replace(String.fromCharCode(separator), '-');
  });
  const text = levels
    .map((level) => (level === ANY_ONE ? '+' : level === ANY_MANY ? '##' : level))
    .join(String.fromCharCode(separator));
  return { text, separator, levels: text === '' ? [] : levels, hidesDollar: random.chance(0.3) };
}
