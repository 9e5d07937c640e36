/**
 * Patterns of names, as text to a tree: regular expressions as everybody writes them, without what cannot be matched in linear
 * time (references back, looking around). Grammar, loosest first:
 *
 *     either  = row { "|" row }
 *     row     = { item [ "*" | "+" | "?" | "{" n [ "," [ m ] ] "}" [ "?" ] ] }
 *     item    = "^" | "$" | "." | "(" [ "?:" ] either ")" | "[" ["^"] ranges "]" | "\" escaped | any other character
 */
import { CoreError } from '../errors.ts';

/** Code points that match: pairs of first and last, both included. */
export interface CharSet {
  readonly ranges: readonly (readonly [number, number])[];
  readonly negated: boolean;
}

export type PatternNode =
  | { readonly kind: 'chars'; readonly chars: CharSet }
  | { readonly kind: 'start' | 'end' }
  | { readonly kind: 'row' | 'either'; readonly parts: readonly PatternNode[] }
  | { readonly kind: 'repeat'; readonly of: PatternNode; readonly min: number; readonly max: number };

type Range = readonly [number, number];

const DIGIT: readonly Range[] = [[0x30, 0x39]];
const WORD: readonly Range[] = [...DIGIT, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const SPACE: readonly Range[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
];
const CLASSES: ReadonlyMap<string, CharSet> = new Map([
  ['d', { ranges: DIGIT, negated: false }],
  ['D', { ranges: DIGIT, negated: true }],
  ['w', { ranges: WORD, negated: false }],
  ['W', { ranges: WORD, negated: true }],
  ['s', { ranges: SPACE, negated: false }],
  ['S', { ranges: SPACE, negated: true }],
]);
/** "." is any character of a line. */
const ANY: CharSet = {
  ranges: [
    [0x0a, 0x0a],
    [0x0d, 0x0d],
    [0x2028, 0x2029],
  ],
  negated: true,
};
const REPEATS: ReadonlyMap<string, Range> = new Map([
  ['*', [0, Number.POSITIVE_INFINITY]],
  ['+', [1, Number.POSITIVE_INFINITY]],
  ['?', [0, 1]],
]);
const NESTING_MAX = 64;
const LETTER_OR_DIGIT = /^[0-9A-Za-z]$/;

/** Throws CoreError `invalid-argument` with the column of what is wrong. */
export function parsePattern(text: string): PatternNode {
  return new Parser(text).parse();
}

class Parser {
  /** By code points, as columns are counted. */
  readonly #chars: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#chars = [...text];
  }

  parse(): PatternNode {
    const node = this.#either();
    if (this.#at < this.#chars.length) this.#fail('")" closes nothing');
    return node;
  }

  #either(): PatternNode {
    const parts = [this.#row()];
    while (this.#take('|')) parts.push(this.#row());
    return parts.length === 1 ? (parts[0] as PatternNode) : { kind: 'either', parts };
  }

  #row(): PatternNode {
    const parts: PatternNode[] = [];
    while (this.#at < this.#chars.length && this.#peek !== '|' && this.#peek !== ')') parts.push(this.#repeated());
    return { kind: 'row', parts };
  }

  #repeated(): PatternNode {
    const of = this.#item();
    const range = this.#repeat();
    if (range === undefined) return of;
    if (of.kind === 'start' || of.kind === 'end') this.#fail('nothing to repeat');
    // What is taken first does not matter to whether there is a match.
    this.#take('?');
    if (this.#repeat() !== undefined) this.#fail('nothing to repeat');
    return { kind: 'repeat', of, min: range[0], max: range[1] };
  }

  #repeat(): Range | undefined {
    const simple = REPEATS.get(this.#peek ?? '');
    if (simple !== undefined) {
      this.#at++;
      return simple;
    }
    if (!this.#take('{')) return undefined;
    const min = this.#number();
    const max = this.#take(',') ? (this.#peek === '}' ? Number.POSITIVE_INFINITY : this.#number()) : min;
    if (!this.#take('}') || max < min) this.#fail('a repetition is {n}, {n,} or {n,m}');
    return [min, max];
  }

  #number(): number {
    const start = this.#at;
    while (/^[0-9]$/.test(this.#peek ?? '')) this.#at++;
    if (this.#at === start || this.#at - start > 4) this.#fail('a repetition is {n}, {n,} or {n,m}');
    return Number(this.#chars.slice(start, this.#at).join(''));
  }

  #item(): PatternNode {
    const char = this.#next();
    switch (char) {
      case '^':
        return { kind: 'start' };
      case '$':
        return { kind: 'end' };
      case '.':
        return { kind: 'chars', chars: ANY };
      case '(':
        return this.#group();
      case '[':
        return { kind: 'chars', chars: this.#set() };
      case '\\':
        return { kind: 'chars', chars: this.#escaped() };
      case '*':
      case '+':
      case '?':
      case '{':
        this.#at--;
        return this.#fail('nothing to repeat');
      case ']':
      case '}':
        this.#at--;
        return this.#fail(`"${char}" closes nothing; as a character it is written "\\${char}"`);
      default:
        return { kind: 'chars', chars: one(char) };
    }
  }

  #group(): PatternNode {
    if (++this.#depth > NESTING_MAX) this.#fail(`more than ${NESTING_MAX} parentheses inside each other`);
    if (this.#take('?') && !this.#take(':')) this.#fail('of groups that begin with "(?" only "(?:" is supported');
    const inner = this.#either();
    if (!this.#take(')')) this.#fail('")" is missing');
    this.#depth--;
    return inner;
  }

  #set(): CharSet {
    const negated = this.#take('^');
    const ranges: Range[] = [];
    while (!this.#take(']')) {
      const first = this.#setItem();
      const isRange = this.#peek === '-' && this.#chars[this.#at + 1] !== ']' && this.#at + 1 < this.#chars.length;
      if (!isRange) {
        ranges.push(...positive(first));
        continue;
      }
      this.#at++;
      const last = this.#setItem();
      const [from, to] = [single(first), single(last)];
      if (from === undefined || to === undefined || to < from)
        this.#fail('a range goes from a character to a later one');
      ranges.push([from as number, to as number]);
    }
    return { ranges, negated };
  }

  #setItem(): CharSet {
    if (this.#at >= this.#chars.length) this.#fail('"]" is missing');
    const char = this.#next();
    return char === '\\' ? this.#escaped() : one(char);
  }

  /** After a backslash. */
  #escaped(): CharSet {
    if (this.#at >= this.#chars.length) this.#fail('nothing follows the backslash');
    const char = this.#next();
    const known = CLASSES.get(char);
    if (known !== undefined) return known;
    if (LETTER_OR_DIGIT.test(char)) {
      this.#at--;
      this.#fail(`"\\${char}" is not supported`);
    }
    return one(char);
  }

  get #peek(): string | undefined {
    return this.#chars[this.#at];
  }

  #next(): string {
    return this.#chars[this.#at++] as string;
  }

  #take(char: string): boolean {
    if (this.#peek !== char) return false;
    this.#at++;
    return true;
  }

  #fail(reason: string): never {
    throw new CoreError('invalid-argument', `pattern '${this.#chars.join('')}', column ${this.#at + 1}: ${reason}`);
  }
}

function one(char: string): CharSet {
  const code = char.codePointAt(0) as number;
  return { ranges: [[code, code]], negated: false };
}

/** The code point of a set that has just one. */
export function single({ ranges, negated }: CharSet): number | undefined {
  const range = ranges[0];
  return !negated && ranges.length === 1 && range !== undefined && range[0] === range[1] ? range[0] : undefined;
}

/** The ranges of a set, turned round if it is negated. */
function positive({ ranges, negated }: CharSet): readonly Range[] {
  if (!negated) return ranges;
  const rest: Range[] = [];
  let from = 0;
  // The ranges of the classes are in order and do not touch.
  for (const [first, last] of ranges) {
    if (first > from) rest.push([from, first - 1]);
    from = last + 1;
  }
  rest.push([from, 0x10ffff]);
  return rest;
}
