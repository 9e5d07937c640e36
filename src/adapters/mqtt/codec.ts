/**
 * MQTT packets as bytes: cutting the stream into packets, and the primitive fields of MQTT 3.1.1 section 1.5 and 2.
 *
 *     byte 0        type (high 4 bits) | flags (low 4 bits)
 *     byte 1..4     remaining length: 7 bits a byte, least significant first, high bit = more follow
 *     then          `remaining length` bytes
 *
 * Nothing here knows what a packet means; `packets.ts` does.
 */
import { isUtf8 } from 'node:buffer';
import { CoreError } from '../../core/index.ts';

/** Packet types (section 2.2.1), as they stand in the high four bits of the first byte. */
export const TYPE = {
  CONNECT: 0x10,
  CONNACK: 0x20,
  PUBLISH: 0x30,
  PUBACK: 0x40,
  PUBREC: 0x50,
  PUBREL: 0x60,
  PUBCOMP: 0x70,
  SUBSCRIBE: 0x80,
  SUBACK: 0x90,
  UNSUBSCRIBE: 0xa0,
  UNSUBACK: 0xb0,
  PINGREQ: 0xc0,
  PINGRESP: 0xd0,
  DISCONNECT: 0xe0,
} as const;

/** The packet was taken: go on with the next one. */
export const TAKEN = 0;
/** The packet was taken; keep what follows until `resume`. */
export const STOP = 1;
/** The packet could not be taken now: `resume` hands it over again. */
export const NOT_YET = 2;
export type Verdict = typeof TAKEN | typeof STOP | typeof NOT_YET;

export interface PacketSink {
  /**
   * One whole packet: its first byte is `bytes[start]`, what follows the remaining length is `bytes[body, end)`. The
   * bytes are valid until the chunk they came with has been fed.
   */
  onPacket(bytes: Buffer, start: number, body: number, end: number): Verdict;
}

/** Room left for a packet of which only the first bytes came; grows with what really arrives. */
const HELD_BYTES_FIRST = 512;
const HEADER_BYTES_MAX = 5;
const EMPTY: Buffer = Buffer.alloc(0);

/**
 * Cuts a stream of chunks into packets. Packets that lie in one chunk are handed over in place; only one that crosses a
 * chunk border is copied together. A length above the limit is refused before any of its bytes are kept.
 */
export class PacketReader {
  readonly #sink: PacketSink;
  /** Highest remaining length in bytes. */
  packetBytesMax: number;
  /** When not 0, the only first byte accepted: the CONNECT before login [MQTT-3.1.0-1]. */
  onlyFirstByte = 0;
  /** The beginning of a packet whose end has not come; `#heldUsed` bytes of it. */
  #held: Buffer = EMPTY;
  #heldUsed = 0;
  #heldBody = 0;
  /** Bytes of the whole held packet, its header included; 0 while its header is not complete. */
  #heldNeed = 0;
  #heldSerial = 0;
  /** Chunks that came after `STOP` or `NOT_YET`. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #stopped = false;
  #feeding = false;

  constructor(sink: PacketSink, packetBytesMax: number) {
    this.#sink = sink;
    this.packetBytesMax = packetBytesMax;
  }

  /** Bytes kept of a packet that is not complete. */
  get heldBytes(): number {
    return this.#heldUsed;
  }

  /** Changes with every packet that had to be held: tells a watchdog whether it still looks at the same one. */
  get heldSerial(): number {
    return this.#heldSerial;
  }

  /** Throws `malformed-frame`, `frame-too-large`, `protocol-violation`, and what the sink throws. */
  feed(chunk: Buffer): void {
    if (this.#stopped) {
      this.#wait(chunk, 0);
      return;
    }
    this.#feeding = true;
    try {
      this.#cut(chunk);
    } finally {
      this.#feeding = false;
    }
  }

  /** Go on after `STOP` or `NOT_YET`. Throws like `feed`. */
  resume(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    if (this.#feeding) return;
    const chunks = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const chunk of chunks) this.feed(chunk);
  }

  #cut(chunk: Buffer): void {
    const end = chunk.length;
    let at = this.#heldUsed > 0 ? this.#completeHeld(chunk) : 0;
    while (at < end && !this.#stopped) {
      if (this.onlyFirstByte !== 0) this.#checkFirstByte(chunk[at] as number);
      let body = at + 2;
      let length = body <= end ? (chunk[at + 1] as number) : -1;
      if (length > 127) {
        body = lengthEnd(chunk, at, end);
        length = body === 0 ? -1 : lengthOf(chunk, at, body);
      }
      if (length > this.packetBytesMax) throw this.#tooLarge(length);
      const packetEnd = body + length;
      if (length < 0 || packetEnd > end) {
        this.#hold(chunk, at, end);
        return;
      }
      const verdict = this.#sink.onPacket(chunk, at, body, packetEnd);
      if (verdict !== TAKEN) {
        this.#stopped = true;
        if (verdict === NOT_YET) break;
      }
      at = packetEnd;
    }
    if (at < end) this.#wait(chunk, at);
  }

  #checkFirstByte(byte: number): void {
    if (byte === this.onlyFirstByte) return;
    throw new CoreError(
      'protocol-violation',
      `the first packet must be a CONNECT, not one that begins 0x${byte.toString(16)}`,
    );
  }

  #tooLarge(length: number): CoreError {
    return new CoreError('frame-too-large', `a packet of ${length} bytes, the limit is ${this.packetBytesMax}`);
  }

  #wait(chunk: Buffer, from: number): void {
    const bytes = chunk.length - from;
    // The connection is paused meanwhile, so little more than what it had read already can come.
    if (this.#waitingBytes + bytes > 2 * this.packetBytesMax + 256 * 1024) {
      throw new CoreError('limit-exceeded', 'too much was sent while the broker had to wait');
    }
    this.#waiting.push(Buffer.from(chunk.subarray(from)));
    this.#waitingBytes += bytes;
  }

  #hold(chunk: Buffer, from: number, end: number): void {
    this.#heldSerial++;
    this.#heldNeed = 0;
    this.#held = Buffer.allocUnsafe(Math.max(HELD_BYTES_FIRST, end - from));
    this.#heldUsed = chunk.copy(this.#held, 0, from, end);
    this.#readHeldHeader();
  }

  #readHeldHeader(): void {
    const body = lengthEnd(this.#held, 0, this.#heldUsed);
    if (body === 0) return;
    const length = lengthOf(this.#held, 0, body);
    if (length > this.packetBytesMax) throw this.#tooLarge(length);
    this.#heldBody = body;
    this.#heldNeed = body + length;
  }

  /** Add to the held packet; answers how many bytes of the chunk it took. */
  #completeHeld(chunk: Buffer): number {
    let at = 0;
    while (this.#heldNeed === 0 && at < chunk.length) {
      this.#held[this.#heldUsed++] = chunk[at++] as number;
      this.#readHeldHeader();
    }
    if (this.#heldNeed === 0) return at;
    const count = Math.min(this.#heldNeed - this.#heldUsed, chunk.length - at);
    this.#growHeld(this.#heldUsed + count);
    chunk.copy(this.#held, this.#heldUsed, at, at + count);
    this.#heldUsed += count;
    at += count;
    if (this.#heldUsed < this.#heldNeed) return at;
    const packet = this.#held;
    const need = this.#heldNeed;
    // The packet's bytes may be referred to from now on: never write to them again.
    this.#held = EMPTY;
    this.#heldUsed = 0;
    this.#heldNeed = 0;
    const verdict = this.#sink.onPacket(packet, 0, this.#heldBody, need);
    if (verdict !== TAKEN) this.#stopped = true;
    if (verdict === NOT_YET) this.#wait(packet.subarray(0, need), 0);
    return at;
  }

  #growHeld(bytes: number): void {
    if (bytes <= this.#held.length) return;
    const larger = Buffer.allocUnsafe(Math.min(Math.max(bytes, this.#held.length * 2), this.#heldNeed));
    this.#held.copy(larger, 0, 0, this.#heldUsed);
    this.#held = larger;
  }
}

/** Index behind the remaining length of the packet at `at`; 0 when it is not complete in `bytes[at, end)`. */
function lengthEnd(bytes: Buffer, at: number, end: number): number {
  const stop = at + HEADER_BYTES_MAX;
  for (let i = at + 1; i < end && i < stop; i++) if ((bytes[i] as number) < 128) return i + 1;
  if (end >= stop) throw new CoreError('malformed-frame', 'the remaining length has more than four bytes [MQTT-2.2.3]');
  return 0;
}

/** The remaining length in `bytes[at + 1, body)`, refused when it could have been written shorter. */
function lengthOf(bytes: Buffer, at: number, body: number): number {
  let length = 0;
  for (let i = body - 1; i > at; i--) length = length * 128 + ((bytes[i] as number) & 127);
  if (body > at + 2 && bytes[body - 1] === 0) {
    throw new CoreError('malformed-frame', 'the remaining length is longer than it need be');
  }
  return length;
}

/** Bytes a remaining length takes. */
export function lengthBytes(length: number): number {
  return length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : 4;
}

/** Highest remaining length that can be written. */
export const REMAINING_LENGTH_MAX = 268_435_455;

/** Write a remaining length; answers the index behind it. */
export function writeLength(bytes: Buffer, at: number, length: number): number {
  while (length > 127) {
    bytes[at++] = (length & 127) | 128;
    length >>>= 7;
  }
  bytes[at++] = length;
  return at;
}

/** Reads the fields of one packet in turn; every read is checked against the packet's end. */
export class Fields {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  u8(what: string): number {
    return this.#bytes[this.#take(1, what)] as number;
  }

  u16(what: string): number {
    const at = this.#take(2, what);
    return this.#bytes.readUInt16BE(at);
  }

  /** A packet identifier: not zero [MQTT-2.3.1-1]. */
  packetId(): number {
    const id = this.u16('packet identifier');
    if (id === 0) throw new CoreError('protocol-violation', 'packet identifier 0 [MQTT-2.3.1-1]');
    return id;
  }

  /** Two bytes of length and that many bytes, copied. */
  binary(what: string): Buffer {
    const count = this.u16(what);
    const at = this.#take(count, what);
    return Buffer.from(this.#bytes.subarray(at, at + count));
  }

  /** A UTF-8 string: well-formed [MQTT-1.5.3-1] and without U+0000 [MQTT-1.5.3-2]. */
  text(what: string): string {
    const count = this.u16(what);
    const at = this.#take(count, what);
    return utf8(this.#bytes, at, at + count, what);
  }

  /** The packet must end here. */
  end(): void {
    if (this.left > 0) throw new CoreError('malformed-frame', `${this.left} bytes too many at the end of a packet`);
  }

  #take(count: number, what: string): number {
    const at = this.#at;
    if (at + count > this.#end) throw new CoreError('malformed-frame', `the packet ends inside its ${what}`);
    this.#at = at + count;
    return at;
  }
}

/** Decode a string field, checked [MQTT-1.5.3-1, MQTT-1.5.3-2]. A byte order mark is kept [MQTT-1.5.3-3]. */
export function utf8(bytes: Buffer, start: number, end: number, what: string): string {
  const part = bytes.subarray(start, end);
  if (!isUtf8(part)) throw new CoreError('malformed-frame', `the ${what} is not UTF-8 [MQTT-1.5.3-1]`);
  if (part.includes(0)) throw new CoreError('malformed-frame', `the ${what} contains U+0000 [MQTT-1.5.3-2]`);
  return part.toString('utf8');
}
