/**
 * The door between adapters and the core (DESIGN section 4): batches and callbacks, no promise per message. Adapters see
 * these interfaces through `core/index.ts` and nothing else.
 *
 * Rules that hold for every call:
 * - Views (`Message`, batches) are valid only inside the callback or call they are passed to.
 * - Callbacks come synchronously from `publish`, or from the broker's own turn of the event loop; they must not throw.
 * - Errors of the peer are `CoreError`s: thrown by synchronous calls, rejected by promises.
 */
import type { Admin, Arguments } from './admin-door.ts';
import type { ErrorCode } from './errors.ts';
import type { CheckerHandlers, HalfChecker, HalfDone, HalfMessage, HalfOp, HalfSettings } from './half/door.ts';
import type { Format, HubProperties, Message, Pattern, RoutingKey } from './message.ts';

import type {
  Appended,
  GroupHandlers,
  GroupMember,
  GroupOptions,
  Reader,
  ReaderHandlers,
  ReaderOptions,
  ReadFrom,
  ShareOptions,
} from './topic/door.ts';

import type { Transaction, TransactionOptions } from './transaction/door.ts';

export * from './admin-door.ts';
export type * from './delay/door.ts';
export type * from './half/door.ts';
export type * from './selection/door.ts';
export type * from './topic/door.ts';
export type * from './transaction/door.ts';

/** Who is on the other side of a connection. Shown in listings; `user` and `clientId` are stored with each message. */
export interface Identity {
  /** Authenticated user name; empty for anonymous. */
  readonly user: string;
  /** What the client calls itself: its id, its connection's name, or empty. */
  readonly clientId: string;
  /** Which adapter it came through, for listings. */
  readonly protocol: string;
  /** Remote address and port, for listings. */
  readonly peer: string;
}

export interface ClientHandlers {
  /** A resource alarm started: stop reading from this connection if it publishes. */
  onBlocked?(reason: string): void;
  /** The alarm is over. */
  onUnblocked?(): void;
  /** The operator or the broker closes this client; the adapter tells the peer and closes the connection. */
  onClose?(reason: ErrorCode, detail: string): void;
}

export interface Broker {
  /** Make a protocol's property encoding known. Throws when the id is taken by another format. */
  registerFormat(format: Format): void;
  /** The format of an id; undefined when no adapter registered it. */
  format(id: number): Format | undefined;
  /** Properties and annotations of a message in the hub form, whatever wrote it: its own, and what the core knows besides
   *  (its death history). */
  hub(message: Message): HubProperties;
  /** Enter a virtual host. Throws `not-found`, `connection-limit`, `stopping`. */
  client(vhost: string, identity: Identity, handlers: ClientHandlers): Client;
  readonly admin: Admin;
  /** Delays that publishers ask for by number, from 1 on: see `delayOfLevel`. */
  readonly delayLevelsMs: readonly number[];
  /** The alarm in force, or undefined: publishers are blocked while there is one. */
  readonly blockedBy: string | undefined;
}

/** One connection's presence in a virtual host. Owns its producers, subscriptions, readers, taps and exclusive queues. */
export interface Client {
  readonly identity: Identity;
  readonly vhost: string;
  producer(handlers: ProducerHandlers): Producer;
  /** Consume from a queue. Throws `not-found`, `resource-locked`, `in-use` (exclusive), `limit-exceeded`, `invalid-argument`
   *  (an option). */
  subscribe(queue: string, options: SubscribeOptions, handlers: SubscriptionHandlers): Subscription;
  /** A volatile subscriber on an exchange: at most once, nothing stored (DESIGN section 3). Bind it with `tap.bind`. */
  tap(handlers: TapHandlers): Tap;
  /**
   * Read a partition of a topic from `offset` on, which may be its end. Throws `not-found`, `invalid-argument` (no such
   * partition), `offset-out-of-range`, `limit-exceeded`.
   */
  reader(topic: string, partition: number, offset: number, handlers: ReaderHandlers, options?: ReaderOptions): Reader;
  /** The offset a place in a partition has now, within what there is to read. Rejects with `not-found`, `invalid-argument`. */
  offsetOf(topic: string, partition: number, from: ReadFrom): Promise<number>;
  /**
   * Become a member of a consumer group, which is made when it is not there. Throws `not-found` (a topic), `invalid-argument`,
   * `limit-exceeded`.
   */
  joinGroup(group: string, options: GroupOptions, handlers: GroupHandlers): GroupMember;
  /** Be asked about the half messages of a producer group. Throws `invalid-argument`, `limit-exceeded`. */
  checker(group: string, handlers: CheckerHandlers): HalfChecker;
  /**
   * Commit a half message or roll it back, in the name of its producer group; a parked one too. Doing the same twice is fine.
   * Throws `not-found` (it never was, ended long ago, or is of another group), `precondition-failed` (it ended the other way). The
   * end is told: that it is durable, or why the half is still open: `not-found` (an exchange is gone), `unroutable` (a mandatory
   * message), `limit-exceeded` (a queue is full).
   */
  finishHalf(group: string, id: string, op: HalfOp, done: HalfDone): void;
  /** End everything: unsettled deliveries are requeued (counted as redelivered), exclusive queues deleted. Idempotent.
   *  @param lost the peer vanished without a word: what it held counts as failed */
  close(lost?: boolean): void;
}

// ---- Publishing -------------------------------------------------------------------------------------------------

/** Publish option bits. */
export const MANDATORY = 1;
/** Ask for a confirm: the n-th publish with this bit on a producer is confirmed as number n (from 1). */
export const CONFIRM = 2;

export interface ProducerHandlers {
  /** Everything up to the n-th confirm-asking publish is as durable as was asked, except the numbers in `refused`
   *  (ascending, all greater than the previous `upTo`). One call per group commit. */
  onConfirm?(upTo: number, refused: readonly number[] | undefined): void;
  /** A mandatory message found no queue or tap. Called inside `publish`, before its confirm. */
  onReturn?(message: Message, code: ErrorCode): void;
  /** `publish` had answered false; publishing may go on. */
  onDrain?(): void;
}

/** An exchange and a routing key, resolved once and kept: `publish` to it costs no lookup. */
export interface Address {
  readonly exchange: string;
  readonly key: RoutingKey;
}

export interface Producer {
  /** Resolve an exchange and key. Keep the result per (exchange, key). Throws `not-found`, `invalid-argument`. */
  address(exchange: string, key: RoutingKey): Address;
  /**
   * Publish one message: synchronous; the bytes are copied before it returns. Fill format, flags, priority, expiresAtMs, deliverAtMs,
   * bytes, head and body offsets; the rest is the core's. Answers false when the publisher should pause until `onDrain`
   * (this message was taken all the same). Throws `not-found` when the exchange was deleted, `message-too-large`,
   * `publishing-blocked` (an alarm is on and nothing more may be taken).
   * @param options MANDATORY | CONFIRM
   */
  publish(address: Address, message: Message, options: number): boolean;
  /**
   * Append a batch of messages to a topic, to be kept as it is: its bytes are the body of `batch`, whose format says how to take it
   * apart (`Format.batches`). Its messages get consecutive offsets and become visible together. The address leads to one topic and
   * nowhere else. A sequence, if set, is that of the first message. Throws as `publish`; besides `invalid-argument` (not a batch),
   * `message-too-large`, `not-supported` (its format has no batches), `unroutable`, `out-of-order`, `fenced`.
   * @param options CONFIRM: confirmed as one publish
   */
  appendBatch(address: Address, batch: Message, options: number): Appended;
  /** Several publishes of this producer, and settlements of its client, that take effect together or not at all. */
  transaction(options?: TransactionOptions): Transaction;
  /**
   * Store messages that nobody sees until the half they belong to is committed: then all of them are published, or none is. The
   * bytes are copied before it returns. Answers false as `publish` does, and throws what that throws; besides `invalid-argument`
   * (settings, a message that is to be retained), `limit-exceeded`, `precondition-failed` (the half has ended).
   * @param options CONFIRM: confirmed as one publish
   */
  prepareHalf(messages: readonly HalfMessage[], settings: HalfSettings, options: number): boolean;
  /** As `Client.finishHalf`; with CONFIRM among the options its end is told as the confirm, or the refusal, of a publish. */
  finishHalf(group: string, id: string, op: HalfOp, options: number): void;
  /** Where the last message that was routed to a topic went (the last topic, if there were several); -1 before the first. */
  readonly lastPartition: number;
  readonly lastOffset: number;
  /** Handles of the delayed message published last, one for each queue it waits in. To be asked right after `publish`. */
  readonly lastDelayed: readonly string[];
  close(): void;
}

// ---- Consuming --------------------------------------------------------------------------------------------------

/** What becomes of a delivery. `complete`: done, delete it. `requeue`: back to its place, not counted as a failure.
 *  `discard`: rejected (dead-lettered where that is set, else deleted). `modify`: back to its place, counted as failed. */
export type SettleOp = 'complete' | 'requeue' | 'discard' | 'modify';

export interface SubscribeOptions {
  /** Deliveries allowed before more `credit`; Infinity = no limit but the byte one. */
  credit: number;
  /** The only consumer of the queue: refuses others, is refused when there are some. */
  exclusive?: boolean;
  /** Deliveries are settled `complete` as they are handed out (at most once). */
  settled?: boolean;
  /** Consumers of higher priority are served first while they have credit. */
  priority?: number;
  /** Deliveries it gets for each one of a consumer of weight 1, priority and credit being equal: 1 (default) to 1,000. */
  weight?: number;
  /** Milliseconds it may keep a delivery unsettled, 1 to 100 days; Infinity = for ever. Then it ends with `consumer-timeout`,
   *  and what it holds is requeued. Default: what the queue says, else `limits.consumerTimeoutMs`. */
  timeoutMs?: number;
  /** For listings. */
  tag?: string;
  /** Takes messages now and then, while it has credit, and is no consumer: not counted as one, goes before consumers of
   *  any priority, is refused only by an exclusive consumer, and its end does not delete an auto-delete queue. */
  pull?: boolean;
  /** Only messages that meet this condition; the others stay (docs/filters.md). `tags`: the same with tags. */
  filter?: string;
  tags?: string;
  /** The queue is a topic, and this a consumer of one of its share groups: `complete` and `discard` are for good, `requeue` and
   *  `modify` bring a message back, to others too, up to `limits.shareDeliveriesMax` times; so does `timeoutMs` (default
   *  `limits.shareLockMs`), which does not end the subscription. Of the other options only `settled` and `tag` mean something. */
  share?: ShareOptions;
}

export interface SubscriptionHandlers {
  /**
   * Deliveries are ready: `while (room && batch.next()) encode(batch.message)`. Leaving some untaken pauses the
   * subscription until `resume()`; they stay in the queue.
   */
  onDeliveries(batch: DeliveryBatch): void;
  /** The subscription ended without being asked to: queue deleted, client closed by the operator, or a delivery unsettled for
   *  too long (`consumer-timeout`). */
  onEnd?(reason: ErrorCode): void;
  /** Of a queue that serves one consumer at a time: it is this one (told before its first delivery), or it is so no more
   *  because one of higher priority has come: it gets nothing new, and settles what it has. */
  onActive?(active: boolean): void;
}

export interface DeliveryBatch {
  /** Take the next delivery; false when there is none for now. */
  next(): boolean;
  /** Number of the delivery taken: 1, 2, 3, ... within the subscription. */
  readonly deliveryId: number;
  /** How often it was handed out before; 0 = first time. More than 0 is "redelivered". */
  readonly redeliveries: number;
  /** How many of these count as failures: `modify`, and consumers that vanished. 255 means 255 or more. */
  readonly failures: number;
  /** It is the first one since its message group became this consumer's own (docs/message-groups.md). */
  readonly groupFirst: boolean;
  /** Reused view: valid until the next call of `next`. */
  readonly message: Message;
}

export interface Subscription {
  readonly queue: string;
  /** Allow `n` more deliveries. */
  credit(n: number): void;
  /** Set the allowance to exactly `n` (0 stops). */
  setCredit(n: number): void;
  /** Take deliveries again after a batch was left unfinished. */
  resume(): void;
  /**
   * Settle deliveries `first` to `last`, both included. Numbers already settled are skipped. Answers how many were
   * settled; throws `unknown-delivery` when `last` was never handed out. Credit is not given back: call `credit`.
   * @param deliverAtMs for `requeue` and `modify`: wall-clock time before which they are not handed out again, at most ten
   *   years ahead; 0 = as the queue's rule for retries says. Throws `invalid-argument`.
   */
  settle(first: number, last: number, op: SettleOp, deliverAtMs?: number): number;
  /** Only in a share group: deliveries `first` to `last` have all of their time (`timeoutMs`) again. Answers how many; those that are
   *  settled, or whose time was over, are skipped. Throws `unknown-delivery`. */
  renew?(first: number, last: number): number;
  /** Call `done` once everything settled so far is durable (at once when nothing needs the disk). */
  afterDurable(done: () => void): void;
  /** Hand out what was published before this call, as far as the credit goes and also if it must come from disk or is
   *  being written there; then set the credit to 0 and call `done`, in the turn in which that is so. Never calls it
   *  synchronously; calls it too when the subscription ends meanwhile, or when a message cannot be read. */
  drain(done: () => void): void;
  /** Handed out and not settled. */
  readonly unsettled: number;
  /** Take no more, and be no consumer any longer: it counts as none, and an auto-delete queue goes with its last one.
   *  What is unsettled can be settled until `close`. `onEnd` is not called any more. */
  cancel(): void;
  /** End it; what is unsettled is requeued. @param lost as in `Client.close` */
  close(lost?: boolean): void;
}

// ---- Taps -------------------------------------------------------------------------------------------------------

export interface TapHandlers {
  /** One message; called inside `publish`. Must not throw or publish. Answer false when it was dropped for want of room. */
  onMessage(message: Message): boolean;
}

export interface Tap {
  /**
   * Binding twice with the same pattern and arguments is one binding. Throws `not-found`, `limit-exceeded`,
   * `invalid-argument` (arguments, among them a filter's column and reason).
   */
  bind(exchange: string, pattern: Pattern, args?: Arguments): void;
  unbind(exchange: string, pattern: Pattern, args?: Arguments): void;
  /** The current retained last values that match, oldest first, as far as the filter in `args` lets them pass; then `done`.
   *  Bodies may come from disk. */
  retained(
    exchange: string,
    pattern: Pattern,
    each: (message: Message) => void,
    done: () => void,
    args?: Arguments,
  ): void;
  /** Messages dropped because `onMessage` answered false. */
  readonly dropped: number;
  close(): void;
}
