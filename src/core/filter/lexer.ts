/** A filter's text as tokens. */
import type { Numeric } from './ast.ts';
import { filterMistake } from './mistake.ts';
import { narrow } from './number.ts';

/** Words that are no names unless quoted, in any case of letters (Jakarta Messaging 3.1, 3.8.1.1). */
const RESERVED: ReadonlySet<string> = new Set([
  'AND',
  'BETWEEN',
  'ESCAPE',
  'FALSE',
  'IN',
  'IS',
  'LIKE',
  'NOT',
  'NULL',
  'OR',
  'TRUE',
]);

export type Token =
  /** A reserved word, in capitals. */
  | { readonly kind: 'word'; readonly at: number; readonly text: string }
  | { readonly kind: 'name'; readonly at: number; readonly text: string; readonly quoted: boolean }
  | { readonly kind: 'text'; readonly at: number; readonly text: string }
  | { readonly kind: 'number'; readonly at: number; readonly text: string; readonly value: Numeric }
  | { readonly kind: 'symbol'; readonly at: number; readonly text: string }
  | { readonly kind: 'end'; readonly at: number; readonly text: string };

// Each alternative of a repetition starts with another character, so none of these backtracks for longer than the text.
const BLANK = /(?:\s|--[^\n]*|\/\*[\s\S]*?\*\/)*/y;
const NAME = /[\p{ID_Start}_$](?:[\p{ID_Continue}$]|\.(?=[\p{ID_Start}_$]))*/uy;
const QUOTED_NAME = /"(?:[^"]|"")+"(?!")/y;
const TEXT = /'(?:[^']|'')*'(?!')/y;
const NUMBER = /0[xX][\da-fA-F]+[lL]?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[lLdDfF]?/y;
const NAME_PART = /[\p{ID_Continue}$.]/uy;
const SYMBOL = /<>|<=|>=|!=|[=<>+\-*/%(),]/y;

const WHOLE = /^(?:0|[1-9]\d*)$/;
const WHOLE_BITS = 64;

export class Lexer {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next token; `end` again and again after the last. Throws CoreError `invalid-argument`. */
  next(): Token {
    this.#take(BLANK);
    const at = this.#at;
    const first = this.#text[at];
    if (first === undefined) return { kind: 'end', at, text: '' };
    if (first === "'") return { kind: 'text', at, text: this.#quoted(TEXT, "'", 'a text') };
    if (first === '"') {
      return { kind: 'name', at, text: this.#quoted(QUOTED_NAME, '"', 'a quoted name'), quoted: true };
    }
    const number = this.#take(NUMBER);
    if (number !== undefined) return { kind: 'number', at, text: number, value: this.#number(number, at) };
    const name = this.#take(NAME);
    if (name !== undefined) {
      const word = name.toUpperCase();
      return RESERVED.has(word) ? { kind: 'word', at, text: word } : { kind: 'name', at, text: name, quoted: false };
    }
    if (this.#text.startsWith('/*', at)) throw filterMistake(this.#text, at, 'this comment does not end');
    const symbol = this.#take(SYMBOL);
    if (symbol !== undefined) return { kind: 'symbol', at, text: symbol === '!=' ? '<>' : symbol };
    const character = String.fromCodePoint(this.#text.codePointAt(at) as number);
    throw filterMistake(this.#text, at, `${JSON.stringify(character)} means nothing here`);
  }

  /** What `pattern` (sticky) takes from here, or undefined. */
  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const taken = pattern.exec(this.#text)?.[0];
    if (taken !== undefined) this.#at += taken.length;
    return taken;
  }

  /** The content of a text or name between `quote`s; a quote inside is written twice. */
  #quoted(pattern: RegExp, quote: string, what: string): string {
    const at = this.#at;
    const taken = this.#take(pattern);
    if (taken === undefined) {
      const empty = this.#text.startsWith('""', at);
      throw filterMistake(this.#text, at, empty ? `${what} is empty` : `${what} has no closing ${quote}`);
    }
    return taken.slice(1, -1).replaceAll(quote + quote, quote);
  }

  #number(text: string, at: number): Numeric {
    NAME_PART.lastIndex = this.#at;
    if (NAME_PART.test(this.#text))
      throw filterMistake(this.#text, at, 'this number runs into what follows; names that start so need quotes');
    const hexadecimal = /^0x/i.test(text);
    const digits = text.replace(hexadecimal ? /l$/i : /[ldf]$/i, '');
    if (hexadecimal || WHOLE.test(digits)) {
      const whole = BigInt(digits);
      if (BigInt.asUintN(WHOLE_BITS, whole) !== whole) {
        throw filterMistake(
          this.#text,
          at,
          `a whole number has at most ${WHOLE_BITS} bits; write a larger one as 1e20`,
        );
      }
      // A suffix of Java's: 7D is a floating number, which is the same value here.
      return narrow(whole);
    }
    if (/^\d+$/.test(digits)) {
      throw filterMistake(this.#text, at, 'a number starts with 0: octal or not? Leave out the zeros');
    }
    if (/l$/i.test(text)) throw filterMistake(this.#text, at, 'only a whole number has the suffix L');
    const value = Number(digits);
    if (!Number.isFinite(value)) throw filterMistake(this.#text, at, 'this number is too large');
    return value;
  }
}
