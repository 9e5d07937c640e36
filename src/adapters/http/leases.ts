/**
 * Leases: messages handed to an HTTP client for a time. A lease is one subscription that took its deliveries and gets no
 * more credit; while it lasts nobody else sees its messages. When it ends (time, operator, stop, crash) what is not
 * settled goes back to its place in the queue.
 */
import { randomBytes } from 'node:crypto';
import {
  type Clock,
  CoreError,
  type DeliveryBatch,
  type ErrorCode,
  type Limits,
  type SettleOp,
  type ShareOptions,
  type Subscription,
  type Timer,
  type Transaction,
} from '../../core/index.ts';
import type { HttpClient, HttpClients } from './clients.ts';

/** Bytes of randomness in a lease id: 144 bits cannot be guessed. */
const ID_BYTES = 18;

export interface LeaseRequest {
  readonly queue: string;
  /** The queue is a topic, and this the share group that takes from it. */
  readonly share?: ShareOptions;
  readonly messagesMax: number;
  readonly waitMs: number;
  readonly leaseMs: number;
  /** A condition, and tags, that the messages must meet. */
  readonly filter: string | undefined;
  readonly tags: string | undefined;
  /** Called for each message, which the batch shows. */
  onMessage(batch: DeliveryBatch): void;
}

/** An inclusive range of delivery numbers. */
export type Range = readonly [first: number, last: number];

/** Messages in a client's hands. */
export interface Lease {
  readonly id: string;
  readonly owner: HttpClient;
  readonly queue: string;
  readonly count: number;
  expiresAtMs: number;
}

interface Held extends Lease {
  readonly subscription: Subscription;
  timer: Timer;
}

export class Leases {
  readonly #clients: HttpClients;
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #held = new Map<string, Held>();
  readonly #waiting = new Set<Taking>();
  #closed = false;

  constructor(clients: HttpClients, clock: Clock, limits: Limits) {
    this.#clients = clients;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** How many leases are held. */
  get count(): number {
    return this.#held.size;
  }

  /**
   * Take messages; resolves to undefined when there were none in the time given. The lease keeps its own use of `owner`.
   * @param gone tells when the requester went away: what it was to get is requeued
   * Rejects with `not-found`, `resource-locked`, `in-use`, `limit-exceeded`.
   */
  async take(owner: HttpClient, request: LeaseRequest, gone: AbortSignal): Promise<Lease | undefined> {
    if (this.#closed) throw new CoreError('stopping');
    if (this.#waiting.size >= this.#limits.leaseWaitersMax) {
      throw new CoreError('limit-exceeded', `${this.#limits.leaseWaitersMax} lease requests are waiting`);
    }
    const taking = new Taking(owner, request, this.#clock, this.#limits);
    this.#waiting.add(taking);
    const give = () => taking.finish();
    gone.addEventListener('abort', give);
    try {
      await taking.done;
    } finally {
      gone.removeEventListener('abort', give);
      this.#waiting.delete(taking);
    }
    if (taking.count === 0 || gone.aborted || this.#closed) {
      taking.subscription.close();
      return undefined;
    }
    return this.#hold(owner, request, taking);
  }

  /** A lease of the user's own; others do not exist for it. Throws `not-found`. */
  find(id: string, owner: HttpClient): Lease {
    const lease = this.#held.get(id);
    if (lease === undefined || lease.owner !== owner) {
      throw new CoreError('not-found', 'no such lease: it has expired, was settled, or is not yours');
    }
    return lease;
  }

  /**
   * Settle some or all messages of a lease. Resolves, once that is durable, to how many were settled by this call.
   * Throws `unknown-delivery` for a number outside the lease; then nothing is settled.
   */
  settle(lease: Lease, ranges: readonly Range[] | undefined, op: SettleOp, deliverAtMs: number): Promise<number> {
    const { subscription } = lease as Held;
    let settled = 0;
    for (const [first, last] of checked(lease, ranges)) settled += subscription.settle(first, last, op, deliverAtMs);
    const durable = new Promise<number>((resolve) => subscription.afterDurable(() => resolve(settled)));
    this.endIfSettled(lease);
    return durable;
  }

  /** Make a settlement part of a transaction; `endIfSettled` is to be called after its commit. Answers and throws as `settle`. */
  hold(
    transaction: Transaction,
    lease: Lease,
    ranges: readonly Range[] | undefined,
    op: SettleOp,
    deliverAtMs: number,
  ): number {
    const { subscription } = lease as Held;
    let settled = 0;
    for (const [first, last] of checked(lease, ranges)) {
      settled += transaction.settle(subscription, first, last, op, deliverAtMs);
    }
    return settled;
  }

  /** A lease of which nothing is left is over. */
  endIfSettled(lease: Lease): void {
    if ((lease as Held).subscription.unsettled === 0) this.#drop(lease as Held);
  }

  /** How many messages of a lease are not settled. */
  remaining(lease: Lease): number {
    return this.#held.has(lease.id) ? (lease as Held).subscription.unsettled : 0;
  }

  /** Let a lease last for `leaseMs` from now. */
  extend(lease: Lease, leaseMs: number): void {
    const held = lease as Held;
    held.timer.cancel();
    held.expiresAtMs = this.#clock.now() + leaseMs;
    held.timer = this.#clock.after(leaseMs, () => this.#drop(held));
  }

  /** End all waiting with what they have got, and requeue everything held. */
  close(): void {
    this.#closed = true;
    for (const taking of this.#waiting) taking.finish();
    for (const held of [...this.#held.values()]) this.#drop(held);
  }

  #hold(owner: HttpClient, request: LeaseRequest, taking: Taking): Lease {
    const held: Held = {
      id: randomBytes(ID_BYTES).toString('base64url'),
      owner,
      queue: request.queue,
      count: taking.count,
      expiresAtMs: this.#clock.now() + request.leaseMs,
      subscription: taking.subscription,
      timer: this.#clock.after(request.leaseMs, () => this.#drop(held)),
    };
    this.#held.set(held.id, held);
    owner.uses++;
    return held;
  }

  /** Forget a lease; the subscription's end requeues what is left. */
  #drop(held: Held): void {
    if (!this.#held.delete(held.id)) return;
    held.timer.cancel();
    held.subscription.close();
    this.#clients.release(held.owner);
  }
}

/** The ranges, or all of the lease. Throws `unknown-delivery` for a number outside of it. */
function checked({ count }: Lease, ranges: readonly Range[] | undefined): readonly Range[] {
  for (const [first, last] of ranges ?? []) {
    if (first < 1 || last < first || last > count) {
      throw new CoreError('unknown-delivery', `${first}-${last}: the lease holds deliveries 1 to ${count}`);
    }
  }
  return ranges ?? [[1, count]];
}

/** One request in the course of taking its messages. */
class Taking {
  readonly subscription: Subscription;
  /** Resolves when no more are taken; rejects when the queue went away before the first. */
  readonly done: Promise<void>;
  /** Messages taken. */
  count = 0;
  readonly #request: LeaseRequest;
  readonly #limits: Limits;
  readonly #clock: Clock;
  #bytes = 0;
  #timer: Timer | undefined;
  #draining = false;
  #finished = false;
  #resolve: () => void = () => {};
  #reject: (error: CoreError) => void = () => {};

  constructor(owner: HttpClient, request: LeaseRequest, clock: Clock, limits: Limits) {
    this.#request = request;
    this.#limits = limits;
    this.#clock = clock;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.subscription = owner.client.subscribe(
      request.queue,
      // A lease has a time of its own.
      {
        ...{ credit: request.messagesMax, pull: true, tag: 'lease', timeoutMs: Number.POSITIVE_INFINITY },
        ...(request.share === undefined ? {} : { share: request.share }),
        ...(request.filter === undefined ? {} : { filter: request.filter }),
        ...(request.tags === undefined ? {} : { tags: request.tags }),
      },
      { onDeliveries: (batch) => this.#take(batch), onEnd: (reason) => this.#ended(reason) },
    );
    if (request.waitMs === 0) this.#drain();
    else this.#timer = clock.after(request.waitMs, () => this.#drain());
  }

  /** Take no more: what has been taken is the lease, and can be settled for as long as it lasts. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#timer?.cancel();
    this.subscription.setCredit(0);
    this.#resolve();
  }

  #take(batch: DeliveryBatch): void {
    const { onMessage } = this.#request;
    while (!this.#full && batch.next()) {
      this.count++;
      this.#bytes += batch.message.bodyEnd - batch.message.bodyStart;
      onMessage(batch);
    }
    if (this.count === 0) return;
    // Not inside the callback: the broker is in the middle of handing out.
    this.#clock.soon(() => (this.#full ? this.finish() : this.#drain()));
  }

  get #full(): boolean {
    const { messagesMax } = this.#request;
    return this.#finished || this.count >= messagesMax || this.#bytes >= this.#limits.leaseBytesMax;
  }

  /** Wait no longer: have what is ready now, and no more. */
  #drain(): void {
    if (this.#draining || this.#finished) return;
    this.#draining = true;
    this.#timer?.cancel();
    this.subscription.drain(() => this.finish());
  }

  #ended(reason: ErrorCode): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#timer?.cancel();
    this.#reject(new CoreError(reason, `queue ${this.#request.queue} is gone`));
  }
}
