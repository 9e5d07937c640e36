/** The rules of a queue as the model understands them, read from the same arguments as the broker's, and how a seed draws them. */
import type { Arguments } from '../../core/index.ts';
import type { Prng } from '../prng.ts';

/** Queues of a run: few, so that rules meet. */
export const QUEUE_NAMES = ['q0', 'q1', 'q2', 'q3', 'q4'] as const;

export interface ModelRules {
  readonly maxPriority: number;
  readonly ttlMs: number;
  readonly maxLength: number;
  readonly overflow: 'drop-head' | 'reject-publish' | 'reject-publish-dlx';
  /** Where what is given up goes; undefined: nowhere, it is deleted. */
  readonly deadLetter:
    | { readonly exchange: string; readonly key: string | undefined; readonly keeps: boolean }
    | undefined;
}

export function modelRules(args: Arguments): ModelRules {
  const number = (name: string, otherwise: number): number => (args[name] as number | undefined) ?? otherwise;
  const exchange = args['x-dead-letter-exchange'] as string | undefined;
  const key = args['x-dead-letter-routing-key'] as string | undefined;
  const keeps = args['x-dead-letter-strategy'] === 'at-least-once';
  return {
    maxPriority: number('x-max-priority', 0),
    ttlMs: number('x-message-ttl', Number.POSITIVE_INFINITY),
    maxLength: number('x-max-length', Number.POSITIVE_INFINITY),
    overflow: (args['x-overflow'] as ModelRules['overflow'] | undefined) ?? 'drop-head',
    deadLetter: exchange === undefined ? undefined : { exchange, key, keeps },
  };
}

/** The arguments of a queue: any subset of the rules there are. */
export function drawArguments(prng: Prng): Arguments {
  const args: { [name: string]: string | number } = {};
  if (prng.chance(0.4)) args['x-max-priority'] = prng.pick([1, 3, 9, 255]);
  if (prng.chance(0.25)) args['x-message-ttl'] = prng.chance(0.1) ? 0 : prng.between(5, 120);
  if (prng.chance(0.35)) {
    const overflow = prng.pick(['drop-head', 'drop-head', 'reject-publish', 'reject-publish-dlx']);
    args['x-overflow'] = overflow;
    // One that never takes anything would make others keep their dead letters for ever.
    args['x-max-length'] = prng.between(overflow === 'drop-head' ? 0 : 1, 12);
  }
  if (prng.chance(0.6)) drawDeadLetters(prng, args);
  return args;
}

function drawDeadLetters(prng: Prng, args: { [name: string]: string | number }): void {
  args['x-dead-letter-exchange'] = prng.chance(0.05) ? 'nowhere' : '';
  if (prng.chance(0.85)) args['x-dead-letter-routing-key'] = prng.pick(QUEUE_NAMES);
  const keeps = prng.chance(0.25) && (args['x-max-length'] === undefined || args['x-overflow'] === 'reject-publish');
  if (keeps) args['x-dead-letter-strategy'] = 'at-least-once';
}
