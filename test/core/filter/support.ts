/** A printer of filters, a generator, and an interpreter as plain as can be, to hold the real one against. */
import type { Constant, Node } from '../../../src/core/filter/ast.ts';
import type { FilterSource } from '../../../src/core/filter/filter.ts';
import type { HubValue } from '../../../src/core/message.ts';
import type { Prng } from '../../../src/testing/prng.ts';

export type Values = { readonly [name: string]: HubValue };

/** Values by name, counting how often each is asked for. */
export class CountingSource implements FilterSource {
  readonly asked = new Map<string, number>();
  readonly #values: ReadonlyMap<string, HubValue>;

  constructor(values: Values) {
    this.#values = new Map(Object.entries(values));
  }

  value(name: string): HubValue | undefined {
    this.asked.set(name, (this.asked.get(name) ?? 0) + 1);
    return this.#values.get(name);
  }
}

/** The node's text, with parentheses around every operand that is no plain value. */
export function print(node: Node): string {
  switch (node.kind) {
    case 'name':
      return /^[a-z]\w*$/.test(node.name) ? node.name : `"${node.name.replaceAll('"', '""')}"`;
    case 'constant':
      return printConstant(node.value);
    case 'negative':
      return `- ${inner(node.operand)}`;
    case 'arithmetic':
    case 'compare':
      return `${inner(node.left)} ${node.operator} ${inner(node.right)}`;
    case 'between':
      return `${inner(node.operand)} BETWEEN ${inner(node.low)} AND ${inner(node.high)}`;
    case 'in':
      return `${inner(node.operand)} IN (${node.values.map(printConstant).join(', ')})`;
    case 'like': {
      const mark = node.escape === undefined ? '' : ` ESCAPE ${printConstant(node.escape)}`;
      return `${inner(node.operand)} LIKE ${printConstant(node.pattern)}${mark}`;
    }
    case 'part': {
      const word = { anywhere: 'CONTAINS', start: 'STARTSWITH', end: 'ENDSWITH' }[node.place];
      return `${inner(node.operand)} ${word} ${printConstant(node.part)}`;
    }
    case 'null':
      return `${inner(node.operand)} IS NULL`;
    case 'not':
      return `NOT ${inner(node.operand)}`;
    case 'and':
    case 'or':
      return node.items.map(inner).join(` ${node.kind.toUpperCase()} `);
  }
}

function inner(node: Node): string {
  return node.kind === 'name' || node.kind === 'constant' ? print(node) : `(${print(node)})`;
}

function printConstant(value: Constant): string {
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  // Whole numbers of more than 64 bits are written as floating ones.
  if (typeof value === 'number' && Math.abs(value) >= 2 ** 53) return value.toExponential();
  return String(value).toUpperCase();
}

/** The node without positions. */
export function bare(node: Node): unknown {
  return JSON.parse(
    JSON.stringify(node, (key, value) => {
      if (key === 'at') return undefined;
      return typeof value === 'bigint' ? `bigint ${value}` : value;
    }),
  );
}

const NAMES = ['a', 'b', 'c', 'x-d', 'e "f"', 'NULL', 'g.h'];
const TEXTS = ['', 'a', 'b', 'ab', 'abab', "it's", 'a%b', 'a_b', 'é', '😀', '😀a', 'aab'];
const PATTERNS = [
  '',
  '%',
  '_',
  'a%',
  '%b',
  '%a%',
  'a_',
  '_a%',
  '%_b',
  '%a_%b',
  '%%_%%',
  'a!%b',
  '!_%',
  'a!!',
  '_😀%',
  'a%b%',
];
const NUMBERS: readonly (number | bigint)[] = [0, 1, -1, 2, 0.5, 7, 1e20, 2 ** 53 - 1, 2n ** 53n, 2n ** 63n - 1n];

export function randomValues(random: Prng): Values {
  const values: [string, HubValue][] = [];
  for (const name of NAMES) {
    const kind = random.weighted({
      absent: 2,
      null: 1,
      text: 4,
      number: 5,
      bigint: 1,
      truth: 3,
      bytes: 1,
      date: 1,
      nan: 1,
    });
    if (kind === 'null') values.push([name, null]);
    if (kind === 'text') values.push([name, random.pick(TEXTS)]);
    if (kind === 'number') values.push([name, random.pick(NUMBERS)]);
    if (kind === 'bigint') values.push([name, BigInt(random.below(3))]);
    if (kind === 'truth') values.push([name, random.chance(0.5)]);
    if (kind === 'bytes') values.push([name, Buffer.from('a')]);
    if (kind === 'date') values.push([name, new Date(random.below(3))]);
    if (kind === 'nan') values.push([name, Number.NaN]);
  }
  return Object.fromEntries(values);
}

type Wanted = 'condition' | 'number' | 'text' | 'anything';

/** A node of that kind, `depth` levels high at most. */
export function randomNode(random: Prng, depth: number, wanted: Wanted = 'condition'): Node {
  const at = 0;
  if (wanted === 'condition' && depth > 0) return randomCondition(random, depth - 1);
  if (wanted === 'number' && depth > 0 && random.chance(0.5)) {
    if (random.chance(0.2)) return { kind: 'negative', at, operand: randomName(random) };
    const left = randomNode(random, depth - 1, 'number');
    const right = randomNode(random, depth - 1, 'number');
    return { kind: 'arithmetic', at, operator: random.pick(['+', '-', '*', '/', '%'] as const), left, right };
  }
  if (random.chance(0.6)) return randomName(random);
  if (wanted === 'condition') return { kind: 'constant', at, value: random.chance(0.5) };
  const kind = wanted === 'anything' ? random.pick(['number', 'text', 'condition'] as const) : wanted;
  if (kind === 'condition') return randomNode(random, depth, kind);
  return { kind: 'constant', at, value: kind === 'text' ? random.pick(TEXTS) : random.pick(NUMBERS) };
}

function randomName(random: Prng): Node & { kind: 'name' } {
  return { kind: 'name', at: 0, name: random.pick(NAMES) };
}

function randomCondition(random: Prng, depth: number): Node {
  const at = 0;
  const number = () => randomNode(random, depth, 'number');
  const text = () => randomNode(random, depth, 'text');
  switch (random.pick(['not', 'run', 'run', 'equal', 'order', 'between', 'in', 'like', 'part', 'null'] as const)) {
    case 'not':
      return { kind: 'not', at, operand: randomNode(random, depth) };
    case 'run': {
      const items = Array.from({ length: random.between(2, 4) }, () => randomNode(random, depth));
      return { kind: random.pick(['and', 'or'] as const), at, items };
    }
    case 'equal': {
      const left = randomNode(random, depth, 'anything');
      const right = randomNode(random, depth, 'anything');
      return { kind: 'compare', at, operator: random.pick(['=', '<>'] as const), left, right };
    }
    case 'order':
      return {
        kind: 'compare',
        at,
        operator: random.pick(['<', '<=', '>', '>='] as const),
        left: number(),
        right: number(),
      };
    case 'between':
      return { kind: 'between', at, operand: number(), low: number(), high: number() };
    case 'in': {
      const texts = random.chance(0.5);
      const count = random.between(1, 4);
      const values = Array.from({ length: count }, () => (texts ? random.pick(TEXTS) : random.pick(NUMBERS)));
      return { kind: 'in', at, operand: texts ? text() : number(), values };
    }
    case 'like':
      return { kind: 'like', at, operand: text(), pattern: random.pick(PATTERNS), escape: '!' };
    case 'part': {
      const place = random.pick(['anywhere', 'start', 'end'] as const);
      return { kind: 'part', at, operand: text(), place, part: random.pick(TEXTS) };
    }
    case 'null':
      return { kind: 'null', at, operand: randomName(random) };
  }
}

/** Stands for values that compare with nothing: bytes, not-a-number. */
const STRANGE = Symbol('strange');
/** Undefined: unknown, or not there. */
type Scalar = string | number | bigint | boolean | undefined | typeof STRANGE;

/** What the node is for a message with these values. */

export function interpret(node: Node, values: Values): Scalar {
  const value = (child: Node) => interpret(child, values);
  switch (node.kind) {
    case 'name':
      return plain(Object.hasOwn(values, node.name) ? values[node.name] : undefined);
    case 'constant':
      return node.value;
    case 'negative':
      return arithmetic('-', 0, value(node.operand));
    case 'arithmetic':
      return arithmetic(node.operator, value(node.left), value(node.right));
    case 'compare':
      return compare(node.operator, value(node.left), value(node.right));
    case 'between': {
      const operand = value(node.operand);
      return both(compare('>=', operand, value(node.low)), compare('<=', operand, value(node.high)));
    }
    case 'in': {
      const operand = value(node.operand);
      return node.values.map((one) => compare('=', operand, one)).reduce(either);
    }
    case 'like': {
      const text = value(node.operand);
      return typeof text === 'string' ? likeSlowly([...text], [...node.pattern], node.escape) : undefined;
    }
    case 'part': {
      const text = value(node.operand);
      if (typeof text !== 'string') return undefined;
      const at = node.place === 'end' ? text.length - node.part.length : 0;
      return node.place === 'anywhere' ? text.indexOf(node.part) >= 0 : text.slice(at).startsWith(node.part) && at >= 0;
    }
    case 'null':
      return value(node.operand) === undefined;
    case 'not':
      return opposite(value(node.operand));
    case 'and':
      return node.items.map(value).map(truth).reduce(both);
    case 'or':
      return node.items.map(value).map(truth).reduce(either);
  }
}

type Truth = boolean | undefined;

function truth(value: unknown): Truth {
  return typeof value === 'boolean' ? value : undefined;
}

function opposite(value: unknown): Truth {
  return typeof value === 'boolean' ? !value : undefined;
}

function both(a: Truth, b: Truth): Truth {
  if (a === false || b === false) return false;
  return a === true && b === true ? true : undefined;
}

function either(a: Truth, b: Truth): Truth {
  return opposite(both(opposite(a), opposite(b)));
}

function plain(value: HubValue | undefined): Scalar {
  if (value === null || value === undefined) return undefined;
  if (value instanceof Date) return value.getTime();
  if (typeof value === 'object' || Number.isNaN(value)) return STRANGE;
  return value;
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}

function compare(operator: string, a: unknown, b: unknown): Truth {
  if (typeof a === 'symbol' || typeof b === 'symbol' || a === undefined || b === undefined) return undefined;
  if (isNumber(a) && isNumber(b)) {
    const orders: { [operator: string]: boolean } = {
      '=': a >= b && a <= b,
      '<>': a < b || a > b,
      '<': a < b,
      '<=': a <= b,
      '>': a > b,
      '>=': a >= b,
    };
    return orders[operator];
  }
  if (typeof a !== typeof b || (operator !== '=' && operator !== '<>')) return undefined;
  return operator === '=' ? a === b : a !== b;
}

/** Exact rational arithmetic where both are whole and within 64 bits, floating otherwise. */
function arithmetic(operator: string, a: unknown, b: unknown): number | bigint | undefined {
  if (!isNumber(a) || !isNumber(b)) return undefined;
  const exact = [a, b].every((one) => typeof one === 'bigint' || Number.isSafeInteger(one));
  if ((operator === '/' || operator === '%') && Number(b) === 0) return undefined;
  if (exact) {
    const [x, y] = [BigInt(a), BigInt(b)];
    const whole = { '+': () => x + y, '-': () => x - y, '*': () => x * y, '%': () => x % y, '/': () => x / y }[
      operator
    ]!();
    if (operator === '/' && whole * y !== x) return Number(x) / Number(y);
    const limit = 2n ** 64n;
    return Number.isSafeInteger(Number(whole)) || whole >= limit || whole <= -limit ? Number(whole) : whole;
  }
  const [x, y] = [Number(a), Number(b)];
  const result = { '+': x + y, '-': x - y, '*': x * y, '%': x % y, '/': x / y }[operator]!;
  return Number.isFinite(result) ? result : undefined;
}

/** The definition of LIKE, by trying everything. */
export function likeSlowly(text: readonly string[], pattern: readonly string[], mark: string | undefined): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return text.length === 0;
  if (first === mark) return text[0] === rest[0] && likeSlowly(text.slice(1), rest.slice(1), mark);
  if (first === '%') {
    for (let skipped = 0; skipped <= text.length; skipped++)
      if (likeSlowly(text.slice(skipped), rest, mark)) return true;
    return false;
  }
  return text.length > 0 && (first === '_' || first === text[0]) && likeSlowly(text.slice(1), rest, mark);
}
