import { type Arguments, FILTER_ARGUMENT, FILTER_TAGS_ARGUMENT } from '../door.ts';
import { CoreError } from '../errors.ts';
import type { HubProperties, HubValue, RoutingKey } from '../message.ts';
import type { Bound, ExchangeKind, HeaderSource } from './exchange.ts';

/** What a binding asks of the headers, worked out once. */
interface Condition {
  /** True: every wanted header must be there; false: one is enough. */
  readonly every: boolean;
  readonly wanted: readonly (readonly [name: string, value: HubValue])[];
}

type Headers = ReadonlyMap<string, HubValue>;

/** `x-match` -> every header or any; and whether names that start with `x-` take part. */
const MODES: ReadonlyMap<HubValue, { every: boolean; withX: boolean }> = new Map([
  ['all', { every: true, withX: false }],
  ['any', { every: false, withX: false }],
  ['all-with-x', { every: true, withX: true }],
  ['any-with-x', { every: false, withX: true }],
]);

const MODE_ARGUMENT = 'x-match';
/** Arguments that name no header, in any mode. */
const NO_HEADER: ReadonlySet<string> = new Set([MODE_ARGUMENT, FILTER_ARGUMENT, FILTER_TAGS_ARGUMENT]);
const NO_HEADERS: Headers = new Map();

/**
 * Headers: a message takes the bindings whose arguments are found among its headers (AMQP 0-9-1, 3.1.3.4); the key plays no
 * part. A wanted value of null asks only that the header is there. Values are equal when type and content are: `1` is not
 * `'1'`. Every binding is looked at for every message.
 */
export class HeadersExchange<B extends Bound> implements ExchangeKind<B> {
  readonly #bindings = new Map<B, Condition>();

  get size(): number {
    return this.#bindings.size;
  }

  get usesHeaders(): boolean {
    return this.#bindings.size > 0;
  }

  add(binding: B): void {
    this.#bindings.set(binding, conditionOf(binding.arguments));
  }

  remove(binding: B): boolean {
    return this.#bindings.delete(binding);
  }

  match(_key: RoutingKey, headers: HeaderSource | undefined, out: B[]): void {
    if (this.#bindings.size === 0) return;
    const given = headers === undefined ? NO_HEADERS : headersOf(headers());
    for (const [binding, condition] of this.#bindings) if (holds(condition, given)) out.push(binding);
  }

  all(): B[] {
    return [...this.#bindings.keys()];
  }
}

function conditionOf(args: Arguments): Condition {
  const asked = args[MODE_ARGUMENT];
  const mode = MODES.get(asked === undefined ? 'all' : asked);
  if (mode === undefined) {
    throw new CoreError('invalid-argument', `${MODE_ARGUMENT} must be one of ${[...MODES.keys()].join(', ')}`);
  }
  const wanted = Object.entries(args).filter(
    ([name]) => !NO_HEADER.has(name) && (mode.withX || !name.startsWith('x-')),
  );
  return { every: mode.every, wanted };
}

/** Headers by name, the first of a name; the same as `hubHeader` finds. */
function headersOf(hub: HubProperties): Headers {
  const headers = new Map<string, HubValue>();
  for (const [name, value] of hub.application) if (!headers.has(name)) headers.set(name, value);
  for (const [name, value] of hub.annotations) if (!headers.has(name)) headers.set(name, value);
  return headers;
}

function holds(condition: Condition, given: Headers): boolean {
  for (const [name, value] of condition.wanted) {
    const there = given.get(name);
    const found = there !== undefined && (value === null || sameValue(value, there));
    if (found !== condition.every) return found;
  }
  return condition.every;
}

/** Equal in type and content. Integers of different width are one type. */
export function sameValue(a: HubValue, b: HubValue): boolean {
  if (a === b) return true;
  if (typeof a === 'bigint' || typeof b === 'bigint') return isNumber(a) && isNumber(b) && BigInt(a) === BigInt(b);
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false;
  if (Buffer.isBuffer(a) || Buffer.isBuffer(b)) return Buffer.isBuffer(a) && Buffer.isBuffer(b) && a.equals(b);
  if (a instanceof Date || b instanceof Date) {
    return a instanceof Date && b instanceof Date && a.getTime() === b.getTime();
  }
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, at) => sameValue(item, b[at] as HubValue));
  }
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every((name) => Object.hasOwn(b, name) && sameValue(a[name] as HubValue, b[name] as HubValue));
}

/** A number `BigInt` takes: not a fraction, not infinite. */
function isNumber(value: HubValue): value is number | bigint {
  return typeof value === 'bigint' || Number.isInteger(value);
}
