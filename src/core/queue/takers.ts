/**
 * The subscriptions of a queue: its consumers, those that take single messages when asked, and cancelled ones that keep what they
 * have. And whoever waits for the end of what there is, consumer or not.
 */
import type { Subscription } from '../subscription.ts';
import { Consumers } from './consumers.ts';
import type { Queue } from './queue.ts';
import type { QueueRules } from './rules.ts';
import { SingleActive } from './single-active.ts';

/** Of a queue that has had none. Never added to. */
const NO_CONSUMERS = new Consumers();

/** Most queues have no more than consumers, many not even these: what is needed is made when they come. */
export class Takers {
  consumers = NO_CONSUMERS;
  /** Those that take on request and have credit now: served before the consumers, and counted nowhere. */
  #pulls: Consumers | undefined;
  /** All that are no consumers. */
  #others: Set<Subscription> | undefined;
  /** Those who wait for the end of what there is. */
  #draining: Set<Subscription> | undefined;

  /** Somebody may take messages. */
  get waiting(): boolean {
    return this.consumers.count > 0 || (this.#pulls !== undefined && this.#pulls.count > 0);
  }

  /** There are subscriptions. */
  get any(): boolean {
    return this.consumers.count > 0 || (this.#others?.size ?? 0) > 0;
  }

  get draining(): boolean {
    return this.#draining !== undefined && this.#draining.size > 0;
  }

  /** The one to serve next, or undefined when none can take. */
  pick(): Subscription | undefined {
    return this.#pulls?.pick() ?? this.consumers.pick();
  }

  add(subscription: Subscription): void {
    if (subscription.pull) {
      this.#keep(subscription);
      return;
    }
    if (this.consumers === NO_CONSUMERS) this.consumers = new Consumers();
    this.consumers.add(subscription);
  }

  /** It is over, or (`holds`) is no consumer any more and keeps its deliveries. Answers whether it was a consumer. */
  remove(subscription: Subscription, holds: boolean): boolean {
    this.#draining?.delete(subscription);
    if (holds) this.#keep(subscription);
    else this.#others?.delete(subscription);
    return this.consumers.remove(subscription);
  }

  #keep(subscription: Subscription): void {
    this.#others ??= new Set();
    this.#others.add(subscription);
  }

  /** All of them, consumers or not. */
  all(): Subscription[] {
    return [...this.consumers.all(), ...(this.#others ?? [])];
  }

  /** Go by the rules that the queue has now. */
  rulesChanged(queue: Queue, before: QueueRules): void {
    const { rules } = queue;
    if (rules.singleActive !== before.singleActive) this.#regroup(queue);
    if (rules.consumerTimeoutMs === before.consumerTimeoutMs) return;
    for (const subscription of this.all()) subscription.timeoutChanged();
  }

  #regroup(queue: Queue): void {
    const members = this.consumers.all();
    const group = queue.rules.singleActive ? new SingleActive(queue, this.all()) : new Consumers();
    // From the last one on, so that none of them becomes the active one on the way.
    for (const member of members.toReversed()) this.consumers.remove(member);
    for (const member of members) group.add(member);
    this.consumers = group;
  }

  // ---- On request -------------------------------------------------------------------------------------------------

  /** It has credit and would take. */
  wants(subscription: Subscription): void {
    this.#pulls ??= new Consumers();
    this.#pulls.add(subscription);
  }

  wantsNoMore(subscription: Subscription): void {
    this.#pulls?.remove(subscription);
  }

  /** Messages that may be asked for soon. */
  get demand(): number {
    if (this.consumers.count > 0) return Number.POSITIVE_INFINITY;
    let room = 0;
    for (const subscription of this.#pulls?.all() ?? []) room += subscription.room;
    return room;
  }

  /** `subscription` wants to know when there is nothing more for it. */
  drain(subscription: Subscription): void {
    this.#draining ??= new Set();
    this.#draining.add(subscription);
  }

  /** Tell those for whom there is nothing more. @param until up to which batch everything was handed out; Infinity: tell it */
  endDrains(until: (subscription: Subscription) => number): void {
    const draining = this.#draining ?? [];
    this.#draining = undefined;
    for (const subscription of draining) {
      if (subscription.drainUntil <= until(subscription) || subscription.room === 0) subscription.drained();
      else this.drain(subscription);
    }
  }
}
