/**
 * The rules of a queue: what its arguments, its live settings and the policies that match it ask for, read each time one of
 * these changes. `ARGUMENTS` is the one table of argument names; everything behind it goes by `QueueRules`, which never change
 * themselves. A queue without rules shares `NO_RULES`, and pays for none.
 */
import type { Arguments } from '../door.ts';
import { CoreError } from '../errors.ts';
import type { HubValue } from '../message.ts';
import { RETRY_TYPES, type RetryRule } from './retry.ts';

const OVERFLOWS = ['drop-head', 'reject-publish', 'reject-publish-dlx'] as const;
const STRATEGIES = ['at-most-once', 'at-least-once'] as const;

/** Ten years. */
export const TIME_MS_MAX = 10 * 365 * 24 * 3_600_000;
/** The count of failures of a message ends at 255. */
const DELIVERY_LIMIT_MAX = 254;
/** There are no more hashes of group ids. */
const GROUP_BUCKETS_MAX = 65_535;
/** 100 days. */
export const CONSUMER_TIMEOUT_MS_MAX = 100 * 24 * 3_600_000;

/** Where messages go that a queue gives up (docs/queue-rules.md "Dead letters"). */
export interface DeadLetterRule {
  readonly exchange: string;
  /** Routing key they get; undefined = they keep their own. */
  readonly key: string | undefined;
  /** `at-least-once`: a message stays in the queue until some other queue has taken it. */
  readonly strategy: (typeof STRATEGIES)[number];
}

export interface QueueRules {
  /** Milliseconds a message may wait in the queue; Infinity = for ever. */
  readonly messageTtlMs: number;
  /** Milliseconds the queue may go unused before it is deleted; Infinity = for ever. */
  readonly expiresMs: number;
  /** Messages that may be ready at a time; Infinity = any number. */
  readonly maxLength: number;
  /** Bytes that ready messages may have, as stored; Infinity = any number. */
  readonly maxLengthBytes: number;
  /** What becomes of messages beyond these two. */
  readonly overflow: (typeof OVERFLOWS)[number];
  readonly deadLetter: DeadLetterRule | undefined;
  /** Priority levels above 0 that count; messages of higher priority have this one. 0: priorities mean nothing here. */
  readonly maxPriority: number;
  /** Failed deliveries after which a message is given up; Infinity = never. */
  readonly deliveryLimit: number;
  /** One consumer is served at a time. */
  readonly singleActive: boolean;
  /** Buckets that message groups fall into; 0: groups mean nothing here. */
  readonly groupBuckets: number;
  /** Groups are shared out anew when a consumer comes. */
  readonly groupRebalance: boolean;
  /** Ready messages, of which the oldest are deleted for newer ones; Infinity = any number. */
  readonly ringSize: number;
  /** Milliseconds for which, and messages up to which, the queue remembers message ids; both Infinity = it does not. */
  readonly dedupWindowMs: number;
  readonly dedupCountMax: number;
  /** Name of the property of which the queue keeps only the newest message of each value. */
  readonly lastValueKey: string | undefined;
  /** Milliseconds a delivery may be unsettled; 0 = what the limit for all queues says, Infinity = for ever. */
  readonly consumerTimeoutMs: number;
  /** What comes back waits before it is handed out again. */
  readonly retry: RetryRule | undefined;
}

/** Characters of a wrong value that an error repeats. */
const SHOWN_MAX = 50;

/** Told what is wrong with an argument. */
export type OnProblem = (text: string) => void;

interface Draft extends Omit<{ -readonly [K in keyof QueueRules]: QueueRules[K] }, 'deadLetter' | 'retry'> {
  exchange: string | undefined;
  key: string | undefined;
  strategy: DeadLetterRule['strategy'];
  retryType: (typeof RETRY_TYPES)[number];
  retryMinMs: number;
  /** 0 when not given. */
  retryMaxMs: number;
}

/** Writes a value into the draft; answers what the value must be when it is something else. */
type Read = (draft: Draft, value: HubValue) => string | undefined;
type FieldOf<T> = { [K in keyof Draft]: Draft[K] extends T ? K : never }[keyof Draft];

interface Rule {
  readonly read: Read;
  /** Where an argument and a policy both give it, the smaller one holds; operator policies may give it too. Of other rules
   *  the argument holds. */
  readonly isLimit: boolean;
}

/** A whole number from `min` to `max`; one below zero, where it is allowed, means no limit. */
function count(field: FieldOf<number>, min: number, max: number): Rule {
  const read: Read = (draft, value) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      return `must be a whole number from ${min} to ${max}`;
    }
    draft[field] = value < 0 ? Number.POSITIVE_INFINITY : value;
    return undefined;
  };
  return { read, isLimit: false };
}

/** A count of which less is stricter. */
function limit(field: FieldOf<number>, min: number, max: number): Rule {
  return { ...count(field, min, max), isLimit: true };
}

/** Milliseconds, at least 1; -1 = for ever. */
function timeout(field: 'consumerTimeoutMs'): Rule {
  const { read } = count(field, -1, CONSUMER_TIMEOUT_MS_MAX);
  const readTimeout: Read = (draft, value) =>
    value === 0 ? `must be -1, or a whole number from 1 to ${CONSUMER_TIMEOUT_MS_MAX}` : read(draft, value);
  return { read: readTimeout, isLimit: false };
}

function flag(field: FieldOf<boolean>): Rule {
  const read: Read = (draft, value) => {
    if (typeof value !== 'boolean') return 'must be true or false';
    draft[field] = value;
    return undefined;
  };
  return { read, isLimit: false };
}

function text(field: 'exchange' | 'key' | 'lastValueKey', bytesMax: number, bytesMin = 0): Rule {
  const read: Read = (draft, value) => {
    const bytes = typeof value === 'string' ? Buffer.byteLength(value) : -1;
    if (typeof value !== 'string' || bytes < bytesMin || bytes > bytesMax) {
      return `must be text of ${bytesMin === 0 ? 'at most' : `${bytesMin} to`} ${bytesMax} bytes`;
    }
    draft[field] = value;
    return undefined;
  };
  return { read, isLimit: false };
}

function choice<const F extends 'overflow' | 'strategy' | 'retryType'>(field: F, choices: readonly Draft[F][]): Rule {
  const read: Read = (draft, value) => {
    const chosen = choices.find((one) => one === value);
    if (chosen === undefined) return `must be one of ${choices.join(', ')}`;
    draft[field] = chosen;
    return undefined;
  };
  return { read, isLimit: false };
}

const ARGUMENTS: ReadonlyMap<string, Rule> = new Map([
  ['x-message-ttl', limit('messageTtlMs', 0, TIME_MS_MAX)],
  ['x-expires', limit('expiresMs', 1, TIME_MS_MAX)],
  ['x-max-length', limit('maxLength', 0, Number.MAX_SAFE_INTEGER)],
  ['x-max-length-bytes', limit('maxLengthBytes', 0, Number.MAX_SAFE_INTEGER)],
  ['x-overflow', choice('overflow', OVERFLOWS)],
  ['x-max-priority', count('maxPriority', 0, 255)],
  ['x-dead-letter-exchange', text('exchange', 255)],
  ['x-dead-letter-routing-key', text('key', 65_535)],
  ['x-dead-letter-strategy', choice('strategy', STRATEGIES)],
  ['x-delivery-limit', limit('deliveryLimit', -1, DELIVERY_LIMIT_MAX)],
  ['x-delayed-retry-type', choice('retryType', RETRY_TYPES)],
  ['x-delayed-retry-min', count('retryMinMs', 1, TIME_MS_MAX)],
  ['x-delayed-retry-max', count('retryMaxMs', 1, TIME_MS_MAX)],
  ['x-single-active-consumer', flag('singleActive')],
  ['x-group-buckets', count('groupBuckets', 0, GROUP_BUCKETS_MAX)],
  ['x-group-rebalance', flag('groupRebalance')],
  ['x-consumer-timeout', timeout('consumerTimeoutMs')],
  ['x-ring-size', limit('ringSize', 1, Number.MAX_SAFE_INTEGER)],
  ['x-dedup-window-ms', count('dedupWindowMs', 1, TIME_MS_MAX)],
  ['x-dedup-count-max', count('dedupCountMax', 1, Number.MAX_SAFE_INTEGER)],
  ['x-last-value-key', text('lastValueKey', 255, 1)],
]);

/** Arguments that would change what becomes of messages, and mean something for topics only: refused, not ignored. */
const FOR_TOPICS: ReadonlySet<string> = new Set(['x-max-age', 'x-stream-max-segment-size-bytes']);

const NO_LIMITS = {
  messageTtlMs: Number.POSITIVE_INFINITY,
  expiresMs: Number.POSITIVE_INFINITY,
  maxLength: Number.POSITIVE_INFINITY,
  maxLengthBytes: Number.POSITIVE_INFINITY,
  overflow: 'drop-head',
  maxPriority: 0,
  deliveryLimit: Number.POSITIVE_INFINITY,
  singleActive: false,
  groupBuckets: 1024,
  groupRebalance: false,
  consumerTimeoutMs: 0,
  ringSize: Number.POSITIVE_INFINITY,
  dedupWindowMs: Number.POSITIVE_INFINITY,
  dedupCountMax: Number.POSITIVE_INFINITY,
  lastValueKey: undefined,
} as const;

/** Where only one of them is given. */
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_FACTOR = 10;

const NO_DRAFT: Readonly<Draft> = {
  ...NO_LIMITS,
  exchange: undefined,
  key: undefined,
  strategy: 'at-most-once',
  retryType: 'disabled',
  retryMinMs: RETRY_MIN_MS,
  retryMaxMs: 0,
};

export const NO_RULES: QueueRules = Object.freeze({ ...NO_LIMITS, deadLetter: undefined, retry: undefined });

/** Whether an argument of this name is a rule. */
export function isRule(argument: string): boolean {
  return ARGUMENTS.has(argument);
}

/** Whether an argument is a limit, of which the smaller one holds (see `Rule`). */
export function isLimit(argument: string): boolean {
  return ARGUMENTS.get(argument)?.isLimit ?? false;
}

/** The arguments that are rules. */
export function ruleArguments(): string[] {
  return [...ARGUMENTS.keys()];
}

/** What the value of a rule must be, if it is not that. */
export function problemOf(argument: string, value: HubValue): string | undefined {
  return read({ ...NO_DRAFT }, argument, value);
}

/** Take the value of an argument; answers what is wrong with it. */
function read(draft: Draft, argument: string, value: HubValue): string | undefined {
  const wanted = ARGUMENTS.get(argument)?.read(draft, value);
  return wanted === undefined ? undefined : `${wanted}, not ${shown(value)}`;
}

/** A value in an error text: long ones are cut, and those that are no numbers, texts or truth values not shown. */
function shown(value: HubValue): string {
  if (typeof value === 'bigint') return String(value);
  const isPlain = typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string';
  return isPlain ? JSON.stringify(value).slice(0, SHOWN_MAX) : 'another type';
}

/** The rules that arguments ask for. Names that are no rules are left alone; a rule with a problem is left out. */
export function readRules(args: Arguments, onProblem: OnProblem): QueueRules {
  const names = Object.keys(args).filter((name) => ARGUMENTS.has(name));
  if (names.length === 0) return NO_RULES;
  const draft: Draft = { ...NO_DRAFT };
  for (const name of names) {
    const problem = read(draft, name, args[name] as HubValue);
    if (problem !== undefined) onProblem(`${name} ${problem}`);
  }
  const { exchange, key, strategy, retryType, retryMinMs, retryMaxMs, ...others } = draft;
  const retry = retryRule(draft, onProblem);
  if (exchange === undefined) {
    if (key !== undefined) onProblem('x-dead-letter-routing-key needs x-dead-letter-exchange');
    return { ...others, deadLetter: undefined, retry };
  }
  const bounded = Math.min(others.maxLength, others.maxLengthBytes) < Number.POSITIVE_INFINITY;
  if (strategy === 'at-least-once' && bounded && others.overflow !== 'reject-publish') {
    onProblem('x-dead-letter-strategy at-least-once with a maximum length needs x-overflow reject-publish');
    return { ...others, deadLetter: { exchange, key, strategy: 'at-most-once' }, retry };
  }
  return { ...others, deadLetter: { exchange, key, strategy }, retry };
}

function retryRule({ retryType: type, retryMinMs: minMs, retryMaxMs }: Draft, onProblem: OnProblem) {
  if (type === 'disabled') return undefined;
  const maxMs = retryMaxMs === 0 ? Math.min(minMs * RETRY_MAX_FACTOR, TIME_MS_MAX) : retryMaxMs;
  if (maxMs >= minMs) return { type, minMs, maxMs };
  onProblem(`x-delayed-retry-max is ${maxMs}, less than x-delayed-retry-min, which is ${minMs}`);
  return { type, minMs, maxMs: minMs };
}

/** Check the arguments of a queue to be declared. Throws `invalid-argument`. */
export function checkRules(name: string, args: Arguments): void {
  const refuse = (text: string): never => {
    throw new CoreError('invalid-argument', `queue '${name}': ${text}`);
  };
  for (const argument of Object.keys(args)) if (FOR_TOPICS.has(argument)) refuse(`${argument} is for topics`);
  readRules(args, refuse);
}
