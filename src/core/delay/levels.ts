/** Delays that are asked for by number: RocketMQ's levels, unless the operator has others. */

/** `1s`, `5m`: a whole number and a unit. */
export const DELAY_LEVELS: readonly string[] = [
  ...['1s', '5s', '10s', '30s', '1m', '2m', '3m', '4m', '5m'],
  ...['6m', '7m', '8m', '9m', '10m', '20m', '30m', '1h', '2h'],
];

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** What a delay looks like. */
export const DELAY_PATTERN: string = '^([0-9]{1,9})(ms|s|m|h|d)$';

/** Milliseconds of a delay like `1s`, `250ms` or `2h`; undefined when it is none. */
export function parseDelay(text: string): number | undefined {
  const [, count, unit = ''] = new RegExp(DELAY_PATTERN).exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * (UNITS_MS.get(unit) ?? 0);
}

/** Ten years: no message waits longer. */
export const DELAY_MS_MAX: number = 10 * 365 * 86_400_000;

/** The delay of a level, from 1 on; above the last one it is that of the last, and 0 is none. */
export function delayOfLevel(levelsMs: readonly number[], level: number): number {
  return level === 0 ? 0 : (levelsMs[Math.min(level, levelsMs.length) - 1] ?? 0);
}
