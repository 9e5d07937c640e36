/** The only door for adapters (DESIGN section 4). */

export type { Clock, Timer } from './clock.ts';
export { SystemClock } from './clock.ts';
export { DELAY_LEVELS, DELAY_MS_MAX, DELAY_PATTERN, delayOfLevel, parseDelay } from './delay/levels.ts';
export * from './door.ts';
export type { ErrorCode, Severity } from './errors.ts';
export { CoreError, ERRORS } from './errors.ts';
export type { KeyLimits, PatternOptions } from './exchange/pattern.ts';
export { literalPattern, parseKey, parsePattern } from './exchange/pattern.ts';
export { Gate } from './gate.ts';
export type { LimitName, Limits } from './limits.ts';
export { LIMITS, limitsWith } from './limits.ts';
export * from './message.ts';
export type * from './policy/door.ts';
export type * from './redrive/door.ts';
