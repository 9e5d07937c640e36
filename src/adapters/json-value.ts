/**
 * Hub values in JSON. What JSON has no word for is a tagged object: `{"$base64": "..."}` bytes, `{"$date": "..."}` a time,
 * `{"$int64": "..."}` an integer beyond 2^53, `{"$double": "NaN" | "Infinity" | "-Infinity"}`.
 */
import { CoreError, type HubValue } from '../core/index.ts';

/** A value as `JSON.parse` makes it. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Maps and lists may be nested this deep: more is an attack or a mistake, and would cost stack. */
export const VALUE_DEPTH_MAX = 32;

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

/** Bytes from standard base64 with padding. Throws `invalid-argument` naming `what`: `Buffer.from` would skip what it does not know. */
export function bytesFromBase64(text: string, what: string): Buffer {
  if (!BASE64.test(text)) throw new CoreError('invalid-argument', `${what} is not standard base64 with padding`);
  return Buffer.from(text, 'base64');
}

/** A hub value in JSON form. */
export function hubToJson(value: HubValue): Json {
  if (value === null) return null;
  switch (typeof value) {
    case 'bigint':
      return { $int64: value.toString() };
    case 'number':
      return Number.isFinite(value) ? value : { $double: String(value) };
    case 'object':
      return objectToJson(value);
    default:
      return value;
  }
}

function objectToJson(value: Buffer | Date | HubValue[] | { [name: string]: HubValue }): Json {
  if (Buffer.isBuffer(value)) return { $base64: value.toString('base64') };
  if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? '' : value.toISOString() };
  if (Array.isArray(value)) return value.map(hubToJson);
  return namedToJson(Object.entries(value));
}

/** Named values as an object without a prototype, so that no name is special. */
export function namedToJson(entries: Iterable<readonly [string, HubValue]>): { [name: string]: Json } {
  const object = emptyObject<Json>();
  for (const [name, value] of entries) object[name] = hubToJson(value);
  return object;
}

/** A hub value from its JSON form. Throws `invalid-argument` for a broken tag or too deep a value. */
export function jsonToHub(value: Json, depth = 0): HubValue {
  if (value === null || typeof value !== 'object') return value;
  if (depth >= VALUE_DEPTH_MAX) {
    throw new CoreError('invalid-argument', `values nested deeper than ${VALUE_DEPTH_MAX}`);
  }
  if (Array.isArray(value)) return value.map((item) => jsonToHub(item, depth + 1));
  const names = Object.keys(value);
  if (names.length === 1 && (names[0] as string).startsWith('$')) {
    const tagged = fromTag(names[0] as string, value[names[0] as string] as Json);
    if (tagged !== undefined) return tagged;
  }
  return jsonToNamed(value, depth + 1);
}

/** The members of a JSON object as hub values, in an object without a prototype. */
export function jsonToNamed(value: { readonly [name: string]: Json }, depth = 0): { [name: string]: HubValue } {
  const object = emptyObject<HubValue>();
  for (const [name, item] of Object.entries(value)) object[name] = jsonToHub(item, depth);
  return object;
}

/** The value of a tagged object; undefined when the name is no tag. */
function fromTag(tag: string, text: Json): HubValue | undefined {
  if (typeof text !== 'string') return undefined;
  switch (tag) {
    case '$base64':
      return bytesFromBase64(text, '$base64');
    case '$date': {
      const date = new Date(text);
      if (Number.isNaN(date.getTime())) throw new CoreError('invalid-argument', `$date ${text} is no time`);
      return date;
    }
    case '$int64':
      return int64(text);
    case '$double': {
      if (text !== 'NaN' && text !== 'Infinity' && text !== '-Infinity') {
        throw new CoreError('invalid-argument', '$double is one of NaN, Infinity, -Infinity');
      }
      return Number(text);
    }
    default:
      return undefined;
  }
}

function int64(text: string): bigint {
  if (!/^-?\d{1,20}$/.test(text)) throw new CoreError('invalid-argument', `$int64 ${text} is no integer`);
  const value = BigInt(text);
  if (value < INT64_MIN || value > UINT64_MAX)
    throw new CoreError('invalid-argument', `$int64 ${text} needs over 64 bits`);
  return value;
}

function emptyObject<T>(): { [name: string]: T } {
  return Object.create(null) as { [name: string]: T };
}
