/**
 * A reader of a topic that looks like a subscription of a queue, for protocols that know only those: it takes credit, and settling
 * gives credit back and does nothing else. Whoever reads remembers how far he has come.
 */
import type {
  Client,
  DeliveryBatch,
  Message,
  Reader,
  ReadFrom,
  RecordBatch,
  Subscription,
  SubscriptionHandlers,
} from '../core/index.ts';

export interface StreamPlace {
  readonly topic: string;
  readonly partition: number;
  readonly from: ReadFrom;
}

/** What `SubscriptionHandlers.onDeliveries` gets from a topic. */
export interface StreamBatch extends DeliveryBatch {
  readonly offset: number;
}

export class StreamSubscription implements Subscription, StreamBatch {
  readonly queue: string;
  readonly redeliveries = 0;
  readonly failures = 0;
  readonly groupFirst = false;
  deliveryId = 0;
  unsettled = 0;
  readonly #handlers: SubscriptionHandlers;
  /** Numbers of deliveries not settled. */
  readonly #held = new Set<number>();
  readonly #holds: boolean;
  #credit: number;
  #batch: RecordBatch | undefined;
  #reader: Reader | undefined;
  #over = false;

  /**
   * The place is looked up first, so that it begins a little later.
   * @param settled deliveries are never settled @param failed why there will be none: `not-found`, `invalid-argument`,
   *   `limit-exceeded`
   */
  constructor(
    client: Client,
    { topic, partition, from }: StreamPlace,
    { credit, settled }: { credit: number; settled: boolean },
    handlers: SubscriptionHandlers,
    failed: (error: Error) => void,
  ) {
    this.queue = topic;
    this.#credit = credit;
    this.#holds = !settled;
    this.#handlers = handlers;
    client
      .offsetOf(topic, partition, from)
      .then((offset) => {
        if (this.#over) return;
        this.#reader = client.reader(topic, partition, offset, {
          onRecords: (batch) => this.#show(batch),
          onEnd: (reason) => {
            this.#over = true;
            handlers.onEnd?.(reason);
          },
        });
      })
      .catch((error: Error) => {
        if (this.#over) return;
        this.#over = true;
        failed(error);
      });
  }

  #show(batch: RecordBatch): void {
    this.#batch = batch;
    this.#handlers.onDeliveries(this);
    this.#batch = undefined;
  }

  // ---- The batch --------------------------------------------------------------------------------------------------

  next(): boolean {
    if (this.#credit === 0 || this.#over || this.#batch?.next() !== true) return false;
    this.#credit--;
    this.deliveryId++;
    if (this.#holds) {
      this.#held.add(this.deliveryId);
      this.unsettled++;
    }
    return true;
  }

  get message(): Message {
    return (this.#batch as RecordBatch).message;
  }

  get offset(): number {
    return (this.#batch as RecordBatch).offset;
  }

  // ---- The subscription -------------------------------------------------------------------------------------------

  credit(n: number): void {
    this.#credit += n;
    this.resume();
  }

  setCredit(n: number): void {
    this.#credit = n;
    this.resume();
  }

  resume(): void {
    if (!this.#over && this.#credit > 0) this.#reader?.resume();
  }

  settle(first: number, last: number): number {
    let count = 0;
    for (let id = first; id <= last; id++) if (this.#held.delete(id)) count++;
    this.unsettled -= count;
    return count;
  }

  afterDurable(done: () => void): void {
    done();
  }

  drain(done: () => void): void {
    this.#credit = 0;
    queueMicrotask(done);
  }

  cancel(): void {
    this.#over = true;
    this.#reader?.close();
    this.#reader = undefined;
  }

  close(): void {
    this.cancel();
  }
}
