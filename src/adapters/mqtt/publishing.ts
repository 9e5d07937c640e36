/**
 * Publishing for one session: PUBLISH packets in, PUBACK and PUBREC out when the core has confirmed
 * (MQTT 3.1.1 sections 3.3 and 4.3), the will, and retained messages for the session's own queue.
 */
import {
  type Address,
  type Client,
  CONFIRM,
  CoreError,
  FLAG_DURABLE,
  FLAG_RETAIN,
  type Limits,
  type Message,
  type Producer,
  RoutingKey,
} from '../../core/index.ts';
import { InternTable } from '../intern.ts';
import { TYPE } from './codec.ts';
import { IntegerQueue } from './inflight.ts';
import { retainedCopyHead } from './message.ts';
import type { Outbox, SharedFrame } from './outbox.ts';
import { ack, PUBLISH_DUP, PUBLISH_RETAIN, type Qos, type Will } from './packets.ts';
import { TOPIC_EXCHANGE } from './subscriptions.ts';
import { topicKey } from './topic.ts';

/** What the publishing of all sessions shares: one view, one frame. */
export interface PublishingShared {
  readonly limits: Limits;
  /** Its format is set; everything else is filled for each publish. */
  readonly view: Message;
  readonly frame: SharedFrame;
}

export interface PublishingHandlers {
  /** The core asks for a pause, or takes it back. */
  onPressed(pressed: boolean): void;
  /** The core refused a message it had taken: there is no way to tell a 3.1.1 client but to close [MQTT-3.3.5-2]. */
  onRefused(packetId: number): void;
}

/** Mark of QoS 2 in the queue of packet ids that wait for a confirm. */
const AWAITS_PUBREC = 0x10000;
const NO_BYTES: Buffer = Buffer.alloc(0);

export class Publishing {
  readonly #shared: PublishingShared;
  readonly #outbox: Outbox;
  readonly #handlers: PublishingHandlers;
  readonly #producer: Producer;
  readonly #addresses: InternTable<Address>;
  /** Packet ids of publishes the core has not confirmed, in order. */
  readonly #unconfirmed = new IntegerQueue();
  #confirmed = 0;
  /** QoS 2: ids between PUBLISH and PUBREL; 4.3.3, method A. True when the confirm has come. */
  readonly #received = new Map<number, boolean>();

  constructor(shared: PublishingShared, outbox: Outbox, client: Client, handlers: PublishingHandlers) {
    this.#shared = shared;
    this.#outbox = outbox;
    this.#handlers = handlers;
    this.#addresses = new InternTable<Address>(shared.limits.internedKeysPerConnectionMax);
    this.#producer = client.producer({
      onConfirm: (upTo, refused) => this.#onConfirm(upTo, refused),
      onDrain: () => handlers.onPressed(false),
    });
  }

  /**
   * A PUBLISH packet. Throws on malformed ones, and `publishing-blocked` when it was not taken and may be tried again.
   */
  publish(bytes: Buffer, start: number, body: number, end: number): void {
    const header = bytes[start] as number;
    const qos = (header >> 1) & 3;
    const topicStart = body + 2;
    const topicEnd =
      end < topicStart ? end + 1 : topicStart + (((bytes[body] as number) << 8) | (bytes[body + 1] as number));
    const payload = qos === 0 ? topicEnd : topicEnd + 2;
    if (payload > end) throw new CoreError('malformed-frame', 'the PUBLISH ends inside its topic or packet identifier');
    const address = this.#addresses.find(bytes, topicStart, topicEnd) ?? this.#resolve(bytes, topicStart, topicEnd);
    const view = this.#shared.view;
    view.bytes = bytes;
    view.bodyStart = payload;
    view.bodyEnd = end;
    if (header === TYPE.PUBLISH) {
      this.#publishQos0(address, view, start, end);
      return;
    }
    if (qos === 3) throw new CoreError('protocol-violation', 'QoS 3 [MQTT-3.3.1-4]');
    if (qos === 0 && (header & PUBLISH_DUP) !== 0)
      throw new CoreError('protocol-violation', 'DUP on QoS 0 [MQTT-3.3.1-2]');
    this.#publishOther(address, view, header, start, topicEnd);
  }

  /** The delivered frame is the received one: it is shared, see `SharedFrame`. */
  #publishQos0(address: Address, view: Message, start: number, end: number): void {
    const frame = this.#shared.frame;
    view.flags = 0;
    view.headStart = start;
    view.headEnd = start;
    frame.point(view.bytes, start, end);
    try {
      if (!this.#producer.publish(address, view, 0)) this.#handlers.onPressed(true);
    } finally {
      frame.clear();
    }
  }

  #publishOther(address: Address, view: Message, header: number, start: number, idAt: number): void {
    const qos = ((header >> 1) & 3) as Qos;
    const retain = (header & PUBLISH_RETAIN) !== 0;
    // Retained messages of any QoS are kept on disk; where QoS and durability part, the head says which QoS it was.
    const plain = qos === 1 || (qos === 0 && !retain);
    view.flags = (qos > 0 || retain ? FLAG_DURABLE : 0) | (retain ? FLAG_RETAIN : 0);
    view.headStart = start;
    view.headEnd = plain ? start : start + 1;
    if (qos === 0) {
      if (!this.#producer.publish(address, view, 0)) this.#handlers.onPressed(true);
      return;
    }
    const id = ((view.bytes[idAt] as number) << 8) | (view.bytes[idAt + 1] as number);
    if (id === 0) throw new CoreError('protocol-violation', 'packet identifier 0 [MQTT-2.3.1-1]');
    if (qos === 2 && this.#isDuplicate(id)) return;
    this.#unconfirmed.push(qos === 2 ? id | AWAITS_PUBREC : id);
    try {
      if (!this.#producer.publish(address, view, CONFIRM)) this.#handlers.onPressed(true);
    } catch (error) {
      this.#unconfirmed.pop();
      if (qos === 2) this.#received.delete(id);
      throw error;
    }
  }

  /** A QoS 2 id that was not released yet is the same message again: answered, not published [MQTT-4.3.3-2]. */
  #isDuplicate(id: number): boolean {
    const confirmed = this.#received.get(id);
    if (confirmed === undefined) {
      this.#received.set(id, false);
      return false;
    }
    if (confirmed) this.#outbox.packet(ack(TYPE.PUBREC, id));
    return true;
  }

  /** A PUBREL: forget the id, answer PUBCOMP whether it was known or not. */
  release(id: number): void {
    this.#received.delete(id);
    this.#outbox.packet(ack(TYPE.PUBCOMP, id));
  }

  /** QoS 2 ids whose message is published and that wait for a PUBREL. */
  receivedIds(): Set<number> {
    const ids = new Set<number>();
    for (const [id, confirmed] of this.#received) if (confirmed) ids.add(id);
    return ids;
  }

  /** Take over the QoS 2 state of a resumed session. */
  restoreReceived(ids: ReadonlySet<number>): void {
    for (const id of ids) this.#received.set(id, true);
  }

  #onConfirm(upTo: number, refused: readonly number[] | undefined): void {
    const count = upTo - this.#confirmed;
    if (refused === undefined) {
      this.#confirmed = upTo;
      this.#outbox.acks(count, this.#nextAck);
      return;
    }
    for (let at = 0; this.#confirmed < upTo; ) {
      this.#confirmed++;
      if (refused[at] === this.#confirmed) {
        at++;
        const id = this.#unconfirmed.shift() & 0xffff;
        this.#received.delete(id);
        this.#handlers.onRefused(id);
      } else {
        this.#outbox.acks(1, this.#nextAck);
      }
    }
  }

  readonly #nextAck = (): number => {
    const entry = this.#unconfirmed.shift();
    if (entry < AWAITS_PUBREC) return (TYPE.PUBACK << 16) | entry;
    const id = entry & 0xffff;
    if (this.#received.has(id)) this.#received.set(id, true);
    return (TYPE.PUBREC << 16) | id;
  };

  #resolve(bytes: Buffer, start: number, end: number): Address {
    const address = this.#producer.address(TOPIC_EXCHANGE, topicKey(bytes, start, end, this.#shared.limits));
    this.#addresses.add(bytes, start, end, address);
    return address;
  }

  /** Check a will at CONNECT; the answer publishes it. Throws on a bad topic. */
  prepareWill(will: Will): () => void {
    const topic = Buffer.from(will.topic, 'utf8');
    const address = this.#producer.address(TOPIC_EXCHANGE, topicKey(topic, 0, topic.length, this.#shared.limits));
    const head = will.qos === 1 || (will.qos === 0 && !will.retain) ? NO_BYTES : Buffer.from([will.qos << 1]);
    const flags = (will.qos > 0 || will.retain ? FLAG_DURABLE : 0) | (will.retain ? FLAG_RETAIN : 0);
    return () => this.#publishOwn(address, flags, head, will.payload, 0, will.payload.length);
  }

  /**
   * Put a retained message into the session's own queue, so that it is acknowledged, sent again and kept like any other
   * QoS 1 message of the session.
   */
  queueRetained(queue: string, qos: Qos, topic: Buffer, message: Message): void {
    const address = this.#producer.address('', new RoutingKey(queue, 0x2e));
    this.#publishOwn(
      address,
      FLAG_DURABLE,
      retainedCopyHead(qos, topic),
      message.bytes,
      message.bodyStart,
      message.bodyEnd,
    );
  }

  #publishOwn(address: Address, flags: number, head: Buffer, body: Buffer, bodyStart: number, bodyEnd: number): void {
    const view = this.#shared.view;
    view.flags = flags;
    view.bytes = Buffer.concat([head, body.subarray(bodyStart, bodyEnd)]);
    view.headStart = 0;
    view.headEnd = head.length;
    view.bodyStart = head.length;
    view.bodyEnd = view.bytes.length;
    if (!this.#producer.publish(address, view, 0)) this.#handlers.onPressed(true);
  }
}
