/** MQTT 3.1.1 as a load generator speaks it: handshake by hand, then frames that were built before and counts. */
import type { Arrivals } from './flow.ts';
import { MessageRing, payload } from './ring.ts';
import { FastSocket } from './socket.ts';

const CONNECT = 0x10;
const CONNACK = 0x20;
const PUBLISH = 0x30;
const PUBACK = 0x40;
const SUBSCRIBE = 0x82;
const SUBACK = 0x90;
const DISCONNECT = Buffer.from([0xe0, 0]);

export type Qos = 0 | 1;

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function packet(type: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const head = [type];
  let rest = body.length;
  do {
    head.push(rest > 127 ? (rest & 127) | 128 : rest);
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from(head), body]);
}

/** Messages to one topic. Packet ids are the numbers in the ring, from 1. */
export function publishRing(topic: string, payloadBytes: number, qos: Qos, count: number): MessageRing {
  return new MessageRing(count, (index) => {
    const id = qos === 0 ? Buffer.alloc(0) : Buffer.from([(index + 1) >> 8, (index + 1) & 0xff]);
    return packet(PUBLISH | (qos << 1), text(topic), id, payload(payloadBytes, index));
  });
}

/** Called for each packet: its type and flags, and where its body begins and ends. */
type OnPacket = (head: number, bytes: Buffer, start: number, end: number) => void;

/** Walk over the whole packets of `bytes[0, end)`; answers the bytes they take. */
function eachPacket(bytes: Buffer, end: number, onPacket: OnPacket): number {
  let at = 0;
  while (at + 1 < end) {
    let length = 0;
    let shift = 0;
    let next = at + 1;
    let byte = 0;
    do {
      if (next >= end) return at;
      byte = bytes[next++] as number;
      length |= (byte & 127) << shift;
      shift += 7;
    } while (byte > 127);
    if (next + length > end) return at;
    onPacket(bytes[at] as number, bytes, next, next + length);
    at = next + length;
  }
  return at;
}

export class MqttClient {
  readonly socket: FastSocket;

  private constructor(socket: FastSocket) {
    this.socket = socket;
  }

  /** Connect and log in without a user name. */
  static async open(port: number, clientId: string, clean: boolean): Promise<MqttClient> {
    const socket = await FastSocket.open(port);
    const client = new MqttClient(socket);
    const flags = clean ? 2 : 0;
    const connect = packet(CONNECT, text('MQTT'), Buffer.from([4, flags, 0, 0]), text(clientId));
    await client.#ask(connect, CONNACK, (bytes, start) => {
      if (bytes[start + 1] !== 0) throw new Error(`CONNECT was refused with ${bytes[start + 1]}`);
    });
    return client;
  }

  async subscribe(topic: string, qos: Qos): Promise<void> {
    const subscribe = packet(SUBSCRIBE, Buffer.from([0, 1]), text(topic), Buffer.from([qos]));
    await this.#ask(subscribe, SUBACK, (bytes, start) => {
      if (bytes[start + 2] !== qos) throw new Error(`SUBSCRIBE was answered with ${bytes[start + 2]}`);
    });
  }

  /** From now on: count received messages, whose numbers must follow each other, and acknowledge those of QoS 1. */
  receive(arrivals: Arrivals, ringCount: number, onChunk: () => void): void {
    let expected = arrivals.count % ringCount;
    let ids: number[] = [];
    const onPacket: OnPacket = (head, bytes, start, end) => {
      if ((head & 0xf0) !== PUBLISH) throw new Error(`a subscriber got packet ${head}`);
      let at = start + 2 + (((bytes[start] as number) << 8) | (bytes[start + 1] as number));
      if ((head & 6) !== 0) {
        ids.push(((bytes[at] as number) << 8) | (bytes[at + 1] as number));
        at += 2;
      }
      if (bytes.readUInt32BE(at) !== expected || at >= end) {
        throw new Error(`message ${bytes.readUInt32BE(at)} came where ${expected} was due`);
      }
      expected = expected + 1 === ringCount ? 0 : expected + 1;
      arrivals.count++;
    };
    this.socket.parse = (bytes, end) => {
      const used = eachPacket(bytes, end, onPacket);
      if (ids.length > 0) {
        this.socket.write(pubacks(ids));
        ids = [];
      }
      onChunk();
      return used;
    };
  }

  /** From now on: count acknowledgements of what was published. */
  countAcks(acks: Arrivals, onChunk: () => void): void {
    const onPacket: OnPacket = (head) => {
      if (head !== PUBACK) throw new Error(`a publisher got packet ${head}`);
      acks.count++;
    };
    this.socket.parse = (bytes, end) => {
      const used = eachPacket(bytes, end, onPacket);
      onChunk();
      return used;
    };
  }

  close(): void {
    this.socket.write(DISCONNECT);
    this.socket.close();
  }

  #ask(request: Buffer, answer: number, check: (bytes: Buffer, start: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.onError = reject;
      this.socket.parse = (bytes, end) =>
        eachPacket(bytes, end, (head, _all, start) => {
          try {
            if (head !== answer) throw new Error(`packet ${head} came where ${answer} was due`);
            check(bytes, start);
            this.socket.onError = (error) => {
              throw error;
            };
            resolve();
          } catch (error) {
            reject(error as Error);
          }
        });
      this.socket.write(request);
    });
  }
}

function pubacks(ids: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(ids.length * 4);
  let at = 0;
  for (const id of ids) {
    bytes[at] = PUBACK;
    bytes[at + 1] = 2;
    bytes[at + 2] = id >> 8;
    bytes[at + 3] = id & 0xff;
    at += 4;
  }
  return bytes;
}
