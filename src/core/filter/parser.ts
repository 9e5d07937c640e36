/**
 * The parser: one function for all operators, steered by how tightly they bind (Pratt).
 *
 *     OR  <  AND  <  NOT  <  = <> < <= > >= BETWEEN IN LIKE IS CONTAINS STARTSWITH ENDSWITH  <  + -  <  * / %  <  sign
 *
 * What the text alone shows to be senseless (arithmetic with texts, ordering of texts, a number where a condition belongs) is
 * refused here; values of names show their type only in a message.
 */
import type { CoreError } from '../errors.ts';
import {
  type ArithmeticOperator,
  type Comparison,
  childrenOf,
  type Kind,
  kindOf,
  type Node,
  type Numeric,
  type Place,
} from './ast.ts';
import type { FilterLimits } from './filter.ts';
import { Lexer, type Token } from './lexer.ts';
import { likeMistake } from './like.ts';
import { checkFilterBytes, filterMistake } from './mistake.ts';
import { negative } from './number.ts';

const POWER = { or: 1, and: 2, not: 3, compare: 4, sum: 5, product: 6, sign: 7 } as const;

const SYMBOL_POWER: ReadonlyMap<string, number> = new Map([
  ['=', POWER.compare],
  ['<>', POWER.compare],
  ['<', POWER.compare],
  ['<=', POWER.compare],
  ['>', POWER.compare],
  ['>=', POWER.compare],
  ['+', POWER.sum],
  ['-', POWER.sum],
  ['*', POWER.product],
  ['/', POWER.product],
  ['%', POWER.product],
]);

const WORD_POWER: ReadonlyMap<string, number> = new Map([
  ['OR', POWER.or],
  ['AND', POWER.and],
  // Behind a value NOT starts NOT IN, NOT LIKE and so on.
  ['NOT', POWER.compare],
  ['BETWEEN', POWER.compare],
  ['IN', POWER.compare],
  ['LIKE', POWER.compare],
  ['IS', POWER.compare],
]);

/** Operators only where one is expected; elsewhere they are names like any other. */
const PLACES: ReadonlyMap<string, Place> = new Map([
  ['CONTAINS', 'anywhere'],
  ['STARTSWITH', 'start'],
  ['ENDSWITH', 'end'],
]);

const KIND_TEXT: { readonly [K in Kind]: string } = {
  anything: 'a value',
  number: 'a number',
  text: 'a text',
  condition: 'a condition',
};

/**
 * @returns undefined for a blank text
 * @throws CoreError `invalid-argument` with column and reason, `limit-exceeded`
 */
export function parseFilter(text: string, limits: FilterLimits): Node | undefined {
  checkFilterBytes(text, limits.filterBytesMax);
  return new Parser(text, limits).all();
}

class Parser {
  readonly #text: string;
  readonly #limits: FilterLimits;
  readonly #lexer: Lexer;
  #token: Token;
  #depth = 0;
  #nodes = 0;

  constructor(text: string, limits: FilterLimits) {
    this.#text = text;
    this.#limits = limits;
    this.#lexer = new Lexer(text);
    this.#token = this.#lexer.next();
  }

  all(): Node | undefined {
    if (this.#isEnd()) return undefined;
    const node = this.#expression(POWER.or);
    if (!this.#isEnd()) throw this.#unexpected('AND, OR or the end');
    this.#need(node, 'condition');
    this.#checkDepth(node, 1);
    return node;
  }

  #expression(minPower: number): Node {
    this.#depth += 1;
    if (this.#depth > this.#limits.filterDepthMax) throw this.#tooDeep(this.#token.at);
    let left = this.#operand(minPower);
    let compared = false;
    for (;;) {
      const power = this.#powerHere();
      if (power < minPower) break;
      if (power === POWER.compare) {
        if (compared) throw this.#mistake(this.#token.at, 'comparisons do not chain; use AND, BETWEEN or parentheses');
        compared = true;
      }
      left = this.#infix(left, power);
    }
    this.#depth -= 1;
    return left;
  }

  /** How tightly the operator at hand binds; 0 when there is none. */
  #powerHere(): number {
    const token = this.#token;
    if (token.kind === 'symbol') return SYMBOL_POWER.get(token.text) ?? 0;
    if (token.kind === 'word') return WORD_POWER.get(token.text) ?? 0;
    return this.#placeHere() === undefined ? 0 : POWER.compare;
  }

  #placeHere(): Place | undefined {
    const token = this.#token;
    return token.kind === 'name' && !token.quoted ? PLACES.get(token.text.toUpperCase()) : undefined;
  }

  /** What stands where a value or condition is expected. */
  #operand(minPower: number): Node {
    const token = this.#take();
    const { at } = token;
    switch (token.kind) {
      case 'name':
        return this.#node({ kind: 'name', at, name: token.text });
      case 'text':
        return this.#node({ kind: 'constant', at, value: token.text });
      case 'number':
        return this.#node({ kind: 'constant', at, value: token.value });
      case 'word':
        if (token.text === 'TRUE' || token.text === 'FALSE') {
          return this.#node({ kind: 'constant', at, value: token.text === 'TRUE' });
        }
        if (token.text === 'NOT') return this.#not(at, minPower);
        if (token.text === 'NULL') throw this.#mistake(at, 'NULL is no value; ask with IS NULL');
        break;
      case 'symbol':
        if (token.text === '(') return this.#group();
        if (token.text === '-' || token.text === '+') return this.#signed(at, token.text);
    }
    throw this.#unexpected('a value', token);
  }

  #not(at: number, minPower: number): Node {
    if (minPower > POWER.not) throw this.#mistake(at, 'NOT needs parentheses around it here');
    const operand = this.#expression(POWER.not);
    this.#need(operand, 'condition');
    return this.#node({ kind: 'not', at, operand });
  }

  #group(): Node {
    const node = this.#expression(POWER.or);
    this.#symbol(')');
    return node;
  }

  #signed(at: number, sign: string): Node {
    const operand = this.#expression(POWER.sign);
    this.#need(operand, 'number');
    if (sign === '+') return operand;
    if (operand.kind === 'constant') return { kind: 'constant', at, value: negative(operand.value as Numeric) };
    return this.#node({ kind: 'negative', at, operand });
  }

  #infix(left: Node, power: number): Node {
    if (power === POWER.or) return this.#run('or', left);
    if (power === POWER.and) return this.#run('and', left);
    if (power > POWER.compare) return this.#arithmetic(left, power);
    if (this.#token.kind === 'symbol') return this.#compare(left);
    return this.#predicate(left);
  }

  /** All of `a AND b AND c` at once: a long run is not deep. */
  #run(kind: 'and' | 'or', first: Node): Node {
    const { at } = this.#token;
    const items = [first];
    while (this.#takeWord(kind === 'and' ? 'AND' : 'OR')) items.push(this.#expression(POWER[kind] + 1));
    for (const item of items) this.#need(item, 'condition');
    return this.#node({ kind, at, items });
  }

  #arithmetic(left: Node, power: number): Node {
    const { at, text } = this.#take();
    const right = this.#expression(power + 1);
    this.#need(left, 'number');
    this.#need(right, 'number');
    return this.#node({ kind: 'arithmetic', at, operator: text as ArithmeticOperator, left, right });
  }

  #compare(left: Node): Node {
    const { at, text } = this.#take();
    const operator = text as Comparison;
    const right = this.#expression(POWER.compare + 1);
    if (operator !== '=' && operator !== '<>') {
      this.#need(left, 'number', `for ${operator}`);
      this.#need(right, 'number', `for ${operator}`);
    }
    return this.#node({ kind: 'compare', at, operator, left, right });
  }

  /** The predicates that are words, with NOT in front or without. */
  #predicate(operand: Node): Node {
    const { at } = this.#token;
    if (this.#takeWord('IS')) return this.#isNull(operand, at);
    const negated = this.#takeWord('NOT');
    const place = this.#placeHere();
    let node: Node;
    if (place !== undefined) {
      this.#take();
      this.#need(operand, 'text');
      node = this.#node({ kind: 'part', at, operand, place, part: this.#string() });
    } else if (this.#takeWord('BETWEEN')) {
      node = this.#between(operand, at);
    } else if (this.#takeWord('IN')) {
      node = this.#in(operand, at);
    } else if (this.#takeWord('LIKE')) {
      node = this.#like(operand, at);
    } else {
      throw this.#unexpected('BETWEEN, IN, LIKE, CONTAINS, STARTSWITH or ENDSWITH');
    }
    return negated ? this.#node({ kind: 'not', at, operand: node }) : node;
  }

  #isNull(operand: Node, at: number): Node {
    const negated = this.#takeWord('NOT');
    if (!this.#takeWord('NULL')) throw this.#unexpected(negated ? 'NULL' : 'NULL or NOT NULL');
    if (operand.kind !== 'name') throw this.#mistake(at, 'IS NULL asks about a name');
    const node = this.#node({ kind: 'null', at, operand });
    return negated ? this.#node({ kind: 'not', at, operand: node }) : node;
  }

  #between(operand: Node, at: number): Node {
    const low = this.#expression(POWER.compare + 1);
    if (!this.#takeWord('AND')) throw this.#unexpected('AND, the other bound of BETWEEN');
    const high = this.#expression(POWER.compare + 1);
    for (const part of [operand, low, high]) this.#need(part, 'number', 'for BETWEEN');
    return this.#node({ kind: 'between', at, operand, low, high });
  }

  #in(operand: Node, at: number): Node {
    this.#symbol('(');
    const values = [this.#listed(undefined)];
    const kind = typeof values[0] === 'string' ? 'text' : 'number';
    this.#need(operand, kind, 'for this list');
    while (this.#token.kind === 'symbol' && this.#token.text === ',') {
      this.#take();
      values.push(this.#listed(kind));
    }
    this.#symbol(')');
    return this.#node({ kind: 'in', at, operand, values });
  }

  /** One value of an IN list: a text, or a number with or without sign. */
  #listed(kind: Kind | undefined): string | Numeric {
    this.#count(this.#token.at);
    const { at } = this.#token;
    const sign = this.#token.kind === 'symbol' && /^[-+]$/.test(this.#token.text) ? this.#take().text : '';
    const token = this.#token;
    if (token.kind !== 'number' && (token.kind !== 'text' || sign !== '')) {
      throw this.#unexpected(sign === '' ? 'a text or a number' : 'a number');
    }
    if (kind !== undefined && token.kind !== kind) {
      throw this.#mistake(at, `a list has texts or numbers, not both; expected ${KIND_TEXT[kind]}`);
    }
    this.#take();
    if (token.kind === 'text') return token.text;
    return sign === '-' ? negative(token.value) : token.value;
  }

  #like(operand: Node, at: number): Node {
    this.#need(operand, 'text');
    const patternAt = this.#token.at;
    const pattern = this.#string();
    const { filterPatternCharsMax } = this.#limits;
    if (pattern.length > filterPatternCharsMax) {
      throw this.#tooLarge(patternAt, `a pattern of more than limits.filterPatternCharsMax = ${filterPatternCharsMax}`);
    }
    const mark = this.#takeWord('ESCAPE') ? this.#string() : undefined;
    const mistake = likeMistake(pattern, mark);
    if (mistake !== undefined) throw this.#mistake(patternAt, mistake);
    return this.#node({ kind: 'like', at, operand, pattern, escape: mark });
  }

  #string(): string {
    if (this.#token.kind !== 'text') throw this.#unexpected("a text in '...'");
    return this.#take().text;
  }

  #symbol(text: string): void {
    if (this.#token.kind !== 'symbol' || this.#token.text !== text) throw this.#unexpected(text);
    this.#take();
  }

  #isEnd(): boolean {
    return this.#token.kind === 'end';
  }

  #takeWord(text: string): boolean {
    if (this.#token.kind !== 'word' || this.#token.text !== text) return false;
    this.#take();
    return true;
  }

  #take(): Token {
    const token = this.#token;
    this.#token = this.#lexer.next();
    return token;
  }

  #node(node: Node): Node {
    this.#count(node.at);
    return node;
  }

  #count(at: number): void {
    this.#nodes += 1;
    const { filterNodesMax } = this.#limits;
    if (this.#nodes > filterNodesMax) {
      throw this.#tooLarge(at, `more than limits.filterNodesMax = ${filterNodesMax} names, values and operators`);
    }
  }

  /** A run of arithmetic is deep without parentheses: 1 + 1 + 1 + ... */
  #checkDepth(node: Node, depth: number): void {
    if (depth > this.#limits.filterDepthMax) throw this.#tooDeep(node.at);
    for (const child of childrenOf(node)) this.#checkDepth(child, depth + 1);
  }

  #need(node: Node, kind: Kind, why = ''): void {
    const given = kindOf(node);
    if (given === kind || given === 'anything') return;
    const reason = `expected ${KIND_TEXT[kind]}${why === '' ? '' : ` ${why}`}, not ${KIND_TEXT[given]}`;
    throw this.#mistake(node.at, reason);
  }

  #unexpected(expected: string, token = this.#token): CoreError {
    const found = token.kind === 'end' ? 'the end' : this.#text.slice(token.at, token.at + shownLength(token));
    return this.#mistake(token.at, `expected ${expected}, found ${found}`);
  }

  #mistake(at: number, reason: string): CoreError {
    return filterMistake(this.#text, at, reason);
  }

  #tooDeep(at: number): CoreError {
    return this.#tooLarge(at, `nested deeper than limits.filterDepthMax = ${this.#limits.filterDepthMax}`);
  }

  #tooLarge(at: number, what: string): CoreError {
    return filterMistake(this.#text, at, what, 'limit-exceeded');
  }
}

/** Texts and names are shown by their beginning, quote included. */
function shownLength(token: Token): number {
  const quotes = token.kind === 'text' || (token.kind === 'name' && token.quoted) ? 2 : 0;
  return Math.min(token.text.length + quotes, 32);
}
