/**
 * Routes that depend on filters. Which filters are asked, and in which order, is settled by the key and by the answers so far;
 * so the routes of a key form a tree of questions that grows with the answers met. A message walks down the tree: it costs its
 * filters, and no search.
 */
import assert from 'node:assert/strict';
import type { BindingFilter } from '../filter/binding.ts';
import type { FilterSource } from '../filter/filter.ts';
import { hubSource } from '../filter/source.ts';
import type { HubProperties, RoutingKey } from '../message.ts';
import type { HeaderSource } from './exchange.ts';

/** A filter to ask, and where each answer leads: `undefined` where no message has gone yet. */
export class Choice<R extends object> {
  readonly filter: BindingFilter;
  passed: Cached<R> | undefined = undefined;
  refused: Cached<R> | undefined = undefined;

  constructor(filter: BindingFilter) {
    this.filter = filter;
  }
}

/** What is remembered for a key: where it leads, or the first question about it. */
export type Cached<R extends object> = R | Choice<R>;

/** What a filter sees of a message that came without properties. */
const NO_PROPERTIES: HubProperties = { durable: false, annotations: new Map(), application: [] };

/**
 * What routing has asked about one message. Its properties are decoded at most once, and only when something needs them; filters
 * that were written the same are asked once. One object serves all messages, one after the other.
 */
export class Questions {
  /** The message's properties, for exchanges. */
  readonly headers: HeaderSource = () => this.#properties();
  readonly #asked: BindingFilter[] = [];
  readonly #answers = new Map<string, boolean>();
  #exchange = '';
  #key: RoutingKey | undefined;
  #receivedAtMs = 0;
  #decode: HeaderSource | undefined;
  #hub: HubProperties | undefined;
  #source: FilterSource | undefined;

  begin(exchange: string, key: RoutingKey, decode: HeaderSource | undefined, receivedAtMs: number): void {
    this.#exchange = exchange;
    this.#key = key;
    this.#decode = decode;
    this.#receivedAtMs = receivedAtMs;
  }

  /** Keep nothing of the message. */
  end(): void {
    this.#key = undefined;
    this.#decode = undefined;
    this.#hub = undefined;
    this.#source = undefined;
    if (this.#asked.length === 0) return;
    this.#asked.length = 0;
    this.#answers.clear();
  }

  /** Whether any filter was asked. */
  get any(): boolean {
    return this.#asked.length > 0;
  }

  /** Whether a filter lets the message pass. */
  passes(filter: BindingFilter): boolean {
    const known = this.#answers.get(filter.identity);
    if (known !== undefined) return known;
    this.#source ??= this.#makeSource();
    const answer = filter.matches(this.#source);
    this.#answers.set(filter.identity, answer);
    this.#asked.push(filter);
    return answer;
  }

  /** Walk down a tree as far as it goes. */
  find<R extends object>(tree: Choice<R>): R | undefined {
    let at: Cached<R> | undefined = tree;
    while (at instanceof Choice) at = this.passes(at.filter) ? at.passed : at.refused;
    return at;
  }

  /**
   * Remember what the questions asked so far have led to.
   * @param tree what is remembered already
   * @returns the tree with it, and by how many objects it grew
   */
  remember<R extends object>(tree: Choice<R> | undefined, route: R): { tree: Cached<R>; grownBy: number } {
    const [first, ...others] = this.#asked;
    if (first === undefined) return { tree: route, grownBy: 1 };
    const root = tree ?? new Choice<R>(first);
    let grownBy = tree === undefined ? 2 : 1;
    let at = root;
    for (const filter of others) {
      let next = this.#answer(at) ? at.passed : at.refused;
      if (next === undefined) {
        next = new Choice<R>(filter);
        grownBy++;
        this.#lead(at, next);
      }
      assert(next instanceof Choice && next.filter.identity === filter.identity, 'the same answers, another question');
      at = next;
    }
    this.#lead(at, route);
    return { tree: root, grownBy };
  }

  #answer(choice: Choice<object>): boolean {
    return this.#answers.get(choice.filter.identity) as boolean;
  }

  #lead<R extends object>(choice: Choice<R>, to: Cached<R>): void {
    if (this.#answer(choice)) choice.passed = to;
    else choice.refused = to;
  }

  #properties(): HubProperties {
    this.#hub ??= this.#decode?.() ?? NO_PROPERTIES;
    return this.#hub;
  }

  #makeSource(): FilterSource {
    const facts = { key: this.#key?.text ?? '', exchange: this.#exchange, receivedAtMs: this.#receivedAtMs };
    return hubSource(this.#properties(), facts);
  }
}
