/** The two kinds of subscription of a JSON WebSocket: a tap on topics (at most once) and a queue (acknowledged). */
import type {
  Arguments,
  Client,
  DeliveryBatch,
  ErrorCode,
  Limits,
  Message,
  Pattern,
  SettleOp,
  SubscribeOptions,
  Subscription,
  Tap,
  Transaction,
} from '../../core/index.ts';
import { CoreError } from '../../core/index.ts';
import { deliveryJson } from '../json-message.ts';
import type { FrameId } from './frames.ts';
import type { MessageFrames } from './message-frames.ts';
import type { WsOutput } from './output.ts';

/** The messages a tap is to see: `args` may hold filters. */
export interface TapBinding {
  readonly exchange: string;
  readonly pattern: Pattern;
  readonly args: Arguments;
}

/** What both kinds need of their session. */
export interface SubscriptionHost {
  readonly client: Client;
  readonly output: WsOutput;
  readonly frames: MessageFrames;
  readonly limits: Limits;
  /** The broker ended a subscription: forget it, and tell the peer. */
  onEnd(id: FrameId, reason: ErrorCode): void;
  /** A subscription is the one its queue serves, or is so no more: tell the peer. */
  onActive(id: FrameId, active: boolean): void;
}

export interface JsonSubscription {
  /** There is room again after `output.roomy` was false. */
  onRoom(): void;
  close(): void;
}

/** Messages as they are published; those a slow peer has no room for are dropped, and it is told how many. */
export class TapSubscription implements JsonSubscription {
  readonly #host: SubscriptionHost;
  readonly #prefix: string;
  readonly #droppedPrefix: string;
  readonly #tap: Tap;
  #dropped = 0;

  /** Throws `not-found`, `limit-exceeded`, `invalid-argument` (a filter). */
  constructor(host: SubscriptionHost, id: FrameId, binding: TapBinding) {
    this.#host = host;
    const sub = JSON.stringify(id);
    this.#prefix = `{"op":"message","sub":${sub},`;
    this.#droppedPrefix = `{"op":"dropped","sub":${sub},"count":`;
    this.#tap = host.client.tap({ onMessage: (message) => this.#onMessage(message) });
    try {
      this.#tap.bind(binding.exchange, binding.pattern, binding.args);
    } catch (error) {
      this.#tap.close();
      throw error;
    }
  }

  /** Send the retained last values that match, then call `done`. */
  sendRetained({ exchange, pattern, args }: TapBinding, done: () => void): void {
    this.#tap.retained(exchange, pattern, (message) => void this.#onMessage(message), done, args);
  }

  onRoom(): void {
    if (this.#dropped === 0) return;
    this.#host.output.sendText(`${this.#droppedPrefix}${this.#dropped}}`);
    this.#dropped = 0;
  }

  close(): void {
    this.#tap.close();
  }

  #onMessage(message: Message): boolean {
    const { output, frames, limits } = this.#host;
    // `roomy` comes first: asking it is what makes `onRoom` come.
    if (!output.roomy && output.queuedBytes >= limits.tapOutBytesMax) {
      this.#dropped++;
      return false;
    }
    output.sendFrame(frames.frame(message, this.#prefix));
    return true;
  }
}

/** Messages of a queue. At most `window` are unsettled at a time; settling makes room for more. */
export class QueueSubscription implements JsonSubscription {
  readonly #host: SubscriptionHost;
  readonly #prefix: string;
  readonly #subscription: Subscription;
  #window: number;
  /** Number of the newest delivery. */
  #newest = 0;

  /** Throws `not-found`, `resource-locked`, `in-use`, `limit-exceeded`, `invalid-argument`. */
  constructor(host: SubscriptionHost, id: FrameId, queue: string, options: SubscribeOptions) {
    this.#host = host;
    this.#window = options.credit;
    this.#prefix = `{"op":"message","sub":${JSON.stringify(id)},"delivery":`;
    this.#subscription = host.client.subscribe(queue, options, {
      onDeliveries: (batch) => this.#deliver(batch),
      onEnd: (reason) => host.onEnd(id, reason),
      onActive: (active) => host.onActive(id, active),
    });
  }

  /** Settle ranges of deliveries; answers how many were settled. Throws `unknown-delivery`: then none are. */
  settle(ranges: readonly DeliveryRange[], op: SettleOp, deliverAtMs: number): number {
    this.#check(ranges);
    let settled = 0;
    for (const range of ranges) settled += this.#subscription.settle(...bounds(range), op, deliverAtMs);
    if (settled > 0) this.makeRoom();
    return settled;
  }

  /** Give ranges of deliveries all of their time again; answers how many have it. Throws `unknown-delivery`, `precondition-failed`. */
  renew(ranges: readonly DeliveryRange[]): number {
    this.#check(ranges);
    let renewed = 0;
    for (const range of ranges) {
      const count = this.#subscription.renew?.(...bounds(range));
      if (count === undefined)
        throw new CoreError('precondition-failed', 'only deliveries of share groups are renewed');
      renewed += count;
    }
    return renewed;
  }

  /** Make a settlement part of a transaction; `makeRoom` is to be called after its commit. Answers and throws as `settle`. */
  hold(transaction: Transaction, ranges: readonly DeliveryRange[], op: SettleOp, deliverAtMs: number): number {
    this.#check(ranges);
    let settled = 0;
    for (const range of ranges) settled += transaction.settle(this.#subscription, ...bounds(range), op, deliverAtMs);
    return settled;
  }

  #check(ranges: readonly DeliveryRange[]): void {
    for (const range of ranges) {
      const [first, last] = bounds(range);
      if (last < first) throw new CoreError('invalid-argument', `the range ${first} to ${last} is empty`);
      if (last > this.#newest) throw new CoreError('unknown-delivery', `${last}; the newest is ${this.#newest}`);
    }
  }

  /** Deliveries have been settled: there may be others for them. */
  makeRoom(): void {
    this.setWindow(this.#window);
  }

  afterDurable(done: () => void): void {
    this.#subscription.afterDurable(done);
  }

  /** How many deliveries may be unsettled at a time; 0 pauses. */
  setWindow(window: number): void {
    this.#window = window;
    this.#subscription.setCredit(Math.max(0, window - this.#subscription.unsettled));
  }

  onRoom(): void {
    this.#subscription.resume();
  }

  close(): void {
    this.#subscription.close();
  }

  #deliver(batch: DeliveryBatch): void {
    const { output, frames } = this.#host;
    while (output.roomy && batch.next()) {
      this.#newest = batch.deliveryId;
      const prefix = `${this.#prefix}${batch.deliveryId},${deliveryJson(batch)},`;
      output.sendText(frames.text(batch.message, prefix));
    }
  }
}

/** A delivery, or the first and last of several. */
export type DeliveryRange = number | readonly [first: number, last: number];

function bounds(range: DeliveryRange): readonly [number, number] {
  return typeof range === 'number' ? [range, range] : range;
}
