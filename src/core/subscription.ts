/** A consumer of a queue: credit, deliveries and their numbers, settling. It is its own delivery batch. */
import { strict as assert } from 'node:assert';
import type { Client } from './client.ts';
import type {
  DeliveryBatch,
  SettleOp,
  SubscribeOptions,
  Subscription as SubscriptionDoor,
  SubscriptionHandlers,
} from './door.ts';
import { CoreError, type ErrorCode } from './errors.ts';
import type { Message } from './message.ts';
import { RETURNS_MAX } from './queue/entry-info.ts';
import type { Queue } from './queue/queue.ts';

const SLOTS_FIRST = 16;
/** From this size on, a few old deliveries must not make the ring grow with all that came after them. */
const SLOTS_SPARSE = 1024;
const SETTLED = -1;

export class Subscription implements SubscriptionDoor, DeliveryBatch {
  readonly priority: number;
  readonly exclusive: boolean;
  /** Takes messages on request; no consumer. */
  readonly pull: boolean;
  readonly tag: string;
  readonly message: Message;
  deliveryId = 0;
  redeliveries = 0;
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
  /** Position by delivery number, in a ring of a power of two; `SETTLED` where it is done. */
  #slots = new Float64Array(SLOTS_FIRST);
  /** The oldest delivery that may be unsettled, but for those in `#old`. */
  #firstId = 1;
  /** Positions of deliveries that were left behind: unsettled for much longer than the others. */
  readonly #old = new Map<number, number>();
  #unsettled = 0;
  /** A pull subscription that stands in its queue's list. */
  #pulling = false;
  /** Called at the end of a drain. */
  #drains: (() => void)[] | undefined;
  /** Draining ends when everything up to this batch is handed out, or the credit is. */
  drainUntil = 0;
  /** Position shown last to a presettled subscription, to be completed when its view is no longer needed. */
  #shown = SETTLED;

  constructor(queue: Queue, client: Client, options: SubscribeOptions, handlers: SubscriptionHandlers) {
    this.#source = queue;
    this.#client = client;
    this.#handlers = handlers;
    this.priority = options.priority ?? 0;
    this.pull = options.pull ?? false;
    this.exclusive = !this.pull && options.exclusive === true;
    this.tag = options.tag ?? '';
    this.#presettled = options.settled ?? false;
    this.#credit = options.credit;
    this.#unsettledMax = queue.engine.limits.unsettledPerSubscriptionMax;
    this.message = queue.engine.view;
  }

  get queue(): string {
    return this.#source.name;
  }

  get source(): Queue {
    return this.#source;
  }

  get unsettled(): number {
    return this.#unsettled;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** It would take a delivery now. */
  get canTake(): boolean {
    return !this.#paused && this.#creditLeft();
  }

  /** Deliveries it may be given. */
  get room(): number {
    return this.#credit === Infinity ? Math.max(0, this.#unsettledMax - this.#unsettled) : this.#credit;
  }

  /** Enter the queue's lists. */
  start(): void {
    this.#source.attach(this);
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
    return this.deliveryId - before;
  }

  next(): boolean {
    this.#completeShown();
    if (this.#allowed === 0 || this.#closed || !this.#creditLeft()) return this.#finished();
    const source = this.#source;
    const position = source.take();
    if (position < 0) return this.#finished();
    this.#allowed--;
    this.#paused = true;
    if (this.#credit !== Infinity) this.#credit--;
    const id = ++this.deliveryId;
    this.redeliveries = source.takenInfo & RETURNS_MAX;
    this.#client.delivered++;
    source.vhost.counters.delivered++;
    if (this.#presettled) {
      this.#shown = position;
      this.#firstId = id + 1;
      return true;
    }
    if (id - this.#firstId >= this.#slots.length) this.#grow();
    this.#slots[id & (this.#slots.length - 1)] = position;
    this.#unsettled++;
    return true;
  }

  #creditLeft(): boolean {
    return this.#credit > 0 && (this.#credit !== Infinity || this.#unsettled < this.#unsettledMax);
  }

  #finished(): boolean {
    this.#paused = false;
    return false;
  }

  #completeShown(): void {
    if (this.#shown < 0) return;
    const position = this.#shown;
    this.#shown = SETTLED;
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

  settle(first: number, last: number, op: SettleOp): number {
    this.#checkKnown(last);
    if (this.#closed) return 0;
    const wasFull = this.#unsettled >= this.#unsettledMax;
    const before = this.#unsettled;
    if (this.#old.size > 0 && first < this.#firstId) this.#settleOld(first, last, op);
    const mask = this.#slots.length - 1;
    for (let id = Math.max(first, this.#firstId); id <= last; id++) {
      const position = this.#slots[id & mask] as number;
      if (position === SETTLED) continue;
      this.#slots[id & mask] = SETTLED;
      this.#unsettled--;
      this.#apply(position, op);
    }
    while (this.#firstId <= this.deliveryId && this.#slots[this.#firstId & mask] === SETTLED) this.#firstId++;
    if (wasFull) this.#wake();
    return before - this.#unsettled;
  }

  /** How many of the deliveries `first` to `last` are unsettled. Throws `unknown-delivery` as `settle` does. */
  unsettledIn(first: number, last: number): number {
    this.#checkKnown(last);
    if (this.#closed) return 0;
    let count = 0;
    for (const id of this.#old.keys()) if (id >= first && id <= last) count++;
    const mask = this.#slots.length - 1;
    for (let id = Math.max(first, this.#firstId); id <= last; id++) {
      if (this.#slots[id & mask] !== SETTLED) count++;
    }
    return count;
  }

  #checkKnown(id: number): void {
    if (id > this.deliveryId || id < 1)
      throw new CoreError('unknown-delivery', `number ${id}; the newest delivery is ${this.deliveryId}`);
  }

  #settleOld(first: number, last: number, op: SettleOp): void {
    if (first === last) {
      const position = this.#old.get(first);
      if (position === undefined) return;
      this.#old.delete(first);
      this.#unsettled--;
      this.#apply(position, op);
      return;
    }
    for (const [id, position] of this.#old) {
      // In ascending order: they were added so.
      if (id > last) break;
      if (id < first) continue;
      this.#old.delete(id);
      this.#unsettled--;
      this.#apply(position, op);
    }
  }

  #apply(position: number, op: SettleOp): void {
    const source = this.#source;
    switch (op) {
      case 'complete':
        source.vhost.counters.completed++;
        source.complete(position);
        break;
      case 'requeue':
        source.giveBack(position, false);
        break;
      case 'modify':
        source.giveBack(position, true);
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
    this.#source.drain(this);
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

  close(): void {
    this.#leave();
  }

  /** The queue or the client is gone: tell the consumer. */
  end(reason: ErrorCode): void {
    if (this.#closed) return;
    this.#leave();
    if (!this.#cancelled) this.#handlers.onEnd?.(reason);
  }

  #leave(): void {
    if (this.#closed) return;
    this.#completeShown();
    this.#closed = true;
    this.#allowed = 0;
    this.#client.left(this);
    const source = this.#source;
    if (this.#pulling) this.#pullNoMore();
    this.#endDrains();
    if (!source.deleted) {
      for (const position of this.#old.values()) source.giveBack(position, false);
      const mask = this.#slots.length - 1;
      for (let id = this.#firstId; id <= this.deliveryId; id++) {
        const position = this.#slots[id & mask] as number;
        if (position !== SETTLED) source.giveBack(position, false);
      }
    }
    this.#unsettled = 0;
    this.#old.clear();
    this.#slots = new Float64Array(0);
    source.vhost.detach(source, this, false);
  }

  #endDrains(): void {
    for (const done of this.#drains ?? []) this.#source.engine.clock.soon(done);
    this.#drains = undefined;
  }

  #wake(): void {
    if (this.#closed || this.#paused) return;
    if (this.pull && !this.#pulling && this.#creditLeft()) {
      this.#pulling = true;
      this.#source.pull(this);
    }
    this.#source.engine.wake(this.#source);
  }

  #pullNoMore(): void {
    this.#pulling = false;
    this.#source.pullNoMore(this);
  }

  /** Make room for one more delivery. */
  #grow(): void {
    const old = this.#slots;
    if (old.length >= SLOTS_SPARSE && (this.#unsettled - this.#old.size) * 4 < old.length) {
      this.#leaveBehind(this.#firstId + old.length / 2);
      return;
    }
    const slots = new Float64Array(old.length * 2);
    for (let id = this.#firstId; id < this.deliveryId; id++) {
      slots[id & (slots.length - 1)] = old[id & (old.length - 1)] as number;
    }
    this.#slots = slots;
  }

  /** Move what is unsettled before delivery `id` out of the ring. */
  #leaveBehind(id: number): void {
    const mask = this.#slots.length - 1;
    for (; this.#firstId < id; this.#firstId++) {
      const position = this.#slots[this.#firstId & mask] as number;
      if (position !== SETTLED) this.#old.set(this.#firstId, position);
    }
  }
}
