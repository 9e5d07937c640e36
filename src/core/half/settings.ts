/** What producers may ask for when they prepare a half. */
import { CoreError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type { HalfSettings } from './door.ts';

const TEN_YEARS_MS = 10 * 365 * 24 * 3_600_000;
const CHECKS_MAX = 1_000;

/** Throws `invalid-argument` for a name that is empty or too long. @param what it is the name of */
export function checkName(name: string, what: string, { nameBytesMax }: Limits): void {
  const bytes = Buffer.byteLength(name);
  if (bytes >= 1 && bytes <= nameBytesMax) return;
  throw new CoreError('invalid-argument', `${what} has ${bytes} bytes; 1 to ${nameBytesMax} are allowed`);
}

/** Throws `invalid-argument` for times and counts that cannot be. */
export function checkSchedule({ firstCheckMs, checkEveryMs, checksMax }: HalfSettings): void {
  check(firstCheckMs, 0, TEN_YEARS_MS, 'the time until the first check');
  check(checkEveryMs, 1, TEN_YEARS_MS, 'the time between two checks');
  check(checksMax, 0, CHECKS_MAX, 'the number of checks');
}

function check(value: number | undefined, min: number, max: number, what: string): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new CoreError('invalid-argument', `${what} is ${value}; a whole number from ${min} to ${max} is allowed`);
}
