/** A consumer of a queue: credit, deliveries and their numbers, settling. It is its own delivery batch. */
import { strict as assert } from 'node:assert';
import type { Client } from './client.ts';
import { ConsumerTimeout } from './consumer-timeout.ts';
import {
  type ConsumerInfo,
  type DeliveryBatch,
  FILTER_ARGUMENT,
  FILTER_TAGS_ARGUMENT,
  type SettleOp,
  type SubscribeOptions,
  type Subscription as SubscriptionDoor,
  type SubscriptionHandlers,
} from './door.ts';
import { CoreError, type ErrorCode } from './errors.ts';
import { type BindingFilter, bindingFilter } from './filter/binding.ts';
import type { Message } from './message.ts';
import { Outstanding, type Settler } from './outstanding.ts';
import { failuresOf, RETURNS_MAX } from './queue/entry-info.ts';
import type { Queue } from './queue/queue.ts';
import { CONSUMER_TIMEOUT_MS_MAX, TIME_MS_MAX } from './queue/rules.ts';
import type { Seat } from './queue/turns.ts';
import { attach } from './selection/selection.ts';
import type { Share } from './selection/share.ts';

/** Nothing is shown. */
const NOTHING = -1;
const WEIGHT_MAX = 1_000;

export class Subscription implements SubscriptionDoor, DeliveryBatch, Settler<SettleOp> {
  readonly priority: number;
  /** Its turns for each turn of a consumer of weight 1. */
  readonly weight: number;
  readonly exclusive: boolean;
  /** Takes messages on request; no consumer. */
  readonly pull: boolean;
  readonly tag: string;
  readonly message: Message;
  deliveryId = 0;
  redeliveries = 0;
  failures = 0;
  /** What it wants of the queue; undefined = everything. */
  readonly filter: BindingFilter | undefined;
  /** In a queue that chooses what goes to whom: what waits for it. */
  share: Share | undefined;
  /** It could take, and there is nothing for it: asking it again is in vain until something comes. */
  idle = false;
  /** Its place among the consumers of the queue, or among those that take on request. */
  seat: Seat | undefined;
  readonly #source: Queue;
  readonly #client: Client;
  readonly #handlers: SubscriptionHandlers;
  /** Deliveries count as complete when the next one is taken. */
  readonly #presettled: boolean;
  readonly #unsettledMax: number;
  #credit: number;
  /** Deliveries the running offer may still hand out. */
  #allowed = 0;
  /** A batch was left unfinished. */
  #paused = false;
  #closed = false;
  #cancelled = false;
  readonly #outstanding = new Outstanding();
  /** Of what is being settled. */
  #deliverAtMs = 0;
  readonly #ownTimeoutMs: number | undefined;
  #timeout: ConsumerTimeout | undefined;
  /** Called when nothing is unsettled. */
  #idle: (() => void) | undefined;
  /** A pull subscription that stands in its queue's list. */
  #pulling = false;
  /** Called at the end of a drain. */
  #drains: (() => void)[] | undefined;
  /** Draining ends when everything up to this batch is handed out, or the credit is. */
  drainUntil = 0;
  /** Position shown last to a presettled subscription, to be completed when its view is no longer needed. */
  #shown = NOTHING;

  constructor(queue: Queue, client: Client, options: SubscribeOptions, handlers: SubscriptionHandlers) {
    this.#source = queue;
    this.#client = client;
    this.#handlers = handlers;
    this.priority = options.priority ?? 0;
    this.weight = options.weight ?? 1;
    this.pull = options.pull ?? false;
    this.exclusive = !this.pull && options.exclusive === true;
    this.tag = options.tag ?? '';
    this.#presettled = options.settled ?? false;
    this.#credit = options.credit;
    this.#unsettledMax = queue.engine.limits.unsettledPerSubscriptionMax;
    this.message = queue.engine.view;
    checkOptions(options);
    this.filter = filterOf(options, queue);
    this.#ownTimeoutMs = options.timeoutMs;
    this.timeoutChanged();
  }

  /** The rules of the queue have another time to settle than before: it begins now. */
  timeoutChanged(): void {
    const { engine, rules } = this.#source;
    // The consumer's own wish goes before the rule of the queue, and that before the limit for all.
    const ms = this.#ownTimeoutMs ?? (rules.consumerTimeoutMs || engine.limits.consumerTimeoutMs);
    this.#timeout?.stop();
    const isTimed = !this.#presettled && ms !== Number.POSITIVE_INFINITY;
    this.#timeout = isTimed ? new ConsumerTimeout(engine.clock, ms, () => this.end('consumer-timeout')) : undefined;
    if (this.#outstanding.count > 0) this.#timeout?.watch(this.#outstanding);
  }

  get queue(): string {
    return this.#source.name;
  }

  get source(): Queue {
    return this.#source;
  }

  get unsettled(): number {
    return this.#outstanding.count;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** It takes no more, and keeps what it has. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** It would take a delivery now. */
  get canTake(): boolean {
    return !this.idle && this.isWilling;
  }

  /** The same, whether there is anything for it or not. */
  get isWilling(): boolean {
    return !this.#paused && this.#creditLeft();
  }

  get groupFirst(): boolean {
    return this.share?.groupFirst ?? false;
  }

  /** Deliveries it may be given. */
  get room(): number {
    return this.#credit === Infinity ? Math.max(0, this.#unsettledMax - this.#outstanding.count) : this.#credit;
  }

  /** Enter the queue's lists. */
  start(): void {
    attach(this.#source, this);
    this.#wake();
  }

  // ---- The queue's side -------------------------------------------------------------------------------------------

  /** Offer up to `count` deliveries; answers how many were taken. */
  offer(count: number): number {
    const before = this.deliveryId;
    this.#allowed = count;
    // Set by every `next` that answers true: still set at the end, the batch was left unfinished.
    this.#paused = true;
    this.#handlers.onDeliveries(this);
    // With nothing left to take there is nothing left untaken.
    if (this.#allowed === 0 || !this.#creditLeft()) this.#paused = false;
    if (this.#pulling && !this.#creditLeft()) this.#pullNoMore();
    this.#allowed = 0;
    this.#completeShown();
    if (this.#outstanding.count > 0) this.#timeout?.watch(this.#outstanding);
    return this.deliveryId - before;
  }

  next(): boolean {
    this.#completeShown();
    if (this.#allowed === 0 || this.#closed || !this.#creditLeft()) return this.#finished();
    const source = this.#source;
    const position = source.take(this);
    if (position < 0) return this.#finished();
    this.#allowed--;
    this.#paused = true;
    if (this.#credit !== Infinity) this.#credit--;
    const id = ++this.deliveryId;
    const { takenInfo } = source;
    this.redeliveries = takenInfo & RETURNS_MAX;
    this.failures = failuresOf(takenInfo);
    this.#client.delivered++;
    source.vhost.counters.delivered++;
    if (this.#presettled) {
      this.#shown = position;
      this.#outstanding.skip(id);
      return true;
    }
    this.#outstanding.add(id, position);
    return true;
  }

  #creditLeft(): boolean {
    return this.#credit > 0 && (this.#credit !== Infinity || this.#outstanding.count < this.#unsettledMax);
  }

  #finished(): boolean {
    this.#paused = false;
    return false;
  }

  #completeShown(): void {
    if (this.#shown < 0) return;
    const position = this.#shown;
    this.#shown = NOTHING;
    if (this.#source.deleted) return;
    this.#source.vhost.counters.completed++;
    this.#source.complete(position);
  }

  // ---- The consumer's side ----------------------------------------------------------------------------------------

  credit(n: number): void {
    this.setCredit(this.#credit + n);
  }

  setCredit(n: number): void {
    assert(n >= 0, 'credit is negative');
    if (this.#cancelled) return;
    this.#credit = n;
    if (n > 0) {
      this.#wake();
      return;
    }
    if (this.#pulling) this.#pullNoMore();
    // Its end is near.
    if (this.#drains !== undefined) this.#source.engine.wake(this.#source);
  }

  resume(): void {
    this.#paused = false;
    this.#wake();
  }

  settle(first: number, last: number, op: SettleOp, deliverAtMs = 0): number {
    this.#checkKnown(last);
    if (deliverAtMs !== 0) this.checkTime(op, deliverAtMs);
    if (this.#closed) return 0;
    const outstanding = this.#outstanding;
    const before = outstanding.count;
    this.#deliverAtMs = deliverAtMs;
    outstanding.settle(first, last, op, this);
    if (before >= this.#unsettledMax) this.#wake();
    if (outstanding.count === 0 && this.#idle !== undefined) this.#becameIdle();
    return before - outstanding.count;
  }

  /** How many of the deliveries `first` to `last` are unsettled. Throws `unknown-delivery` as `settle` does. */
  unsettledIn(first: number, last: number): number {
    this.#checkKnown(last);
    return this.#closed ? 0 : this.#outstanding.countIn(first, last);
  }

  #checkKnown(id: number): void {
    if (id > this.deliveryId || id < 1)
      throw new CoreError('unknown-delivery', `number ${id}; the newest delivery is ${this.deliveryId}`);
  }

  /** A delivery may be settled so that it waits until then. Throws `invalid-argument`. */
  checkTime(op: SettleOp, deliverAtMs: number): void {
    if (op !== 'requeue' && op !== 'modify') {
      throw new CoreError('invalid-argument', `a time to be delivered at goes with requeue and modify, not with ${op}`);
    }
    const aheadMs = deliverAtMs - this.#source.engine.now();
    if (!(deliverAtMs >= 0) || aheadMs > TIME_MS_MAX) {
      throw new CoreError('invalid-argument', `${deliverAtMs} is no time within the next ${TIME_MS_MAX} ms`);
    }
  }

  /** What becomes of one delivery. */
  apply(position: number, op: SettleOp): void {
    const source = this.#source;
    switch (op) {
      case 'complete':
        source.vhost.counters.completed++;
        source.complete(position);
        break;
      case 'requeue':
        source.giveBack(position, false, this.#deliverAtMs);
        break;
      case 'modify':
        source.giveBack(position, true, this.#deliverAtMs);
        break;
      case 'discard':
        source.discard(position);
        break;
    }
  }

  afterDurable(done: () => void): void {
    this.#source.logAllGivenUp();
    if (this.#source.logged) this.#source.engine.afterDurable(done);
    else done();
  }

  drain(done: () => void): void {
    const { engine, lanes } = this.#source;
    if (this.#closed || this.#cancelled) {
      engine.clock.soon(done);
      return;
    }
    this.#drains ??= [];
    this.#drains.push(done);
    this.drainUntil = lanes.lastPending;
    this.#source.takers.drain(this);
    this.#source.engine.wake(this.#source);
  }

  /** There is nothing more for it. */
  drained(): void {
    const drains = this.#drains ?? [];
    this.#drains = undefined;
    this.setCredit(0);
    for (const done of drains) done();
  }

  cancel(): void {
    if (this.#closed || this.#cancelled) return;
    this.setCredit(0);
    this.#endDrains();
    this.#cancelled = true;
    const source = this.#source;
    source.vhost.detach(source, this, true);
  }

  close(lost = false): void {
    this.#leave(lost ? 'modify' : 'requeue');
  }

  /** The queue or the client is gone: tell the consumer. */
  end(reason: ErrorCode): void {
    if (this.#closed) return;
    this.#leave('requeue');
    if (!this.#cancelled) this.#handlers.onEnd?.(reason);
  }

  /** @param op what becomes of that which is unsettled */
  #leave(op: SettleOp): void {
    if (this.#closed) return;
    this.#completeShown();
    this.#closed = true;
    this.#allowed = 0;
    this.#deliverAtMs = 0;
    this.#timeout?.stop();
    this.#client.left(this);
    const source = this.#source;
    if (this.#pulling) this.#pullNoMore();
    this.#endDrains();
    if (!source.deleted) this.#outstanding.settleAll(op, this);
    this.#outstanding.clear();
    source.vhost.detach(source, this, false);
    this.#becameIdle();
  }

  /** Call `done` when nothing is unsettled: at once, or when the last delivery is settled or given back. */
  whenIdle(done: () => void): void {
    this.#idle = done;
    if (this.#outstanding.count === 0) this.#becameIdle();
  }

  #becameIdle(): void {
    const done = this.#idle;
    this.#idle = undefined;
    done?.();
  }

  /** There may be something for it again. */
  stir(): void {
    this.idle = false;
    this.seat?.ready();
  }

  /** The positions of what it was handed and did not settle. */
  eachUnsettled(visit: (position: number) => void): void {
    this.#outstanding.each(visit);
  }

  /** It is the consumer that is served, or is so no more. */
  activated(active: boolean): void {
    if (!this.#closed && !this.#cancelled) this.#handlers.onActive?.(active);
  }

  /** Number of the client it belongs to. */
  get clientId(): number {
    return this.#client.id;
  }

  info(): ConsumerInfo {
    const { tag, priority, weight, exclusive } = this;
    const { id, identity } = this.#client;
    return {
      ...{ tag, priority, weight, exclusive },
      client: id,
      ...identity,
      filters: this.filter?.texts ?? [],
      active: this.#source.consumers.isActive(this),
      settled: this.#presettled,
      unsettled: this.#outstanding.count,
      credit: this.#credit,
      timeoutMs: this.#timeout?.timeoutMs ?? Number.POSITIVE_INFINITY,
    };
  }

  #endDrains(): void {
    for (const done of this.#drains ?? []) this.#source.engine.clock.soon(done);
    this.#drains = undefined;
  }

  #wake(): void {
    if (this.#closed || this.#paused) return;
    this.seat?.ready();
    this.share?.call();
    if (this.pull && !this.#pulling && this.#creditLeft()) {
      this.#pulling = true;
      this.#source.takers.wants(this);
    }
    this.#source.engine.wake(this.#source);
  }

  #pullNoMore(): void {
    this.#pulling = false;
    this.#source.takers.wantsNoMore(this);
    this.#source.forgetUnwanted();
    this.#source.used();
  }
}

/** Throws `invalid-argument`, `limit-exceeded`. */
function filterOf({ filter, tags }: SubscribeOptions, { engine }: Queue): BindingFilter | undefined {
  if (filter === undefined && tags === undefined) return undefined;
  const args = {
    ...(filter === undefined ? {} : { [FILTER_ARGUMENT]: filter }),
    ...(tags === undefined ? {} : { [FILTER_TAGS_ARGUMENT]: tags }),
  };
  return bindingFilter(args, engine.limits);
}

/** Throws `invalid-argument`. */
function checkOptions({ priority = 0, weight = 1, timeoutMs = 1 }: SubscribeOptions): void {
  if (!Number.isInteger(priority)) {
    throw new CoreError('invalid-argument', `the priority of a consumer is a whole number, not ${priority}`);
  }
  if (!Number.isInteger(weight) || weight < 1 || weight > WEIGHT_MAX) {
    throw new CoreError('invalid-argument', `the weight of a consumer is from 1 to ${WEIGHT_MAX}, not ${weight}`);
  }
  if (timeoutMs !== Number.POSITIVE_INFINITY && !(timeoutMs >= 1 && timeoutMs <= CONSUMER_TIMEOUT_MS_MAX)) {
    const range = `from 1 to ${CONSUMER_TIMEOUT_MS_MAX} milliseconds`;
    throw new CoreError('invalid-argument', `the timeout of a consumer is ${range}, not ${timeoutMs}`);
  }
}
