/**
 * Numbers in filters: exact as long as whole numbers fit into 64 bits, floating beyond that. What was stored as an integer
 * and what as a float is not told apart, for not every protocol says it: 7 / 2 is 3.5.
 */
import type { ArithmeticOperator, Numeric } from './ast.ts';

const EXACT_LIMIT = 2n ** 64n;

/** The one form of a number: `number` where that is exact, `bigint` up to 64 bits, then `number` again, rounded. */
export function narrow(value: bigint): Numeric {
  const rounded = Number(value);
  if (Number.isSafeInteger(rounded)) return rounded;
  return value < EXACT_LIMIT && value > -EXACT_LIMIT ? value : rounded;
}

/** Equal in value, whatever the form. */
export function equalNumbers(a: Numeric, b: Numeric): boolean {
  // Ordering a number and a bigint is exact in JavaScript.
  return typeof a === typeof b ? a === b : a <= b && a >= b;
}

/** One form for equal values, to be found in a `Set`. */
export function numberKey(value: Numeric): Numeric {
  return typeof value === 'bigint' || Number.isSafeInteger(value) || !Number.isInteger(value) ? value : BigInt(value);
}

export function negative(value: Numeric): Numeric {
  return typeof value === 'bigint' ? narrow(-value) : -value;
}

/** The result, or null (unknown) when there is none: division by zero, or too large for a floating number. */
export function calculate(operator: ArithmeticOperator, a: Numeric, b: Numeric): Numeric | null {
  if (typeof a === 'number' && typeof b === 'number') {
    const result = onNumbers(operator, a, b);
    const isPrecise = Number.isSafeInteger(result) || operator === '/' || !Number.isSafeInteger(a);
    if (isPrecise || !Number.isSafeInteger(b)) return finite(result);
  } else if (!isExact(a) || !isExact(b)) {
    return finite(onNumbers(operator, Number(a), Number(b)));
  }
  return onBigints(operator, BigInt(a), BigInt(b));
}

function isExact(value: Numeric): boolean {
  return typeof value === 'bigint' || Number.isSafeInteger(value);
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function onNumbers(operator: ArithmeticOperator, a: number, b: number): number {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '%':
      return a % b;
  }
}

function onBigints(operator: ArithmeticOperator, a: bigint, b: bigint): Numeric | null {
  switch (operator) {
    case '+':
      return narrow(a + b);
    case '-':
      return narrow(a - b);
    case '*':
      return narrow(a * b);
    case '/':
      if (b === 0n) return null;
      return a % b === 0n ? narrow(a / b) : Number(a) / Number(b);
    case '%':
      return b === 0n ? null : narrow(a % b);
  }
}
