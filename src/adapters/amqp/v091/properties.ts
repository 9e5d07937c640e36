/**
 * The basic class's properties (specification 1.8, 4.2.6.1). A message keeps them as the bytes its publisher sent: property
 * flags and property list, the content header from its 13th byte on. Publishing only scans them; they are decoded when
 * somebody asks: a headers exchange, a conversion, an inspection.
 */
import type { HubValue } from '../../../core/index.ts';
import type { Delay } from '../../delay.ts';
import { AmqpError } from './errors.ts';
import { DELAY_NAMES, Reader, scanTable, type TableScan, Writer } from './fields.ts';
import type { FieldTable } from './methods.ts';

/** In the order of their flags, from bit 15 down. */
const PROPERTIES = [
  ['contentType', 'shortstr'],
  ['contentEncoding', 'shortstr'],
  ['headers', 'table'],
  ['deliveryMode', 'octet'],
  ['priority', 'octet'],
  ['correlationId', 'shortstr'],
  ['replyTo', 'shortstr'],
  ['expiration', 'shortstr'],
  ['messageId', 'shortstr'],
  ['timestamp', 'longlong'],
  ['type', 'shortstr'],
  ['userId', 'shortstr'],
  ['appId', 'shortstr'],
  ['clusterId', 'shortstr'],
] as const;

/** Property flags: bit 15 is the first property. Bit 0 would announce a second flags word, which this class never needs. */
const FLAGS_USED = 0xfffc;
const HAS_CONTENT_TYPE = 1 << 15;
const HAS_CONTENT_ENCODING = 1 << 14;
const HAS_HEADERS = 1 << 13;
const HAS_DELIVERY_MODE = 1 << 12;
const HAS_PRIORITY = 1 << 11;
const HAS_EXPIRATION = 1 << 8;
const HAS_TIMESTAMP = 1 << 6;
const HAS_USER_ID = 1 << 4;
const EXPIRATION_MS_MAX = 0xffff_ffff;

/** All properties, decoded. Absent = not set. */
export interface BasicProperties {
  contentType?: string;
  contentEncoding?: string;
  headers?: FieldTable;
  /** 2 = persistent. */
  deliveryMode?: number;
  priority?: number;
  correlationId?: string;
  replyTo?: string;
  /** Milliseconds, as decimal text. */
  expiration?: string;
  messageId?: string;
  /** Seconds since the epoch. */
  timestamp?: number;
  type?: string;
  userId?: string;
  appId?: string;
  clusterId?: string;
}

/**
 * Decode property flags and list. What `scanProperties` has let pass is never refused here: messages that were taken are decoded
 * far from their publisher, where nobody can be told. @throws AmqpError 502
 */
export function decodeProperties(bytes: Buffer, start: number, end: number): BasicProperties {
  const reader = new Reader(bytes, start, end, true);
  const flags = reader.short();
  const properties: { [name: string]: string | number | FieldTable } = {};
  for (const [at, [name, type]] of PROPERTIES.entries()) {
    if ((flags & (0x8000 >>> at)) !== 0) properties[name] = reader[type]();
  }
  return properties as BasicProperties;
}

/** Append property flags and list. Short strings must have at most 255 bytes. */
export function encodeProperties(writer: Writer, properties: BasicProperties): void {
  const from = writer.at;
  writer.short(0);
  let flags = 0;
  for (const [at, [name, type]] of PROPERTIES.entries()) {
    const value = properties[name];
    if (value === undefined) continue;
    flags |= 0x8000 >>> at;
    if (type === 'shortstr') writer.shortstr(value as string);
    else if (type === 'table') writer.table(value as FieldTable);
    else writer[type](value as number);
  }
  writer.bytes.writeUInt16BE(flags, from);
}

/** A range of bytes that holds property flags and list. */
export interface PropertyBytes {
  readonly head: Buffer;
  readonly headStart: number;
  readonly headEnd: number;
}

/** A copy with more headers, behind those that are there. @param fields encoded fields of a table */
export function withHeaders({ head, headStart, headEnd }: PropertyBytes, fields: Buffer): Buffer {
  const flags = head.readUInt16BE(headStart);
  // Only two short strings can stand in front of the headers.
  let table = headStart + 2;
  for (const flag of [HAS_CONTENT_TYPE, HAS_CONTENT_ENCODING]) {
    if ((flags & flag) !== 0) table += 1 + (head[table] as number);
  }
  const hasHeaders = (flags & HAS_HEADERS) !== 0;
  const known = hasHeaders ? head.readUInt32BE(table) : 0;
  const rest = hasHeaders ? table + 4 + known : table;
  const size = Buffer.allocUnsafeSlow(4);
  size.writeUInt32BE(known + fields.length);
  const headers = head.subarray(rest - known, rest);
  const all = Buffer.concat([head.subarray(headStart, table), size, headers, fields, head.subarray(rest, headEnd)]);
  all.writeUInt16BE(flags | HAS_HEADERS);
  return all;
}

/** What the broker itself needs to know of a message's properties. Reused from message to message. */
export class PropertyScan implements TableScan {
  persistent = false;
  /** 0 when not set. */
  priority = 0;
  /** Milliseconds to live; -1 when not set. */
  expirationMs = -1;
  /** Range of the user-id in the scanned bytes; empty when not set. */
  userStart = 0;
  userEnd = 0;
  carbonCopy = false;
  half = false;
  delay = false;
  groupStart = 0;
  groupEnd = 0;
  endsGroup = false;
}

/**
 * Walk over property flags and list once: they must be well formed to the last byte, because consumers get them as they
 * are, and `scan` learns what the broker acts on. @throws AmqpError 502, 406 for an expiration that is no number
 */
export function scanProperties(bytes: Buffer, start: number, end: number, scan: PropertyScan): void {
  scan.persistent = false;
  scan.priority = 0;
  scan.expirationMs = -1;
  scan.userStart = 0;
  scan.userEnd = 0;
  scan.carbonCopy = false;
  scan.half = false;
  scan.delay = false;
  scan.groupStart = 0;
  scan.groupEnd = 0;
  scan.endsGroup = false;
  if (end - start < 2) throw malformed();
  const flags = ((bytes[start] as number) << 8) | (bytes[start + 1] as number);
  if ((flags & ~FLAGS_USED) !== 0) throw malformed();
  let at = start + 2;
  // The usual case: nothing, or the delivery mode alone.
  if (flags === HAS_DELIVERY_MODE && end === at + 1) {
    scan.persistent = bytes[at] === 2;
    return;
  }
  for (let flag = 0x8000; flag > 2; flag >>>= 1) {
    if ((flags & flag) === 0) continue;
    if (at >= end) throw malformed();
    at = flag === HAS_HEADERS ? scanTable(bytes, at, end, scan) : scanOne(bytes, at, end, flag, scan);
    if (at > end) throw malformed();
  }
  if (at !== end) throw malformed();
}

/** Note one property that is no table; answers the index behind it, which may lie past the end. */
function scanOne(bytes: Buffer, at: number, end: number, flag: number, scan: PropertyScan): number {
  switch (flag) {
    case HAS_DELIVERY_MODE:
      scan.persistent = bytes[at] === 2;
      return at + 1;
    case HAS_PRIORITY:
      scan.priority = bytes[at] as number;
      return at + 1;
    case HAS_TIMESTAMP:
      return at + 8;
    case HAS_EXPIRATION:
      return scanExpiration(bytes, at, end, scan);
    case HAS_USER_ID:
      scan.userStart = at + 1;
      scan.userEnd = at + 1 + (bytes[at] as number);
      return scan.userEnd;
    default:
      return at + 1 + (bytes[at] as number);
  }
}

/** The expiration is a short string of decimal digits: milliseconds, at most 2^32 - 1 as in RabbitMQ. */
function scanExpiration(bytes: Buffer, at: number, end: number, scan: PropertyScan): number {
  const from = at + 1;
  const to = from + (bytes[at] as number);
  if (to > end) throw malformed();
  let value = 0;
  let digits = 0;
  for (; digits < to - from && digits < 11; digits++) {
    const digit = (bytes[from + digits] as number) - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  if (digits === 0 || digits < to - from || value > EXPIRATION_MS_MAX) {
    throw new AmqpError('precondition-failed', `invalid expiration '${bytes.toString('latin1', from, to)}'`);
  }
  scan.expirationMs = value;
  return to;
}

function malformed(): AmqpError {
  return new AmqpError('syntax-error', 'the property list does not fit its flags');
}

/** What the headers say of the time of delivery; the values are not checked. */
export function delayOf(bytes: Buffer, start: number, end: number): Delay {
  const { headers = {} } = decodeProperties(bytes, start, end);
  const { delayMs, deliverAtMs, level } = DELAY_NAMES;
  return { delayMs: headers[delayMs], deliverAtMs: headers[deliverAtMs], level: headers[level] };
}

/** Further routing keys named by the headers CC and BCC, and the properties without BCC when there was one. */
export interface CarbonCopies {
  readonly keys: readonly string[];
  readonly head: Buffer | undefined;
}

/** Read CC and BCC. @throws AmqpError 406 when one is not an array of strings */
export function carbonCopies(bytes: Buffer, start: number, end: number): CarbonCopies {
  const properties = decodeProperties(bytes, start, end);
  const { CC, BCC, ...others } = properties.headers ?? {};
  const keys = [...copyKeys('CC', CC), ...copyKeys('BCC', BCC)];
  if (BCC === undefined) return { keys, head: undefined };
  properties.headers = Object.assign(Object.create(null) as object, others, CC === undefined ? {} : { CC });
  const writer = new Writer();
  encodeProperties(writer, properties);
  return { keys, head: writer.toBuffer() };
}

function copyKeys(name: string, value: HubValue | undefined): string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((key) => typeof key === 'string')) return value;
  throw new AmqpError('precondition-failed', `header ${name} must be an array of strings`);
}
