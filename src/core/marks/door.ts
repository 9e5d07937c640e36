/** What `broker.admin` does with the message ids that queues remember (docs/queue-rules.md "Repeats"). */

export interface MessageIdsAdmin {
  /** How many a queue remembers. Throws `not-found`. */
  count(vhost: string, queue: string): number;
  /** Whether a message with this id would be a repeat now. Throws `not-found`. */
  has(vhost: string, queue: string, id: string): boolean;
  /** Forget all; resolves when that is durable. Rejects with `not-found`. */
  forget(vhost: string, queue: string): Promise<void>;
}
