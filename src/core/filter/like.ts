/**
 * LIKE: `%` stands for any text, `_` for one character (a code point). The pattern is cut at its `%`; the first piece must be at
 * the start, the last at the end, and each between them is looked for once, behind the one before it. Nothing is tried
 * twice, so a hostile pattern costs no more than a plain one: a piece with `_` in the middle is looked for by a bit for each
 * of its characters (the Shift-And algorithm), 32 at a time.
 */

export type TextTest = (text: string) => boolean;

/** `_` in a piece. */
const ANY_CHARACTER = -1;

type Pieces = readonly (readonly number[])[];

/** Why this is no pattern, or undefined. `escapeMark` must be one character and stand before `%`, `_` or itself. */
export function likeMistake(pattern: string, escapeMark: string | undefined): string | undefined {
  const pieces = cut(pattern, escapeMark);
  return typeof pieces === 'string' ? pieces : undefined;
}

/** @param pattern one that has no `likeMistake` */
export function compileLike(pattern: string, escapeMark: string | undefined): TextTest {
  const pieces = (cut(pattern, escapeMark) as Pieces).map((characters) => new Piece(characters));
  const first = pieces[0] as Piece;
  const last = pieces[pieces.length - 1] as Piece;
  if (pieces.length === 1) return (text) => first.endAt(text, 0) === text.length;
  const middle = pieces.slice(1, -1).filter((piece) => piece.length > 0);
  return (text) => {
    let at = first.endAt(text, 0);
    for (let i = 0; at >= 0 && i < middle.length; i++) at = (middle[i] as Piece).find(text, at);
    return at >= 0 && last.isTail(text, at);
  };
}

/** Code points between the `%`s, or what is wrong. */
function cut(pattern: string, escapeMark: string | undefined): Pieces | string {
  if (escapeMark !== undefined && [...escapeMark].length !== 1) return 'ESCAPE takes one character';
  const pieces: number[][] = [[]];
  let escaped = false;
  for (const character of pattern) {
    const piece = pieces[pieces.length - 1] as number[];
    if (escaped) {
      if (character !== '%' && character !== '_' && character !== escapeMark) {
        return `in the pattern ${escapeMark} is followed by ${character}, not by %, _ or ${escapeMark}`;
      }
      piece.push(character.codePointAt(0) as number);
      escaped = false;
    } else if (character === escapeMark) {
      escaped = true;
    } else if (character === '%') {
      pieces.push([]);
    } else {
      piece.push(character === '_' ? ANY_CHARACTER : (character.codePointAt(0) as number));
    }
  }
  return escaped ? `the pattern ends with its escape character ${escapeMark}` : pieces;
}

/** A part of a pattern without `%`. */
class Piece {
  readonly #characters: readonly number[];
  /** The piece as text, when it has no `_`. */
  readonly #literal: string | undefined;
  readonly #search: BitSearch | undefined;

  constructor(characters: readonly number[]) {
    this.#characters = characters;
    if (characters.includes(ANY_CHARACTER)) this.#search = new BitSearch(characters);
    else this.#literal = characters.map((code) => String.fromCodePoint(code)).join('');
  }

  /** Characters. */
  get length(): number {
    return this.#characters.length;
  }

  /** Where the piece ends if it starts at `at`; -1 if it does not. */
  endAt(text: string, at: number): number {
    const literal = this.#literal;
    if (literal !== undefined) return text.startsWith(literal, at) ? at + literal.length : -1;
    for (const wanted of this.#characters) {
      const code = text.codePointAt(at);
      if (code === undefined || (wanted !== ANY_CHARACTER && wanted !== code)) return -1;
      at += code > 0xffff ? 2 : 1;
    }
    return at;
  }

  /** Where its first occurrence at or after `from` ends; -1 if there is none. */
  find(text: string, from: number): number {
    if (this.#search !== undefined) return this.#search.find(text, from);
    const literal = this.#literal as string;
    const at = text.indexOf(literal, from);
    return at < 0 ? -1 : at + literal.length;
  }

  /** Whether `text` ends with the piece, which begins at or after `from`. */
  isTail(text: string, from: number): boolean {
    const literal = this.#literal;
    if (literal !== undefined) return text.length - literal.length >= from && text.endsWith(literal);
    let at = text.length;
    for (let left = this.#characters.length; left > 0; left--) {
      at -= isPairEnd(text, at) ? 2 : 1;
      if (at < from) return false;
    }
    return this.endAt(text, at) === text.length;
  }
}

/** Whether the two units before `at` are one character. */
function isPairEnd(text: string, at: number): boolean {
  return at >= 2 && (text.codePointAt(at - 2) as number) > 0xffff;
}

/** Bit i of the state is set when the last i + 1 characters read are the first i + 1 of the piece. */
class BitSearch {
  readonly #state: Int32Array;
  readonly #lastBit: number;
  /** By character: the bits where the piece has it or `_`. */
  readonly #masks = new Map<number, Int32Array>();
  /** For all other characters: the bits where the piece has `_`. */
  readonly #otherMask: Int32Array;

  constructor(characters: readonly number[]) {
    const words = Math.ceil(characters.length / 32);
    this.#state = new Int32Array(words);
    this.#lastBit = 1 << ((characters.length - 1) & 31);
    this.#otherMask = maskOf(characters, ANY_CHARACTER, words);
    for (const code of characters) if (!this.#masks.has(code)) this.#masks.set(code, maskOf(characters, code, words));
  }

  find(text: string, from: number): number {
    const state = this.#state.fill(0);
    const words = state.length;
    for (let at = from; at < text.length; ) {
      const code = text.codePointAt(at) as number;
      at += code > 0xffff ? 2 : 1;
      const mask = this.#masks.get(code) ?? this.#otherMask;
      let carry = 1;
      for (let word = 0; word < words; word++) {
        const before = state[word] as number;
        state[word] = ((before << 1) | carry) & (mask[word] as number);
        carry = before >>> 31;
      }
      if (((state[words - 1] as number) & this.#lastBit) !== 0) return at;
    }
    return -1;
  }
}

function maskOf(characters: readonly number[], code: number, words: number): Int32Array {
  const mask = new Int32Array(words);
  for (const [i, wanted] of characters.entries()) {
    if (wanted === code || wanted === ANY_CHARACTER) mask[i >>> 5] = (mask[i >>> 5] as number) | (1 << (i & 31));
  }
  return mask;
}
