/**
 * A parsed filter as closures. Conditions are true, false or unknown (null), as in SQL: whatever is compared with nothing, or
 * with a value of another type, is unknown.
 */
import type { HubValue } from '../message.ts';
import type { Comparison, Constant, NameNode, Node, Numeric } from './ast.ts';
import type { FilterSource } from './filter.ts';
import { compileLike } from './like.ts';
import { calculate, equalNumbers, narrow, negative, numberKey } from './number.ts';

/** A value that is there and compares with nothing: bytes, a list, a table, not-a-number. */
const OPAQUE: unique symbol = Symbol('opaque');

type Value = null | boolean | Numeric | string | typeof OPAQUE;
type Evaluate = (frame: Frame) => Value;

/** @returns null when it is unknown */
export type Condition = (frame: Frame) => boolean | null;

const NOTHING: FilterSource = { value: () => undefined };

/** What one evaluation works on: a slot for each name, filled when the name is first read. */
export class Frame {
  source: FilterSource = NOTHING;
  readonly #names: readonly string[];
  readonly #slots: (Value | undefined)[];

  constructor(names: readonly string[]) {
    this.#names = names;
    this.#slots = names.map(() => undefined);
  }

  read(slot: number): Value {
    const value = this.#slots[slot];
    return value === undefined ? this.#load(slot) : value;
  }

  /** Forget the message: a filter that waits for the next one pins nothing of the last. */
  clear(): void {
    this.source = NOTHING;
    for (let i = 0; i < this.#slots.length; i++) this.#slots[i] = undefined;
  }

  #load(slot: number): Value {
    const value = toValue(this.source.value(this.#names[slot] as string));
    this.#slots[slot] = value;
    return value;
  }
}

function toValue(given: HubValue | undefined): Value {
  switch (typeof given) {
    case 'undefined':
      return null;
    case 'string':
    case 'boolean':
      return given;
    case 'bigint':
      return narrow(given);
    case 'number':
      return Number.isNaN(given) ? OPAQUE : given;
  }
  if (given === null) return null;
  return given instanceof Date ? toValue(given.getTime()) : OPAQUE;
}

/** @param names gets every name of the filter, at the index of its slot */
export function compileCondition(node: Node, names: string[]): Condition {
  return new Compiler(names).condition(node);
}

class Compiler {
  readonly #names: string[];
  readonly #slots = new Map<string, number>();

  constructor(names: string[]) {
    this.#names = names;
  }

  condition(node: Node): Condition {
    switch (node.kind) {
      case 'not':
        return not(this.condition(node.operand));
      case 'and':
        return every(node.items.map((item) => this.condition(item)));
      case 'or':
        return some(node.items.map((item) => this.condition(item)));
      case 'compare':
        return this.#compare(node.operator, node.left, node.right);
      case 'between':
        return between(this.#value(node.operand), this.#value(node.low), this.#value(node.high));
      case 'in':
        return inList(this.#value(node.operand), node.values);
      case 'like':
        return onText(this.#value(node.operand), compileLike(node.pattern, node.escape));
      case 'part': {
        const { part, place } = node;
        const operand = this.#value(node.operand);
        if (place === 'start') return onText(operand, (text) => text.startsWith(part));
        if (place === 'end') return onText(operand, (text) => text.endsWith(part));
        return onText(operand, (text) => text.includes(part));
      }
      case 'null': {
        const slot = this.#slot(node.operand);
        return (frame) => frame.read(slot) === null;
      }
      default:
        return truth(this.#value(node));
    }
  }

  #value(node: Node): Evaluate {
    switch (node.kind) {
      case 'name': {
        const slot = this.#slot(node);
        return (frame) => frame.read(slot);
      }
      case 'constant': {
        const { value } = node;
        return () => value;
      }
      case 'negative': {
        const operand = this.#value(node.operand);
        return (frame) => {
          const value = operand(frame);
          return isNumeric(value) ? negative(value) : null;
        };
      }
      case 'arithmetic': {
        const { operator } = node;
        const left = this.#value(node.left);
        const right = this.#value(node.right);
        return (frame) => {
          const a = left(frame);
          if (!isNumeric(a)) return null;
          const b = right(frame);
          return isNumeric(b) ? calculate(operator, a, b) : null;
        };
      }
      default:
        return this.condition(node);
    }
  }

  #slot(node: NameNode): number {
    const known = this.#slots.get(node.name);
    if (known !== undefined) return known;
    const slot = this.#names.push(node.name) - 1;
    this.#slots.set(node.name, slot);
    return slot;
  }

  #compare(operator: Comparison, left: Node, right: Node): Condition {
    // Most comparisons have a constant, which saves a call and a look at its type.
    if (right.kind === 'constant') return compareConstant(operator, this.#value(left), right.value);
    if (left.kind === 'constant') return compareConstant(MIRRORED[operator], this.#value(right), left.value);
    const a = this.#value(left);
    const b = this.#value(right);
    if (operator === '=') return (frame) => equal(a(frame), b(frame));
    if (operator === '<>') return not((frame) => equal(a(frame), b(frame)));
    return order(operator, a, b);
  }
}

const MIRRORED: { readonly [K in Comparison]: Comparison } = {
  '=': '=',
  '<>': '<>',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};

function isNumeric(value: Value): value is Numeric {
  return typeof value === 'number' || typeof value === 'bigint';
}

function truth(evaluate: Evaluate): Condition {
  return (frame) => {
    const value = evaluate(frame);
    return typeof value === 'boolean' ? value : null;
  };
}

function not(condition: Condition): Condition {
  return (frame) => {
    const result = condition(frame);
    return result === null ? null : !result;
  };
}

/** False when any is false, else unknown when any is unknown, else true. */
function every(items: readonly Condition[]): Condition {
  return (frame) => {
    let result: boolean | null = true;
    for (let i = 0; i < items.length; i++) {
      const item = (items[i] as Condition)(frame);
      if (item === false) return false;
      if (item === null) result = null;
    }
    return result;
  };
}

/** True when any is true, else unknown when any is unknown, else false. */
function some(items: readonly Condition[]): Condition {
  return (frame) => {
    let result: boolean | null = false;
    for (let i = 0; i < items.length; i++) {
      const item = (items[i] as Condition)(frame);
      if (item === true) return true;
      if (item === null) result = null;
    }
    return result;
  };
}

function equal(a: Value, b: Value): boolean | null {
  if (isNumeric(a)) return isNumeric(b) ? equalNumbers(a, b) : null;
  if (a === null || a === OPAQUE || typeof a !== typeof b) return null;
  return a === b;
}

function compareConstant(operator: Comparison, evaluate: Evaluate, constant: Constant): Condition {
  if (operator !== '=' && operator !== '<>') return order(operator, evaluate, () => constant);
  const wanted = operator === '=';
  if (typeof constant === 'string') {
    return (frame) => {
      const value = evaluate(frame);
      return typeof value === 'string' ? (value === constant) === wanted : null;
    };
  }
  if (typeof constant === 'boolean') {
    return (frame) => {
      const value = evaluate(frame);
      return typeof value === 'boolean' ? (value === constant) === wanted : null;
    };
  }
  return (frame) => {
    const value = evaluate(frame);
    return isNumeric(value) ? equalNumbers(value, constant) === wanted : null;
  };
}

function order(operator: '<' | '<=' | '>' | '>=', left: Evaluate, right: Evaluate): Condition {
  const holds = ORDERS[operator];
  return (frame) => {
    const a = left(frame);
    if (!isNumeric(a)) return null;
    const b = right(frame);
    return isNumeric(b) ? holds(a, b) : null;
  };
}

const ORDERS: { readonly [K in '<' | '<=' | '>' | '>=']: (a: Numeric, b: Numeric) => boolean } = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

/** `operand >= low AND operand <= high`, with the operand evaluated once. */
function between(operand: Evaluate, low: Evaluate, high: Evaluate): Condition {
  return (frame) => {
    const value = operand(frame);
    if (!isNumeric(value)) return null;
    const from = low(frame);
    if (isNumeric(from) && value < from) return false;
    const to = high(frame);
    if (isNumeric(to) && value > to) return false;
    return isNumeric(from) && isNumeric(to) ? true : null;
  };
}

/** @param values all texts or all numbers */
function inList(operand: Evaluate, values: readonly (string | Numeric)[]): Condition {
  if (typeof values[0] === 'string') {
    const texts = new Set(values);
    return onText(operand, (text) => texts.has(text));
  }
  const numbers = new Set((values as readonly Numeric[]).map(numberKey));
  return (frame) => {
    const value = operand(frame);
    return isNumeric(value) ? numbers.has(numberKey(value)) : null;
  };
}

function onText(operand: Evaluate, test: (text: string) => boolean): Condition {
  return (frame) => {
    const value = operand(frame);
    return typeof value === 'string' ? test(value) : null;
  };
}
