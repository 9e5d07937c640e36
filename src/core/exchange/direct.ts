import type { RoutingKey } from '../message.ts';
import { type Bag, bagAdd, bagHas, bagInto, bagRemove } from './bag.ts';
import type { Bound, ExchangeKind, HeaderSource } from './exchange.ts';
import { canonicalKey } from './pattern.ts';

/**
 * Direct: a message takes the bindings whose text has the same levels as its key (AMQP 0-9-1, 3.1.3.1). Wildcard characters
 * in a binding mean themselves here.
 */
export class DirectExchange<B extends Bound> implements ExchangeKind<B> {
  readonly usesHeaders = false;
  readonly #byKey = new Map<string, Bag<B>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(binding: B): void {
    const key = bindingKey(binding);
    this.#byKey.set(key, bagAdd(this.#byKey.get(key), binding));
    this.#size++;
  }

  remove(binding: B): boolean {
    const key = bindingKey(binding);
    const bag = this.#byKey.get(key);
    if (!bagHas(bag, binding)) return false;
    const left = bagRemove(bag, binding);
    if (left === undefined) this.#byKey.delete(key);
    else this.#byKey.set(key, left);
    this.#size--;
    return true;
  }

  match(key: RoutingKey, _headers: HeaderSource | undefined, out: B[]): void {
    bagInto(this.#byKey.get(canonicalKey(key.levels)), out);
  }

  all(): B[] {
    const out: B[] = [];
    for (const bag of this.#byKey.values()) bagInto(bag, out);
    return out;
  }
}

function bindingKey(binding: Bound): string {
  const { text, separator } = binding.pattern;
  return text === '' ? '' : canonicalKey(text.split(String.fromCharCode(separator)));
}
