/**
 * The routing of one virtual host: exchanges, the bindings between them and to queues and taps, and the answer to "where
 * does a message with this key go". Answers are cached until the topology changes; asking again costs a comparison.
 *
 * Generic over queue `Q`, tap `T` and exchange `E`, so that nothing here imports the broker's own classes.
 */
import type { Arguments, ExchangeKindName } from '../door.ts';
import type { Pattern, RoutingKey } from '../message.ts';
import type { Bound, HeaderSource } from './exchange.ts';
import { bindingIdentity } from './pattern.ts';

/** Where a binding leads: `{ kind: 'queue', target }`, ... */
export type Destination<Q, T, E> =
  | { readonly kind: 'queue'; readonly target: Q }
  | { readonly kind: 'tap'; readonly target: T }
  | { readonly kind: 'exchange'; readonly target: E };

export type Binding<Q, T, E> = Bound & Destination<Q, T, E> & { readonly source: E };

/** The answer: each queue and each tap once, however many bindings led to it. Shared and cached: do not change it. */
export interface Route<Q, T> {
  /** Valid while it equals `router.version`; -1 for a route that depends on headers and is good for one message only. */
  readonly version: number;
  readonly queues: readonly Q[];
  readonly taps: readonly T[];
}

/** What the router must know of an exchange; the broker's own class has more. None of it may change while it is added. */
export interface RoutedExchange {
  readonly name: string;
  readonly kind: ExchangeKindName;
  /** Exchange that gets what this one cannot route; ignored while there is none of that name. */
  readonly alternate?: string | undefined;
}

export interface RouterOptions<Q> {
  /** The queue of a name: where the default exchange (name '') routes, by the text of the key. */
  readonly findQueue: (name: string) => Q | undefined;
  readonly routeCacheEntriesMax: number;
  readonly exchangeHopsMax: number;
}
void bindingIdentity;

export class Router<Q extends object, T extends object, E extends RoutedExchange> {
  /** Grows with every change of exchanges, bindings and (see `changed`) queues. */
  version = 0;

  constructor(options: RouterOptions<Q>) {
    void options;
  }

  /** To be called when a queue was made or is gone: the default exchange routes by their names. */
  changed(): void {
    this.version++;
  }

  add(exchange: E): void {
    void exchange;
  }

  /** The exchange of a name; undefined when there is none. '' is the default exchange when one was added. */
  get(name: string): E | undefined {
    void name;
    return undefined;
  }

  /** Number of bindings that start at an exchange. */
  bindingCount(exchange: E): number {
    void exchange;
    return 0;
  }

  /** Number of bindings in all. */
  get bindings(): number {
    return 0;
  }

  exchanges(): IterableIterator<E> {
    return [][Symbol.iterator]();
  }

  /** Take an exchange out with every binding from and to it; answers those bindings. */
  delete(exchange: E): Binding<Q, T, E>[] {
    void exchange;
    return [];
  }

  /** Bind; answers undefined when that binding was there already. Throws CoreError `invalid-argument` (arguments). */
  bind(source: E, to: Destination<Q, T, E>, pattern: Pattern, args: Arguments): Binding<Q, T, E> | undefined {
    void [source, to, pattern, args];
    return undefined;
  }

  /** Unbind; answers the binding, or undefined when there was none. */
  unbind(source: E, target: Q | T | E, pattern: Pattern, args: Arguments): Binding<Q, T, E> | undefined {
    void [source, target, pattern, args];
    return undefined;
  }

  /** Take out every binding that leads to a target (a queue or tap that goes away); answers them. */
  unbindAll(target: Q | T | E): Binding<Q, T, E>[] {
    void target;
    return [];
  }

  /** The bindings that lead to a target, for listings. */
  bindingsOf(target: Q | T | E): Binding<Q, T, E>[] {
    void target;
    return [];
  }

  /** Where a message published to `exchange` with `key` goes. Throws CoreError `not-found` when the exchange is gone.
   * `headers` is called only if a headers exchange is met. */
  route(exchange: E, key: RoutingKey, headers?: HeaderSource): Route<Q, T> {
    void [exchange, key, headers];
    return { version: this.version, queues: [], taps: [] };
  }
}
