/** The rules of a queue as the model understands them, read from the same arguments as the broker's, and how a seed draws them. */
import type { Arguments } from '../../core/index.ts';
import type { Prng } from '../prng.ts';

/** Queues of a run: few, so that rules meet. */
export const QUEUE_NAMES = ['q0', 'q1', 'q2', 'q3', 'q4'] as const;

export interface ModelRules {
  readonly maxPriority: number;
  readonly ttlMs: number;
  /** It goes when nobody has used it for so long. */
  readonly expiresMs: number;
  readonly maxLength: number;
  /** Bytes of all that is ready. */
  readonly maxBytes: number;
  readonly overflow: 'drop-head' | 'reject-publish' | 'reject-publish-dlx';
  /** Failures that are too many; Infinity = none. */
  readonly deliveryLimit: number;
  /** What comes back waits min(min x count, max). */
  readonly retry: { readonly type: string; readonly minMs: number; readonly maxMs: number };
  readonly singleActive: boolean;
  /** What is beyond the maximum length goes, and is no dead letter. */
  readonly isRing: boolean;
  /** How long and for how many messages ids are remembered; undefined = not at all. */
  readonly dedup: { readonly windowMs: number; readonly count: number } | undefined;
  readonly keepsLast: boolean;
  /** Where what is given up goes; undefined: nowhere, it is deleted. */
  readonly deadLetter:
    | { readonly exchange: string; readonly key: string | undefined; readonly keeps: boolean }
    | undefined;
}

export function modelRules(args: Arguments): ModelRules {
  const number = (name: string, otherwise: number): number => (args[name] as number | undefined) ?? otherwise;
  const exchange = args['x-dead-letter-exchange'] as string | undefined;
  const key = args['x-dead-letter-routing-key'] as string | undefined;
  const limit = number('x-delivery-limit', -1);
  const type = (args['x-delayed-retry-type'] as string | undefined) ?? 'disabled';
  const windowMs = number('x-dedup-window-ms', Number.POSITIVE_INFINITY);
  const count = number('x-dedup-count-max', Number.POSITIVE_INFINITY);
  const keeps = args['x-dead-letter-strategy'] === 'at-least-once';
  return {
    maxPriority: number('x-max-priority', 0),
    ttlMs: number('x-message-ttl', Number.POSITIVE_INFINITY),
    expiresMs: number('x-expires', Number.POSITIVE_INFINITY),
    maxLength: number('x-ring-size', number('x-max-length', Number.POSITIVE_INFINITY)),
    maxBytes: number('x-max-length-bytes', Number.POSITIVE_INFINITY),
    isRing: args['x-ring-size'] !== undefined,
    keepsLast: args['x-last-value-key'] !== undefined,
    dedup:
      windowMs === Number.POSITIVE_INFINITY && count === Number.POSITIVE_INFINITY ? undefined : { windowMs, count },
    overflow: (args['x-overflow'] as ModelRules['overflow'] | undefined) ?? 'drop-head',
    deliveryLimit: limit < 0 ? Number.POSITIVE_INFINITY : limit,
    retry: {
      type,
      minMs: number('x-delayed-retry-min', 0),
      maxMs: number('x-delayed-retry-max', Number.POSITIVE_INFINITY),
    },
    singleActive: args['x-single-active-consumer'] === true,
    deadLetter: exchange === undefined ? undefined : { exchange, key, keeps },
  };
}

/** The arguments of a queue: any subset of the rules there are. */
export function drawArguments(prng: Prng): Arguments {
  const args: { [name: string]: string | number | boolean } = {};
  if (prng.chance(0.4)) args['x-max-priority'] = prng.pick([1, 3, 9, 255]);
  if (prng.chance(0.25)) args['x-message-ttl'] = prng.chance(0.1) ? 0 : prng.between(5, 120);
  if (prng.chance(0.35)) {
    const overflow = prng.pick(['drop-head', 'drop-head', 'reject-publish', 'reject-publish-dlx']);
    args['x-overflow'] = overflow;
    // One that never takes anything would make others keep their dead letters for ever.
    const isInBytes = prng.chance(0.35);
    if (!isInBytes || prng.chance(0.4)) args['x-max-length'] = prng.between(overflow === 'drop-head' ? 0 : 1, 12);
    if (isInBytes) {
      args['x-max-length-bytes'] = overflow === 'drop-head' ? prng.between(0, 2000) : prng.between(8000, 12_000);
    }
  } else if (prng.chance(0.08)) args['x-ring-size'] = prng.between(1, 12);
  if (prng.chance(0.15)) {
    if (prng.chance(0.7)) args['x-dedup-count-max'] = prng.between(1, 20);
    if (prng.chance(0.5) || args['x-dedup-count-max'] === undefined) args['x-dedup-window-ms'] = prng.between(5, 300);
  }
  if (args['x-overflow'] === undefined && args['x-ring-size'] === undefined && prng.chance(0.12)) {
    args['x-last-value-key'] = 'slot';
  }
  if (prng.chance(0.25)) args['x-delivery-limit'] = prng.between(0, 3);
  if (prng.chance(0.2)) {
    args['x-delayed-retry-type'] = prng.pick(['all', 'failed', 'returned']);
    args['x-delayed-retry-min'] = prng.between(1, 40);
    args['x-delayed-retry-max'] = prng.between(40, 100);
  }
  if (prng.chance(0.07)) args['x-expires'] = prng.between(20, 300);
  if (prng.chance(0.12)) args['x-single-active-consumer'] = true;
  if (prng.chance(0.6)) drawDeadLetters(prng, args);
  return args;
}

/** Other rules for a queue that lives, by names without `x-`; what they stand in for, its arguments say. */
export function drawLiveRules(prng: Prng): Arguments {
  const rules: { [name: string]: string | number | boolean } = {};
  if (prng.chance(0.4)) rules['message-ttl'] = prng.between(5, 120);
  if (prng.chance(0.4)) rules['delivery-limit'] = prng.between(0, 3);
  if (prng.chance(0.4)) rules['max-priority'] = prng.pick([1, 5, 255]);
  if (prng.chance(0.3)) rules['dead-letter-routing-key'] = prng.pick(QUEUE_NAMES);
  if (prng.chance(0.3)) rules['max-length'] = prng.between(1, 12);
  if (prng.chance(0.2)) rules['max-length-bytes'] = prng.between(100, 2000);
  return rules;
}

function drawDeadLetters(prng: Prng, args: { [name: string]: string | number | boolean }): void {
  args['x-dead-letter-exchange'] = prng.chance(0.05) ? 'nowhere' : '';
  if (prng.chance(0.85)) args['x-dead-letter-routing-key'] = prng.pick(QUEUE_NAMES);
  const overflow = args['x-overflow'] ?? 'reject-publish';
  const keeps = prng.chance(0.25) && overflow === 'reject-publish';
  if (keeps) args['x-dead-letter-strategy'] = 'at-least-once';
}
