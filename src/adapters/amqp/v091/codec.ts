/**
 * Frames of AMQP 0-9-1 (part 4.2), as pure functions over bytes.
 *
 *     general frame   type u8 | channel u16 | size u32 | payload | 0xCE            (big endian)
 *     method          class u16 | method u16 | arguments
 *     content header  class u16 | weight u16 | body size u64 | property flags u16 | property list
 *     content body    opaque bytes
 *     heartbeat       empty, channel 0
 */

import { AmqpError } from './errors.ts';
import { Reader, type Writer } from './fields.ts';
import type { Arguments } from './methods.ts';
import { type FieldTable, METHODS, type MethodName, methodFields, methodName } from './methods.ts';

export const FRAME_METHOD = 1;
export const FRAME_HEADER = 2;
export const FRAME_BODY = 3;
export const FRAME_HEARTBEAT = 8;
export const FRAME_END = 0xce;
/** Bytes in front of a frame's payload, and in all around it. */
export const FRAME_HEAD_BYTES = 7;
export const FRAME_EXTRA_BYTES = 8;
/** Every peer must take frames of this size (4.2.3). */
export const FRAME_BYTES_MIN = 4096;
/** Bytes of a content header in front of the property flags. */
export const CONTENT_HEADER_BYTES = 12;

/** What a client sends first: "AMQP", 0, and the version. */
export const PROTOCOL_HEADER: Buffer = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1]);

/** A heartbeat frame. */
export const HEARTBEAT: Buffer = Buffer.from([FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END]);

export function readU16(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function readU32(bytes: Buffer, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** An unsigned 64-bit number; inexact above 2^53. */
export function readU64(bytes: Buffer, at: number): number {
  return readU32(bytes, at) * 0x1_0000_0000 + readU32(bytes, at + 4);
}

export function writeU16(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function writeU32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function writeU64(bytes: Buffer, at: number, value: number): void {
  writeU32(bytes, at, Math.floor(value / 0x1_0000_0000));
  writeU32(bytes, at + 4, value >>> 0);
}

/** Write the seven bytes in front of a payload; answers the index behind them. */
export function writeFrameHead(bytes: Buffer, at: number, type: number, channel: number, size: number): number {
  bytes[at] = type;
  bytes[at + 1] = channel >>> 8;
  bytes[at + 2] = channel;
  writeU32(bytes, at + 3, size);
  return at + FRAME_HEAD_BYTES;
}

/** A method frame's payload, decoded. */
export type DecodedMethod = { [M in MethodName]: { readonly name: M; readonly args: Arguments<M> } }[MethodName];

/** Decode the payload of a method frame. @throws AmqpError 502 for bad arguments, 503 for an unknown method */
export function decodeMethod(bytes: Buffer, start: number, end: number): DecodedMethod {
  const reader = new Reader(bytes, start, end);
  const id = reader.long();
  const name = methodName(id);
  if (name === undefined) {
    throw new AmqpError('command-invalid', `unknown method ${id >>> 16}.${id & 0xffff}`, id);
  }
  const args: { [name: string]: boolean | number | string | Buffer | FieldTable } = {};
  let bit = 0;
  let bits = 0;
  for (const [field, type] of methodFields(name)) {
    if (type === 'bit') {
      if (bit === 0) bits = reader.octet();
      args[field] = ((bits >>> bit) & 1) === 1;
      bit = (bit + 1) & 7;
    } else {
      bit = 0;
      args[field] = reader[type]();
    }
  }
  return { name, args } as unknown as DecodedMethod;
}

/** Arguments to encode: a long string may be text. Those that begin with `reserved` may be left out. */
export type ArgumentsToSend<M extends MethodName> = {
  [F in keyof Arguments<M> as F extends `reserved${string}` ? never : F]: Arguments<M>[F] extends Buffer
    ? Buffer | string
    : Arguments<M>[F];
};

/** Append a complete method frame to `writer`. Short strings must have at most 255 bytes. */
export function encodeMethod<M extends MethodName>(
  writer: Writer,
  channel: number,
  name: M,
  args: ArgumentsToSend<M>,
): void {
  const from = writer.at;
  writer.octet(FRAME_METHOD);
  writer.short(channel);
  writer.long(0);
  writer.long(METHODS[name].id);
  encodeArguments(writer, name, args as { readonly [name: string]: unknown });
  writeU32(writer.bytes, from + 3, writer.at - from - FRAME_HEAD_BYTES);
  writer.octet(FRAME_END);
}

function encodeArguments(writer: Writer, name: MethodName, args: { readonly [name: string]: unknown }): void {
  let bit = 0;
  for (const [field, type] of methodFields(name)) {
    const value = args[field];
    if (type === 'bit') {
      if (bit === 0) writer.octet(0);
      if (value === true) writer.bytes[writer.at - 1] = (writer.bytes[writer.at - 1] as number) | (1 << bit);
      bit = (bit + 1) & 7;
      continue;
    }
    bit = 0;
    if (type === 'table') writer.table((value ?? {}) as FieldTable);
    else if (type === 'shortstr') writer.shortstr((value ?? '') as string);
    else if (type === 'longstr') writer.longstr((value ?? '') as string | Buffer);
    else writer[type]((value ?? 0) as number);
  }
}
