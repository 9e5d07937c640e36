/** Transactions as adapters see them (docs/transactions.md). */
import type { Address, OffsetCommit, SettleOp, Subscription } from '../door.ts';
import type { Message } from '../message.ts';

export interface TransactionOptions {
  /**
   * What becomes of a mandatory message that no queue, topic or tap takes: `return` hands it to the producer's `onReturn` and
   * does the rest; `refuse` makes the commit fail with `unroutable`. Default `return`.
   */
  unroutable?: 'return' | 'refuse';
}

/**
 * Publishes and settlements that are held until `commit`, which makes them durable and visible together, or not at all. May be
 * used again after a commit or rollback; ends with `close` or with its producer.
 */
export interface Transaction {
  /**
   * Hold a publish; the message is copied. It is routed at the commit. Throws `message-too-large`, `invalid-argument`,
   * `limit-exceeded` (nothing is held then), `precondition-failed` when an operator has rolled the transaction back.
   * @param options MANDATORY or 0: a commit confirms all it holds
   */
  publish(address: Address, message: Message, options: number): void;
  /**
   * Hold the settlement of deliveries `first` to `last`, both included, of a subscription of the same client. They stay unsettled
   * until the commit. Answers how many they are; numbers already settled are skipped. Throws `unknown-delivery`,
   * `invalid-argument`, `limit-exceeded`, `precondition-failed`.
   * @param deliverAtMs as in `Subscription.settle`
   */
  settle(subscription: Subscription, first: number, last: number, op: SettleOp, deliverAtMs?: number): number;
  /**
   * Hold offsets of a consumer group, which are written down with the rest: what was made of messages of a topic and how far they were
   * read take effect together. A group with members takes only those of partitions that a member of this client holds, at the
   * commit as well. Throws `not-found`, `invalid-argument`, `limit-exceeded`, `precondition-failed`.
   */
  commitOffsets(group: string, offsets: readonly OffsetCommit[]): void;
  /**
   * Do all that is held. `done` is called once it is durable (perhaps before `commit` returns, when nothing needs the disk).
   * Throws when any part cannot be done, and then nothing is, and all is still held: `not-found` (an exchange),
   * `limit-exceeded` (a queue that refuses, retained values), `unroutable`, `fenced`, `offset-out-of-range`, `unknown-delivery` (a delivery has gone back to its
   * queue), `invalid-argument` (one is settled twice), `publishing-blocked`, `precondition-failed`.
   */
  commit(done: () => void): void;
  /** Forget what is held: messages are not published, deliveries stay unsettled. */
  rollback(): void;
  /** Roll back and end. Idempotent. */
  close(): void;
}

/** An open transaction that holds something. */
export interface TransactionInfo {
  id: number;
  /** `ClientInfo.id` of its client. */
  clientId: number;
  user: string;
  vhost: string;
  publishes: number;
  settlements: number;
  /** Memory it takes. */
  bytes: number;
  /** Wall clock, when it began to hold something. */
  sinceMs: number;
}
