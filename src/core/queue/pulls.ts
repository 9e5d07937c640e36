/**
 * The subscriptions of a queue that are no consumers: those that take single messages when asked, and cancelled ones that keep
 * what they have. And whoever waits for the end of what there is, consumer or not.
 */
import type { Subscription } from '../subscription.ts';
import { Consumers } from './consumers.ts';

export class Pulls {
  /** Those that have credit now: served before the consumers, and counted nowhere. */
  readonly #ready = new Consumers();
  #all: Set<Subscription> | undefined;
  #draining: Subscription[] = [];

  /** Subscriptions that would take a message now. */
  get waiting(): number {
    return this.#ready.count;
  }

  get draining(): boolean {
    return this.#draining.length > 0;
  }

  pick(): Subscription | undefined {
    return this.#ready.pick();
  }

  keep(subscription: Subscription): void {
    this.#all ??= new Set();
    this.#all.add(subscription);
  }

  forget(subscription: Subscription): void {
    this.#all?.delete(subscription);
  }

  all(): Iterable<Subscription> {
    return this.#all ?? [];
  }

  /** It has credit and would take. */
  wants(subscription: Subscription): void {
    this.#ready.add(subscription);
  }

  wantsNoMore(subscription: Subscription): void {
    this.#ready.remove(subscription);
  }

  /** Messages that those with credit may still take. */
  room(): number {
    let room = 0;
    for (const subscription of this.#ready.all()) room += subscription.room;
    return room;
  }

  /** `subscription` wants to know when there is nothing more for it. */
  drain(subscription: Subscription): void {
    if (!this.#draining.includes(subscription)) this.#draining.push(subscription);
  }

  drainNoMore(subscription: Subscription): void {
    if (this.draining) this.#draining = this.#draining.filter((other) => other !== subscription);
  }

  /** Tell those for whom there is nothing more: everything up to batch `until` is handed out. Infinity: tell all. */
  endDrains(until: number): void {
    const draining = this.#draining;
    this.#draining = [];
    for (const subscription of draining) {
      if (subscription.drainUntil <= until || subscription.room === 0) subscription.drained();
      else this.#draining.push(subscription);
    }
  }
}
