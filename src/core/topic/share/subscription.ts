/** A consumer in a share group. It is its own delivery batch, and looks like a subscription of a queue. */
import type { Client } from '../../client.ts';
import type { Timer } from '../../clock.ts';
import type { DeliveryBatch, SettleOp, SubscribeOptions, Subscription, SubscriptionHandlers } from '../../door.ts';
import type { Dispatched, Engine } from '../../engine.ts';
import { CoreError, type ErrorCode } from '../../errors.ts';
import type { Message } from '../../message.ts';
import { readStored } from '../../stored-message.ts';
import type { ShareGroup } from './group.ts';
import type { Outcome, SharePart } from './part.ts';

/** Deliveries before the next consumer has its turn. */
const PER_VISIT = 64;

const OUTCOMES: { readonly [O in SettleOp]: Outcome } = {
  complete: 'done',
  requeue: 'back',
  modify: 'back',
  discard: 'rejected',
};

interface Held {
  readonly part: SharePart;
  readonly offset: number;
  readonly untilMs: number;
  /** Its time was over: it has come back, and settling it does nothing any more. */
  expired: boolean;
}

export class ShareSubscription implements Subscription, DeliveryBatch, Dispatched {
  awake = false;
  readonly message: Message;
  readonly group: ShareGroup;
  deliveryId = 0;
  redeliveries = 0;
  readonly groupFirst = false;
  readonly #client: Client;
  readonly #engine: Engine;
  readonly #handlers: SubscriptionHandlers;
  readonly #settles: boolean;
  readonly #lockMs: number;
  /** By delivery, in the order of handing out or renewal: their times end in that order. */
  readonly #held = new Map<number, Held>();
  #credit: number;
  #allowed = 0;
  #paused = false;
  #over = false;
  #closed = false;
  #timer: Timer | undefined;
  #drained: (() => void) | undefined;

  constructor(group: ShareGroup, client: Client, options: SubscribeOptions, handlers: SubscriptionHandlers) {
    this.group = group;
    this.#client = client;
    this.#engine = client.engine;
    this.message = client.engine.view;
    this.#handlers = handlers;
    this.#credit = options.credit;
    this.#settles = options.settled === true;
    this.#lockMs = options.timeoutMs ?? client.engine.limits.shareLockMs;
    group.subscriptions.add(this);
    this.#engine.wake(this);
  }

  get queue(): string {
    return this.group.topic.name;
  }

  get unsettled(): number {
    return this.#held.size;
  }

  /** As many as came back have failed. */
  get failures(): number {
    return this.redeliveries;
  }

  /** It would take a message. */
  get hungry(): boolean {
    return this.#credit > 0 && !this.#paused && !this.#over;
  }

  // ---- The broker's turn ------------------------------------------------------------------------------------------

  dispatch(budget: number): boolean {
    if (!this.hungry) return this.#drainEnd();
    this.#allowed = Math.min(budget, PER_VISIT);
    // Set by every `next` that answers true: still set at the end, the batch was left unfinished.
    this.#paused = true;
    this.#handlers.onDeliveries(this);
    this.group.endTurn();
    const isSpent = this.#allowed === 0 || this.#credit === 0;
    this.#allowed = 0;
    if (isSpent) this.#paused = false;
    return (isSpent && this.hungry) || this.#drainEnd();
  }

  next(): boolean {
    if (this.#allowed === 0 || !(this.#credit > 0) || this.#over) return false;
    const part = this.group.take();
    if (part === undefined) {
      this.#paused = false;
      return false;
    }
    this.#allowed--;
    this.#credit--;
    this.#paused = true;
    const { frames } = part;
    readStored(this.message, frames.bytes, frames.start, frames.after);
    this.message.id = this.#engine.bodies.nextId();
    this.deliveryId++;
    this.redeliveries = part.returns(frames.offset);
    this.#client.delivered++;
    if (this.#settles) part.settle([frames.offset], 'done');
    else this.#hold(part, frames.offset);
    return true;
  }

  #hold(part: SharePart, offset: number): void {
    const untilMs = this.#engine.clock.monotonic() + this.#lockMs;
    this.#held.set(this.deliveryId, { part, offset, untilMs, expired: false });
    if (this.#timer === undefined && Number.isFinite(this.#lockMs)) this.#await(this.#lockMs);
  }

  // ---- Time -------------------------------------------------------------------------------------------------------

  #await(ms: number): void {
    this.#timer = this.#engine.clock.after(ms, () => {
      this.#timer = undefined;
      if (!this.#closed && this.#engine.failure === undefined) this.#expire();
    });
  }

  /** What has been held for too long comes back. */
  #expire(): void {
    const now = this.#engine.clock.monotonic();
    const expired: Held[] = [];
    for (const held of this.#held.values()) {
      if (held.expired) continue;
      if (held.untilMs > now) {
        this.#await(held.untilMs - now);
        break;
      }
      held.expired = true;
      expired.push(held);
    }
    this.#settleAll(expired, 'back');
  }

  // ---- Settling ---------------------------------------------------------------------------------------------------

  settle(first: number, last: number, op: SettleOp): number {
    this.#checkKnown(last);
    const settled: Held[] = [];
    let count = 0;
    for (let id = first; id <= last; id++) {
      const held = this.#held.get(id);
      if (held === undefined) continue;
      this.#held.delete(id);
      count++;
      if (!held.expired) settled.push(held);
    }
    this.#settleAll(settled, OUTCOMES[op]);
    return count;
  }

  renew(first: number, last: number): number {
    this.#checkKnown(last);
    const untilMs = this.#engine.clock.monotonic() + this.#lockMs;
    let count = 0;
    for (let id = first; id <= last; id++) {
      const held = this.#held.get(id);
      if (held === undefined || held.expired) continue;
      // Behind the others: times end in this order.
      this.#held.delete(id);
      this.#held.set(id, { ...held, untilMs });
      count++;
    }
    return count;
  }

  #checkKnown(id: number): void {
    if (id > this.deliveryId) throw new CoreError('unknown-delivery', `${id}; the newest is ${this.deliveryId}`);
  }

  /** By part, as many as possible in one record. */
  #settleAll(settled: readonly Held[], outcome: Outcome): void {
    if (settled.length === 0) return;
    const parts = new Map<SharePart, number[]>();
    for (const { part, offset } of settled) {
      const offsets = parts.get(part);
      if (offsets === undefined) parts.set(part, [offset]);
      else offsets.push(offset);
    }
    for (const [part, offsets] of parts)
      part.settle(
        offsets.sort((a, b) => a - b),
        outcome,
      );
    // There is room for new ones, or old ones are there again.
    this.group.wake();
  }

  afterDurable(done: () => void): void {
    this.#engine.afterDurable(done);
  }

  // ---- Credit -----------------------------------------------------------------------------------------------------

  credit(n: number): void {
    this.setCredit(this.#credit + n);
  }

  setCredit(n: number): void {
    this.#credit = n;
    if (this.hungry) this.#engine.wake(this);
  }

  resume(): void {
    this.#paused = false;
    if (this.hungry) this.#engine.wake(this);
  }

  drain(done: () => void): void {
    this.#drained = done;
    this.#engine.wake(this);
  }

  /** Answers false. */
  #drainEnd(): false {
    const done = this.#drained;
    if (done === undefined || (this.hungry && this.group.loading)) return false;
    this.#drained = undefined;
    this.#credit = 0;
    done();
    return false;
  }

  // ---- The end ----------------------------------------------------------------------------------------------------

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.group.subscriptions.delete(this);
  }

  close(): void {
    if (this.#closed) return;
    this.cancel();
    this.#closed = true;
    this.#allowed = 0;
    this.#timer?.cancel();
    const left = [...this.#held.values()].filter(({ expired }) => !expired);
    this.#held.clear();
    if (this.#engine.failure === undefined) this.#settleAll(left, 'back');
    this.#client.leftBy(this);
    this.#engine.clock.soon(() => this.#drainEnd());
  }

  /** The group is gone, or the operator closes the client. */
  end(reason: ErrorCode): void {
    if (this.#closed) return;
    this.close();
    this.#handlers.onEnd?.(reason);
  }
}
