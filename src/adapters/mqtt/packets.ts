/**
 * The packets of MQTT 3.1.1 that are not on the fast path, decoded, and those the broker sends, encoded. PUBLISH and the
 * four acknowledgements are read in place by the session. Section numbers are those of the OASIS standard.
 */
import { CoreError } from '../../core/index.ts';
import { Fields, TYPE, writeLength } from './codec.ts';

export type Qos = 0 | 1 | 2;

/** Bits of the first byte of a PUBLISH (3.3.1). */
export const PUBLISH_RETAIN = 0x01;
export const PUBLISH_DUP = 0x08;

/** CONNACK return codes (3.2.2.3). */
export const CONNACK = {
  ACCEPTED: 0,
  BAD_VERSION: 1,
  BAD_CLIENT_ID: 2,
  UNAVAILABLE: 3,
  BAD_CREDENTIALS: 4,
  NOT_AUTHORIZED: 5,
} as const;
export type ConnackCode = (typeof CONNACK)[keyof typeof CONNACK];

/** SUBACK return code for a refused filter (3.9.3). */
export const SUBACK_FAILURE = 0x80;

export interface Will {
  topic: string;
  payload: Buffer;
  qos: Qos;
  retain: boolean;
}

export interface Connect {
  /** Protocol level: 4 is 3.1.1, 3 is 3.1. */
  level: 3 | 4;
  clean: boolean;
  /** Seconds; 0 = none. */
  keepAliveS: number;
  clientId: string;
  will: Will | undefined;
  user: string | undefined;
  password: Buffer | undefined;
}

/** A CONNECT of a version this adapter does not speak. */
export interface OtherVersion {
  level: number;
  other: true;
}

const CLEAN_SESSION = 0x02;
const WILL = 0x04;
const WILL_RETAIN = 0x20;
const PASSWORD = 0x40;
const USER_NAME = 0x80;

/**
 * 3.1.2: name, level, flags, keep alive; 3.1.3: client id, will topic, will payload, user name, password.
 * Throws `malformed-frame`, `protocol-violation`.
 */
export function decodeConnect(bytes: Buffer, body: number, end: number): Connect | OtherVersion {
  const fields = new Fields(bytes, body, end);
  const name = fields.text('protocol name');
  const level = fields.u8('protocol level');
  if (name !== 'MQTT' && name !== 'MQIsdp') {
    throw new CoreError('protocol-violation', `unknown protocol name ${JSON.stringify(name)} [MQTT-3.1.2-1]`);
  }
  if (level !== (name === 'MQTT' ? 4 : 3)) return { level, other: true };
  const flags = fields.u8('connect flags');
  checkConnectFlags(flags);
  const keepAliveS = fields.u16('keep alive');
  const clientId = fields.text('client identifier');
  const will = (flags & WILL) === 0 ? undefined : decodeWill(fields, flags);
  const user = (flags & USER_NAME) === 0 ? undefined : fields.text('user name');
  const password = (flags & PASSWORD) === 0 ? undefined : fields.binary('password');
  fields.end();
  return { level, clean: (flags & CLEAN_SESSION) !== 0, keepAliveS, clientId, will, user, password };
}

function checkConnectFlags(flags: number): void {
  if ((flags & 1) !== 0) throw new CoreError('protocol-violation', 'reserved connect flag is set [MQTT-3.1.2-3]');
  if ((flags & WILL) === 0 && (flags & 0x38) !== 0) {
    throw new CoreError('protocol-violation', 'will QoS or will retain without a will [MQTT-3.1.2-11]');
  }
  if ((flags & 0x18) === 0x18) throw new CoreError('protocol-violation', 'will QoS 3 [MQTT-3.1.2-14]');
  if ((flags & USER_NAME) === 0 && (flags & PASSWORD) !== 0) {
    throw new CoreError('protocol-violation', 'a password without a user name [MQTT-3.1.2-22]');
  }
}

function decodeWill(fields: Fields, flags: number): Will {
  const topic = fields.text('will topic');
  if (topic === '' || /[+#]/.test(topic)) {
    throw new CoreError(
      'protocol-violation',
      `the will topic ${JSON.stringify(topic)} is no topic name [MQTT-4.7.1-1]`,
    );
  }
  return {
    topic,
    payload: fields.binary('will payload'),
    qos: ((flags >> 3) & 3) as Qos,
    retain: (flags & WILL_RETAIN) !== 0,
  };
}

export interface SubscribeRequest {
  id: number;
  /** Topic filters and the QoS asked for, in order. Not yet checked for misplaced wildcards. */
  filters: { text: string; qos: Qos }[];
}

/** 3.8: packet id, then at least one filter [MQTT-3.8.3-3], each with its QoS byte. */
export function decodeSubscribe(bytes: Buffer, body: number, end: number): SubscribeRequest {
  const fields = new Fields(bytes, body, end);
  const id = fields.packetId();
  const filters: SubscribeRequest['filters'] = [];
  do {
    const text = fields.text('topic filter');
    const qos = fields.u8('requested QoS');
    if (qos > 2) throw new CoreError('protocol-violation', `requested QoS byte ${qos} [MQTT-3.8.3-4]`);
    filters.push({ text, qos: qos as Qos });
  } while (fields.left > 0);
  return { id, filters };
}

/** 3.10: packet id, then at least one filter [MQTT-3.10.3-2]. */
export function decodeUnsubscribe(bytes: Buffer, body: number, end: number): { id: number; filters: string[] } {
  const fields = new Fields(bytes, body, end);
  const id = fields.packetId();
  const filters: string[] = [];
  do filters.push(fields.text('topic filter'));
  while (fields.left > 0);
  return { id, filters };
}

/** The body of PUBACK, PUBREC, PUBREL, PUBCOMP: a packet id and nothing else. */
export function decodeAck(bytes: Buffer, body: number, end: number): number {
  if (end - body !== 2) throw new CoreError('malformed-frame', 'an acknowledgement has exactly two bytes');
  const id = ((bytes[body] as number) << 8) | (bytes[body + 1] as number);
  if (id === 0) throw new CoreError('protocol-violation', 'packet identifier 0 [MQTT-2.3.1-1]');
  return id;
}

/** 3.2 */
export function connack(present: boolean, code: ConnackCode): Buffer {
  return Buffer.from([TYPE.CONNACK, 2, present && code === CONNACK.ACCEPTED ? 1 : 0, code]);
}

/** What an MQTT 5 client is told, in its own form: reason code 0x84 "unsupported protocol version", no properties. */
export const CONNACK_V5_UNSUPPORTED: Buffer = Buffer.from([TYPE.CONNACK, 3, 0, 0x84, 0]);

/** 3.9 */
export function suback(id: number, codes: readonly number[]): Buffer {
  const length = 2 + codes.length;
  const packet = Buffer.allocUnsafe(length + 5);
  packet[0] = TYPE.SUBACK;
  let at = writeLength(packet, 1, length);
  packet[at++] = id >> 8;
  packet[at++] = id & 0xff;
  for (const code of codes) packet[at++] = code;
  return packet.subarray(0, at);
}

/** PUBREC, PUBCOMP, UNSUBACK and the like: type, 2, packet id. */
export function ack(type: number, id: number): Buffer {
  return Buffer.from([type, 2, id >> 8, id & 0xff]);
}

/** 3.13 */
export const PINGRESP: Buffer = Buffer.from([TYPE.PINGRESP, 0]);
