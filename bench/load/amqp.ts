/** AMQP 0-9-1 as a load generator speaks it: handshake by hand, then frames that were built before and counts. */
import type { Arrivals } from './flow.ts';
import { MessageRing, payload } from './ring.ts';
import { FastSocket } from './socket.ts';

const METHOD = 1;
const HEADER = 2;
const BODY = 3;
const FRAME_END = 0xce;
const FRAME_OVERHEAD = 8;

const CHANNEL = 1;
const FRAME_MAX = 131_072;
const CHANNEL_MAX = 16;

/** Class and method ids as the first four bytes of a method frame say them. */
const id = (cls: number, method: number) => (cls << 16) | method;
const START = id(10, 10);
const START_OK = id(10, 11);
const TUNE = id(10, 30);
const TUNE_OK = id(10, 31);
const OPEN = id(10, 40);
const OPEN_OK = id(10, 41);
const CHANNEL_OPEN = id(20, 10);
const CHANNEL_OPEN_OK = id(20, 11);
const DECLARE = id(50, 10);
const DECLARE_OK = id(50, 11);
const QOS = id(60, 10);
const QOS_OK = id(60, 11);
const CONSUME = id(60, 20);
const CONSUME_OK = id(60, 21);
const PUBLISH = id(60, 40);
const DELIVER = id(60, 60);
const ACK = id(60, 80);
const CONFIRM = id(85, 10);
const CONFIRM_OK = id(85, 11);

const u8 = (value: number) => Buffer.from([value]);
const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff]);
const u32 = (value: number) => Buffer.from([value >>> 24, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff]);
const shortText = (value: string) => Buffer.concat([u8(Buffer.byteLength(value)), Buffer.from(value)]);
const longText = (value: string) => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);

function frame(type: number, channel: number, body: Buffer): Buffer {
  return Buffer.concat([u8(type), u16(channel), u32(body.length), body, u8(FRAME_END)]);
}

function method(channel: number, methodId: number, ...parts: Buffer[]): Buffer {
  return frame(METHOD, channel, Buffer.concat([u32(methodId), ...parts]));
}

/** Messages to one queue by way of the default exchange. */
export function publishRing(queue: string, payloadBytes: number, persistent: boolean, count: number): MessageRing {
  const publish = method(CHANNEL, PUBLISH, u16(0), shortText(''), shortText(queue), u8(0));
  // Content header: class, weight, 64-bit body size, property flags (delivery mode only), delivery mode.
  const properties = [u16(60), u16(0), u32(0), u32(payloadBytes), u16(0x1000), u8(persistent ? 2 : 1)];
  const header = frame(HEADER, CHANNEL, Buffer.concat(properties));
  return new MessageRing(count, (index) =>
    Buffer.concat([publish, header, frame(BODY, CHANNEL, payload(payloadBytes, index))]),
  );
}

/** Walk over the whole frames of `bytes[0, end)`: type, and where the payload begins; answers the bytes they take. */
function eachFrame(bytes: Buffer, end: number, onFrame: (type: number, start: number) => void): number {
  let at = 0;
  while (at + FRAME_OVERHEAD <= end) {
    const next = at + FRAME_OVERHEAD + bytes.readUInt32BE(at + 3);
    if (next > end) break;
    if (bytes[next - 1] !== FRAME_END) throw new Error('a frame does not end where it should');
    onFrame(bytes[at] as number, at + 7);
    at = next;
  }
  return at;
}

export class AmqpClient {
  readonly socket: FastSocket;

  private constructor(socket: FastSocket) {
    this.socket = socket;
  }

  /** Connect as guest, and open a channel. */
  static async open(port: number): Promise<AmqpClient> {
    const client = new AmqpClient(await FastSocket.open(port));
    await client.#ask(Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'), START);
    const login = method(0, START_OK, u32(0), shortText('PLAIN'), longText('\0guest\0guest'), shortText('en_US'));
    await client.#ask(login, TUNE);
    client.socket.write(method(0, TUNE_OK, u16(CHANNEL_MAX), u32(FRAME_MAX), u16(0)));
    await client.#ask(method(0, OPEN, shortText('/'), shortText(''), u8(0)), OPEN_OK);
    await client.#ask(method(CHANNEL, CHANNEL_OPEN, shortText('')), CHANNEL_OPEN_OK);
    return client;
  }

  /** Declare a queue; answers the number of messages in it. */
  async declare(queue: string, durable: boolean): Promise<number> {
    const answer = await this.#ask(
      method(CHANNEL, DECLARE, u16(0), shortText(queue), u8(durable ? 2 : 0), u32(0)),
      DECLARE_OK,
    );
    return answer.readUInt32BE(5 + (answer[4] as number));
  }

  async confirms(): Promise<void> {
    await this.#ask(method(CHANNEL, CONFIRM, u8(0)), CONFIRM_OK);
  }

  /** Begin to consume: count deliveries, whose numbers must follow each other, and acknowledge each of them. */
  async consume(
    queue: string,
    prefetch: number,
    arrivals: Arrivals,
    ringCount: number,
    onChunk: () => void,
  ): Promise<void> {
    await this.#ask(method(CHANNEL, QOS, u32(0), u16(prefetch), u8(0)), QOS_OK);
    const consume = method(CHANNEL, CONSUME, u16(0), shortText(queue), shortText('c'), u8(0), u32(0));
    const receive = this.#receiver(arrivals, ringCount, onChunk);
    // Deliveries may follow the answer in the same chunk.
    await this.#ask(consume, CONSUME_OK, receive);
  }

  #receiver(arrivals: Arrivals, ringCount: number, onChunk: () => void): (bytes: Buffer, end: number) => number {
    let expected = arrivals.count % ringCount;
    let tag = 0;
    return (bytes, end) => {
      const before = tag;
      const used = eachFrame(bytes, end, (type, start) => {
        if (type === METHOD) {
          if (bytes.readUInt32BE(start) !== DELIVER) throw new Error(`a consumer got ${describe(bytes, start)}`);
        } else if (type === BODY) {
          const number = bytes.readUInt32BE(start);
          if (number !== expected) throw new Error(`message ${number} came where ${expected} was due`);
          expected = expected + 1 === ringCount ? 0 : expected + 1;
          // Delivery tags count from 1 on a channel that consumes from one queue.
          tag++;
          arrivals.count++;
        }
      });
      if (tag > before) this.socket.write(acks(before + 1, tag));
      onChunk();
      return used;
    };
  }

  /** From now on: count confirms. */
  countConfirms(confirms: Arrivals, onChunk: () => void): void {
    // Confirms may come out of order: those ahead of the first missing one wait here.
    const ahead = new Set<number>();
    this.socket.parse = (bytes, end) => {
      const used = eachFrame(bytes, end, (_type, start) => {
        if (bytes.readUInt32BE(start) !== ACK) throw new Error(`a publisher got ${describe(bytes, start)}`);
        const tag = bytes.readUInt32BE(start + 8);
        if (bytes[start + 12] === 1) {
          if (tag > confirms.count) confirms.count = tag;
        } else if (tag === confirms.count + 1) {
          confirms.count = tag;
        } else {
          ahead.add(tag);
        }
        while (ahead.size > 0 && ahead.delete(confirms.count + 1)) confirms.count++;
      });
      onChunk();
      return used;
    };
  }

  close(): void {
    this.socket.close();
  }

  /** Send a request and wait for its answer (the method frame's payload). `then` gets what follows it. */
  #ask(request: Buffer, answer: number, then?: (bytes: Buffer, end: number) => number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.socket.onError = reject;
      this.socket.parse = (bytes, end) => {
        if (end < FRAME_OVERHEAD) return 0;
        const next = FRAME_OVERHEAD + bytes.readUInt32BE(3);
        if (next > end) return 0;
        if (bytes[0] !== METHOD || bytes.readUInt32BE(7) !== answer) reject(new Error(describe(bytes, 7)));
        this.socket.onError = (error) => {
          throw error;
        };
        this.socket.parse = then ?? ((_rest, length) => length);
        resolve(Buffer.from(bytes.subarray(7, next - 1)));
        // The rest stays in the buffer and is parsed with the next chunk, unless somebody waits for it now.
        if (then === undefined || next === end) return next;
        return next + then(Buffer.from(bytes.subarray(next, end)), end - next);
      };
      this.socket.write(request);
    });
  }
}

/** For errors: which method a frame holds, and the text when it is a close. */
function describe(bytes: Buffer, start: number): string {
  const cls = bytes.readUInt16BE(start);
  const number = bytes.readUInt16BE(start + 2);
  const closes = (cls === 10 && number === 50) || (cls === 20 && number === 40);
  const why = closes ? `: ${bytes.toString('utf8', start + 7, start + 7 + (bytes[start + 6] as number))}` : '';
  return `method ${cls}.${number}${why}`;
}

/** An acknowledgement each, as most clients send them. */
function acks(first: number, last: number): Buffer {
  const bytes = Buffer.alloc((last - first + 1) * ACK_FRAME.length);
  let at = 0;
  for (let tag = first; tag <= last; tag++) {
    for (let i = 0; i < ACK_FRAME.length; i++) bytes[at + i] = ACK_FRAME[i] as number;
    bytes[at + 15] = tag >>> 24;
    bytes[at + 16] = (tag >>> 16) & 0xff;
    bytes[at + 17] = (tag >>> 8) & 0xff;
    bytes[at + 18] = tag & 0xff;
    at += ACK_FRAME.length;
  }
  return bytes;
}

/** basic.ack: the low half of the tag is at 15, the bit for "all before it too" at 19. */
const ACK_FRAME = method(CHANNEL, ACK, u32(0), u32(0), u8(0));
