/**
 * Delivery from a session's queue to its client: QoS 1 with packet ids and acknowledgements, QoS 0 settled as it goes out
 * (MQTT 3.1.1 sections 4.3 and 4.4).
 */
import type {
  Client,
  DeliveryBatch,
  ErrorCode,
  Limits,
  Message,
  Subscription,
  SubscriptionHandlers,
} from '../../core/index.ts';
import type { Connection } from '../connection.ts';
import { SentIds } from './inflight.ts';
import { isRetainedCopy, qosOf } from './message.ts';
import type { Outbox } from './outbox.ts';
import { PUBLISH_DUP, PUBLISH_RETAIN } from './packets.ts';

const NO_IDS = new Uint16Array(0);

export class QueueDelivery implements SubscriptionHandlers {
  readonly #connection: Connection;
  readonly #outbox: Outbox;
  readonly #window: number;
  readonly #onEnd: (reason: ErrorCode) => void;
  #subscription: Subscription | undefined;
  readonly #sent = new SentIds();
  /** Packet ids of the session's last connection, for what is sent again [MQTT-4.4.0-1]. */
  #oldIds: Uint16Array;
  #oldIdAt = 0;
  /** Deliveries the client acknowledged in this chunk: a range, so that most chunks settle once. */
  #ackedFirst = 0;
  #ackedLast = 0;
  /** Deliveries of the current batch that need no acknowledgement, as pairs first, last. */
  readonly #done: number[] = [];
  /** Deliveries of the current batch that MQTT cannot express. */
  readonly #unspeakable: number[] = [];

  /** @param oldIds packet ids that were unacknowledged when the session was left, in order */
  constructor(
    connection: Connection,
    outbox: Outbox,
    limits: Limits,
    onEnd: (reason: ErrorCode) => void,
    oldIds: Uint16Array = NO_IDS,
  ) {
    this.#connection = connection;
    this.#outbox = outbox;
    this.#window = Math.min(limits.inflightMessagesMax, 65_535);
    this.#onEnd = onEnd;
    this.#oldIds = oldIds;
  }

  get started(): boolean {
    return this.#subscription !== undefined;
  }

  /** Consume the session's queue. Throws like `Client.subscribe`. */
  start(client: Client, queue: string): void {
    this.#subscription = client.subscribe(queue, { credit: this.#window, exclusive: true, tag: 'session' }, this);
  }

  onDeliveries(batch: DeliveryBatch): void {
    const connection = this.#connection;
    this.#outbox.endRun();
    let room = connection.limits.connectionOutBytesHigh - connection.queuedBytes;
    // `roomy` is asked last: its "no" is what has the connection report when there is room again.
    while ((room > 0 || connection.roomy) && batch.next()) room -= this.#deliver(batch);
    this.#settleBatch();
  }

  onEnd(reason: ErrorCode): void {
    this.#subscription = undefined;
    this.#onEnd(reason);
  }

  /** Answers the bytes written. */
  #deliver(batch: DeliveryBatch): number {
    const message = batch.message;
    const delivery = batch.deliveryId;
    const flags = isRetainedCopy(message) ? PUBLISH_RETAIN : 0;
    if (qosOf(message) === 0) {
      const bytes = this.#outbox.publish(message, flags, 0);
      if (bytes > 0) addToRanges(this.#done, delivery);
      else this.#unspeakable.push(delivery);
      return bytes;
    }
    if (this.#outbox.publishBytes(message, true) === 0) {
      this.#unspeakable.push(delivery);
      return 0;
    }
    const again = batch.redeliveries > 0;
    const id = this.#packetId(delivery, again);
    return this.#outbox.publish(message, again ? flags | PUBLISH_DUP : flags, id);
  }

  #packetId(delivery: number, again: boolean): number {
    if (this.#oldIds !== NO_IDS) {
      if (again && this.#oldIdAt < this.#oldIds.length) {
        const id = this.#oldIds[this.#oldIdAt++] as number;
        if (this.#sent.takeThis(id, delivery)) return id;
      } else {
        this.#oldIds = NO_IDS;
      }
    }
    return this.#sent.take(delivery);
  }

  #settleBatch(): void {
    const subscription = this.#subscription;
    const done = this.#done;
    const unspeakable = this.#unspeakable;
    if ((done.length === 0 && unspeakable.length === 0) || subscription === undefined) return;
    let count = 0;
    for (let i = 0; i < done.length; i += 2) {
      count += subscription.settle(done[i] as number, done[i + 1] as number, 'complete');
    }
    for (const delivery of unspeakable) count += subscription.settle(delivery, delivery, 'discard');
    done.length = 0;
    unspeakable.length = 0;
    subscription.credit(count);
  }

  /** A PUBACK. Unknown ids are ignored: the message may have been removed by the operator meanwhile. */
  acknowledge(packetId: number): void {
    const delivery = this.#sent.release(packetId);
    if (delivery === 0) return;
    if (delivery === this.#ackedLast + 1 && this.#ackedFirst !== 0) {
      this.#ackedLast = delivery;
      return;
    }
    this.flushAcknowledged();
    this.#ackedFirst = delivery;
    this.#ackedLast = delivery;
  }

  /** Settle what `acknowledge` collected: call at the end of each chunk. */
  flushAcknowledged(): void {
    const first = this.#ackedFirst;
    if (first === 0) return;
    this.#ackedFirst = 0;
    const count = this.#subscription?.settle(first, this.#ackedLast, 'complete') ?? 0;
    if (count > 0) this.#subscription?.credit(count);
  }

  /** The connection has room again. */
  resume(): void {
    this.#subscription?.resume();
  }

  /** What the client has not acknowledged: the packet ids to send it again under. Call before the core client closes. */
  leave(): Uint16Array {
    this.flushAcknowledged();
    this.#subscription = undefined;
    return this.#sent.inOrder();
  }
}

/** `ranges` holds pairs first, last; add a number larger than all in it. */
function addToRanges(ranges: number[], number: number): void {
  const last = ranges.length - 1;
  if (last > 0 && ranges[last] === number - 1) ranges[last] = number;
  else ranges.push(number, number);
}

/** The QoS a message goes out with under a granted QoS [MQTT-3.8.4-6]. */
export function lowerQos(message: Message, granted: number): number {
  return Math.min(qosOf(message), granted);
}
