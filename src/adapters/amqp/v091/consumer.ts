/** What takes messages from a queue for a channel: consumers, and single gets. */

import type { DeliveryBatch, ErrorCode, SettleOp, Subscription, SubscriptionHandlers } from '../../../core/index.ts';
import { deliverPrefix } from './deliver.ts';

/** Where deliveries go; the channel's `Deliveries`. */
export interface Receiver {
  deliver(consumer: Consumer, batch: DeliveryBatch): void;
  /** The broker ended a subscription. */
  ended(taker: Taker, reason: ErrorCode): void;
}

export interface GetReceiver extends Receiver {
  /** A message was taken for basic.get: `batch` shows it. */
  got(getter: Getter, batch: DeliveryBatch): void;
}

/** A source of deliveries that hold delivery tags: settles them. */
export abstract class Taker implements SubscriptionHandlers {
  /** Number under which the channel's delivery tags know it. */
  readonly slot: number;
  readonly noAck: boolean;
  subscription: Subscription | undefined;
  /** Delivery tags that refer to it. */
  held = 0;
  /** It takes no more messages: cancelled, or ended by the broker. */
  over = false;

  constructor(slot: number, noAck: boolean) {
    this.slot = slot;
    this.noAck = noAck;
  }

  abstract onDeliveries(batch: DeliveryBatch): void;
  abstract onEnd(reason: ErrorCode): void;

  /** Settle deliveries `first` to `last`. */
  settle(first: number, last: number, op: SettleOp): void {
    if (this.subscription !== undefined) this.settled(this.subscription.settle(first, last, op));
  }

  /** So many of its deliveries have been settled. */
  settled(_count: number): void {}

  /** End it, requeueing what is unsettled. @param lost the connection went without a word */
  close(lost = false): void {
    this.over = true;
    this.subscription?.close(lost);
    this.subscription = undefined;
  }
}

/** basic.consume. */
export class Consumer extends Taker {
  readonly tag: string;
  /** Start of every basic.deliver method to it. */
  readonly prefix: Buffer;
  /** It has a prefetch limit of its own: settling gives credit back. */
  readonly #limited: boolean;
  readonly #receiver: Receiver;

  constructor(slot: number, tag: string, noAck: boolean, limited: boolean, receiver: Receiver) {
    super(slot, noAck);
    this.tag = tag;
    this.prefix = deliverPrefix(tag);
    this.#limited = limited;
    this.#receiver = receiver;
  }

  override onDeliveries(batch: DeliveryBatch): void {
    this.#receiver.deliver(this, batch);
  }

  override onEnd(reason: ErrorCode): void {
    this.over = true;
    this.subscription = undefined;
    this.#receiver.ended(this, reason);
  }

  override settled(count: number): void {
    if (this.#limited && !this.over && count > 0) this.subscription?.credit(count);
  }

  resume(): void {
    if (!this.over) this.subscription?.resume();
  }

  /** basic.cancel: no more deliveries. The subscription stays until what is unsettled has been settled. */
  cancel(): void {
    this.over = true;
    this.subscription?.cancel();
  }
}

/** basic.get on one queue: takes one message at a time. */
export class Getter extends Taker {
  readonly queue: string;
  readonly #receiver: GetReceiver;
  #wanted = false;
  #answered: ((found: boolean) => void) | undefined;

  constructor(slot: number, noAck: boolean, queue: string, receiver: GetReceiver) {
    super(slot, noAck);
    this.queue = queue;
    this.#receiver = receiver;
  }

  /** Resolves to false when the queue had nothing to give. */
  get(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#answered = resolve;
      this.#wanted = true;
      const subscription = this.subscription as Subscription;
      subscription.setCredit(1);
      subscription.drain(() => this.#answer(false));
    });
  }

  override onDeliveries(batch: DeliveryBatch): void {
    if (!this.#wanted || !batch.next()) return;
    this.#receiver.got(this, batch);
    this.#answer(true);
  }

  override onEnd(reason: ErrorCode): void {
    this.over = true;
    this.subscription = undefined;
    this.#receiver.ended(this, reason);
    this.#answer(false);
  }

  #answer(found: boolean): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#answered?.(found);
  }
}
