/**
 * What goes out on one MQTT connection, in order: runs of shared QoS 0 frames, and frames written for it alone.
 *
 * A QoS 0 PUBLISH is delivered byte for byte as it was received, so a delivery is a range of the publisher's own bytes.
 * Ranges that follow each other in one buffer are joined into a run and sent as one; long runs are not even copied.
 */
import type { Message } from '../../core/index.ts';
import { copyBytes } from '../bytes.ts';
import type { Connection } from '../connection.ts';
import { lengthBytes, REMAINING_LENGTH_MAX, TYPE, writeLength } from './codec.ts';
import type { TopicRange } from './message.ts';

const NONE: Buffer = Buffer.alloc(0);
/** How many bytes of shared frames are taken between two looks at the connection's queue. */
const BUDGET_BYTES = 64 * 1024;
const ARENA_BYTES = 64 * 1024;
/** Acknowledgements written into one reservation. */
const ACKS_AT_ONCE = 4096;

/**
 * The QoS 0 frame of the message that is being published, shared by all who get it. The publishing session points it at its
 * own bytes; for any other message the first taker has it built, behind the previous one, so that these form runs too.
 */
export class SharedFrame {
  bytes: Buffer = NONE;
  start = 0;
  end = 0;
  readonly #topic: TopicRange;
  /** Of the message `bytes` was built for; NaN equals no id. */
  #messageId = Number.NaN;
  #received = false;
  /** Who refers to bytes that are good only until the chunk they came with has been read. */
  readonly #borrowers: Outbox[] = [];
  #arena: Buffer = NONE;
  #arenaUsed = 0;

  constructor(topic: TopicRange) {
    this.#topic = topic;
  }

  /** The message published next was received as this frame. */
  point(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.#received = true;
  }

  /** Called when `borrower` starts a run here; answers whether the bytes are only lent, until `settle`. */
  lend(borrower: Outbox): boolean {
    if (this.#received) this.#borrowers.push(borrower);
    return this.#received;
  }

  /** The chunk has been read, its bytes will be overwritten: runs that refer to it go on in one copy shared by all. */
  settle(): void {
    const borrowers = this.#borrowers;
    if (borrowers.length === 0) return;
    let lent = NONE;
    let own = NONE;
    for (const borrower of borrowers) {
      const bytes = borrower.lentBytes;
      if (bytes === undefined) continue;
      if (bytes !== lent) {
        lent = bytes;
        own = Buffer.from(bytes);
      }
      borrower.keep(own);
    }
    borrowers.length = 0;
  }

  /** That message has been published. Lets go of the publisher's bytes. */
  clear(): void {
    this.#received = false;
    this.#messageId = Number.NaN;
    this.bytes = NONE;
  }

  /** Make `bytes[start, end)` the frame of this message; false when MQTT cannot express it. */
  of(message: Message): boolean {
    if (this.#received || this.#messageId === message.id) return this.end > this.start;
    this.#messageId = message.id;
    this.start = 0;
    this.end = 0;
    if (!this.#topic.of(message)) return false;
    const length = frameLength(this.#topic, message, false);
    if (length === 0) return false;
    if (this.#arenaUsed + length > this.#arena.length) {
      // Takers may still refer to the old arena: it is given up, never reused.
      this.#arena = Buffer.allocUnsafeSlow(Math.max(length, ARENA_BYTES));
      this.#arenaUsed = 0;
    }
    this.bytes = this.#arena;
    this.start = this.#arenaUsed;
    this.end = this.#arenaUsed += length;
    writePublish(this.bytes, this.start, TYPE.PUBLISH, 0, this.#topic, message);
    return true;
  }
}

/** Bytes of a whole PUBLISH; 0 when it would be longer than MQTT allows. */
function frameLength(topic: TopicRange, message: Message, withId: boolean): number {
  const length = 2 + topic.end - topic.start + (withId ? 2 : 0) + message.bodyEnd - message.bodyStart;
  return length > REMAINING_LENGTH_MAX ? 0 : 1 + lengthBytes(length) + length;
}

/** 3.3: first byte, remaining length, topic, packet id if QoS > 0, payload. `packetId` 0 leaves the id out. */
function writePublish(
  to: Buffer,
  at: number,
  firstByte: number,
  packetId: number,
  topic: TopicRange,
  message: Message,
): void {
  const topicBytes = topic.end - topic.start;
  const bodyBytes = message.bodyEnd - message.bodyStart;
  to[at] = firstByte;
  at = writeLength(to, at + 1, 2 + topicBytes + (packetId === 0 ? 0 : 2) + bodyBytes);
  to[at++] = topicBytes >> 8;
  to[at++] = topicBytes & 0xff;
  copyBytes(topic.bytes, topic.start, topic.end, to, at);
  at += topicBytes;
  if (packetId !== 0) {
    to[at++] = packetId >> 8;
    to[at++] = packetId & 0xff;
  }
  copyBytes(message.bytes, message.bodyStart, message.bodyEnd, to, at);
}

export class Outbox {
  readonly #connection: Connection;
  readonly #topic: TopicRange;
  #runBytes: Buffer = NONE;
  #runStart = 0;
  #runEnd = 0;
  /** The run's bytes may change when the chunk being read is done. */
  #lent = false;
  #budget = 0;

  constructor(connection: Connection, topic: TopicRange) {
    this.#connection = connection;
    this.#topic = topic;
    connection.beforeFlush = () => this.endRun();
  }

  /** Queue a shared frame; false when the connection has too much queued and it is dropped (`tapOutBytesMax`). */
  share(frame: SharedFrame): boolean {
    const start = frame.start;
    const end = frame.end;
    this.#budget -= end - start;
    if (this.#budget < 0 && !this.#moreBudget(end - start)) return false;
    if (this.#runEnd === start && this.#runBytes === frame.bytes) {
      this.#runEnd = end;
      return true;
    }
    this.endRun();
    this.#runBytes = frame.bytes;
    this.#runStart = start;
    this.#runEnd = end;
    this.#lent = frame.lend(this);
    this.#connection.schedule();
    return true;
  }

  /** What the run refers to, if that is only lent. */
  get lentBytes(): Buffer | undefined {
    return this.#lent ? this.#runBytes : undefined;
  }

  /** Go on with a copy of the lent bytes, which will not change any more. */
  keep(own: Buffer): void {
    this.#runBytes = own;
    this.#lent = false;
  }

  #moreBudget(length: number): boolean {
    const connection = this.#connection;
    const queued = connection.queuedBytes + this.#runEnd - this.#runStart;
    const free = connection.limits.tapOutBytesMax - queued;
    this.#budget = 0;
    if (free < length || connection.closed) return false;
    this.#budget = Math.min(free, Math.max(BUDGET_BYTES, length)) - length;
    return true;
  }

  /** Hand the run over to the connection. Everything else that writes calls this first: order is kept. */
  endRun(): void {
    const start = this.#runStart;
    const end = this.#runEnd;
    if (end === start) return;
    const bytes = this.#runBytes;
    const lent = this.#lent;
    this.#runBytes = NONE;
    this.#runStart = 0;
    this.#runEnd = 0;
    this.#lent = false;
    if (end - start > 200 && !lent) {
      this.#connection.send(bytes, start, end);
      return;
    }
    const at = this.#connection.reserve(end - start);
    copyBytes(bytes, start, end, this.#connection.slab, at);
  }

  /**
   * Write a PUBLISH for this connection alone; answers its bytes, 0 when MQTT cannot express it.
   * Messages that come in a row may call `endRun` once before.
   * @param flags DUP and RETAIN  @param packetId 0 for QoS 0
   */
  publish(message: Message, flags: number, packetId: number): number {
    const length = this.publishBytes(message, packetId !== 0);
    if (length === 0) return 0;
    const at = this.#connection.reserve(length);
    const firstByte = TYPE.PUBLISH | flags | (packetId === 0 ? 0 : 2);
    writePublish(this.#connection.slab, at, firstByte, packetId, this.#topic, message);
    return length;
  }

  /** Bytes of a PUBLISH of this message; 0 when MQTT cannot express it. Fills the shared `TopicRange`. */
  publishBytes(message: Message, withId: boolean): number {
    return this.#topic.of(message) ? frameLength(this.#topic, message, withId) : 0;
  }

  /** Write a whole packet. */
  packet(bytes: Buffer): void {
    this.endRun();
    const at = this.#connection.reserve(bytes.length);
    copyBytes(bytes, 0, bytes.length, this.#connection.slab, at);
  }

  /** Write `count` two-byte packets (PUBACK and its like); `next` answers each one's first byte << 16 | packet id. */
  acks(count: number, next: () => number): void {
    this.endRun();
    while (count > 0) {
      const now = Math.min(count, ACKS_AT_ONCE);
      let at = this.#connection.reserve(now * 4);
      const slab = this.#connection.slab;
      for (let i = 0; i < now; i++) {
        const word = next();
        slab[at++] = word >> 16;
        slab[at++] = 2;
        slab[at++] = (word >> 8) & 0xff;
        slab[at++] = word & 0xff;
      }
      count -= now;
    }
  }
}
