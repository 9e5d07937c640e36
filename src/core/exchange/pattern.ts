/**
 * Routing keys and binding patterns from text, and what makes two of them the same. Adapters hand in their own wildcard
 * characters; from here on only levels count (DESIGN section 3).
 */
import type { Arguments } from '../door.ts';
import { CoreError } from '../errors.ts';
import { LIMITS, type Limits } from '../limits.ts';
import { ANY_MANY, ANY_ONE, type HubValue, type Pattern, type PatternLevel, RoutingKey } from '../message.ts';

/** The limits a key or pattern is held to. */
export type KeyLimits = Pick<Limits, 'routingKeyBytesMax' | 'routingKeyLevelsMax'>;

export interface PatternOptions {
  /** See `Pattern.hidesDollar`. Default false. */
  hidesDollar?: boolean;
  /** True: a wildcard character must be a level of its own, and the one for many levels the last (as [MQTT-4.7.1-1],
   *  [MQTT-4.7.1-2] ask). False: anywhere, and a level that only contains a wildcard character is literal. Default false. */
  strict?: boolean;
  /** Default: `LIMITS`. */
  limits?: KeyLimits;
}

const DEFAULT_LIMITS: KeyLimits = {
  routingKeyBytesMax: LIMITS.routingKeyBytesMax[0],
  routingKeyLevelsMax: LIMITS.routingKeyLevelsMax[0],
};

const DOLLAR = 0x24;

/**
 * A pattern from text.
 * @param separator code of the character between levels
 * @param one the text of a level that stands for exactly one level, such as `*`
 * @param many the text of a level that stands for any number of levels, such as `#`
 * @throws CoreError `limit-exceeded` (bytes, levels), `invalid-argument` (misplaced wildcard under `strict`)
 */
export function parsePattern(
  text: string,
  separator: number,
  one: string,
  many: string,
  options: PatternOptions = {},
): Pattern {
  const limits = options.limits ?? DEFAULT_LIMITS;
  checkBytes(text, limits);
  const parts = text === '' ? [] : text.split(String.fromCharCode(separator));
  checkLevels(parts.length, limits);
  const levels: PatternLevel[] = [];
  for (const [at, part] of parts.entries()) {
    if (part === one) levels.push(ANY_ONE);
    else if (part === many) levels.push(ANY_MANY);
    else levels.push(part);
    if (options.strict === true) checkWildcards(text, part, one, many, at === parts.length - 1);
  }
  return { text, separator, levels, hidesDollar: options.hidesDollar ?? false };
}

/** The pattern that matches one key and nothing else. */
export function literalPattern(key: RoutingKey): Pattern {
  return { text: key.text, separator: key.separator, levels: key.levels, hidesDollar: false };
}

/**
 * A routing key from text, held to the limits.
 * @throws CoreError `limit-exceeded`
 */
export function parseKey(text: string, separator: number, limits: KeyLimits = DEFAULT_LIMITS): RoutingKey {
  checkBytes(text, limits);
  const key = new RoutingKey(text, separator);
  checkLevels(key.levels.length, limits);
  return key;
}

/** True when `pattern` matches the levels: the definition, one level at a time. Indexes answer the same, faster. */
export function patternMatches(pattern: Pattern, levels: readonly string[]): boolean {
  if (pattern.hidesDollar && startsWithDollar(levels) && startsWithWildcard(pattern)) return false;
  // Positions of the pattern that the levels read so far can have led to; a bit each would not do for 128 levels.
  let here = new Set<number>();
  enter(pattern.levels, 0, here);
  for (const level of levels) {
    const next = new Set<number>();
    for (const at of here) {
      const wanted = pattern.levels[at];
      if (wanted === ANY_MANY) enter(pattern.levels, at, next);
      else if (wanted === ANY_ONE || wanted === level) enter(pattern.levels, at + 1, next);
    }
    here = next;
  }
  return here.has(pattern.levels.length);
}

/** Add a position in a pattern to those reached, and those behind it that need no level. */
export function enter(levels: readonly PatternLevel[], at: number, positions: Set<number>): void {
  positions.add(at);
  while (levels[at] === ANY_MANY) positions.add(++at);
}

/** True when wildcards of patterns that hide them must not see a key. */
export function startsWithDollar(levels: readonly string[]): boolean {
  return levels.length > 0 && (levels[0] as string).charCodeAt(0) === DOLLAR;
}

/** True when the first level is a wildcard. */
export function startsWithWildcard(pattern: Pattern): boolean {
  return pattern.levels.length > 0 && typeof pattern.levels[0] === 'symbol';
}

/** True when a pattern has no wildcard: it matches one key only. */
export function isLiteral(pattern: Pattern): boolean {
  for (const level of pattern.levels) if (typeof level === 'symbol') return false;
  return true;
}

/** The levels as one string, whatever the separator was: equal for `a/b` split at `/` and `a.b` split at `.`, and for no
 *  two different lists of levels. */
export function canonicalKey(levels: readonly string[]): string {
  if (levels.length === 1 && !NEEDS_ESCAPE.test(levels[0] as string)) return levels[0] as string;
  let joined = '';
  for (const [at, level] of levels.entries()) {
    if (at > 0) joined += '\u0000';
    joined += escapeLevel(level);
  }
  return joined;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL is what levels are joined with, so it needs an escape.
const NEEDS_ESCAPE = /[\u0000\u0001]/;

function escapeLevel(level: string): string {
  if (!NEEDS_ESCAPE.test(level)) return level;
  return level.replaceAll('\u0001', '\u0001a').replaceAll('\u0000', '\u0001b');
}

/**
 * What a binding is known by: two bindings with equal identities are one. Includes the source exchange, the target (any
 * text that names it, kind and all), the pattern as written with its separator, and the arguments in any order.
 */
export function bindingIdentity(source: string, target: string, pattern: Pattern, args: Arguments): string {
  const separator = String.fromCharCode(pattern.separator);
  return `${counted(source)}${counted(target)}${separator}${counted(pattern.text)}${argumentsText(args)}`;
}

/** Length first, so that no text can be mistaken for the end of another. */
function counted(text: string): string {
  return `${text.length}:${text}`;
}

function argumentsText(args: Arguments): string {
  const names = Object.keys(args);
  if (names.length === 0) return '';
  let text = '';
  for (const name of names.sort()) text += counted(name) + valueText(args[name] as HubValue);
  return text;
}

/** A value as text that tells values of different type or content apart. Numbers and bigints of one value are equal. */
function valueText(value: HubValue): string {
  if (value === null) return 'n';
  if (Buffer.isBuffer(value)) return `b${counted(value.toString('latin1'))}`;
  if (value instanceof Date) return `d${counted(String(value.getTime()))}`;
  if (Array.isArray(value)) return `a${counted(value.map(valueText).join(''))}`;
  switch (typeof value) {
    case 'object':
      return `o${counted(argumentsText(value))}`;
    case 'string':
      return `s${counted(value)}`;
    case 'boolean':
      return value ? 't' : 'f';
    default:
      return `i${counted(String(value))}`;
  }
}

function checkBytes(text: string, limits: KeyLimits): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.routingKeyBytesMax) {
    throw new CoreError(
      'limit-exceeded',
      `routing key of ${bytes} bytes, at most ${limits.routingKeyBytesMax} are allowed`,
    );
  }
}

function checkLevels(count: number, limits: KeyLimits): void {
  if (count > limits.routingKeyLevelsMax) {
    throw new CoreError(
      'limit-exceeded',
      `routing key of ${count} levels, at most ${limits.routingKeyLevelsMax} are allowed`,
    );
  }
}

function checkWildcards(text: string, part: string, one: string, many: string, last: boolean): void {
  if (part === many && !last) throw new CoreError('invalid-argument', `${many} must be the last level of ${text}`);
  if (part !== one && part.includes(one))
    throw new CoreError('invalid-argument', `${one} must be a level of its own in ${text}`);
  if (part !== many && part.includes(many))
    throw new CoreError('invalid-argument', `${many} must be a level of its own in ${text}`);
}
