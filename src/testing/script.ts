/** Scripts for the simulation: made from a seed before anything runs, so that a failing one can be printed and shortened. */
import type { SettleOp } from '../core/index.ts';
import { Prng } from './prng.ts';

export type QueueKind = 'plain' | 'auto-delete' | 'exclusive';

/** One step. `n` chooses among what there is at the time, modulo their number. */
export type Command =
  | { do: 'declare'; n: number; kind: QueueKind; durable: boolean }
  | { do: 'bind'; from: number; to: number; remove: boolean }
  | { do: 'publish'; n: number; to: Destination; count: number; persistent: boolean; confirm: boolean; bytes: number }
  | { do: 'retain'; n: number; persistent: boolean; clear: boolean }
  | { do: 'readRetained' }
  | { do: 'subscribe'; n: number; credit: number; quota: number; settled: boolean }
  | { do: 'pull'; n: number; credit: number }
  | { do: 'credit'; n: number; count: number }
  | { do: 'resume'; n: number }
  | { do: 'settle'; n: number; from: number; count: number; op: SettleOp }
  | { do: 'cancel'; n: number }
  | { do: 'leave'; n: number }
  | { do: 'purge'; n: number }
  | { do: 'delete'; n: number }
  | { do: 'reconnect' }
  | { do: 'checkpoint'; wait: boolean }
  | { do: 'wait'; ms: number }
  | { do: 'restart'; how: RestartKind }
  | { do: 'fail'; what: 'sync' | 'write' }
  | { do: 'space'; freeBytes: number | null }
  | { do: 'lie'; probability: number };

/** One queue by its name, or an exchange by its number. */
export type Destination = 'queue' | number;

/** How a broker ends: in order; by a kill of the process; by a loss of power. */
export type RestartKind = 'clean' | 'kill' | 'crash';

/** Fanout exchanges in the simulation; the last one does not survive a restart. */
export const EXCHANGES = ['amq.fanout', 'e1', 'e2', 'e3'] as const;

type Weights = { readonly [K in Command['do']]: number };

const WEIGHTS: Weights = {
  declare: 4,
  bind: 3,
  publish: 30,
  retain: 4,
  readRetained: 0.5,
  subscribe: 8,
  pull: 4,
  credit: 10,
  resume: 6,
  settle: 26,
  cancel: 1.5,
  leave: 4,
  purge: 1,
  delete: 0.6,
  reconnect: 0.6,
  checkpoint: 2,
  wait: 20,
  restart: 2,
  fail: 0,
  space: 0,
  lie: 0,
};
const FAULTS = { fail: 0.4, space: 1 };

/**
 * Make a script.
 * @param faults whether the disk may fail and become full; half of these scripts also have a disk that lies about syncs
 */
export function scriptOf(seed: number, length: number, faults: boolean): Command[] {
  const prng = new Prng(seed);
  const weights = faults ? { ...WEIGHTS, ...FAULTS } : WEIGHTS;
  const script: Command[] = [{ do: 'declare', n: 0, kind: 'plain', durable: true }];
  if (faults && prng.chance(0.5)) script.push(command(prng, 'lie'));
  while (script.length < length) script.push(command(prng, prng.weighted(weights)));
  return script;
}

function command(prng: Prng, kind: Command['do']): Command {
  const n = prng.below(1000);
  switch (kind) {
    case 'declare': {
      const queue = prng.weighted({ plain: 6, 'auto-delete': 2, exclusive: 1 });
      return { do: kind, n, kind: queue, durable: prng.chance(0.7) };
    }
    case 'bind':
      return { do: kind, from: prng.below(EXCHANGES.length), to: n, remove: prng.chance(0.3) };
    case 'publish':
      return publish(prng, n);
    case 'retain':
      return { do: kind, n, persistent: prng.chance(0.7), clear: prng.chance(0.2) };
    case 'subscribe': {
      const quota = prng.chance(0.3) ? prng.between(1, 5) : 1e9;
      return { do: kind, n, credit: prng.chance(0.2) ? 1e6 : prng.between(1, 40), quota, settled: prng.chance(0.1) };
    }
    case 'pull':
      return { do: kind, n, credit: prng.chance(0.5) ? 1 : prng.between(2, 40) };
    case 'credit':
      return { do: kind, n, count: prng.between(1, 50) };
    case 'settle': {
      const op = prng.weighted({ complete: 8, requeue: 2, modify: 1, discard: 1 });
      return { do: kind, n, from: prng.below(8), count: prng.between(1, prng.chance(0.3) ? 100 : 5), op };
    }
    case 'checkpoint':
      return { do: kind, wait: prng.chance(0.5) };
    case 'wait':
      return { do: kind, ms: prng.chance(0.2) ? prng.between(1, 50) : prng.float() * 2 };
    case 'restart':
      return { do: kind, how: prng.pick(['clean', 'kill', 'crash'] as const) };
    case 'fail':
      return { do: kind, what: prng.pick(['sync', 'write'] as const) };
    case 'space':
      return { do: kind, freeBytes: prng.chance(0.4) ? null : prng.between(0, 200_000) };
    case 'lie':
      return { do: kind, probability: prng.pick([0.05, 0.5, 1]) };
    case 'reconnect':
    case 'readRetained':
      return { do: kind };
    default:
      return { do: kind, n };
  }
}

function publish(prng: Prng, n: number): Command {
  const bytes = prng.chance(0.05) ? prng.between(1000, 20_000) : prng.between(4, 300);
  const count = prng.between(1, prng.chance(0.1) ? 200 : 10);
  const to = prng.chance(0.25) ? prng.below(EXCHANGES.length) : 'queue';
  return { do: 'publish', n, to, count, persistent: prng.chance(0.7), confirm: prng.chance(0.8), bytes };
}
