/**
 * What a message is inside the broker: the payload and the property bytes exactly as the publisher's protocol encoded
 * them, plus the broker's own facts (DESIGN section 5). Nothing here knows a protocol: how property bytes are read is the
 * business of the `Format` an adapter registers.
 */

/** A routing key: a list of levels. Protocols split at `/` or at `.`; the text it came with is kept as it is. */
export class RoutingKey {
  /** The key exactly as the publisher wrote it. */
  readonly text: string;
  /** Code of the character between levels in `text`: 0x2f `/` or 0x2e `.` */
  readonly separator: number;
  readonly levels: readonly string[];
  /** `text` in UTF-8, owned by this object. */
  readonly bytes: Buffer;

  constructor(text: string, separator: number) {
    this.text = text;
    this.separator = separator;
    this.levels = text === '' ? [] : text.split(String.fromCharCode(separator));
    this.bytes = Buffer.from(text, 'utf8');
  }
}

/** In a pattern: exactly one level, whatever it is (`+`, `*`). */
export const ANY_ONE: unique symbol = Symbol('any-one');
/** In a pattern: any number of levels, none included (`#`). */
export const ANY_MANY: unique symbol = Symbol('any-many');
export type PatternLevel = string | typeof ANY_ONE | typeof ANY_MANY;

/** What a binding or subscription matches routing keys with. Adapters parse their own wildcard syntax into it. */
export interface Pattern {
  /** As the client wrote it; with `separator`, the identity of the binding. */
  readonly text: string;
  readonly separator: number;
  readonly levels: readonly PatternLevel[];
  /** True: a wildcard in the first level does not match keys whose first level starts with `$` [MQTT-4.7.2-1]. */
  readonly hidesDollar: boolean;
}

/** Bits of `Message.flags` and of the stored form. */
export const FLAG_DURABLE = 1;
/** Keep as last value of its key on the exchange (an empty body clears it). */
export const FLAG_RETAIN = 2;
/** Set on deliveries of a retained last value to a new subscriber. */
export const FLAG_RETAINED = 4;
/** A queue gave it up before: it has a death history. Set by the core. */
export const FLAG_DIED = 8;
/** The last message of its group: once it is settled, the group is nobody's. Set by publishers. */
export const FLAG_ENDS_GROUP = 16;

/** An idempotent producer, as `Admin.openOrigin` has given it out. */
export interface MessageOrigin {
  readonly id: number;
  readonly epoch: number;
}

/**
 * A view of one message: offsets into bytes it does not own. Publishers fill one and reuse it for every publish;
 * subscribers get one that is valid only until their callback returns: **copy what you keep**.
 */
export class Message {
  /** Serial number of this message in this process; the same for all deliveries of one publish. Key for memo tables. */
  id = 0;
  /** `id` of the `Format` that encoded `head`. */
  format = 0;
  flags = 0;
  /** 0 to 255. */
  priority = 0;
  /** Wall-clock milliseconds when the broker took it. */
  receivedAtMs = 0;
  /** Wall-clock milliseconds when it came to the queue it is in: as it was taken, as its delay was over, or as another queue
   *  gave it up. */
  enteredAtMs = 0;
  /** Wall-clock milliseconds at which it expires; 0 = never. */
  expiresAtMs = 0;
  /** Wall-clock milliseconds before which no queue hands it out; 0 = at once. */
  deliverAtMs = 0;
  /** Holds head and body. */
  bytes: Buffer = EMPTY;
  headStart = 0;
  headEnd = 0;
  bodyStart = 0;
  bodyEnd = 0;
  /** Group id, in `bytes`; empty = none. Messages of a group keep their order: on a topic they share a partition, and a
   *  compacted topic keeps the last one of each group. */
  groupStart = 0;
  groupEnd = 0;
  /** Partition the publisher wants on a topic; -1 = the broker chooses. */
  partition = -1;
  /** Number the publisher gave it, to have it once however often it sends it: 0, 1, 2, ... for each `origin` and partition; -1 = none.
   *  It needs `origin` and `partition`, and to be on its way to one topic. */
  sequence = -1;
  /** Which idempotent producer it is of. */
  origin: MessageOrigin | undefined = undefined;
  /** Entries of `ext` that the core adds for queues that the message goes to. */
  marks: Buffer = EMPTY;
  /** Further facts of the core's, in `bytes`. Filled by the core on delivery, empty on publish. */
  extStart = 0;
  extEnd = 0;
  /** Routing key in UTF-8 and its separator; see `keyOf` for the object. Filled by the core on delivery. */
  keyBytes: Buffer = EMPTY;
  keyStart = 0;
  keyEnd = 0;
  separator = 0x2e;
  /** Name of the exchange it was published to, UTF-8. Filled by the core on delivery. */
  exchangeBytes: Buffer = EMPTY;
  exchangeStart = 0;
  exchangeEnd = 0;
  /** User name and client id of the publisher, UTF-8, one after the other. Filled by the core on delivery. */
  publisherBytes: Buffer = EMPTY;
  userStart = 0;
  userEnd = 0;
  clientEnd = 0;

  get durable(): boolean {
    return (this.flags & FLAG_DURABLE) !== 0;
  }
}

const EMPTY: Buffer = Buffer.alloc(0);

/** Where a publisher's message has bytes of its own, as fields of `Message`. */
const RANGES = [
  ['headStart', 'headEnd'],
  ['bodyStart', 'bodyEnd'],
  ['groupStart', 'groupEnd'],
] as const;

/** A copy of a message to be published that keeps, in bytes of its own. */
export function kept(message: Message): Message {
  const copy = Object.assign(new Message(), message);
  let from = message.bytes.length;
  let to = 0;
  for (const [start, end] of RANGES) {
    if (message[end] === message[start]) continue;
    if (message[start] < from) from = message[start];
    if (message[end] > to) to = message[end];
  }
  copy.bytes = to === 0 ? EMPTY : Buffer.from(message.bytes.subarray(from, to));
  for (const [start, end] of RANGES) {
    const isEmpty = message[end] === message[start];
    copy[start] = isEmpty ? 0 : message[start] - from;
    copy[end] = isEmpty ? 0 : message[end] - from;
  }
  return copy;
}

/** The routing key as text (allocates: not for hot paths). */
export function keyText(message: Message): string {
  return message.keyBytes.toString('utf8', message.keyStart, message.keyEnd);
}

export function exchangeName(message: Message): string {
  return message.exchangeBytes.toString('utf8', message.exchangeStart, message.exchangeEnd);
}

export function userName(message: Message): string {
  return message.publisherBytes.toString('utf8', message.userStart, message.userEnd);
}

export function clientId(message: Message): string {
  return message.publisherBytes.toString('utf8', message.userEnd, message.clientEnd);
}

/** A value in the hub form: what every protocol can say something about. `bigint` for 64-bit integers beyond 2^53. */
export type HubValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Buffer
  | Date
  | HubValue[]
  | { [name: string]: HubValue };

/**
 * The hub form of properties: the sections of ISO/IEC 19464 (part 3.2). Each format converts to and from it, so N protocols need
 * 2N converters. Absent = not set. The mapping table is in docs/ARCHITECTURE.md, "Conversion".
 */
export interface HubProperties {
  /** Header section. */
  durable: boolean;
  priority?: number;
  ttlMs?: number;
  /** Message annotations: keys start with `x-`. */
  annotations: Map<string, HubValue>;
  /** Properties section. */
  messageId?: string | number | bigint | Buffer;
  userId?: string;
  to?: string;
  subject?: string;
  replyTo?: string;
  correlationId?: string | number | bigint | Buffer;
  contentType?: string;
  contentEncoding?: string;
  absoluteExpiryMs?: number;
  creationTimeMs?: number;
  groupId?: string;
  groupSequence?: number;
  replyToGroupId?: string;
  /** True when the body is known to be UTF-8 text (its publisher said so). */
  text?: boolean;
  /** Application properties, in order. Names may repeat: hence a list. */
  application: [string, HubValue][];
}

/**
 * How one protocol encodes a message's properties. The body bytes are the same in every protocol and never converted.
 */
export interface Format {
  /** 1 to 255, written to disk with every message: once given it never changes its meaning (docs/disk-format.md). */
  readonly id: number;
  /** For people: logs, `inspect`, listings. */
  readonly name: string;
  /** Decode head bytes. Only called when somebody asks for it: conversion, headers exchange, inspection. */
  toHub(message: Message): HubProperties;
  /** How it packs many messages into one body; unset: it does not. */
  readonly batches?: BatchFormat;
}

/** How a format packs messages into batches that a topic keeps as their producers made them (`Producer.appendBatch`). */
export interface BatchFormat {
  /** Check a batch by what it says about itself (a count, a checksum), and answer how many messages are in it. Unset: it is taken
   *  apart to see. Throws `invalid-argument`. */
  count?(batch: Message): number;
  /**
   * Show the messages in the body of a batch in order, filled as for `Producer.publish`, each valid until `visit` returns. Of flags
   * only FLAG_DURABLE means something; expiry, delay, partition and sequence are left alone. Throws `invalid-argument` (it is damaged),
   * `not-supported` (a compression), `message-too-large`. @param bytesMax what may be unpacked
   */
  unpack(batch: Message, bytesMax: number, visit: (message: Message) => void): void;
}

/** Result of a header match: headers in the sense of a headers exchange are the application properties by name. */
export function hubHeader(hub: HubProperties, name: string): HubValue | undefined {
  for (const [key, value] of hub.application) if (key === name) return value;
  return hub.annotations.get(name);
}
