/**
 * Argument values on the wire: reading and writing integers, strings and field tables. Field tables follow RabbitMQ's
 * errata, which every client library implements, and not the grammar printed in the specification (4.2.1):
 *
 *     t boolean   b int8   B uint8   s int16   u uint16   I int32   i uint32   l, L int64
 *     f float     d double D decimal S long string        x byte array         T timestamp (seconds)
 *     A array     F table  V void
 */
import { isUtf8 } from 'node:buffer';
import type { HubValue } from '../../../core/index.ts';
import { AmqpError } from './errors.ts';
import type { FieldTable } from './methods.ts';

/** Tables and arrays inside each other, at most: bounds the recursion a peer can cause. */
const NESTING_MAX = 32;
/** Seconds beyond which a timestamp is no JavaScript date. */
const DATE_SECONDS_MAX = 8_640_000_000_000;

/** Reads argument values from a range of bytes. Running past the end is the peer's mistake (502). */
export class Reader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;
  readonly #lenient: boolean;

  /** @param lenient short strings that are not UTF-8 are read with `?` for every byte beyond ASCII, not refused */
  constructor(bytes: Buffer, at: number, end: number, lenient = false) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.#lenient = lenient;
  }

  /** Move over `count` bytes and answer where they start. */
  take(count: number): number {
    const at = this.at;
    if (count > this.end - at) throw new AmqpError('syntax-error', 'a value runs past the end of its frame');
    this.at = at + count;
    return at;
  }

  octet(): number {
    return this.bytes[this.take(1)] as number;
  }

  short(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  long(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  /** An unsigned 64-bit number; inexact above 2^53, where no valid value of ours lies. */
  longlong(): number {
    return this.long() * 0x1_0000_0000 + this.long();
  }

  shortstr(): string {
    return this.text(this.octet());
  }

  /** Bytes of a long string: a copy. */
  longstr(): Buffer {
    const length = this.long();
    const at = this.take(length);
    return Buffer.from(this.bytes.subarray(at, at + length));
  }

  table(): FieldTable {
    return this.#table(0);
  }

  /** `count` bytes of UTF-8. */
  text(count: number): string {
    const at = this.take(count);
    const range = this.bytes.subarray(at, at + count);
    if (isUtf8(range)) return range.toString('utf8');
    if (!this.#lenient) throw new AmqpError('syntax-error', 'a short string is not valid UTF-8');
    // As long as before: it must fit into a short string again.
    return range.toString('latin1').replace(/[^\0-\x7f]/g, '?');
  }

  #nested(length: number, depth: number): Reader {
    if (depth >= NESTING_MAX) throw new AmqpError('syntax-error', 'a field table is nested too deeply');
    const at = this.take(length);
    return new Reader(this.bytes, at, at + length, this.#lenient);
  }

  #table(depth: number): FieldTable {
    const inner = this.#nested(this.long(), depth);
    const table: { [name: string]: HubValue } = Object.create(null) as { [name: string]: HubValue };
    while (inner.at < inner.end) {
      const name = inner.shortstr();
      table[name] = inner.#value(depth + 1);
    }
    return table;
  }

  #array(depth: number): HubValue[] {
    const inner = this.#nested(this.long(), depth);
    const values: HubValue[] = [];
    while (inner.at < inner.end) values.push(inner.#value(depth + 1));
    return values;
  }

  #value(depth: number): HubValue {
    const type = this.octet();
    switch (type) {
      case 0x53: // S
        return this.#stringOrBytes();
      case 0x49: // I
        return this.bytes.readInt32BE(this.take(4));
      case 0x6c: // l
      case 0x4c: // L
        return this.#int64();
      case 0x74: // t
        return this.octet() !== 0;
      case 0x46: // F
        return this.#table(depth) as { [name: string]: HubValue };
      case 0x41: // A
        return this.#array(depth);
      case 0x56: // V
        return null;
      case 0x54: // T
        return this.#timestamp();
      case 0x78: // x
        return this.longstr();
      default:
        return this.#number(type);
    }
  }

  #number(type: number): number {
    switch (type) {
      case 0x62: // b
        return this.bytes.readInt8(this.take(1));
      case 0x42: // B
        return this.octet();
      case 0x73: // s
        return this.bytes.readInt16BE(this.take(2));
      case 0x75: // u
        return this.short();
      case 0x69: // i
        return this.long();
      case 0x66: // f
        return this.bytes.readFloatBE(this.take(4));
      case 0x64: // d
        return this.bytes.readDoubleBE(this.take(8));
      case 0x44: {
        // D: decimal places, then the number without the point
        const places = this.octet();
        return this.bytes.readInt32BE(this.take(4)) / 10 ** places;
      }
      default:
        throw new AmqpError('syntax-error', `a field table has a value of unknown type 0x${type.toString(16)}`);
    }
  }

  #stringOrBytes(): string | Buffer {
    const bytes = this.longstr();
    return isUtf8(bytes) ? bytes.toString('utf8') : bytes;
  }

  #int64(): number | bigint {
    const value = this.bytes.readBigInt64BE(this.take(8));
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #timestamp(): Date | number {
    const seconds = this.longlong();
    return seconds <= DATE_SECONDS_MAX ? new Date(seconds * 1000) : seconds;
  }
}

/** Writes argument values into a buffer that grows. Reused: `reset` before, `bytes[0, at)` after. */
export class Writer {
  bytes: Buffer = Buffer.allocUnsafeSlow(512);
  at = 0;

  reset(): this {
    this.at = 0;
    return this;
  }

  /** A copy of what was written. */
  toBuffer(): Buffer {
    return Buffer.from(this.bytes.subarray(0, this.at));
  }

  octet(value: number): void {
    const at = this.#room(1);
    this.bytes[at] = value;
  }

  short(value: number): void {
    const at = this.#room(2);
    this.bytes.writeUInt16BE(value, at);
  }

  long(value: number): void {
    const at = this.#room(4);
    this.bytes.writeUInt32BE(value, at);
  }

  longlong(value: number): void {
    this.long(Math.floor(value / 0x1_0000_0000));
    this.long(value % 0x1_0000_0000);
  }

  /** At most 255 bytes: the caller has made sure. */
  shortstr(text: string): void {
    const length = Buffer.byteLength(text);
    this.octet(length);
    this.bytes.write(text, this.#room(length), 'utf8');
  }

  longstr(value: string | Buffer): void {
    const length = typeof value === 'string' ? Buffer.byteLength(value) : value.length;
    this.long(length);
    this.raw(value, length);
  }

  raw(value: string | Buffer, length: number): void {
    const at = this.#room(length);
    if (typeof value === 'string') this.bytes.write(value, at, 'utf8');
    else value.copy(this.bytes, at);
  }

  table(table: FieldTable): void {
    const from = this.#room(4);
    for (const name of Object.keys(table)) {
      this.shortstr(name);
      this.value(table[name] as HubValue);
    }
    this.bytes.writeUInt32BE(this.at - from - 4, from);
  }

  /** One typed value of a table or array. */
  value(value: HubValue): void {
    if (typeof value === 'string') {
      this.octet(0x53);
      this.longstr(value);
    } else if (typeof value === 'boolean') {
      this.octet(0x74);
      this.octet(value ? 1 : 0);
    } else if (typeof value === 'number' || typeof value === 'bigint') {
      this.#numeric(value);
    } else if (value === null) {
      this.octet(0x56);
    } else {
      this.#compound(value);
    }
  }

  #compound(value: Buffer | Date | HubValue[] | { [name: string]: HubValue }): void {
    if (Buffer.isBuffer(value)) {
      this.octet(0x78);
      this.longstr(value);
    } else if (value instanceof Date) {
      this.octet(0x54);
      this.longlong(Math.max(0, Math.floor(value.getTime() / 1000)));
    } else if (Array.isArray(value)) {
      this.octet(0x41);
      const from = this.#room(4);
      for (const item of value) this.value(item);
      this.bytes.writeUInt32BE(this.at - from - 4, from);
    } else {
      this.octet(0x46);
      this.table(value);
    }
  }

  #numeric(value: number | bigint): void {
    if (typeof value === 'number' && value === (value | 0) && !Object.is(value, -0)) {
      this.octet(0x49);
      this.bytes.writeInt32BE(value, this.#room(4));
    } else if (typeof value === 'bigint' || Number.isSafeInteger(value)) {
      this.octet(0x6c);
      this.bytes.writeBigInt64BE(BigInt.asIntN(64, BigInt(value)), this.#room(8));
    } else {
      this.octet(0x64);
      this.bytes.writeDoubleBE(value, this.#room(8));
    }
  }

  #room(count: number): number {
    const at = this.at;
    const needed = at + count;
    if (needed > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
      this.bytes.copy(grown, 0, 0, at);
      this.bytes = grown;
    }
    this.at = needed;
    return at;
  }
}

/** Headers that say when a message is to be delivered: in so many milliseconds, at a time, or by a level. */
export const DELAY_NAMES = { delayMs: 'x-delay', deliverAtMs: 'x-deliver-at', level: 'x-delay-level' } as const;
const DELAY_HEADERS: ReadonlySet<string> = new Set(Object.values(DELAY_NAMES));

/** What `scanTable` found. */
export interface TableScan {
  /** The table names further recipients (RabbitMQ's "sender-selected distribution"). */
  carbonCopy: boolean;
  /** The table has a header of half messages. */
  half: boolean;
  /** The table says when the message is to be delivered. */
  delay: boolean;
  /** Range of the id of the message's group in the scanned bytes; empty when there is none. */
  groupStart: number;
  groupEnd: number;
  /** The message is the last one of its group. */
  endsGroup: boolean;
}

/**
 * Walk over a field table without decoding it: makes sure that it is well formed, because it is passed on to consumers as
 * it is, and notes what the broker must act on. Answers the index behind the table.
 */
export function scanTable(bytes: Buffer, at: number, end: number, found: TableScan): number {
  const [from, to] = nestedRange(bytes, at, end);
  let here = from;
  while (here < to) {
    const length = bytes[here] as number;
    const name = here + 1;
    here = name + length;
    if (isCarbonCopyName(bytes, name, length)) found.carbonCopy = true;
    else if (isHalfName(bytes, name, length)) found.half = true;
    else if (isDelayName(bytes, name, length)) found.delay = true;
    const value = here;
    here = skipValue(bytes, value, to, 1);
    if (length >= GROUP_NAME_BYTES_MIN && length <= GROUP_NAME_BYTES_MAX) noteGroup(bytes, name, value, here, found);
  }
  return to;
}

function isCarbonCopyName(bytes: Buffer, at: number, length: number): boolean {
  if (length === 2) return bytes[at] === 0x43 && bytes[at + 1] === 0x43;
  return length === 3 && bytes[at] === 0x42 && bytes[at + 1] === 0x43 && bytes[at + 2] === 0x43;
}

/** `x-half`, or a name that starts so. */
function isHalfName(bytes: Buffer, at: number, length: number): boolean {
  if (length < 6 || bytes[at] !== 0x78 || bytes[at + 1] !== 0x2d || bytes[at + 2] !== 0x68) return false;
  return bytes[at + 3] === 0x61 && bytes[at + 4] === 0x6c && bytes[at + 5] === 0x66;
}

/** `x-delay`, `x-deliver-at`, `x-delay-level`. */
function isDelayName(bytes: Buffer, at: number, length: number): boolean {
  if (length < 7 || length > 13 || bytes[at] !== 0x78 || bytes[at + 2] !== 0x64) return false;
  return DELAY_HEADERS.has(bytes.toString('latin1', at, at + length));
}

const GROUP_ID_NAMES: ReadonlySet<string> = new Set(['x-group-id', 'JMSXGroupID']);
const GROUP_SEQUENCE_NAMES: ReadonlySet<string> = new Set(['x-group-seq', 'JMSXGroupSeq']);
const GROUP_NAME_BYTES_MIN = 10;
const GROUP_NAME_BYTES_MAX = 12;
const LONG_STRING = 0x53;
/** Integers with a sign: of 8, 16, 32 and 64 bits. */
const SIGNED: ReadonlySet<number> = new Set([...'bsIlL'].map((type) => type.charCodeAt(0)));

/** Note what a field says of the message's group, if its name at `at` is one of those. @param value from here to `end` */
function noteGroup(bytes: Buffer, at: number, value: number, end: number, found: TableScan): void {
  // The names begin with `x-g` or `JMS`.
  if (bytes[at + 2] !== 0x67 && bytes[at + 2] !== 0x53) return;
  const name = bytes.toString('latin1', at, value);
  const type = bytes[value] as number;
  if (GROUP_ID_NAMES.has(name)) {
    if (type !== LONG_STRING) throw new AmqpError('precondition-failed', `header ${name} must be text`);
    found.groupStart = value + 5;
    found.groupEnd = end;
  } else if (GROUP_SEQUENCE_NAMES.has(name)) {
    found.endsGroup = SIGNED.has(type) && bytes.subarray(value + 1, end).every((byte) => byte === 0xff);
  }
}

/** Bytes of the values of fixed size, by type; 0 for the others. */
const FIXED_SIZE = new Uint8Array(256);
for (const [types, size] of [
  ['tbB', 1],
  ['su', 2],
  ['Iif', 4],
  ['D', 5],
  ['lLdT', 8],
] as const) {
  for (const type of types) FIXED_SIZE[type.charCodeAt(0)] = size;
}

function skipValue(bytes: Buffer, at: number, end: number, depth: number): number {
  if (at >= end) throw truncated();
  const type = bytes[at] as number;
  const size = FIXED_SIZE[type] as number;
  let next = at + 1 + size;
  if (size === 0 && type !== 0x56) next = skipSized(bytes, at, end, depth);
  if (next > end) throw truncated();
  return next;
}

/** Strings, byte arrays, arrays and tables: a 32-bit length comes first. */
function skipSized(bytes: Buffer, at: number, end: number, depth: number): number {
  const type = bytes[at] as number;
  const [from, to] = nestedRange(bytes, at + 1, end);
  if (type === 0x53 || type === 0x78) return to;
  if (type !== 0x46 && type !== 0x41) {
    throw new AmqpError('syntax-error', `a field table has a value of unknown type 0x${type.toString(16)}`);
  }
  if (depth >= NESTING_MAX) throw new AmqpError('syntax-error', 'a field table is nested too deeply');
  let here = from;
  while (here < to) {
    if (type === 0x46) here += 1 + (bytes[here] as number);
    here = skipValue(bytes, here, to, depth + 1);
  }
  return to;
}

function nestedRange(bytes: Buffer, at: number, end: number): [from: number, to: number] {
  if (at + 4 > end) throw truncated();
  const to = at + 4 + bytes.readUInt32BE(at);
  if (to > end) throw truncated();
  return [at + 4, to];
}

function truncated(): AmqpError {
  return new AmqpError('syntax-error', 'a field table runs past its end');
}
