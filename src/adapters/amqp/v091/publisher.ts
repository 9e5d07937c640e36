/**
 * Publishing on one channel: basic.publish with its content, publisher confirms, returns. The usual publish, whose three
 * frames lie in one chunk, goes from the socket's buffer to the core without a copy or an object of its own.
 */

import { isUtf8 } from 'node:buffer';
import {
  type Address,
  CONFIRM,
  type ErrorCode,
  exchangeName,
  FLAG_DURABLE,
  FLAG_ENDS_GROUP,
  type HalfSettings,
  keyText,
  MANDATORY,
  Message,
  type Producer,
  type ProducerHandlers,
  RoutingKey,
  type Transaction,
} from '../../../core/index.ts';
import { copyBytes } from '../../bytes.ts';
import { deliverAt } from '../../delay.ts';
import { InternTable } from '../../intern.ts';
import {
  CONTENT_HEADER_BYTES,
  encodeMethod,
  FRAME_BODY,
  FRAME_END,
  FRAME_EXTRA_BYTES,
  FRAME_HEAD_BYTES,
  FRAME_HEADER,
  FRAME_METHOD,
  readU16,
  readU32,
  readU64,
  writeFrameHead,
  writeU32,
  writeU64,
} from './codec.ts';
import { AmqpError, REPLIES, REPLY_OF } from './errors.ts';
import { DELAY_NAMES, Writer } from './fields.ts';
import { halfRequest } from './halves.ts';
import type { ChannelHost, LateWriter } from './host.ts';
import { AMQP091_FORMAT, SEPARATOR } from './message.ts';
import { METHODS } from './methods.ts';
import { carbonCopies, delayOf, PropertyScan, scanProperties } from './properties.ts';

const BASIC_CLASS = 60;
/** Bits of basic.publish. */
const BIT_MANDATORY = 1;
const BIT_IMMEDIATE = 2;
/** A content that comes in pieces is assembled in a buffer that starts at this size: an announced size costs nothing. */
const ASSEMBLY_FIRST_BYTES = 64 * 1024;
/** Wire bytes of a content header frame without properties. */
const HEADER_FRAME_BYTES_MIN = FRAME_EXTRA_BYTES + CONTENT_HEADER_BYTES + 2;
/** Frame of basic.ack or basic.nack: method id, tag, bits. */
const ACK_PAYLOAD_BYTES = 13;

const NOTHING: Buffer = Buffer.alloc(0);

/** What the channel waits for. */
type Awaiting = 'method' | 'header' | 'body';

export class Publisher implements ProducerHandlers, LateWriter {
  readonly #host: ChannelHost;
  readonly #channel: number;
  readonly #addresses: InternTable<Address>;
  readonly #message = new Message();
  readonly #scan = new PropertyScan();
  #producer: Producer | undefined;
  /** tx.select was sent: publishes go into it. */
  #transaction: Transaction | undefined;
  /** Address of the message in hand. */
  #address: Address | undefined;
  #options = 0;
  awaiting: Awaiting = 'method';
  // The content being assembled: properties, then body.
  #content = NOTHING;
  #filled = 0;
  #headBytes = 0;
  #contentBytes = 0;
  // Confirms
  #confirmBit = 0;
  /** Told to the client, and known from the core. */
  #told = 0;
  #confirmed = 0;
  #refused: number[] = [];

  constructor(host: ChannelHost, channel: number) {
    this.#host = host;
    this.#channel = channel;
    this.#addresses = new InternTable(host.internedKeysMax);
    this.#message.format = AMQP091_FORMAT.id;
  }

  get confirming(): boolean {
    return this.#confirmBit !== 0;
  }

  /** confirm.select: publishes from now on are numbered from 1 and confirmed. */
  selectConfirm(): void {
    this.#confirmBit = CONFIRM;
  }

  /** tx.select: publishes from now on are part of the transaction answered. */
  transact(): Transaction {
    this.#transaction ??= this.#openProducer().transaction();
    return this.#transaction;
  }

  close(): void {
    this.#content = NOTHING;
    this.#producer?.close();
    this.#host.release(this);
  }

  // ---- From the wire ----------------------------------------------------------------------------------------------

  /**
   * A basic.publish method frame, whose arguments start at `at` and end before `payloadEnd`; behind its frame end, up to
   * `end`, lie bytes that may hold its content. Answers the index behind what was used.
   */
  publish(bytes: Buffer, at: number, payloadEnd: number, end: number): number {
    if (this.awaiting !== 'method') throw contentExpected(this.awaiting);
    // Exchange and routing key follow each other, each with its length in front: together the name of an address.
    const from = at + 2;
    const exchangeEnd = from + 1 + (bytes[from] as number);
    const keyEnd = exchangeEnd + 1 + (bytes[exchangeEnd] as number);
    if (!(keyEnd < payloadEnd)) throw new AmqpError('syntax-error', 'arguments of basic.publish are cut short');
    const bits = bytes[keyEnd] as number;
    if ((bits & BIT_IMMEDIATE) !== 0) throw new AmqpError('not-implemented', 'immediate=true');
    this.#address = this.#addresses.find(bytes, from, keyEnd) ?? this.#resolve(bytes, from, exchangeEnd, keyEnd);
    this.#options = ((bits & BIT_MANDATORY) !== 0 ? MANDATORY : 0) | this.#confirmBit;
    const header = payloadEnd + 1;
    const used = this.#whole(bytes, header, end);
    if (used === 0) this.awaiting = 'header';
    return header + used;
  }

  /** Publish the content if all of it lies in `[at, end)`, as one header and at most one body frame. Answers its bytes, or 0. */
  #whole(bytes: Buffer, at: number, end: number): number {
    if (end - at < HEADER_FRAME_BYTES_MIN || bytes[at] !== FRAME_HEADER || !this.#mine(bytes, at)) return 0;
    const headEnd = at + FRAME_HEAD_BYTES + readU32(bytes, at + 3);
    if (headEnd - at > this.#host.payloadBytesMax || headEnd >= end || bytes[headEnd] !== FRAME_END) return 0;
    if (readU16(bytes, at + FRAME_HEAD_BYTES) !== BASIC_CLASS) return 0;
    const size = readU64(bytes, at + FRAME_HEAD_BYTES + 4);
    const headStart = at + FRAME_HEAD_BYTES + CONTENT_HEADER_BYTES;
    if (headStart > headEnd || headEnd - headStart + size > this.#host.limits.messageBytesMax) return 0;
    if (size === 0) {
      this.#finish(bytes, headStart, headEnd, headEnd, headEnd);
      return headEnd + 1 - at;
    }
    const body = headEnd + 1;
    const bodyEnd = body + FRAME_HEAD_BYTES + size;
    if (size > this.#host.payloadBytesMax || bodyEnd >= end) return 0;
    if (bytes[body] !== FRAME_BODY || !this.#mine(bytes, body) || readU32(bytes, body + 3) !== size) return 0;
    if (bytes[bodyEnd] !== FRAME_END) return 0;
    this.#finish(bytes, headStart, headEnd, body + FRAME_HEAD_BYTES, bodyEnd);
    return bodyEnd + 1 - at;
  }

  #mine(bytes: Buffer, frame: number): boolean {
    return readU16(bytes, frame + 1) === this.#channel;
  }

  /** A content header frame's payload. */
  header(bytes: Buffer, start: number, end: number): void {
    if (this.awaiting !== 'header') throw new AmqpError('unexpected-frame', 'a content header without basic.publish');
    if (end - start < CONTENT_HEADER_BYTES + 2) throw new AmqpError('frame-error', 'a content header is cut short');
    const classId = readU16(bytes, start);
    if (classId !== BASIC_CLASS) {
      throw new AmqpError('unexpected-frame', `expected a content header of class 60, got one of class ${classId}`);
    }
    const head = start + CONTENT_HEADER_BYTES;
    this.#headBytes = end - head;
    const size = readU64(bytes, start + 4);
    this.#contentBytes = this.#headBytes + size;
    const { messageBytesMax } = this.#host.limits;
    if (this.#contentBytes > messageBytesMax) {
      this.awaiting = 'method';
      throw new AmqpError('precondition-failed', `message size ${size} is larger than the limit of ${messageBytesMax}`);
    }
    this.#content = Buffer.allocUnsafeSlow(Math.min(this.#contentBytes, ASSEMBLY_FIRST_BYTES));
    this.#filled = 0;
    this.#append(bytes, head, end);
    this.awaiting = 'body';
    if (size === 0) this.#assembled();
  }

  /** A content body frame's payload. */
  body(bytes: Buffer, start: number, end: number): void {
    if (this.awaiting !== 'body') throw new AmqpError('unexpected-frame', 'a content body without a content header');
    if (this.#filled + end - start > this.#contentBytes) {
      throw new AmqpError('frame-error', 'the content body is larger than its header announced');
    }
    this.#append(bytes, start, end);
    if (this.#filled === this.#contentBytes) this.#assembled();
  }

  #append(bytes: Buffer, start: number, end: number): void {
    const needed = this.#filled + end - start;
    if (needed > this.#content.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.#contentBytes, Math.max(needed, this.#content.length * 2)));
      this.#content.copy(grown, 0, 0, this.#filled);
      this.#content = grown;
    }
    this.#filled = copyBytes(bytes, start, end, this.#content, this.#filled);
  }

  #assembled(): void {
    const content = this.#content;
    this.#content = NOTHING;
    this.awaiting = 'method';
    this.#finish(content, 0, this.#headBytes, this.#headBytes, this.#contentBytes);
  }

  // ---- To the core ------------------------------------------------------------------------------------------------

  #resolve(bytes: Buffer, from: number, exchangeEnd: number, keyEnd: number): Address {
    const exchange = bytes.subarray(from + 1, exchangeEnd);
    const key = bytes.subarray(exchangeEnd + 1, keyEnd);
    if (!isUtf8(exchange) || !isUtf8(key)) {
      throw new AmqpError('syntax-error', 'exchange and routing key must be valid UTF-8');
    }
    const address = this.#addressOf(exchange.toString('utf8'), key.toString('utf8'));
    this.#addresses.add(bytes, from, keyEnd, address);
    return address;
  }

  #addressOf(exchange: string, key: string): Address {
    return this.#openProducer().address(exchange, new RoutingKey(key, SEPARATOR));
  }

  #openProducer(): Producer {
    if (this.#producer === undefined) {
      this.#producer = this.#host.client.producer(this);
      this.#host.publishing();
    }
    return this.#producer;
  }

  #finish(bytes: Buffer, headStart: number, headEnd: number, bodyStart: number, bodyEnd: number): void {
    const scan = this.#scan;
    scanProperties(bytes, headStart, headEnd, scan);
    if (scan.userEnd > scan.userStart) this.#checkUser(bytes);
    const message = this.#message;
    message.flags = (scan.persistent ? FLAG_DURABLE : 0) | (scan.endsGroup ? FLAG_ENDS_GROUP : 0);
    message.groupStart = scan.groupStart;
    message.groupEnd = scan.groupEnd;
    message.priority = scan.priority;
    message.deliverAtMs = scan.delay ? this.#deliverAt(bytes, headStart, headEnd) : 0;
    message.expiresAtMs =
      scan.expirationMs < 0 ? 0 : Math.max(this.#host.clock.now(), message.deliverAtMs) + scan.expirationMs;
    message.bytes = bytes;
    message.headStart = headStart;
    message.headEnd = headEnd;
    message.bodyStart = bodyStart;
    message.bodyEnd = bodyEnd;
    if (scan.half) {
      this.#half();
    } else {
      if (scan.carbonCopy) this.#publishCopies();
      this.#give(this.#address as Address, this.#options);
    }
    // Keep no chunk alive.
    message.bytes = NOTHING;
  }

  #give(address: Address, options: number): void {
    if (this.#transaction !== undefined) this.#transaction.publish(address, this.#message, options);
    else if (!(this.#producer as Producer).publish(address, this.#message, options)) this.#host.hold(this);
  }

  /** Headers say that the message is to be prepared, or that a half is to end. */
  #half(): void {
    const message = this.#message;
    const { op, settings, head } = halfRequest(message.bytes, message.headStart, message.headEnd);
    if (this.#transaction !== undefined) {
      throw new AmqpError('precondition-failed', 'a half message is no part of a transaction');
    }
    if (op === 'prepare') {
      this.#replaceHead(head);
      this.#prepare(settings);
      return;
    }
    if (message.bodyEnd > message.bodyStart) {
      throw new AmqpError('precondition-failed', `a message that asks for a ${op} must be empty`);
    }
    if (this.confirming) {
      this.#openProducer().finishHalf(settings.group, settings.id, op, CONFIRM);
      return;
    }
    this.#host.client.finishHalf(settings.group, settings.id, op, (error) => {
      if (error !== undefined) this.#host.failChannel(this.#channel, error);
    });
  }

  /** Prepare the message for its routing key and those that CC and BCC name. */
  #prepare(settings: HalfSettings): void {
    const message = this.#message;
    const address = this.#address as Address;
    const addresses = [address];
    if (this.#scan.carbonCopy) {
      for (const key of this.#copyKeys()) addresses.push(this.#addressOf(address.exchange, key));
    }
    const mandatory = (this.#options & MANDATORY) !== 0;
    const messages = addresses.map((one, n) => ({ address: one, message, mandatory: mandatory && n === 0 }));
    if (!this.#openProducer().prepareHalf(messages, settings, this.#confirmBit)) this.#host.hold(this);
  }

  /** The headers CC and BCC name further routing keys. Copies go first: the confirm of the message then covers them. */
  #publishCopies(): void {
    const { exchange } = this.#address as Address;
    for (const key of this.#copyKeys()) this.#give(this.#addressOf(exchange, key), 0);
  }

  /** The keys that CC and BCC name; the message loses its BCC. */
  #copyKeys(): readonly string[] {
    const { bytes, headStart, headEnd } = this.#message;
    const { keys, head } = carbonCopies(bytes, headStart, headEnd);
    if (head !== undefined) this.#replaceHead(head);
    return keys;
  }

  /** Give the message in hand other properties. */
  #replaceHead(head: Buffer): void {
    const message = this.#message;
    message.bytes = Buffer.concat([head, message.bytes.subarray(message.bodyStart, message.bodyEnd)]);
    message.headStart = 0;
    message.headEnd = head.length;
    message.bodyStart = head.length;
    message.bodyEnd = message.bytes.length;
    scanProperties(head, 0, head.length, this.#scan);
    message.groupStart = this.#scan.groupStart;
    message.groupEnd = this.#scan.groupEnd;
  }

  #deliverAt(bytes: Buffer, headStart: number, headEnd: number): number {
    const { broker, clock } = this.#host;
    return deliverAt(broker, delayOf(bytes, headStart, headEnd), DELAY_NAMES, clock.now());
  }

  #checkUser(bytes: Buffer): void {
    const { user } = this.#host.client.identity;
    const claimed = bytes.toString('utf8', this.#scan.userStart, this.#scan.userEnd);
    if (claimed === user) return;
    throw new AmqpError(
      'precondition-failed',
      `user_id property set to '${claimed}' but authenticated user was '${user}'`,
    );
  }

  // ---- From the core ----------------------------------------------------------------------------------------------

  onDrain(): void {
    this.#host.release(this);
  }

  onReturn(message: Message, code: ErrorCode): void {
    const [replyCode, replyText] = REPLIES[REPLY_OF[code]];
    const writer = new Writer();
    const names = { exchange: exchangeName(message), routingKey: keyText(message) };
    encodeMethod(writer, this.#channel, 'basic.return', { replyCode, replyText, ...names });
    this.#host.messages.returned(this.#channel, writer.toBuffer(), message);
  }

  onConfirm(upTo: number, refused: readonly number[] | undefined): void {
    if (this.#confirmed === this.#told) this.#host.writeBeforeFlush(this);
    this.#confirmed = upTo;
    if (refused !== undefined) this.#refused.push(...refused);
  }

  /** Tell the client what was confirmed since the last time: one acknowledgement for all, and one for each refused. */
  writeLate(): void {
    const refused = this.#refused;
    this.#refused = [];
    for (const tag of refused) this.#writeAck(METHODS['basic.nack'].id, tag, false);
    // The acknowledgement names the highest tag that was not refused; it covers all below.
    let highest = this.#confirmed;
    for (let at = refused.length - 1; at >= 0 && refused[at] === highest; at--) highest--;
    const several = highest - this.#told > 1;
    if (highest > this.#told) this.#writeAck(METHODS['basic.ack'].id, highest, several);
    this.#told = this.#confirmed;
  }

  #writeAck(method: number, tag: number, multiple: boolean): void {
    const { connection } = this.#host;
    let at = connection.reserve(FRAME_EXTRA_BYTES + ACK_PAYLOAD_BYTES);
    const { slab } = connection;
    at = writeFrameHead(slab, at, FRAME_METHOD, this.#channel, ACK_PAYLOAD_BYTES);
    writeU32(slab, at, method);
    writeU64(slab, at + 4, tag);
    slab[at + 12] = multiple ? 1 : 0;
    slab[at + ACK_PAYLOAD_BYTES] = FRAME_END;
  }
}

/** A method came where content was due (specification 4.2.6: content frames of one channel follow each other). */
export function contentExpected(awaiting: Awaiting): AmqpError {
  return new AmqpError('unexpected-frame', `expected a content ${awaiting} frame of class 60, got a method frame`);
}
