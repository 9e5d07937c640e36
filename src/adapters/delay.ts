/** When a message is to be delivered, as publishers say it: in so many milliseconds, at a time, or by a level; and what waits. */
import { type Broker, CoreError, DELAY_MS_MAX, type DelayedInfo, delayOfLevel } from '../core/index.ts';

/** What was said; at most one of them. Values are not checked yet. */
export interface Delay {
  readonly delayMs: unknown;
  /** Milliseconds since 1970. */
  readonly deliverAtMs: unknown;
  readonly level: unknown;
}

/** What the protocol calls them, for error texts. */
export type DelayNames = Readonly<Record<keyof Delay, string>>;

/** The time for `Message.deliverAtMs`: 0 when nothing is said, or no delay. Throws `invalid-argument`. */
export function deliverAt(broker: Broker, said: Delay, names: DelayNames, nowMs: number): number {
  const { delayMs, deliverAtMs, level } = said;
  const given = (['delayMs', 'deliverAtMs', 'level'] as const).filter((member) => said[member] !== undefined);
  if (given.length > 1) {
    throw new CoreError(
      'invalid-argument',
      `only one of ${given.map((member) => names[member]).join(', ')} can be given`,
    );
  }
  if (deliverAtMs !== undefined) return whole(names.deliverAtMs, deliverAtMs, Number.MAX_SAFE_INTEGER);
  const waitMs =
    level === undefined
      ? whole(names.delayMs, delayMs ?? 0, DELAY_MS_MAX)
      : delayOfLevel(broker.delayLevelsMs, whole(names.level, level, Number.MAX_SAFE_INTEGER));
  return waitMs === 0 ? 0 : nowMs + waitMs;
}

/** A message that waits, as JSON protocols show it. */
export function delayedJson({ handle, dueMs, priority, bytes, durable }: DelayedInfo): object {
  return { handle, due_ms: dueMs, priority, bytes, persistent: durable };
}

/** Integers of 64 bits may come as bigint. */
function whole(name: string, value: unknown, max: number): number {
  const number = typeof value === 'bigint' ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 && number <= max) return number;
  const kind = typeof value;
  const shown = kind === 'number' || kind === 'bigint' ? value : kind === 'object' ? 'an object' : `a ${kind}`;
  throw new CoreError('invalid-argument', `${name} must be a whole number from 0 to ${max}, not ${shown}`);
}
