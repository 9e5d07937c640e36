/** What is negotiated before a connection is open: server properties, credentials, tuning (specification 1.4). */
import type { HubValue, Limits } from '../../../core/index.ts';
import { FRAME_BYTES_MIN } from './codec.ts';
import { AmqpError } from './errors.ts';
import { Reader } from './fields.ts';
import type { Arguments, FieldTable } from './methods.ts';

export const MECHANISMS = 'PLAIN AMQPLAIN';

/** What connection.start tells about us. Clients look for features in `capabilities`. */
export function serverProperties(product: string, version: string): FieldTable {
  return {
    capabilities: {
      publisher_confirms: true,
      exchange_exchange_bindings: true,
      'basic.nack': true,
      consumer_cancel_notify: true,
      'connection.blocked': true,
      consumer_priorities: true,
      authentication_failure_close: true,
      per_consumer_qos: true,
    },
    product,
    version,
    platform: 'Node.js',
    information: 'AMQP 0-9-1 with the RabbitMQ extensions named in capabilities',
  };
}

/** A client's `capabilities` table says that it knows this. */
export function isCapable(clientProperties: FieldTable, capability: string): boolean {
  const capabilities = clientProperties['capabilities'];
  if (!isTable(capabilities)) return false;
  return capabilities[capability] === true;
}

function isTable(value: HubValue | undefined): value is { [name: string]: HubValue } {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null;
}

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** Credentials of connection.start-ok. @throws AmqpError 530 for another mechanism, 502 for a malformed response */
export function credentialsOf(mechanism: string, response: Buffer): Credentials {
  if (mechanism === 'PLAIN') return plain(response);
  if (mechanism === 'AMQPLAIN') return amqplain(response);
  throw new AmqpError('not-allowed', `unsupported authentication mechanism '${mechanism}'; there are ${MECHANISMS}`);
}

/** RFC 4616: authorization id, NUL, user, NUL, password. Acting for another user is not possible. */
function plain(response: Buffer): Credentials {
  const parts = response.toString('utf8').split('\u0000');
  const [, user, password] = parts;
  if (parts.length !== 3 || user === undefined || password === undefined) {
    throw new AmqpError('syntax-error', 'the PLAIN response is not two or three texts with NUL between them');
  }
  return { user, password };
}

/** A field table without its length: LOGIN and PASSWORD. */
function amqplain(response: Buffer): Credentials {
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(response.length);
  const table = new Reader(Buffer.concat([length, response]), 0, response.length + 4).table();
  const { LOGIN: user, PASSWORD: password } = table;
  if (typeof user !== 'string' || typeof password !== 'string') {
    throw new AmqpError('syntax-error', 'the AMQPLAIN response has no LOGIN and PASSWORD');
  }
  return { user, password };
}

export interface Tuning {
  readonly channelMax: number;
  /** Bytes of a whole frame. */
  readonly frameBytesMax: number;
  /** 0 = none. */
  readonly heartbeatSeconds: number;
}

/** What we propose. */
export function proposedTuning(limits: Limits): Tuning {
  return {
    channelMax: Math.min(0xffff, limits.channelsPerConnectionMax),
    frameBytesMax: Math.max(FRAME_BYTES_MIN, limits.frameBytesMax),
    heartbeatSeconds: Math.ceil(limits.heartbeatMs / 1000),
  };
}

/**
 * What holds after connection.tune-ok. 0 for channels or frame size is read as "no limit of mine", so ours holds.
 * @throws AmqpError 530 when the client wants more than was proposed, or frames below the minimum
 */
export function agreedTuning(proposed: Tuning, answer: Arguments<'connection.tune-ok'>): Tuning {
  const channelMax = answer.channelMax === 0 ? proposed.channelMax : answer.channelMax;
  const frameBytesMax = answer.frameMax === 0 ? proposed.frameBytesMax : answer.frameMax;
  if (channelMax > proposed.channelMax) {
    throw new AmqpError('not-allowed', `negotiated channel_max = ${channelMax} is higher than ${proposed.channelMax}`);
  }
  if (frameBytesMax > proposed.frameBytesMax) {
    throw new AmqpError(
      'not-allowed',
      `negotiated frame_max = ${frameBytesMax} is higher than ${proposed.frameBytesMax}`,
    );
  }
  if (frameBytesMax < FRAME_BYTES_MIN) {
    throw new AmqpError('not-allowed', `negotiated frame_max = ${frameBytesMax} is lower than ${FRAME_BYTES_MIN}`);
  }
  return { channelMax, frameBytesMax, heartbeatSeconds: answer.heartbeat };
}
