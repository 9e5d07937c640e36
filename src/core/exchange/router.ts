/**
 * The routing of one virtual host: exchanges, the bindings between them and to queues and taps, and the answer to "where
 * does a message with this key go". Answers are cached until the topology changes; asking again costs a comparison. Where
 * bindings with filters are on the way, what is cached is which filters to ask and where their answers lead.
 *
 * Generic over queue `Q`, topic `P`, tap `T` and exchange `E`, so that nothing here imports the broker's own classes.
 */
import assert from 'node:assert/strict';
import type { Arguments, ExchangeKindName } from '../door.ts';
import { CoreError } from '../errors.ts';
import type { BindingFilter } from '../filter/binding.ts';
import type { Pattern, RoutingKey } from '../message.ts';
import { Roster, type Rostered } from '../roster.ts';
import { type Bound, createKind, type ExchangeKind, type HeaderSource } from './exchange.ts';
import { bindingIdentity } from './pattern.ts';
import { type Cached, Choice, Questions } from './questions.ts';

/** Where a binding leads: `{ kind: 'queue', target }`, ... */
export type Destination<Q, P, T, E> =
  | { readonly kind: 'queue'; readonly target: Q }
  | { readonly kind: 'topic'; readonly target: P }
  | { readonly kind: 'tap'; readonly target: T }
  | { readonly kind: 'exchange'; readonly target: E };

export type Binding<Q, P, T, E> = Bound &
  Destination<Q, P, T, E> &
  Rostered<Binding<Q, P, T, E>> & {
    readonly source: E;
    /** What a message must pass beyond matching; undefined = nothing. */
    readonly filter: BindingFilter | undefined;
  };

/** The answer: each queue, topic and tap once, however many bindings led to it. Shared and cached: do not change it. */
export interface Route<Q, P, T> {
  /** Valid while it equals `router.version`; -1 for a route that depends on more than the key and is good for one message only. */
  readonly version: number;
  readonly queues: readonly Q[];
  readonly topics: readonly P[];
  readonly taps: readonly T[];
}

/** What the router must know of an exchange; the broker's own class has more. None of it may change while it is added. */
export interface RoutedExchange {
  readonly name: string;
  readonly kind: ExchangeKindName;
  /** Exchange that gets what this one cannot route; ignored while there is none of that name. */
  readonly alternate?: string | undefined;
}

export interface RouterOptions<Q, P> {
  /** The queue of a name: where the default exchange (name '') routes, by the text of the key. */
  readonly findQueue: (name: string) => Q | undefined;
  /** The same for topics. */
  readonly findTopic: (name: string) => P | undefined;
  readonly routeCacheEntriesMax: number;
  readonly exchangeHopsMax: number;
}
/** An exchange with its bindings and the routes found from it. */
class Node<Q, P, T, E extends RoutedExchange> {
  readonly exchange: E;
  readonly index: ExchangeKind<Binding<Q, P, T, E>>;
  /** Separator -> text of the key -> route. All of them valid: a change of topology empties the caches. */
  readonly cache = new Map<number, Map<string, Cached<Route<Q, P, T>>>>();
  /** Objects in it. */
  cached = 0;

  constructor(exchange: E) {
    this.exchange = exchange;
    this.index = createKind(exchange.kind);
  }
}

/** What a message found on its way. Sets, because several bindings may lead to one queue. */
interface Finding<Q, P, T, E extends RoutedExchange> {
  readonly queues: Set<Q>;
  readonly topics: Set<P>;
  readonly taps: Set<T>;
  readonly seen: Set<Node<Q, P, T, E>>;
  byHeaders: boolean;
}

/** The bindings that lead to one target: most have one. The map's keys are their identities. */
type Inbound<B> = B | Map<string, B>;

const DEFAULT_EXCHANGE = '';

export class Router<Q extends object, P extends object, T extends object, E extends RoutedExchange> {
  readonly #options: RouterOptions<Q, P>;
  readonly #nodes = new Map<string, Node<Q, P, T, E>>();
  readonly #inbound = new Map<Q | P | T | E, Inbound<Binding<Q, P, T, E>>>();
  /** Those with something in their cache. */
  readonly #caching = new Set<Node<Q, P, T, E>>();
  readonly #matched: Binding<Q, P, T, E>[] = [];
  readonly #questions = new Questions();
  /** Every binding. */
  readonly roster = new Roster<Binding<Q, P, T, E>>();
  #version = 0;
  #bindings = 0;

  constructor(options: RouterOptions<Q, P>) {
    this.#options = options;
  }

  /** Grows with every change of exchanges, bindings and (see `changed`) queues. */
  get version(): number {
    return this.#version;
  }

  /** Number of bindings in all. */
  get bindings(): number {
    return this.#bindings;
  }

  /** To be called when a queue was made or is gone: the default exchange routes by their names. */
  changed(): void {
    this.#version++;
    for (const node of this.#caching) {
      node.cache.clear();
      node.cached = 0;
    }
    this.#caching.clear();
  }

  /** Add an exchange. The caller has made sure that its name is free. The one named '' is the default exchange: it has no
   *  bindings and routes to the queue whose name is the text of the key. */
  add(exchange: E): void {
    assert(!this.#nodes.has(exchange.name), 'one exchange a name');
    this.#nodes.set(exchange.name, new Node(exchange));
    this.changed();
  }

  /** The exchange of a name; undefined when there is none. */
  get(name: string): E | undefined {
    return this.#nodes.get(name)?.exchange;
  }

  get size(): number {
    return this.#nodes.size;
  }

  *exchanges(): IterableIterator<E> {
    for (const node of this.#nodes.values()) yield node.exchange;
  }

  /** Number of bindings that start at an exchange. */
  bindingCount(exchange: E): number {
    return this.#nodes.get(exchange.name)?.index.size ?? 0;
  }

  /** Take an exchange out with every binding from and to it; answers those bindings. */
  delete(exchange: E): Binding<Q, P, T, E>[] {
    const node = this.#node(exchange);
    const gone = this.unbindAll(exchange);
    for (const binding of node.index.all()) {
      this.#forget(binding);
      this.roster.remove(binding);
      gone.push(binding);
      this.#bindings--;
    }
    this.#nodes.delete(exchange.name);
    this.changed();
    return gone;
  }

  /**
   * Bind; answers undefined when that binding was there already.
   * @param filter what `args` ask for: `bindingFilter`
   * @throws CoreError `not-found` (the source is gone), `invalid-argument` (arguments the kind of exchange cannot use)
   */
  bind(
    source: E,
    to: Destination<Q, P, T, E>,
    pattern: Pattern,
    args: Arguments,
    filter?: BindingFilter,
  ): Binding<Q, P, T, E> | undefined {
    assert(source.name !== DEFAULT_EXCHANGE, 'the default exchange has no bindings');
    const node = this.#node(source);
    if (this.#find(source, to.target, pattern, args) !== undefined) return undefined;
    const binding: Binding<Q, P, T, E> = {
      ...to,
      source,
      pattern,
      arguments: args,
      filter,
      older: undefined,
      newer: undefined,
    };
    node.index.add(binding);
    this.#remember(binding);
    this.roster.add(binding);
    this.#bindings++;
    this.changed();
    return binding;
  }

  /** Unbind; answers the binding, or undefined when there was none. */
  unbind(source: E, target: Q | P | T | E, pattern: Pattern, args: Arguments): Binding<Q, P, T, E> | undefined {
    const binding = this.#find(source, target, pattern, args);
    if (binding === undefined) return undefined;
    this.#forget(binding);
    this.#node(source).index.remove(binding);
    this.roster.remove(binding);
    this.#bindings--;
    this.changed();
    return binding;
  }

  /** Take out every binding that leads to a target (a queue or tap that goes away); answers them. */
  unbindAll(target: Q | P | T | E): Binding<Q, P, T, E>[] {
    const gone = this.bindingsTo(target);
    if (gone.length === 0) return gone;
    for (const binding of gone) {
      this.#node(binding.source).index.remove(binding);
      this.roster.remove(binding);
    }
    this.#inbound.delete(target);
    this.#bindings -= gone.length;
    this.changed();
    return gone;
  }

  /** The bindings that lead to a target, for listings. */
  bindingsTo(target: Q | P | T | E): Binding<Q, P, T, E>[] {
    const inbound = this.#inbound.get(target);
    if (inbound === undefined) return [];
    return inbound instanceof Map ? [...inbound.values()] : [inbound];
  }

  /** The bindings that start at an exchange, for listings. */
  bindingsFrom(source: E): Binding<Q, P, T, E>[] {
    return this.#nodes.get(source.name)?.index.all() ?? [];
  }

  /**
   * Where a message published to `exchange` with `key` goes.
   * @param headers called at most once, and only when a headers exchange or a binding with a filter is met
   * @param receivedAtMs wall-clock milliseconds when the broker took the message, for filters
   * @throws CoreError `not-found` when the exchange is gone
   */
  route(exchange: E, key: RoutingKey, headers?: HeaderSource, receivedAtMs = 0): Route<Q, P, T> {
    const node = this.#node(exchange);
    const known = node.cache.get(key.separator)?.get(key.text);
    if (known !== undefined && !(known instanceof Choice)) return known;
    const questions = this.#questions;
    questions.begin(exchange.name, key, headers, receivedAtMs);
    try {
      return (known && questions.find(known)) ?? this.#resolve(node, key, known);
    } finally {
      this.#matched.length = 0;
      questions.end();
    }
  }

  #node(exchange: E): Node<Q, P, T, E> {
    const node = this.#nodes.get(exchange.name);
    if (node?.exchange !== exchange) throw new CoreError('not-found', `exchange '${exchange.name}'`);
    return node;
  }

  /** Breadth first, so that `exchangeHopsMax` cuts the longest ways. A way back to an exchange already seen ends there. */
  #resolve(start: Node<Q, P, T, E>, key: RoutingKey, known: Choice<Route<Q, P, T>> | undefined): Route<Q, P, T> {
    const finding: Finding<Q, P, T, E> = {
      queues: new Set(),
      topics: new Set(),
      taps: new Set(),
      seen: new Set([start]),
      byHeaders: false,
    };
    let frontier = [start];
    for (let hops = 0; frontier.length > 0 && hops <= this.#options.exchangeHopsMax; hops++) {
      const next: Node<Q, P, T, E>[] = [];
      for (const node of frontier) this.#visit(node, key, finding, next);
      frontier = next;
    }
    const byKey = !finding.byHeaders && !this.#questions.any;
    const { queues, topics, taps } = finding;
    const version = byKey ? this.#version : -1;
    const route = { version, queues: [...queues], topics: [...topics], taps: [...taps] };
    if (!finding.byHeaders) this.#keep(start, key, known, route);
    return route;
  }

  /** Ask one exchange, and note what its bindings lead to; where it has none that match, its alternate is next. */
  #visit(node: Node<Q, P, T, E>, key: RoutingKey, finding: Finding<Q, P, T, E>, next: Node<Q, P, T, E>[]): void {
    const { exchange, index } = node;
    const questions = this.#questions;
    let matches = 0;
    if (exchange.name === DEFAULT_EXCHANGE) {
      const queue = this.#options.findQueue(key.text);
      const topic = this.#options.findTopic(key.text);
      if (queue !== undefined) finding.queues.add(queue);
      if (topic !== undefined) finding.topics.add(topic);
      if (queue !== undefined || topic !== undefined) matches++;
    }
    const matched = this.#matched;
    index.match(key, questions.headers, matched);
    if (index.usesHeaders) finding.byHeaders = true;
    for (const binding of matched) {
      if (binding.filter !== undefined && !questions.passes(binding.filter)) continue;
      matches++;
      if (binding.kind === 'queue') finding.queues.add(binding.target);
      else if (binding.kind === 'tap') finding.taps.add(binding.target);
      else if (binding.kind === 'topic') finding.topics.add(binding.target);
      else this.#goOn(binding.target.name, finding, next);
    }
    matched.length = 0;
    if (matches === 0 && exchange.alternate !== undefined) this.#goOn(exchange.alternate, finding, next);
  }

  #goOn(name: string, finding: Finding<Q, P, T, E>, next: Node<Q, P, T, E>[]): void {
    const node = this.#nodes.get(name);
    if (node === undefined || finding.seen.has(node)) return;
    finding.seen.add(node);
    next.push(node);
  }

  #keep(
    node: Node<Q, P, T, E>,
    key: RoutingKey,
    known: Choice<Route<Q, P, T>> | undefined,
    route: Route<Q, P, T>,
  ): void {
    if (node.cached >= this.#options.routeCacheEntriesMax) {
      node.cache.clear();
      node.cached = 0;
      known = undefined;
    }
    const { tree, grownBy } = this.#questions.remember(known, route);
    let routes = node.cache.get(key.separator);
    if (routes === undefined) {
      routes = new Map();
      node.cache.set(key.separator, routes);
    }
    routes.set(key.text, tree);
    node.cached += grownBy;
    this.#caching.add(node);
  }

  #find(source: E, target: Q | P | T | E, pattern: Pattern, args: Arguments): Binding<Q, P, T, E> | undefined {
    const inbound = this.#inbound.get(target);
    if (inbound === undefined) return undefined;
    const identity = bindingIdentity(source.name, '', pattern, args);
    if (inbound instanceof Map) return inbound.get(identity);
    return identityOf(inbound) === identity ? inbound : undefined;
  }

  #remember(binding: Binding<Q, P, T, E>): void {
    const inbound = this.#inbound.get(binding.target);
    if (inbound === undefined) {
      this.#inbound.set(binding.target, binding);
    } else if (inbound instanceof Map) {
      inbound.set(identityOf(binding), binding);
    } else {
      const both = new Map([
        [identityOf(inbound), inbound],
        [identityOf(binding), binding],
      ]);
      this.#inbound.set(binding.target, both);
    }
  }

  #forget(binding: Binding<Q, P, T, E>): void {
    const inbound = this.#inbound.get(binding.target);
    if (inbound instanceof Map) inbound.delete(identityOf(binding));
    if (inbound === binding || (inbound instanceof Map && inbound.size === 0)) this.#inbound.delete(binding.target);
  }
}

/** Identity among the bindings of one target. */
function identityOf<Q, P, T, E extends RoutedExchange>(binding: Binding<Q, P, T, E>): string {
  return bindingIdentity(binding.source.name, '', binding.pattern, binding.arguments);
}
