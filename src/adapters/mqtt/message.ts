/**
 * How MQTT 3 messages are stored (format 1, `mqtt3`), and what a message of any format looks like to an MQTT 3 client:
 * payload, topic, QoS, nothing else. MQTT 3 has no properties, so conversion from other formats drops theirs.
 *
 * The head of a stored message is one of
 *
 *     empty                         QoS is 1 when the message is durable, else 0
 *     u8 header                     as on PUBLISH: bits 1-2 are the QoS it was published with
 *     u8 header | topic in UTF-8    a retained message put into one session's queue: the topic it was retained under
 *
 * The second is used where durable and QoS differ (a retained QoS 0 message is kept on disk) and for QoS 2.
 */
import type { Format, HubProperties, Message } from '../../core/index.ts';
import type { Qos } from './packets.ts';
import { type ForeignTopics, SLASH } from './topic.ts';

/** Written to disk with every message: never changes. */
export const MQTT3 = 1;

/** The QoS a message was published with. */
export function qosOf(message: Message): Qos {
  if (message.format === MQTT3 && message.headEnd > message.headStart) {
    return (((message.bytes[message.headStart] as number) >> 1) & 3) as Qos;
  }
  return message.durable ? 1 : 0;
}

/** True for a copy of a retained message in a session's queue: its topic is in the head, and it goes out with RETAIN. */
export function isRetainedCopy(message: Message): boolean {
  return message.format === MQTT3 && message.headEnd > message.headStart + 1;
}

/** Head of a retained copy, see above. */
export function retainedCopyHead(qos: Qos, topic: Buffer): Buffer {
  const head = Buffer.allocUnsafe(1 + topic.length);
  head[0] = (qos << 1) | 1;
  topic.copy(head, 1);
  return head;
}

/** The topic of a message as a range of bytes. Reused: one for the adapter, filled and read at once. */
export class TopicRange {
  bytes: Buffer;
  start = 0;
  end = 0;
  readonly #foreign: ForeignTopics;

  constructor(foreign: ForeignTopics) {
    this.#foreign = foreign;
    this.bytes = Buffer.alloc(0);
  }

  /** Fill from a message; false when its routing key cannot be a topic. */
  of(message: Message): boolean {
    if (message.format !== MQTT3 || message.separator !== SLASH) {
      if (isRetainedCopy(message)) return this.#set(message.bytes, message.headStart + 1, message.headEnd);
      const topic = this.#foreign.of(message);
      return this.#set(topic, 0, topic.length);
    }
    return this.#set(message.keyBytes, message.keyStart, message.keyEnd);
  }

  #set(bytes: Buffer, start: number, end: number): boolean {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    return end > start;
  }
}

export const mqtt3: Format = {
  id: MQTT3,
  name: 'mqtt3',
  toHub(message: Message): HubProperties {
    return { durable: qosOf(message) > 0, annotations: new Map(), application: [] };
  },
};
