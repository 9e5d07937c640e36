import type { RoutingKey } from '../message.ts';
import type { Bound, ExchangeKind, HeaderSource } from './exchange.ts';

/** Fanout: a message takes every binding, whatever its key (AMQP 0-9-1, 3.1.3.2). */
export class FanoutExchange<B extends Bound> implements ExchangeKind<B> {
  readonly usesHeaders = false;
  readonly #bindings = new Set<B>();

  get size(): number {
    return this.#bindings.size;
  }

  add(binding: B): void {
    this.#bindings.add(binding);
  }

  remove(binding: B): boolean {
    return this.#bindings.delete(binding);
  }

  match(_key: RoutingKey, _headers: HeaderSource | undefined, out: B[]): void {
    for (const binding of this.#bindings) out.push(binding);
  }

  all(): B[] {
    return [...this.#bindings];
  }
}
