/**
 * The stored form of a message, the same in the journal and in the arena:
 *
 *     0       1      2         3            4       6          7        8          10      12       16            24
 *     | format| flags| priority| exchangeLen| keyLen| separator| userLen| clientLen| extLen| headLen| receivedAtMs|
 *     | exchange | key | user | client | ext | head | body (the rest)
 *
 * Little endian. Everything up to the client id but flags, priority, lengths of ext and head, and the time, is constant for
 * a producer and an address: `Template` keeps it ready to be copied. `ext` is a list of { tag u8, length u8, value }.
 */
import { copyBytes, copyView, readU16, readU32, viewOf, writeU32 } from './bytes.ts';
import { CoreError } from './errors.ts';
import { crc32Range } from './journal/crc32.ts';
import { type Message, RoutingKey } from './message.ts';

const FIXED_BYTES = 24;
const EXT_EXPIRES_AT = 1;
/** tag, length, f64 */
const EXT_TIME_BYTES = 10;
const EXT_GROUP = 2;
/** A value of more than 255 bytes is several entries of one tag, in order. */
export const EXT_DEATHS = 3;
export const EXT_ENTERED_AT = 4;
const EXT_DELIVER_AT = 5;
/** tag, length, f64, checksum u32 */
const EXT_DELIVER_AT_BYTES = 14;
/** See marks/marking.ts. */
export const EXT_DEDUP = 10;
export const EXT_LAST_VALUE = 11;
/** tag, length */
const EXT_ENTRY_BYTES = 2;
/** What the length of an entry can say. */
const EXT_VALUE_BYTES_MAX = 255;
export const GROUP_BYTES_MAX = EXT_VALUE_BYTES_MAX;

/** The constant part of the stored form, for one producer and address. */
export class Template {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #exchangeLength: number;
  readonly #userStart: number;
  readonly #userEnd: number;
  #flags = 0;
  #format = 0;
  #priority = 0;
  #headLength = 0;
  #receivedAtMs = 0;

  /** Throws CoreError `invalid-argument` when a name is too long for its length field. */
  constructor(exchange: string, key: RoutingKey, user: string, client: string) {
    const names = [Buffer.from(exchange), key.bytes, Buffer.from(user), Buffer.from(client)] as const;
    const [exchangeBytes, keyBytes, userBytes, clientBytes] = names;
    if (exchangeBytes.length > 0xff)
      throw new CoreError('invalid-argument', 'an exchange name is longer than 255 bytes');
    if (keyBytes.length > 0xffff) throw new CoreError('invalid-argument', 'a routing key is longer than 65535 bytes');
    if (userBytes.length > 0xff) throw new CoreError('invalid-argument', 'a user name is longer than 255 bytes');
    if (clientBytes.length > 0xffff) throw new CoreError('invalid-argument', 'a client id is longer than 65535 bytes');
    this.#bytes = Buffer.concat([Buffer.alloc(FIXED_BYTES), ...names]);
    this.#view = viewOf(this.#bytes);
    this.#bytes[3] = exchangeBytes.length;
    this.#bytes.writeUInt16LE(keyBytes.length, 4);
    this.#bytes[6] = key.separator;
    this.#bytes[7] = userBytes.length;
    this.#bytes.writeUInt16LE(clientBytes.length, 8);
    this.#exchangeLength = exchangeBytes.length;
    this.#userStart = FIXED_BYTES + exchangeBytes.length + keyBytes.length;
    this.#userEnd = this.#userStart + userBytes.length;
  }

  /** Length of the stored form of `message`. */
  lengthOf(message: Message): number {
    return (
      this.#bytes.length +
      extLength(message) +
      (message.headEnd - message.headStart) +
      (message.bodyEnd - message.bodyStart)
    );
  }

  /** Write the stored form of `message` to `into` at `at`, where there is room for `lengthOf(message)` bytes. */
  write(message: Message, receivedAtMs: number, into: Buffer, at: number): void {
    const bytes = this.#bytes;
    const headLength = message.headEnd - message.headStart;
    // What seldom changes is patched in the template, so that the common message is one copy.
    if (message.format !== this.#format) bytes[0] = this.#format = message.format;
    if (message.flags !== this.#flags) bytes[1] = this.#flags = message.flags;
    if (message.priority !== this.#priority) bytes[2] = this.#priority = message.priority;
    if (headLength !== this.#headLength) {
      writeU32(bytes, 12, headLength);
      this.#headLength = headLength;
    }
    if (receivedAtMs !== this.#receivedAtMs) {
      bytes.writeDoubleLE(receivedAtMs, 16);
      this.#receivedAtMs = receivedAtMs;
    }
    copyView(this.#view, 0, bytes.length, into, at);
    let next = at + bytes.length;
    const ext = extLength(message);
    if (ext !== 0) {
      into[at + 10] = ext;
      into[at + 11] = ext >>> 8;
      writeExt(message, into, next);
      next += ext;
    }
    copyBytes(message.bytes, message.headStart, message.headEnd, into, next);
    copyBytes(message.bytes, message.bodyStart, message.bodyEnd, into, next + headLength);
    if (message.deliverAtMs !== 0) this.#seal(message, into, at);
  }

  /** Put the checksum of a delayed message into it: it is read by itself one day, without the batch it is in. */
  #seal(message: Message, into: Buffer, at: number): void {
    const checksum = at + this.#bytes.length + (message.expiresAtMs === 0 ? 0 : EXT_TIME_BYTES) + EXT_TIME_BYTES;
    writeU32(into, checksum, checksumOf(into, at, at + this.lengthOf(message), checksum));
  }

  /** Fill what a subscriber sees of exchange, key and publisher into the publisher's own view. */
  complete(message: Message, receivedAtMs: number): void {
    const bytes = this.#bytes;
    message.receivedAtMs = receivedAtMs;
    message.separator = bytes[6] as number;
    message.exchangeBytes = bytes;
    message.exchangeStart = FIXED_BYTES;
    message.exchangeEnd = message.keyStart = FIXED_BYTES + this.#exchangeLength;
    message.keyBytes = bytes;
    message.keyEnd = message.userStart = this.#userStart;
    message.publisherBytes = bytes;
    message.userEnd = this.#userEnd;
    message.clientEnd = bytes.length;
  }
}

function extLength(message: Message): number {
  const group = message.groupEnd - message.groupStart;
  const times =
    (message.expiresAtMs === 0 ? 0 : EXT_TIME_BYTES) + (message.deliverAtMs === 0 ? 0 : EXT_DELIVER_AT_BYTES);
  return times + (group === 0 ? 0 : EXT_ENTRY_BYTES + group) + message.marks.length;
}

function writeExt(message: Message, into: Buffer, at: number): void {
  if (message.expiresAtMs !== 0) at = writeTime(into, at, EXT_EXPIRES_AT, message.expiresAtMs);
  if (message.deliverAtMs !== 0) {
    writeTime(into, at, EXT_DELIVER_AT, message.deliverAtMs);
    into[at + 1] = EXT_DELIVER_AT_BYTES - EXT_ENTRY_BYTES;
    at += EXT_DELIVER_AT_BYTES;
  }
  const { groupStart, groupEnd, marks } = message;
  if (groupStart !== groupEnd) {
    into[at] = EXT_GROUP;
    into[at + 1] = groupEnd - groupStart;
    at += EXT_ENTRY_BYTES;
    copyBytes(message.bytes, groupStart, groupEnd, into, at);
    at += groupEnd - groupStart;
  }
  // Another buffer for each message: what `copyBytes` does for long ones is for sources that stay.
  for (let n = 0; n < marks.length; n++) into[at + n] = marks[n] as number;
}

/** Whether the stored message `bytes[at, ...)` has an `ext` at all. */
export function hasExt(bytes: Buffer, at: number): boolean {
  return readU16(bytes, at + 10) !== 0;
}

/** Where the `ext` of the stored message `bytes[at, ...)` is. */
export function extOf(bytes: Buffer, at: number): { start: number; end: number } {
  const names = (bytes[at + 3] as number) + readU16(bytes, at + 4) + (bytes[at + 7] as number) + readU16(bytes, at + 8);
  const start = at + FIXED_BYTES + names;
  return { start, end: start + readU16(bytes, at + 10) };
}

function writeTime(into: Buffer, at: number, tag: number, ms: number): number {
  into[at] = tag;
  into[at + 1] = 8;
  into.writeDoubleLE(ms, at + EXT_ENTRY_BYTES);
  return at + EXT_TIME_BYTES;
}

/** Make `message` a view of the stored form `bytes[at, end)`. `id` is left to the caller. */
export function readStored(message: Message, bytes: Buffer, at: number, end: number): void {
  message.format = bytes[at] as number;
  message.flags = bytes[at + 1] as number;
  message.priority = bytes[at + 2] as number;
  message.separator = bytes[at + 6] as number;
  message.receivedAtMs = bytes.readDoubleLE(at + 16);
  message.bytes = bytes;
  message.keyBytes = bytes;
  message.exchangeBytes = bytes;
  message.publisherBytes = bytes;
  let next = at + FIXED_BYTES;
  message.exchangeStart = next;
  next += bytes[at + 3] as number;
  message.exchangeEnd = next;
  message.keyStart = next;
  next += readU16(bytes, at + 4);
  message.keyEnd = next;
  message.userStart = next;
  next += bytes[at + 7] as number;
  message.userEnd = next;
  next += readU16(bytes, at + 8);
  message.clientEnd = next;
  const extEnd = next + readU16(bytes, at + 10);
  message.extStart = next;
  message.extEnd = extEnd;
  message.enteredAtMs = message.receivedAtMs;
  message.expiresAtMs = 0;
  message.deliverAtMs = 0;
  message.groupStart = 0;
  message.groupEnd = 0;
  if (next !== extEnd) readExt(message, bytes, next, extEnd);
  message.headStart = extEnd;
  next = extEnd + readU32(bytes, at + 12);
  message.headEnd = next;
  message.bodyStart = next;
  message.bodyEnd = end;
}

/** Entries with tags of later versions are skipped. */
function readExt(message: Message, bytes: Buffer, at: number, end: number): void {
  while (at < end) {
    const length = bytes[at + 1] as number;
    const value = at + EXT_ENTRY_BYTES;
    if (bytes[at] === EXT_EXPIRES_AT) message.expiresAtMs = bytes.readDoubleLE(value);
    else if (bytes[at] === EXT_ENTERED_AT) message.enteredAtMs = bytes.readDoubleLE(value);
    else if (bytes[at] === EXT_DELIVER_AT) message.deliverAtMs = bytes.readDoubleLE(value);
    else if (bytes[at] === EXT_GROUP) {
      message.groupStart = value;
      message.groupEnd = value + length;
    }
    at = value + length;
  }
  // One that waits comes when it is due.
  if (message.deliverAtMs > message.enteredAtMs) message.enteredAtMs = message.deliverAtMs;
}

/**
 * Whether `bytes[at, end)` is a stored message with a checksum of its own, and as it was written. Those without one (all that were
 * not delayed) are as good, but prove nothing. The bytes may be anything.
 */
export function provesItself(bytes: Buffer, at: number, end: number): boolean {
  if (at + FIXED_BYTES > end) return false;
  const ext = extOf(bytes, at);
  if (ext.end > end) return false;
  for (let next = ext.start; next + EXT_DELIVER_AT_BYTES <= ext.end; ) {
    const length = bytes[next + 1] as number;
    if (bytes[next] === EXT_DELIVER_AT && length === EXT_DELIVER_AT_BYTES - EXT_ENTRY_BYTES) {
      const checksum = next + EXT_TIME_BYTES;
      return readU32(bytes, checksum) === checksumOf(bytes, at, end, checksum);
    }
    next += EXT_ENTRY_BYTES + length;
  }
  return false;
}

/** Of all of `bytes[at, end)` but the four bytes at `hole`. */
function checksumOf(bytes: Buffer, at: number, end: number, hole: number): number {
  return crc32Range(bytes, hole + 4, end, crc32Range(bytes, at, hole));
}

/** The value of a tag of a stored message's `ext`; empty when it has none. */
export function extValue(message: Message, tag: number): Buffer {
  const { bytes, extEnd } = message;
  const parts: Buffer[] = [];
  for (let at = message.extStart; at < extEnd; ) {
    const value = at + EXT_ENTRY_BYTES;
    at = value + (bytes[at + 1] as number);
    if (bytes[value - EXT_ENTRY_BYTES] === tag) parts.push(bytes.subarray(value, at));
  }
  return Buffer.concat(parts);
}

/** What a message loses when it goes to another queue: it does not wait any more, and marks are for the queue it leaves. */
const REPLACED: ReadonlySet<number> = new Set([EXT_DELIVER_AT, EXT_ENTERED_AT, EXT_DEDUP, EXT_LAST_VALUE]);
/** And when it has died: its history is another one, and it does not expire by itself any more. */
const REPLACED_BY_DEATH: ReadonlySet<number> = new Set([...REPLACED, EXT_EXPIRES_AT, EXT_DEATHS]);

/** What changes when a queue hands a message on. */
export interface Rewrite {
  readonly exchange: Buffer;
  readonly key: RoutingKey;
  readonly flags: number;
  readonly enteredAtMs: number;
  /** The encoded death history, if it has died: it no longer expires by itself then. */
  readonly deaths?: Buffer;
}

/** The stored form of a message that is stored already (`message` is a view of it), with some things changed. */
export function rewrite(message: Message, changes: Rewrite): Buffer {
  const { exchange, key } = changes;
  const ext = rewriteExt(message, changes);
  const publisher = message.clientEnd - message.userStart;
  const content = message.bodyEnd - message.headStart;
  const start = FIXED_BYTES + exchange.length + key.bytes.length;
  const stored = Buffer.allocUnsafe(start + publisher + ext.length + content);
  stored[0] = message.format;
  stored[1] = changes.flags;
  stored[2] = message.priority;
  stored[3] = exchange.length;
  stored.writeUInt16LE(key.bytes.length, 4);
  stored[6] = key.separator;
  stored[7] = message.userEnd - message.userStart;
  stored.writeUInt16LE(message.clientEnd - message.userEnd, 8);
  stored.writeUInt16LE(ext.length, 10);
  writeU32(stored, 12, message.headEnd - message.headStart);
  stored.writeDoubleLE(message.receivedAtMs, 16);
  stored.set(exchange, FIXED_BYTES);
  stored.set(key.bytes, FIXED_BYTES + exchange.length);
  copyBytes(message.publisherBytes, message.userStart, message.clientEnd, stored, start);
  stored.set(ext, start + publisher);
  copyBytes(message.bytes, message.headStart, message.bodyEnd, stored, start + publisher + ext.length);
  return stored;
}

/** What of `ext` goes with the message, and what is new. */
function rewriteExt(message: Message, changes: Rewrite): Buffer {
  const entered = Buffer.allocUnsafe(8);
  entered.writeDoubleLE(changes.enteredAtMs);
  const entries = [extEntry(EXT_ENTERED_AT, entered)];
  const { deaths } = changes;
  const replaced = deaths === undefined ? REPLACED : REPLACED_BY_DEATH;
  for (let from = 0; deaths !== undefined && from < deaths.length; from += EXT_VALUE_BYTES_MAX) {
    entries.push(extEntry(EXT_DEATHS, deaths.subarray(from, from + EXT_VALUE_BYTES_MAX)));
  }
  for (let at = message.extStart; at < message.extEnd; ) {
    const next = at + EXT_ENTRY_BYTES + (message.bytes[at + 1] as number);
    if (!replaced.has(message.bytes[at] as number)) entries.push(message.bytes.subarray(at, next));
    at = next;
  }
  return Buffer.concat(entries);
}

function extEntry(tag: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([tag, value.length]), value]);
}

/** When the broker took the stored message `bytes[at, ...)`. */
export function receivedAt(bytes: Buffer, at: number): number {
  return bytes.readDoubleLE(at + 16);
}

/** The routing key of a stored message, as an object of its own. */
export function readStoredKey(bytes: Buffer, at: number): RoutingKey {
  const start = at + FIXED_BYTES + (bytes[at + 3] as number);
  return new RoutingKey(bytes.toString('utf8', start, start + readU16(bytes, at + 4)), bytes[at + 6] as number);
}

/** The stored form of a message that is stored already, coming to queues later than it was received. @param marks as in `Message` */
export function enteredAt(message: Message, enteredAtMs: number, marks: Buffer): Buffer {
  const { bytes, extStart, extEnd } = message;
  const start = message.exchangeStart - FIXED_BYTES;
  const entered = Buffer.allocUnsafe(8);
  entered.writeDoubleLE(enteredAtMs);
  const entry = extEntry(EXT_ENTERED_AT, entered);
  const [head, ext, content] = [bytes.subarray(start, extStart), bytes.subarray(extStart, extEnd), message.bodyEnd];
  const stored = Buffer.concat([head, entry, ext, marks, bytes.subarray(extEnd, content)]);
  stored.writeUInt16LE(entry.length + ext.length + marks.length, 10);
  return stored;
}
