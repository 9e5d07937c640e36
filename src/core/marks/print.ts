/**
 * Fingerprints: what is kept of a message id or a last value, however long it is. 128 bits of MurmurHash3 (Austin Appleby's
 * x86 variant) of its text in UTF-8, or of its bytes. It need not withstand an attacker: who can publish a text with the
 * fingerprint of another one can publish that one as well.
 */
import { readU32, writeU32 } from '../bytes.ts';
import type { HubValue } from '../message.ts';

export const PRINT_BYTES = 16;

/** Four words of a fingerprint. */
export interface Print {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

/** Texts that need no more are encoded here. */
const scratch = Buffer.allocUnsafeSlow(4096);
const UTF8_BYTES_MAX = 3;

/** The fingerprint of a value; undefined for what is no simple value. @param seed keeps values of different kinds apart */
export function printOf(value: HubValue | undefined, seed = 0): Print | undefined {
  const text = textOf(value);
  if (text === undefined) return undefined;
  if (typeof text !== 'string') return murmur(text, text.length, seed);
  if (text.length * UTF8_BYTES_MAX <= scratch.length) return murmur(scratch, scratch.write(text, 0), seed);
  const bytes = Buffer.from(text);
  return murmur(bytes, bytes.length, seed);
}

function textOf(value: HubValue | undefined): string | Buffer | undefined {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  return value instanceof Date ? String(value.getTime()) : undefined;
}

export function readPrint(bytes: Buffer, at: number): Print {
  return { a: readU32(bytes, at), b: readU32(bytes, at + 4), c: readU32(bytes, at + 8), d: readU32(bytes, at + 12) };
}

export function writePrint({ a, b, c, d }: Print, bytes: Buffer, at: number): void {
  writeU32(bytes, at, a);
  writeU32(bytes, at + 4, b);
  writeU32(bytes, at + 8, c);
  writeU32(bytes, at + 12, d);
}

export function samePrint(one: Print, other: Print): boolean {
  return one.a === other.a && one.b === other.b && one.c === other.c && one.d === other.d;
}

// ---- MurmurHash3 ------------------------------------------------------------------------------------------------

const C1 = 0x239b961b;
const C2 = 0xab0e9789;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93;
const BLOCK_BYTES = 16;

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** The last word of a block's four may be made of fewer bytes, and is 0 without any. */
function wordAt(bytes: Buffer, at: number, end: number): number {
  if (at + 4 <= end) return readU32(bytes, at);
  let word = 0;
  for (let n = end - 1; n >= at; n--) word = (word << 8) | (bytes[n] as number);
  return word;
}

function finish(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

function murmur(bytes: Buffer, length: number, seed: number): Print {
  let a = seed;
  let b = seed;
  let c = seed;
  let d = seed;
  for (let at = 0; at < length; at += BLOCK_BYTES) {
    const isWhole = at + BLOCK_BYTES <= length;
    a ^= Math.imul(rotate(Math.imul(wordAt(bytes, at, length), C1), 15), C2);
    if (isWhole) a = (Math.imul(rotate(a, 19) + b, 5) + 0x561ccd1b) | 0;
    b ^= Math.imul(rotate(Math.imul(wordAt(bytes, at + 4, length), C2), 16), C3);
    if (isWhole) b = (Math.imul(rotate(b, 17) + c, 5) + 0x0bcaa747) | 0;
    c ^= Math.imul(rotate(Math.imul(wordAt(bytes, at + 8, length), C3), 17), C4);
    if (isWhole) c = (Math.imul(rotate(c, 15) + d, 5) + 0x96cd1c35) | 0;
    d ^= Math.imul(rotate(Math.imul(wordAt(bytes, at + 12, length), C4), 18), C1);
    if (isWhole) d = (Math.imul(rotate(d, 13) + a, 5) + 0x32ac3b17) | 0;
  }
  a ^= length;
  b ^= length;
  c ^= length;
  d ^= length;
  a = (a + b + c + d) | 0;
  b = (b + a) | 0;
  c = (c + a) | 0;
  d = (d + a) | 0;
  a = finish(a);
  b = finish(b);
  c = finish(c);
  d = finish(d);
  a = (a + b + c + d) | 0;
  b = (b + a) | 0;
  c = (c + a) | 0;
  d = (d + a) | 0;
  return { a: a >>> 0, b: b >>> 0, c: c >>> 0, d: d >>> 0 };
}
