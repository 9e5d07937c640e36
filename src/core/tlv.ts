/**
 * A small tagged encoding for the control plane: names, settings, patterns and argument tables in journal records and
 * checkpoints (docs/disk-format-records.md). Little endian; lengths and counts are LEB128 varints.
 */
import { strict as assert } from 'node:assert';
import { copyView, VIEW_BYTES_MAX, viewOf } from './bytes.ts';
import type { Arguments } from './door.ts';
import { CoreError } from './errors.ts';
import { ANY_MANY, ANY_ONE, type HubValue, type Pattern, type PatternLevel } from './message.ts';

/** Tags of values on disk: a number, once given, never changes its meaning. */
const TAG = {
  null: 0,
  false: 1,
  true: 2,
  number: 3,
  signed64: 4,
  unsigned64: 5,
  text: 6,
  bytes: 7,
  date: 8,
  list: 9,
  table: 10,
} as const;

const LEVEL = { literal: 0, one: 1, many: 2 } as const;

/** Tables inside tables: deeper ones are refused. */
const DEPTH_MAX = 32;

/** Writes into a buffer of its own that grows. */
export class TlvWriter {
  #bytes = Buffer.allocUnsafe(256);
  #view = viewOf(this.#bytes);
  #at = 0;

  /** What was written so far: a view, valid until the next write. */
  get written(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  get length(): number {
    return this.#at;
  }

  reset(): this {
    this.#at = 0;
    return this;
  }

  /** Copy what was written to `into` at `at`. */
  copyTo(into: Buffer, at: number): void {
    if (this.#at <= VIEW_BYTES_MAX) copyView(this.#view, 0, this.#at, into, at);
    else into.set(this.written, at);
  }

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.#at++] = value;
    return this;
  }

  u32(value: number): this {
    this.#room(4);
    this.#at = this.#bytes.writeUInt32LE(value >>> 0, this.#at);
    return this;
  }

  f64(value: number): this {
    this.#room(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
    return this;
  }

  varint(value: number): this {
    this.#room(8);
    while (value >= 0x80) {
      this.#bytes[this.#at++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
    this.#bytes[this.#at++] = value;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.varint(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
    return this;
  }

  text(value: string): this {
    const length = Buffer.byteLength(value);
    this.varint(length);
    this.#room(length);
    this.#at += this.#bytes.write(value, this.#at, 'utf8');
    return this;
  }

  flag(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  pattern(pattern: Pattern): this {
    this.text(pattern.text).u8(pattern.separator).flag(pattern.hidesDollar).varint(pattern.levels.length);
    for (const level of pattern.levels) {
      if (level === ANY_ONE) this.u8(LEVEL.one);
      else if (level === ANY_MANY) this.u8(LEVEL.many);
      else this.u8(LEVEL.literal).text(level);
    }
    return this;
  }

  /** Throws CoreError `invalid-argument` when tables are nested too deep or an integer needs more than 64 bits. */
  table(values: Arguments, depth = 0): this {
    if (depth > DEPTH_MAX) throw new CoreError('invalid-argument', `arguments nested more than ${DEPTH_MAX} deep`);
    const names = Object.keys(values).sort();
    this.varint(names.length);
    for (const name of names) this.text(name).value(values[name] as HubValue, depth);
    return this;
  }

  value(value: HubValue, depth = 0): this {
    if (value === null) return this.u8(TAG.null);
    if (typeof value === 'boolean') return this.u8(value ? TAG.true : TAG.false);
    if (typeof value === 'number') return this.u8(TAG.number).f64(value);
    if (typeof value === 'string') return this.u8(TAG.text).text(value);
    if (typeof value === 'bigint') return this.#bigint(value);
    if (Buffer.isBuffer(value)) return this.u8(TAG.bytes).bytes(value);
    if (value instanceof Date) return this.u8(TAG.date).f64(value.getTime());
    if (!Array.isArray(value)) return this.u8(TAG.table).table(value, depth + 1);
    if (depth > DEPTH_MAX) throw new CoreError('invalid-argument', `arguments nested more than ${DEPTH_MAX} deep`);
    this.u8(TAG.list).varint(value.length);
    for (const item of value) this.value(item, depth + 1);
    return this;
  }

  #bigint(value: bigint): this {
    this.#room(9);
    if (BigInt.asIntN(64, value) === value) {
      this.u8(TAG.signed64);
      this.#at = this.#bytes.writeBigInt64LE(value, this.#at);
    } else if (BigInt.asUintN(64, value) === value) {
      this.u8(TAG.unsigned64);
      this.#at = this.#bytes.writeBigUInt64LE(value, this.#at);
    } else {
      throw new CoreError('invalid-argument', 'an integer argument needs more than 64 bits');
    }
    return this;
  }

  #room(count: number): void {
    if (this.#at + count <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + count));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
    this.#view = viewOf(grown);
  }
}

/** Reads what `TlvWriter` wrote. The journal has verified checksums, so a surprise here is our own mistake. */
export class TlvReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get ended(): boolean {
    return this.#at >= this.#end;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  f64(): number {
    return this.#bytes.readDoubleLE(this.#take(8));
  }

  varint(): number {
    let value = 0;
    let unit = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
      unit *= 0x80;
    }
  }

  /** A copy. */
  bytes(): Buffer {
    const length = this.varint();
    const at = this.#take(length);
    return Buffer.from(this.#bytes.subarray(at, at + length));
  }

  text(): string {
    const length = this.varint();
    const at = this.#take(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  flag(): boolean {
    return this.u8() !== 0;
  }

  pattern(): Pattern {
    const text = this.text();
    const separator = this.u8();
    const hidesDollar = this.flag();
    const levels: PatternLevel[] = [];
    for (let left = this.varint(); left > 0; left--) {
      const kind = this.u8();
      levels.push(kind === LEVEL.one ? ANY_ONE : kind === LEVEL.many ? ANY_MANY : this.text());
    }
    return { text, separator, levels, hidesDollar };
  }

  table(): { [name: string]: HubValue } {
    // From the wire in the first place: no prototype, so that no name can hit one.
    const values = Object.create(null) as { [name: string]: HubValue };
    for (let left = this.varint(); left > 0; left--) {
      const name = this.text();
      values[name] = this.value();
    }
    return values;
  }

  value(): HubValue {
    const tag = this.u8();
    switch (tag) {
      case TAG.null:
        return null;
      case TAG.false:
        return false;
      case TAG.true:
        return true;
      case TAG.number:
        return this.f64();
      case TAG.signed64:
        return this.#bytes.readBigInt64LE(this.#take(8));
      case TAG.unsigned64:
        return this.#bytes.readBigUInt64LE(this.#take(8));
      case TAG.text:
        return this.text();
      case TAG.bytes:
        return this.bytes();
      case TAG.date:
        return new Date(this.f64());
      case TAG.list:
        return Array.from({ length: this.varint() }, () => this.value());
      default:
        assert.equal(tag, TAG.table, 'an argument has a tag nobody writes');
        return this.table();
    }
  }

  #take(count: number): number {
    const at = this.#at;
    assert(at + count <= this.#end, 'a record is shorter than its content says');
    this.#at = at + count;
    return at;
  }
}

/** Two argument tables say the same. */
export function sameArguments(a: Arguments, b: Arguments): boolean {
  return new TlvWriter().table(a).written.equals(new TlvWriter().table(b).written);
}
