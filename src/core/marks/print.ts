/** Fingerprints: what is kept of a message id or a last-value key, however long it is. */
import { hash } from 'node:crypto';
import type { HubValue } from '../message.ts';

/** Nobody finds two texts with one of these, by chance or on purpose. */
export const PRINT_BYTES = 16;

/** 128 bits of SHA-256 of a value as text, or of its bytes; undefined for what is no simple value. @param salt keeps values of
 *  different kinds apart */
export function printOf(value: HubValue | undefined, salt = ''): Buffer | undefined {
  const text = textOf(value);
  if (text === undefined) return undefined;
  const salted = salt === '' ? text : Buffer.concat([Buffer.from(`${salt}\0`), Buffer.from(text)]);
  return hash('sha256', salted, 'buffer').subarray(0, PRINT_BYTES);
}

function textOf(value: HubValue | undefined): string | Buffer | undefined {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  return value instanceof Date ? String(value.getTime()) : undefined;
}
