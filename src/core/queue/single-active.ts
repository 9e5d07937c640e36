/**
 * The consumers of a queue that serves one of them at a time: the first of the highest priority. The next one has its turn when
 * nothing is left in the hands of the one before it, whether that ended, was cancelled, or has to make way for a consumer of
 * higher priority. So messages of the queue are never in the hands of two consumers at the same time.
 */
import type { Dispatched } from '../engine.ts';
import type { Subscription } from '../subscription.ts';
import { Consumers } from './consumers.ts';
import type { Queue } from './queue.ts';

export class SingleActive extends Consumers implements Dispatched {
  awake = false;
  readonly #queue: Queue;
  #active: Subscription | undefined;
  /** `#active` gets no more, and is waited for. */
  #leaving = false;
  /** `#active` knows that it is: it is told before its first delivery. */
  #told = false;
  /** Others who still have messages, from a time when all were served. */
  #holders = 0;

  /** @param before subscriptions the queue has had so far */
  constructor(queue: Queue, before: Iterable<Subscription>) {
    super();
    this.#queue = queue;
    for (const subscription of before) {
      if (subscription.unsettled === 0) continue;
      this.#holders++;
      subscription.whenIdle(() => {
        this.#holders--;
        this.#reconsider();
      });
    }
  }

  override get sole(): boolean {
    return true;
  }

  override add(subscription: Subscription): void {
    super.add(subscription);
    this.#reconsider();
  }

  override remove(subscription: Subscription): boolean {
    const removed = super.remove(subscription);
    if (subscription === this.#active) this.#dismiss(subscription);
    return removed;
  }

  override pick(): Subscription | undefined {
    const active = this.#active;
    return active !== undefined && this.#told && !this.#leaving && active.canTake ? active : undefined;
  }

  override isActive(subscription: Subscription): boolean {
    return subscription === this.#active && !this.#leaving;
  }

  /** Tell the active one. */
  dispatch(): boolean {
    if (this.#active === undefined || this.#told || this.#leaving) return false;
    this.#told = true;
    this.#active.activated(true);
    this.#queue.engine.wake(this.#queue);
    return false;
  }

  #reconsider(): void {
    const { first } = this;
    const active = this.#active;
    if (active === undefined) {
      if (first === undefined || this.#holders > 0) return;
      this.#active = first;
      this.#queue.engine.wake(this);
    } else if (first !== undefined && first.priority > active.priority && !this.#leaving) {
      if (this.#told) active.activated(false);
      this.#dismiss(active);
    }
  }

  #dismiss(active: Subscription): void {
    if (this.#leaving) return;
    this.#leaving = true;
    active.whenIdle(() => {
      this.#queue.selection?.release(active);
      this.#active = undefined;
      this.#leaving = false;
      this.#told = false;
      this.#reconsider();
    });
  }
}
