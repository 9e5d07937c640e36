/**
 * What an exchange kind is: an index of bindings, asked which of them a message takes. Pure data structures: no queue, no
 * journal, no clock. One file a kind, all of this shape; `createKind` is their table.
 */
import type { Arguments, ExchangeKindName } from '../door.ts';
import type { HubProperties, Pattern, RoutingKey } from '../message.ts';
import { DirectExchange } from './direct.ts';
import { FanoutExchange } from './fanout.ts';
import { HeadersExchange } from './headers.ts';
import { TopicExchange } from './topic.ts';

/** What a kind needs to know of a binding. Where it leads is the router's business. */
export interface Bound {
  readonly pattern: Pattern;
  readonly arguments: Arguments;
}

/** Gives the properties of the message being routed. Called at most once a message and exchange, and only when asked for. */
export type HeaderSource = () => HubProperties;

export interface ExchangeKind<B extends Bound> {
  /** Number of bindings. */
  readonly size: number;
  /** True when what matches depends on the headers, not on the key alone: such routes cannot be cached. */
  readonly usesHeaders: boolean;
  /** Index a binding. The caller has made sure that the same object is not in it. Throws CoreError `invalid-argument`
   *  when the kind cannot use its arguments; the index is unchanged then. */
  add(binding: B): void;
  /** Take out that very object; false when it was not in the index. */
  remove(binding: B): boolean;
  /** Append every matching binding to `out`, each once, in no promised order. Without `headers` a message has none. */
  match(key: RoutingKey, headers: HeaderSource | undefined, out: B[]): void;
  /** Every binding, for listings. */
  all(): B[];
}

export function createKind<B extends Bound>(name: ExchangeKindName): ExchangeKind<B> {
  switch (name) {
    case 'direct':
      return new DirectExchange<B>();
    case 'fanout':
      return new FanoutExchange<B>();
    case 'topic':
      return new TopicExchange<B>();
    case 'headers':
      return new HeadersExchange<B>();
  }
}
