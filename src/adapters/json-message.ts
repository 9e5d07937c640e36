/**
 * Messages in JSON, as HTTP and WebSocket clients see them (docs/protocols/http.md "A message in JSON"), and the
 * properties such clients publish: the head of a message of format `json` is the text of a JSON object with the
 * members `properties` and `headers`, each present only when something is in it; empty = no properties.
 */
import { isUtf8 } from 'node:buffer';
import {
  type Broker,
  CoreError,
  clientId,
  type DeliveryBatch,
  exchangeName,
  FLAG_DIED,
  FLAG_DURABLE,
  FLAG_ENDS_GROUP,
  FLAG_RETAIN,
  FLAG_RETAINED,
  type HubProperties,
  type HubValue,
  keyText,
  type Message,
  userName,
} from '../core/index.ts';
import { type DelayNames, deliverAt } from './delay.ts';
import { bytesFromBase64, hubToJson, type Json, jsonToHub, namedToJson } from './json-value.ts';

type FieldKind = 'text' | 'id' | 'count' | 'sequence';
type HubField = Exclude<keyof HubProperties, 'durable' | 'priority' | 'annotations' | 'application' | 'text'>;

/** Property names in JSON, their names in the hub form, and what values they take. */
const FIELDS: readonly (readonly [name: string, hub: HubField, kind: FieldKind])[] = [
  ['content_type', 'contentType', 'text'],
  ['content_encoding', 'contentEncoding', 'text'],
  ['message_id', 'messageId', 'id'],
  ['correlation_id', 'correlationId', 'id'],
  ['reply_to', 'replyTo', 'text'],
  ['to', 'to', 'text'],
  ['subject', 'subject', 'text'],
  ['user_id', 'userId', 'text'],
  ['group_id', 'groupId', 'text'],
  ['group_sequence', 'groupSequence', 'sequence'],
  ['reply_to_group_id', 'replyToGroupId', 'text'],
  ['ttl_ms', 'ttlMs', 'count'],
  ['created_at_ms', 'creationTimeMs', 'count'],
  ['expires_at_ms', 'absoluteExpiryMs', 'count'],
];
/** What a publisher may set: the user is the broker's to say, and an expiry is asked for with `ttl_ms`. */
const NOT_SETTABLE: ReadonlySet<string> = new Set(['user_id', 'expires_at_ms']);

/** Headers: an object, or pairs when names repeat. */
export type JsonHeaders = { readonly [name: string]: Json } | readonly (readonly [string, Json])[];

/** What a publish in JSON says about its message. Checked by `PUBLISH_PROPERTIES` first. */
export interface JsonPublish {
  payload?: string;
  encoding?: 'utf8' | 'base64';
  persistent?: boolean;
  retain?: boolean;
  priority?: number;
  delay_ms?: number;
  deliver_at_ms?: number;
  delay_level?: number;
  properties?: { readonly [name: string]: Json };
  headers?: JsonHeaders;
}

const VALUE_SCHEMAS = {
  text: { type: 'string', maxLength: 65_535 },
  id: {
    oneOf: [
      { type: 'string', maxLength: 65_535 },
      { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER },
      {
        type: 'object',
        additionalProperties: false,
        maxProperties: 1,
        minProperties: 1,
        properties: { $base64: { type: 'string' }, $int64: { type: 'string' } },
      },
    ],
  },
  count: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
  // -1 ends the group.
  sequence: { type: 'integer', minimum: -1, maximum: Number.MAX_SAFE_INTEGER },
} as const;

/** JSON schema members (`properties` of an object schema) that describe `JsonPublish`. */
export const PUBLISH_PROPERTIES = {
  payload: { type: 'string' },
  encoding: { type: 'string', enum: ['utf8', 'base64'] },
  persistent: { type: 'boolean' },
  retain: { type: 'boolean' },
  priority: { type: 'integer', minimum: 0, maximum: 255 },
  delay_ms: { type: 'number' },
  deliver_at_ms: { type: 'number' },
  delay_level: { type: 'number' },
  properties: {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(
      FIELDS.filter(([name]) => !NOT_SETTABLE.has(name)).map(([name, , kind]) => [name, VALUE_SCHEMAS[kind]]),
    ),
  },
  headers: {
    anyOf: [
      { type: 'object' },
      { type: 'array', items: { type: 'array', minItems: 2, maxItems: 2, items: [{ type: 'string' }, {}] } },
    ],
  },
};

const EMPTY = Buffer.alloc(0);

/** Of the format of messages published over HTTP and WebSocket (`JSON_FORMAT`), for ever. */
export const JSON_FORMAT_ID = 5;

const DELAY_NAMES: DelayNames = { delayMs: 'delay_ms', deliverAtMs: 'deliver_at_ms', level: 'delay_level' };

/**
 * Fill `view` with a message whose body is `body`; `view` may be reused for every publish. Throws `invalid-argument`.
 * @param names what the publisher calls the times of delivery
 */
export function fillMessage(
  broker: Broker,
  view: Message,
  said: JsonPublish,
  body: Buffer,
  nowMs: number,
  names = DELAY_NAMES,
): void {
  const delay = { delayMs: said.delay_ms, deliverAtMs: said.deliver_at_ms, level: said.delay_level };
  view.deliverAtMs = deliverAt(broker, delay, names, nowMs);
  const head = encodeHead(said.properties, said.headers);
  const ttlMs = said.properties?.['ttl_ms'];
  view.format = JSON_FORMAT_ID;
  view.flags = (said.persistent === false ? 0 : FLAG_DURABLE) | (said.retain === true ? FLAG_RETAIN : 0);
  view.priority = said.priority ?? 0;
  view.expiresAtMs = typeof ttlMs === 'number' ? Math.max(nowMs, view.deliverAtMs) + ttlMs : 0;
  const groupId = said.properties?.['group_id'];
  const group = typeof groupId === 'string' ? Buffer.from(groupId, 'utf8') : EMPTY;
  view.bytes = head.length + group.length === 0 ? body : Buffer.concat([head, body, group]);
  view.headStart = 0;
  view.headEnd = head.length;
  view.bodyStart = head.length;
  view.bodyEnd = head.length + body.length;
  view.groupStart = view.bodyEnd;
  view.groupEnd = view.bytes.length;
  if (group.length > 0 && said.properties?.['group_sequence'] === -1) view.flags |= FLAG_ENDS_GROUP;
}

/** The body a publish in JSON carries. Throws `invalid-argument` for bad base64. */
export function bodyOf(said: JsonPublish): Buffer {
  const payload = said.payload ?? '';
  return said.encoding === 'base64' ? bytesFromBase64(payload, 'payload') : Buffer.from(payload, 'utf8');
}

/** Head bytes of format `json`. Throws `invalid-argument` when a value is broken or nested too deep. */
export function encodeHead(properties: JsonPublish['properties'], headers: JsonHeaders | undefined): Buffer {
  const parts: string[] = [];
  if (properties !== undefined && Object.keys(properties).length > 0) {
    for (const value of Object.values(properties)) jsonToHub(value);
    parts.push(`"properties":${JSON.stringify(properties)}`);
  }
  if (headers !== undefined && (Array.isArray(headers) ? headers : Object.keys(headers)).length > 0) {
    for (const [, value] of headerEntries(headers)) jsonToHub(value);
    parts.push(`"headers":${JSON.stringify(headers)}`);
  }
  return parts.length === 0 ? EMPTY : Buffer.from(`{${parts.join(',')}}`, 'utf8');
}

function headerEntries(headers: JsonHeaders): Iterable<readonly [string, Json]> {
  return Array.isArray(headers) ? (headers as readonly (readonly [string, Json])[]) : Object.entries(headers);
}

interface Head {
  properties?: { [name: string]: Json };
  headers?: JsonHeaders;
}

/** The properties of a message of format `json`. */
export function hubOfJson(message: Message): HubProperties {
  const hub: HubProperties = { durable: message.durable, annotations: new Map(), application: [] };
  if (message.priority > 0) hub.priority = message.priority;
  if (message.headEnd === message.headStart) return hub;
  const head = JSON.parse(message.bytes.toString('utf8', message.headStart, message.headEnd)) as Head;
  for (const [name, field] of FIELDS) {
    const value = head.properties?.[name];
    if (value !== undefined) setField(hub, field, jsonToHub(value));
  }
  for (const [name, value] of headerEntries(head.headers ?? {})) {
    if (name.startsWith('x-')) hub.annotations.set(name, jsonToHub(value));
    else hub.application.push([name, jsonToHub(value)]);
  }
  return hub;
}

/** The schema has checked that the value fits the field. */
function setField<K extends HubField>(hub: HubProperties, field: K, value: HubValue): void {
  hub[field] = value as NonNullable<HubProperties[K]>;
}

/** The text of `properties` and `headers` members of a message, without braces; empty when it has none. */
function headJson(broker: Broker, message: Message): string {
  const died = (message.flags & FLAG_DIED) !== 0;
  if (message.headEnd === message.headStart && !died) return '';
  // Our own head is JSON already: everything between its braces.
  if (message.format === JSON_FORMAT_ID && !died) {
    return message.bytes.toString('utf8', message.headStart + 1, message.headEnd - 1);
  }
  return hubJson(broker.hub(message));
}

function hubJson(hub: HubProperties): string {
  const properties = propertiesOf(hub);
  const parts: string[] = [];
  if (Object.keys(properties).length > 0) parts.push(`"properties":${JSON.stringify(properties)}`);
  // One list for both, as AMQP 0-9-1 has it: annotations are the ones whose names start with `x-`.
  const headers = [...hub.application, ...hub.annotations];
  if (headers.length > 0) parts.push(`"headers":${JSON.stringify(headersJson(headers))}`);
  return parts.join(',');
}

/** The properties of a hub form under their JSON names. */
export function propertiesOf(hub: HubProperties): { [name: string]: Json } {
  const properties: { [name: string]: Json } = {};
  for (const [name, field] of FIELDS) {
    const value = hub[field];
    if (value !== undefined) properties[name] = hubToJson(value);
  }
  return properties;
}

/** Headers as an object; as pairs when a name repeats. */
export function headersJson(headers: readonly (readonly [string, HubValue])[]): Json {
  const names = new Set(headers.map(([name]) => name));
  if (names.size === headers.length) return namedToJson(headers);
  return headers.map(([name, value]) => [name, hubToJson(value)]);
}

/** What is told of one delivery of a message, without braces. */
export function deliveryJson({ redeliveries, failures, groupFirst }: DeliveryBatch): string {
  const counts = `"redeliveries":${redeliveries},"failures":${failures}`;
  return groupFirst ? `${counts},"group_first":true` : counts;
}

/** The routing key as a topic: its levels joined with `/`. */
export function topicOf(message: Message): string {
  const key = keyText(message);
  return message.separator === 0x2f ? key : key.replaceAll(String.fromCharCode(message.separator), '/');
}

/**
 * A message as the text of a JSON object, without the opening brace: the caller puts members of its own in front.
 * Costs a few string concatenations; do it once per message and share it.
 */
export function messageJsonTail(broker: Broker, message: Message): string {
  const body = message.bytes.subarray(message.bodyStart, message.bodyEnd);
  const text = isUtf8(body);
  const payload = text ? JSON.stringify(body.toString('utf8')) : `"${body.toString('base64')}"`;
  const key = keyText(message);
  let json = `"exchange":${JSON.stringify(exchangeName(message))},"key":${JSON.stringify(key)}`;
  json += `,"topic":${JSON.stringify(topicOf(message))}`;
  json += `,"payload":${payload},"encoding":"${text ? 'utf8' : 'base64'}"`;
  json += `,"persistent":${message.durable},"received_at_ms":${Math.round(message.receivedAtMs)}`;
  if (message.deliverAtMs > 0) json += `,"deliver_at_ms":${message.deliverAtMs}`;
  if (message.priority > 0) json += `,"priority":${message.priority}`;
  if ((message.flags & FLAG_RETAINED) !== 0) json += ',"retained":true';
  const user = userName(message);
  if (user !== '') json += `,"user":${JSON.stringify(user)}`;
  const client = clientId(message);
  if (client !== '') json += `,"client":${JSON.stringify(client)}`;
  const head = headJson(broker, message);
  return head === '' ? `${json}}` : `${json},${head}}`;
}

/** A message as the text of a JSON object. */
export function messageJson(broker: Broker, message: Message): string {
  return `{${messageJsonTail(broker, message)}`;
}

/** Refuse text that would not survive UTF-8 (half of a surrogate pair) or holds a NUL. */
export function checkText(text: string, what: string): void {
  if (text.includes('\u0000') || /\p{Surrogate}/u.test(text)) {
    throw new CoreError('invalid-argument', `${what} is not plain Unicode text`);
  }
}
