import type { RoutingKey } from '../message.ts';
import type { Bound, ExchangeKind, HeaderSource } from './exchange.ts';

export class TopicExchange<B extends Bound> implements ExchangeKind<B> {
  readonly size = 0;
  readonly usesHeaders = false;
  add(binding: B): void {
    void binding;
  }
  remove(binding: B): boolean {
    void binding;
    return false;
  }
  match(key: RoutingKey, headers: HeaderSource | undefined, out: B[]): void {
    void [key, headers, out];
  }
  all(): IterableIterator<B> {
    return [][Symbol.iterator]();
  }
}
