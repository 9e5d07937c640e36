/**
 * Messages on their way out: method, content header and body frames, written in one go into the connection's slab. The
 * property bytes are copied as the publisher sent them.
 */

import { type DeliveryBatch, FLAG_DIED, type Message } from '../../../core/index.ts';
import { copyBytes } from '../../bytes.ts';
import type { Connection } from '../../connection.ts';
import { StreamSubscription } from '../../stream-subscription.ts';
import {
  FRAME_BODY,
  FRAME_END,
  FRAME_EXTRA_BYTES,
  FRAME_HEADER,
  FRAME_METHOD,
  writeFrameHead,
  writeU16,
  writeU32,
  writeU64,
} from './codec.ts';
import { hasFacts, withFacts } from './counts.ts';
import { AMQP091_FORMAT, type Converter, SEPARATOR } from './message.ts';
import { METHODS } from './methods.ts';
import { withOffset } from './stream-queue.ts';

const CONTENT_CLASS = 60;
/** Payload of a content header in front of the property flags. */
const HEADER_FIXED_BYTES = 12;
/** Of a delivery or get: tag u64, redelivered bit, and the length octets of exchange and routing key. */
const DELIVERY_FIXED_BYTES = 11;

/** What all deliveries to one consumer begin with: class, method, consumer tag. */
export function deliverPrefix(consumerTag: string): Buffer {
  const tag = Buffer.from(consumerTag);
  const prefix = Buffer.allocUnsafeSlow(5 + tag.length);
  writeU32(prefix, 0, METHODS['basic.deliver'].id);
  prefix[4] = tag.length;
  tag.copy(prefix, 5);
  return prefix;
}

const GET_OK_PREFIX: Buffer = Buffer.allocUnsafeSlow(4);
writeU32(GET_OK_PREFIX, 0, METHODS['basic.get-ok'].id);

/** The parts of a message that go on the wire. One object, filled for each message in turn. */
class Parts {
  head: Buffer = GET_OK_PREFIX;
  headStart = 0;
  headEnd = 0;
  key: Buffer = GET_OK_PREFIX;
  keyStart = 0;
  keyEnd = 0;

  fill(message: Message, converter: Converter): this {
    const isOurs = message.format === AMQP091_FORMAT.id && message.separator === SEPARATOR;
    if (isOurs && (message.flags & FLAG_DIED) === 0) {
      this.head = message.bytes;
      this.headStart = message.headStart;
      this.headEnd = message.headEnd;
      this.key = message.keyBytes;
      this.keyStart = message.keyStart;
      this.keyEnd = message.keyEnd;
      return this;
    }
    const converted = converter.convert(message);
    this.head = converted.head;
    this.headStart = 0;
    this.headEnd = converted.head.length;
    this.key = converted.key;
    this.keyStart = 0;
    this.keyEnd = converted.key.length;
    return this;
  }

  replaceHead(head: Buffer): void {
    this.head = head;
    this.headStart = 0;
    this.headEnd = head.length;
  }
}

/** Writes messages to one connection. */
export class MessageWriter {
  readonly #connection: Connection;
  readonly #converter: Converter;
  readonly #parts = new Parts();
  /** Bytes of a whole frame, as negotiated. */
  frameBytesMax = 4096;

  constructor(connection: Connection, converter: Converter) {
    this.#connection = connection;
    this.#converter = converter;
  }

  /** Properties and routing key of a message as this protocol shows them: valid until the next message. */
  partsOf(message: Message): Readonly<Parts> {
    return this.#parts.fill(message, this.#converter);
  }

  /** basic.deliver of the message `batch` shows. `prefix` is `deliverPrefix` of the consumer. */
  deliver(channel: number, prefix: Buffer, tag: number, batch: DeliveryBatch): void {
    this.#write(channel, prefix, tag, -1, batch);
  }

  /** basic.get-ok. `left` is the number of messages still in the queue. */
  getOk(channel: number, tag: number, left: number, batch: DeliveryBatch): void {
    this.#write(channel, GET_OK_PREFIX, tag, left, batch);
  }

  /**
   * basic.return: reply code and text, exchange and key as `method` arguments encoded by the caller, then the message as
   * it was published.
   */
  returned(channel: number, method: Buffer, message: Message): void {
    const parts = this.#parts;
    parts.fill(message, this.#converter);
    const content = this.#contentBytes(parts, message);
    let at = this.#connection.reserve(method.length + content);
    const { slab } = this.#connection;
    at = copyBytes(method, 0, method.length, slab, at);
    this.#content(slab, at, channel, parts, message);
  }

  #write(channel: number, prefix: Buffer, tag: number, left: number, batch: DeliveryBatch): void {
    const { message } = batch;
    const redelivered = batch.redeliveries > 0;
    const parts = this.#parts;
    parts.fill(message, this.#converter);
    if (hasFacts(batch)) parts.replaceHead(withFacts(parts, batch));
    else if (batch instanceof StreamSubscription) parts.replaceHead(withOffset(parts, batch.offset));
    const exchangeLength = message.exchangeEnd - message.exchangeStart;
    const keyLength = parts.keyEnd - parts.keyStart;
    const size = prefix.length + DELIVERY_FIXED_BYTES + exchangeLength + keyLength + (left >= 0 ? 4 : 0);

    let at = this.#connection.reserve(FRAME_EXTRA_BYTES + size + this.#contentBytes(parts, message));
    const { slab } = this.#connection;
    at = writeFrameHead(slab, at, FRAME_METHOD, channel, size);
    at = copyBytes(prefix, 0, prefix.length, slab, at);
    writeU64(slab, at, tag);
    slab[at + 8] = redelivered ? 1 : 0;
    slab[at + 9] = exchangeLength;
    at = copyBytes(message.exchangeBytes, message.exchangeStart, message.exchangeEnd, slab, at + 10);
    slab[at] = keyLength;
    at = copyBytes(parts.key, parts.keyStart, parts.keyEnd, slab, at + 1);
    if (left >= 0) {
      writeU32(slab, at, left);
      at += 4;
    }
    slab[at] = FRAME_END;
    this.#content(slab, at + 1, channel, parts, message);
  }

  /** Bytes of header and body frames. */
  #contentBytes(parts: Parts, message: Message): number {
    const body = message.bodyEnd - message.bodyStart;
    const header = FRAME_EXTRA_BYTES + HEADER_FIXED_BYTES + parts.headEnd - parts.headStart;
    const room = this.frameBytesMax - FRAME_EXTRA_BYTES;
    const frames = body <= room ? (body === 0 ? 0 : 1) : Math.ceil(body / room);
    return header + body + frames * FRAME_EXTRA_BYTES;
  }

  #content(slab: Buffer, at: number, channel: number, parts: Parts, message: Message): void {
    const { bytes, bodyStart, bodyEnd } = message;
    at = writeFrameHead(slab, at, FRAME_HEADER, channel, HEADER_FIXED_BYTES + parts.headEnd - parts.headStart);
    writeU16(slab, at, CONTENT_CLASS);
    writeU16(slab, at + 2, 0);
    writeU64(slab, at + 4, bodyEnd - bodyStart);
    at = copyBytes(parts.head, parts.headStart, parts.headEnd, slab, at + HEADER_FIXED_BYTES);
    slab[at++] = FRAME_END;
    const room = this.frameBytesMax - FRAME_EXTRA_BYTES;
    for (let from = bodyStart; from < bodyEnd; from += room) {
      const to = Math.min(from + room, bodyEnd);
      at = writeFrameHead(slab, at, FRAME_BODY, channel, to - from);
      at = copyBytes(bytes, from, to, slab, at);
      slab[at++] = FRAME_END;
    }
  }
}
