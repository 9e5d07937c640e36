/** Scripts for the combined simulation: made from a seed before anything runs, so that a failing one can be printed and shortened. */
import type { Arguments, SettleOp } from '../../core/index.ts';
import { Prng } from '../prng.ts';
import type { RestartKind } from '../script.ts';
import { drawArguments, drawLiveRules, QUEUE_NAMES } from './rules.ts';

/** One step. `n` chooses among what there is at the time, modulo their number. */
export type CombinedCommand =
  | { do: 'declare'; n: number; durable: boolean; arguments: Arguments }
  | { do: 'delete'; n: number }
  | ({ do: 'publish' } & PublishFacts)
  | { do: 'transaction'; publishes: PublishFacts[]; settles: SettleFacts[] }
  | { do: 'half'; publishes: PublishFacts[]; restarts: boolean; commits: boolean }
  | { do: 'alter'; n: number; rules: Arguments }
  | { do: 'subscribe'; n: number; options: ConsumerFacts }
  | { do: 'credit'; n: number; count: number }
  | { do: 'resume'; n: number }
  | ({ do: 'settle' } & SettleFacts)
  | { do: 'cancel'; n: number }
  | { do: 'leave'; n: number; lost: boolean }
  | { do: 'purge'; n: number }
  | { do: 'redrive'; n: number; to: number; max?: number; restart?: RestartKind }
  | { do: 'checkpoint' }
  | { do: 'wait'; ms: number }
  | { do: 'quiet' }
  | { do: 'restart'; how: RestartKind };

export type Step<K extends CombinedCommand['do']> = Extract<CombinedCommand, { do: K }>;

export interface PublishFacts {
  readonly n: number;
  readonly count: number;
  readonly bytes: number;
  readonly message: MessageFacts;
}

export interface SettleFacts {
  readonly n: number;
  readonly from: number;
  readonly count: number;
  readonly op: SettleOp;
}

export interface MessageFacts {
  readonly persistent: boolean;
  /** Priorities of the messages, one after the other. */
  readonly priorities: readonly number[];
  /** Time to live of their own; undefined = none. */
  readonly ttlMs?: number;
  readonly delayMs?: number;
  /** Ids, and slots of last values, are drawn from this many; 0 = they have none. */
  readonly ids: number;
  readonly slots: number;
  /** They are in this many groups, one after the other; 0 = in none. */
  readonly groups: number;
}

export interface ConsumerFacts {
  readonly credit: number;
  /** Messages it takes of a batch before it leaves the rest. */
  readonly quota: number;
  readonly priority: number;
  readonly settled: boolean;
  readonly pull: boolean;
  /** It has a filter, for messages of this colour. */
  readonly color?: number;
  readonly weight?: number;
  /** How long it may keep a delivery. */
  readonly timeoutMs?: number;
}

type Weights = { readonly [K in CombinedCommand['do']]: number };

const WEIGHTS: Weights = {
  declare: 4,
  delete: 0.5,
  publish: 28,
  subscribe: 9,
  credit: 8,
  resume: 5,
  settle: 28,
  cancel: 1.5,
  leave: 4,
  purge: 1,
  redrive: 2,
  transaction: 4,
  half: 2,
  alter: 1.5,
  checkpoint: 1.5,
  wait: 14,
  quiet: 8,
  restart: 2,
};

export function combinedScript(seed: number, length: number): CombinedCommand[] {
  const prng = new Prng(seed);
  const script: CombinedCommand[] = [];
  const queues = prng.between(1, QUEUE_NAMES.length);
  for (let n = 0; n < queues; n++) script.push({ ...declare(prng), n });
  while (script.length < length) script.push(command(prng, prng.weighted(WEIGHTS)));
  return script;
}

function declare(prng: Prng): Step<'declare'> {
  const durable = prng.chance(0.85);
  return { do: 'declare', n: prng.below(QUEUE_NAMES.length), durable, arguments: drawArguments(prng) };
}

function command(prng: Prng, kind: CombinedCommand['do']): CombinedCommand {
  const n = prng.below(1000);
  switch (kind) {
    case 'declare':
      return declare(prng);
    case 'publish':
      return { do: kind, ...publish(prng, n) };
    case 'transaction':
      return transaction(prng, n);
    case 'half':
      return { do: kind, publishes: parts(prng, n), restarts: prng.chance(0.2), commits: prng.chance(0.8) };
    case 'alter':
      return { do: kind, n, rules: drawLiveRules(prng) };
    case 'subscribe':
      return { do: kind, n, options: consumer(prng) };
    case 'credit':
      return { do: kind, n, count: prng.between(1, 30) };
    case 'settle':
      return { do: kind, ...settle(prng, n, prng.weighted({ complete: 6, requeue: 3, modify: 2, discard: 4 })) };
    case 'wait':
      return { do: kind, ms: prng.chance(0.3) ? prng.between(1, 30) : prng.float() * 2 };
    case 'restart':
      return { do: kind, how: prng.pick(['clean', 'kill', 'crash'] as const) };
    case 'redrive':
      return redrive(prng, n);
    case 'leave':
      return { do: kind, n, lost: prng.chance(0.4) };
    case 'quiet':
    case 'checkpoint':
      return { do: kind };
    default:
      return { do: kind, n };
  }
}

function redrive(prng: Prng, n: number): CombinedCommand {
  const max = prng.chance(0.3) ? { max: prng.between(1, 6) } : {};
  const restart = prng.chance(0.15) ? { restart: prng.pick(['clean', 'kill', 'crash'] as const) } : {};
  return { do: 'redrive', n, to: prng.below(1000), ...max, ...restart };
}

function settle(prng: Prng, n: number, op: SettleOp): SettleFacts {
  return { n, from: prng.below(6), count: prng.between(1, prng.chance(0.3) ? 40 : 4), op };
}

/** Publishes that happen together. */
function parts(prng: Prng, n: number): PublishFacts[] {
  return Array.from({ length: prng.between(1, 3) }, (_, at) => {
    const facts = publish(prng, n + at);
    // Whether they are repeats of each other is nobody's promise.
    return { ...facts, message: { ...facts.message, ids: 0 } };
  });
}

function transaction(prng: Prng, n: number): CombinedCommand {
  const publishes = parts(prng, n);
  const op = prng.pick(['complete', 'discard'] as const);
  const settles = Array.from({ length: prng.below(3) }, (_, at) => settle(prng, n + at, op));
  return { do: 'transaction', publishes, settles };
}

function publish(prng: Prng, n: number): PublishFacts {
  const count = prng.between(1, prng.chance(0.1) ? 30 : 6);
  const bytes = prng.chance(0.08) ? prng.between(500, 6000) : prng.between(4, 100);
  const levels = prng.chance(0.5) ? [0] : [0, 1, 2, 5, 9, 255];
  const priorities = Array.from({ length: Math.min(count, 8) }, () => prng.pick(levels));
  const ttl = prng.chance(0.15) ? { ttlMs: prng.chance(0.15) ? 0 : prng.between(1, 150) } : {};
  const delay = prng.chance(0.15) ? { delayMs: prng.between(1, 150) } : {};
  const ids = prng.chance(0.4) ? prng.between(1, 12) : 0;
  const slots = prng.chance(0.5) ? prng.between(1, 5) : 0;
  const groups = prng.chance(0.15) ? prng.between(1, 5) : 0;
  return {
    n,
    count,
    bytes,
    message: { persistent: prng.chance(0.8), priorities, groups, ...ttl, ...delay, ids, slots },
  };
}

function consumer(prng: Prng): ConsumerFacts {
  return {
    credit: prng.chance(0.2) ? 1e6 : prng.between(1, 30),
    quota: prng.chance(0.2) ? prng.between(1, 4) : 1e9,
    priority: prng.chance(0.7) ? 0 : prng.between(-2, 5),
    settled: prng.chance(0.08),
    pull: prng.chance(0.15),
    ...(prng.chance(0.1) ? { color: prng.below(3) } : {}),
    ...(prng.chance(0.2) ? { weight: prng.between(2, 5) } : {}),
    ...(prng.chance(0.15) ? { timeoutMs: prng.between(10, 150) } : {}),
  };
}
