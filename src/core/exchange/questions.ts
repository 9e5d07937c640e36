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

/** A filter to ask, and where each answer leads. */
export class Choice<R extends object> {
  readonly filter: BindingFilter;
  #passed: Cached<R> | undefined = undefined;
  #refused: Cached<R> | undefined = undefined;

  constructor(filter: BindingFilter) {
    this.filter = filter;
  }

  /** What comes after an answer; undefined where no message has gone yet. */
  after(passed: boolean): Cached<R> | undefined {
    return passed ? this.#passed : this.#refused;
  }

  lead(passed: boolean, to: Cached<R>): void {
    if (passed) this.#passed = to;
    else this.#refused = to;
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
  /** Filters asked, in order, and what each said. */
  readonly #asked: BindingFilter[] = [];
  readonly #answers: boolean[] = [];
  /** The same by `identity`, only while a tree is left: on it no question comes twice. */
  readonly #byIdentity = new Map<string, boolean>();
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
    this.#answers.length = 0;
    if (this.#byIdentity.size > 0) this.#byIdentity.clear();
  }

  /** Whether any filter was asked. */
  get any(): boolean {
    return this.#asked.length > 0;
  }

  /** Whether a filter lets the message pass. */
  passes(filter: BindingFilter): boolean {
    const known = this.#byIdentity.get(filter.identity);
    if (known !== undefined) return known;
    const answer = this.#ask(filter);
    this.#byIdentity.set(filter.identity, answer);
    return answer;
  }

  /** Walk down a tree as far as it goes. */
  find<R extends object>(tree: Choice<R>): R | undefined {
    let at: Cached<R> | undefined = tree;
    while (at instanceof Choice) at = at.after(this.#ask(at.filter));
    if (at !== undefined) return at;
    for (const [n, filter] of this.#asked.entries()) this.#byIdentity.set(filter.identity, this.#answers[n] as boolean);
    return undefined;
  }

  #ask(filter: BindingFilter): boolean {
    this.#source ??= this.#makeSource();
    const answer = filter.matches(this.#source);
    this.#asked.push(filter);
    this.#answers.push(answer);
    return answer;
  }

  /**
   * Remember what the questions asked so far have led to.
   * @param tree what is remembered already
   * @returns the tree with it, and by how many objects it grew
   */
  remember<R extends object>(tree: Choice<R> | undefined, route: R): { tree: Cached<R>; grownBy: number } {
    const first = this.#asked[0];
    if (first === undefined) return { tree: route, grownBy: 1 };
    const root = tree ?? new Choice<R>(first);
    let grownBy = tree === undefined ? 2 : 1;
    let at = root;
    const last = this.#asked.length - 1;
    for (let n = 0; n < last; n++) {
      const answer = this.#answers[n] as boolean;
      const filter = this.#asked[n + 1] as BindingFilter;
      let next = at.after(answer);
      if (next === undefined) {
        next = new Choice<R>(filter);
        at.lead(answer, next);
        grownBy++;
      }
      assert(next instanceof Choice && next.filter.identity === filter.identity, 'the same answers, another question');
      at = next;
    }
    at.lead(this.#answers[last] as boolean, route);
    return { tree: root, grownBy };
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
