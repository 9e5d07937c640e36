/**
 * Messages of AMQP 0-9-1 in the broker: the format under which their properties are stored, and the conversion of messages
 * that came by another protocol (docs/protocols/amqp-0-9-1.md "Mapping").
 */
import {
  ANY_MANY,
  ANY_ONE,
  type Broker,
  type Format,
  type HubProperties,
  type HubValue,
  keyText,
  type Message,
  type Pattern,
} from '../../../core/index.ts';
import { Writer } from './fields.ts';
import type { FieldTable } from './methods.ts';
import { type BasicProperties, decodeProperties, encodeProperties } from './properties.ts';

/** What separates the levels of a routing key here. */
export const SEPARATOR = 0x2e;
/** Short strings: routing keys, names, most properties. */
const SHORT_BYTES_MAX = 255;
const EXPIRATION_MS_MAX = 0xffff_ffff;
/** Header with the exact topic of a message whose key was written with another separator. */
const TOPIC_HEADER = 'x-topic';

/** Annotations that are properties here. */
const TYPE = 'x-basic-type';
const APP_ID = 'x-basic-app-id';
const HIDDEN: ReadonlySet<string> = new Set([TYPE, APP_ID]);
/** Headers that say which group a message is in, and its place there. */
const GROUP_ID = 'x-group-id';
const GROUP_SEQUENCE = 'x-group-seq';

/** Head bytes: property flags and property list, as they stand in a content header. */
export const AMQP091_FORMAT: Format = {
  id: 3,
  name: 'amqp091',
  toHub: (message) => toHub(decodeProperties(message.bytes, message.headStart, message.headEnd), message.durable),
};

/** A pattern from a binding key; wildcards only mean something to topic exchanges. */
export function patternOf(text: string, wildcards: boolean): Pattern {
  const levels = text === '' ? [] : text.split('.');
  return {
    text,
    separator: SEPARATOR,
    levels: wildcards ? levels.map((level) => (level === '*' ? ANY_ONE : level === '#' ? ANY_MANY : level)) : levels,
    hidesDollar: false,
  };
}

/** Properties as stored -> hub form. */
export function toHub(properties: BasicProperties, durable: boolean): HubProperties {
  const hub: HubProperties = { durable, annotations: new Map(), application: [] };
  for (const [name, value] of Object.entries(properties.headers ?? {})) {
    if (name.startsWith('x-')) hub.annotations.set(name, value);
    else hub.application.push([name, value]);
  }
  if (properties.priority !== undefined) hub.priority = properties.priority;
  if (properties.expiration !== undefined) hub.ttlMs = Number(properties.expiration);
  if (properties.messageId !== undefined) hub.messageId = properties.messageId;
  if (properties.correlationId !== undefined) hub.correlationId = properties.correlationId;
  if (properties.userId !== undefined) hub.userId = properties.userId;
  if (properties.replyTo !== undefined) hub.replyTo = properties.replyTo;
  if (properties.contentType !== undefined) hub.contentType = properties.contentType;
  if (properties.contentEncoding !== undefined) hub.contentEncoding = properties.contentEncoding;
  if (properties.timestamp !== undefined) hub.creationTimeMs = properties.timestamp * 1000;
  groupToHub(properties.headers ?? {}, hub);
  if (properties.type !== undefined) hub.annotations.set(TYPE, properties.type);
  if (properties.appId !== undefined) hub.annotations.set(APP_ID, properties.appId);
  return hub;
}

/** Headers say which group a message is in; the application id does not (docs/message-groups.md, "Reach"). */
function groupToHub(headers: FieldTable, hub: HubProperties): void {
  const id = headers[GROUP_ID] ?? headers['JMSXGroupID'];
  const sequence = headers[GROUP_SEQUENCE] ?? headers['JMSXGroupSeq'];
  if (typeof sequence === 'number') hub.groupSequence = sequence;
  if (typeof id === 'string') hub.groupId = id;
}

/** Hub form -> properties. What has no property of its own, or does not fit it, becomes a header. */
export function fromHub(hub: HubProperties): BasicProperties {
  const headers: { [name: string]: HubValue } = Object.create(null) as { [name: string]: HubValue };
  const properties: BasicProperties = { deliveryMode: hub.durable ? 2 : 1 };
  for (const [name, value] of hub.application) addHeader(headers, name, value);
  for (const [name, value] of hub.annotations) if (!HIDDEN.has(name)) addHeader(headers, name, value);

  const short = (name: 'contentType' | 'contentEncoding' | 'replyTo' | 'userId' | 'appId' | 'type', value: unknown) => {
    if (typeof value === 'string' && fitsShort(value)) properties[name] = value;
  };
  short('contentType', hub.contentType);
  short('contentEncoding', hub.contentEncoding);
  short('replyTo', hub.replyTo);
  short('userId', hub.userId);
  short('appId', hub.annotations.get(APP_ID));
  short('type', hub.annotations.get(TYPE));
  if (hub.replyTo !== undefined && properties.replyTo === undefined) headers['x-reply-to'] = hub.replyTo;
  if (hub.subject !== undefined) headers['x-subject'] = hub.subject;
  if (hub.groupId !== undefined && !('JMSXGroupID' in headers)) headers[GROUP_ID] = hub.groupId;
  if (hub.groupSequence !== undefined && !('JMSXGroupSeq' in headers)) headers[GROUP_SEQUENCE] = hub.groupSequence;

  const id = (name: 'messageId' | 'correlationId', header: string, value: string | number | bigint | Buffer) => {
    if (Buffer.isBuffer(value)) headers[header] = value;
    else if (fitsShort(String(value))) properties[name] = String(value);
    else headers[header] = String(value);
  };
  if (hub.messageId !== undefined) id('messageId', 'x-message-id', hub.messageId);
  if (hub.correlationId !== undefined) id('correlationId', 'x-correlation-id', hub.correlationId);
  if (hub.priority !== undefined) properties.priority = Math.min(255, hub.priority);
  if (hub.ttlMs !== undefined) properties.expiration = String(Math.min(EXPIRATION_MS_MAX, Math.floor(hub.ttlMs)));
  if (hub.creationTimeMs !== undefined) properties.timestamp = Math.max(0, Math.floor(hub.creationTimeMs / 1000));
  if (Object.keys(headers).length > 0) properties.headers = headers;
  return properties;
}

/** Names may repeat in the hub form and may not in a table: repeated ones become an array. */
function addHeader(headers: { [name: string]: HubValue }, name: string, value: HubValue): void {
  if (!fitsShort(name)) return;
  const before = headers[name];
  if (before === undefined) headers[name] = value;
  else headers[name] = Array.isArray(before) ? [...before, value] : [before, value];
}

function fitsShort(text: string): boolean {
  return Buffer.byteLength(text) <= SHORT_BYTES_MAX;
}

/** A foreign message as this protocol shows it. */
export interface Converted {
  readonly messageId: number;
  /** Property flags and list. */
  readonly head: Buffer;
  readonly key: Buffer;
}

const MEMO_ENTRIES = 256;

/** Converts foreign messages, and those with a death history, once per message however many consumers get it. One for all connections. */
export class Converter {
  readonly #broker: Broker;
  readonly #writer = new Writer();
  /** By the low bits of the message's serial number: the deliveries of one message come close together. */
  readonly #memo = new Array<Converted | undefined>(MEMO_ENTRIES).fill(undefined);

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  convert(message: Message): Converted {
    const at = message.id & (MEMO_ENTRIES - 1);
    const known = this.#memo[at];
    if (known !== undefined && known.messageId === message.id && message.id !== 0) return known;
    const topic = keyText(message);
    const properties = fromHub(this.#broker.hub(message));
    if (message.separator !== SEPARATOR) {
      const headers = Object.assign(Object.create(null), properties.headers) as { [name: string]: HubValue };
      headers[TOPIC_HEADER] = topic;
      properties.headers = headers;
    }
    this.#writer.reset();
    encodeProperties(this.#writer, properties);
    const separated = topic.replaceAll(String.fromCharCode(message.separator), '.');
    const converted = { messageId: message.id, head: this.#writer.toBuffer(), key: shortKey(separated) };
    this.#memo[at] = converted;
    return converted;
  }
}

/** A key cut to what a short string can hold, between characters. */
function shortKey(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length <= SHORT_BYTES_MAX) return bytes;
  let end = SHORT_BYTES_MAX;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
