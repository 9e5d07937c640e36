/** Message properties as HTTP headers, for raw bodies in both directions (docs/protocols/http.md "Headers"). */
import type { IncomingHttpHeaders } from 'node:http';
import { CoreError, type HubProperties } from '../../core/index.ts';
import type { DelayNames } from '../delay.ts';
import { headersJson, type JsonPublish, propertiesOf } from '../json-message.ts';
import type { Json } from '../json-value.ts';

/** HTTP header and property that hold the same text. */
const TEXTS: readonly (readonly [header: string, property: string])[] = [
  ['content-type', 'content_type'],
  ['content-encoding', 'content_encoding'],
  ['x-message-id', 'message_id'],
  ['x-correlation-id', 'correlation_id'],
  ['x-reply-to', 'reply_to'],
  ['x-subject', 'subject'],
  ['x-group-id', 'group_id'],
];
/** Place of a message in its group; -1: it is the last one. */
const GROUP_SEQUENCE = 'x-group-seq';
/** HTTP header and member that say when a message is due. */
const DELAYS = [
  ['x-delay', 'delay_ms'],
  ['x-deliver-at', 'deliver_at_ms'],
  ['x-delay-level', 'delay_level'],
] as const;
/** The same headers, for error texts. */
export const DELAY_HEADERS: DelayNames = { delayMs: 'x-delay', deliverAtMs: 'x-deliver-at', level: 'x-delay-level' };
/** Headers with this prefix are headers of the message. HTTP does not keep their case: names come in lower case. */
const PREFIX = 'x-property-';
/** The id by which a queue knows repeats of a message (docs/queue-rules.md "Repeats"): a header of the message as it is. */
const DEDUPLICATION_ID = 'x-deduplication-id';
/** What `curl -d` calls every body. It says nothing about the message, so it is not kept. */
const FORM = 'application/x-www-form-urlencoded';
/** Bytes of a header value that is sent: longer ones are left out (Node's clients take 16 KiB of headers in all). */
const VALUE_BYTES_MAX = 1024;
const HEADERS_MAX = 64;
/** 32 bits without a sign. */
const SEQUENCE_MAX = 2 ** 32 - 1;
/** Characters of a wrong value that an error repeats. */
const SHOWN_MAX = 32;

/** The properties a request's headers ask for. Throws `invalid-argument`. */
export function readHeaders(headers: IncomingHttpHeaders): JsonPublish {
  const said: JsonPublish = {};
  const properties: { [name: string]: Json } = {};
  for (const [header, property] of TEXTS) {
    const value = headers[header];
    if (typeof value !== 'string' || (header === 'content-type' && value.startsWith(FORM))) continue;
    properties[property] = fromHeader(value);
  }
  const ttlMs = numberIn(headers, 'x-ttl-ms', Number.MAX_SAFE_INTEGER);
  if (ttlMs !== undefined) properties['ttl_ms'] = ttlMs;
  const priority = numberIn(headers, 'x-priority', 255);
  if (priority !== undefined) said.priority = priority;
  for (const [header, member] of DELAYS) {
    const value = numberIn(headers, header, Number.MAX_SAFE_INTEGER);
    if (value !== undefined) said[member] = value;
  }
  const sequence = headers[GROUP_SEQUENCE];
  if (sequence !== undefined)
    properties['group_sequence'] = sequence === '-1' ? -1 : (numberIn(headers, GROUP_SEQUENCE, SEQUENCE_MAX, -1) ?? 0);
  const own: [string, Json][] = [];
  const id = headers[DEDUPLICATION_ID];
  if (typeof id === 'string') own.push([DEDUPLICATION_ID, fromHeader(id)]);
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(PREFIX) && typeof value === 'string') own.push([name.slice(PREFIX.length), fromHeader(value)]);
  }
  if (Object.keys(properties).length > 0) said.properties = properties;
  if (own.length > 0) said.headers = Object.fromEntries(own);
  return said;
}

/** Response headers that tell a message's properties. What no header can hold is left out: ask for JSON to see it. */
export function writeHeaders(hub: HubProperties): Map<string, string> {
  const written = new Map<string, string>();
  const properties = propertiesOf(hub);
  for (const [header, property] of TEXTS) put(written, header, properties[property]);
  if (hub.priority !== undefined) put(written, 'x-priority', hub.priority);
  if (hub.ttlMs !== undefined) put(written, 'x-ttl-ms', hub.ttlMs);
  if (hub.groupSequence !== undefined) put(written, GROUP_SEQUENCE, hub.groupSequence);
  const own = headersJson(hub.application);
  if (own === null || typeof own !== 'object' || Array.isArray(own)) return written;
  for (const [name, value] of Object.entries(own).slice(0, HEADERS_MAX)) {
    if (/^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/i.test(name)) put(written, PREFIX + name.toLowerCase(), value);
  }
  return written;
}

function put(written: Map<string, string>, header: string, value: Json | undefined): void {
  if (value === undefined || value === null || typeof value === 'object') return;
  const bytes = Buffer.from(String(value), 'utf8');
  // Header values are bytes; Node takes them as Latin-1 text.
  const text = bytes.toString('latin1');
  if (bytes.length <= VALUE_BYTES_MAX && /^[\t\x20-\x7e\x80-\xff]*$/.test(text)) written.set(header, text);
}

/** Node hands header bytes over as Latin-1; what is valid UTF-8 is meant as such. */
function fromHeader(value: string): string {
  const bytes = Buffer.from(value, 'latin1');
  const text = bytes.toString('utf8');
  return text.includes('\ufffd') ? value : text;
}

/** @param from what the text of the error begins with */
function numberIn(headers: IncomingHttpHeaders, name: string, max: number, from = 0): number | undefined {
  const value = headers[name];
  if (value === undefined) return undefined;
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number <= max)) {
    const shown = String(value).slice(0, SHOWN_MAX);
    throw new CoreError('invalid-argument', `${name} must be a whole number from ${from} to ${max}, not ${shown}`);
  }
  return number;
}
