/**
 * The methods of AMQP 0-9-1 with RabbitMQ's extensions, as data: the codec and the types of arguments come from this table.
 * Source: AMQP 0-9-1 specification, part 1.2 to 1.8, and the extensions every client library uses (confirm, basic.nack,
 * exchange.bind, connection.blocked, connection.update-secret). `test/adapters/amqp/methods.test.ts` compares it with the
 * machine-readable specification.
 */
import type { HubValue } from '../../../core/index.ts';

/** Wire types of method arguments. `bit`s that follow each other share an octet, the first in the lowest bit. */
export type FieldType = 'bit' | 'octet' | 'short' | 'long' | 'longlong' | 'shortstr' | 'longstr' | 'table';

interface MethodSpec {
  /** `class << 16 | method`, as the first four bytes of a method frame's payload. */
  readonly id: number;
  /** Arguments in wire order. */
  readonly fields: readonly (readonly [name: string, type: FieldType])[];
  /** A content header and body follow. */
  readonly content?: true;
}

const closeFields = [
  ['replyCode', 'short'],
  ['replyText', 'shortstr'],
  ['classId', 'short'],
  ['methodId', 'short'],
] as const;

const tuneFields = [
  ['channelMax', 'short'],
  ['frameMax', 'long'],
  ['heartbeat', 'short'],
] as const;

const exchangeBindFields = [
  ['reserved1', 'short'],
  ['destination', 'shortstr'],
  ['source', 'shortstr'],
  ['routingKey', 'shortstr'],
  ['noWait', 'bit'],
  ['arguments', 'table'],
] as const;

export const METHODS = {
  'connection.start': {
    id: 0x000a_000a,
    fields: [
      ['versionMajor', 'octet'],
      ['versionMinor', 'octet'],
      ['serverProperties', 'table'],
      ['mechanisms', 'longstr'],
      ['locales', 'longstr'],
    ],
  },
  'connection.start-ok': {
    id: 0x000a_000b,
    fields: [
      ['clientProperties', 'table'],
      ['mechanism', 'shortstr'],
      ['response', 'longstr'],
      ['locale', 'shortstr'],
    ],
  },
  'connection.secure': { id: 0x000a_0014, fields: [['challenge', 'longstr']] },
  'connection.secure-ok': { id: 0x000a_0015, fields: [['response', 'longstr']] },
  'connection.tune': { id: 0x000a_001e, fields: tuneFields },
  'connection.tune-ok': { id: 0x000a_001f, fields: tuneFields },
  'connection.open': {
    id: 0x000a_0028,
    fields: [
      ['virtualHost', 'shortstr'],
      ['reserved1', 'shortstr'],
      ['reserved2', 'bit'],
    ],
  },
  'connection.open-ok': { id: 0x000a_0029, fields: [['reserved1', 'shortstr']] },
  'connection.close': { id: 0x000a_0032, fields: closeFields },
  'connection.close-ok': { id: 0x000a_0033, fields: [] },
  'connection.blocked': { id: 0x000a_003c, fields: [['reason', 'shortstr']] },
  'connection.unblocked': { id: 0x000a_003d, fields: [] },
  'connection.update-secret': {
    id: 0x000a_0046,
    fields: [
      ['newSecret', 'longstr'],
      ['reason', 'shortstr'],
    ],
  },
  'connection.update-secret-ok': { id: 0x000a_0047, fields: [] },

  'channel.open': { id: 0x0014_000a, fields: [['reserved1', 'shortstr']] },
  'channel.open-ok': { id: 0x0014_000b, fields: [['reserved1', 'longstr']] },
  'channel.flow': { id: 0x0014_0014, fields: [['active', 'bit']] },
  'channel.flow-ok': { id: 0x0014_0015, fields: [['active', 'bit']] },
  'channel.close': { id: 0x0014_0028, fields: closeFields },
  'channel.close-ok': { id: 0x0014_0029, fields: [] },

  'access.request': {
    id: 0x001e_000a,
    fields: [
      ['realm', 'shortstr'],
      ['exclusive', 'bit'],
      ['passive', 'bit'],
      ['active', 'bit'],
      ['write', 'bit'],
      ['read', 'bit'],
    ],
  },
  'access.request-ok': { id: 0x001e_000b, fields: [['reserved1', 'short']] },

  'exchange.declare': {
    id: 0x0028_000a,
    fields: [
      ['reserved1', 'short'],
      ['exchange', 'shortstr'],
      ['type', 'shortstr'],
      ['passive', 'bit'],
      ['durable', 'bit'],
      ['autoDelete', 'bit'],
      ['internal', 'bit'],
      ['noWait', 'bit'],
      ['arguments', 'table'],
    ],
  },
  'exchange.declare-ok': { id: 0x0028_000b, fields: [] },
  'exchange.delete': {
    id: 0x0028_0014,
    fields: [
      ['reserved1', 'short'],
      ['exchange', 'shortstr'],
      ['ifUnused', 'bit'],
      ['noWait', 'bit'],
    ],
  },
  'exchange.delete-ok': { id: 0x0028_0015, fields: [] },
  'exchange.bind': { id: 0x0028_001e, fields: exchangeBindFields },
  'exchange.bind-ok': { id: 0x0028_001f, fields: [] },
  'exchange.unbind': { id: 0x0028_0028, fields: exchangeBindFields },
  'exchange.unbind-ok': { id: 0x0028_0033, fields: [] },

  'queue.declare': {
    id: 0x0032_000a,
    fields: [
      ['reserved1', 'short'],
      ['queue', 'shortstr'],
      ['passive', 'bit'],
      ['durable', 'bit'],
      ['exclusive', 'bit'],
      ['autoDelete', 'bit'],
      ['noWait', 'bit'],
      ['arguments', 'table'],
    ],
  },
  'queue.declare-ok': {
    id: 0x0032_000b,
    fields: [
      ['queue', 'shortstr'],
      ['messageCount', 'long'],
      ['consumerCount', 'long'],
    ],
  },
  'queue.bind': {
    id: 0x0032_0014,
    fields: [
      ['reserved1', 'short'],
      ['queue', 'shortstr'],
      ['exchange', 'shortstr'],
      ['routingKey', 'shortstr'],
      ['noWait', 'bit'],
      ['arguments', 'table'],
    ],
  },
  'queue.bind-ok': { id: 0x0032_0015, fields: [] },
  'queue.purge': {
    id: 0x0032_001e,
    fields: [
      ['reserved1', 'short'],
      ['queue', 'shortstr'],
      ['noWait', 'bit'],
    ],
  },
  'queue.purge-ok': { id: 0x0032_001f, fields: [['messageCount', 'long']] },
  'queue.delete': {
    id: 0x0032_0028,
    fields: [
      ['reserved1', 'short'],
      ['queue', 'shortstr'],
      ['ifUnused', 'bit'],
      ['ifEmpty', 'bit'],
      ['noWait', 'bit'],
    ],
  },
  'queue.delete-ok': { id: 0x0032_0029, fields: [['messageCount', 'long']] },
  'queue.unbind': {
    id: 0x0032_0032,
    fields: [
      ['reserved1', 'short'],
      ['queue', 'shortstr'],
      ['exchange', 'shortstr'],
      ['routingKey', 'shortstr'],
      ['arguments', 'table'],
    ],
  },
  'queue.unbind-ok': { id: 0x0032_0033, fields: [] },

  'basic.qos': {
    id: 0x003c_000a,
    fields: [
      ['prefetchSize', 'long'],
      ['prefetchCount', 'short'],
      ['global', 'bit'],
    ],
  },
  'basic.qos-ok': { id: 0x003c_000b, fields: [] },
  'basic.consume': {
    id: 0x003c_0014,
    fields: [
      ['reserved1', 'short'],
      ['queue', 'shortstr'],
      ['consumerTag', 'shortstr'],
      ['noLocal', 'bit'],
      ['noAck', 'bit'],
      ['exclusive', 'bit'],
      ['noWait', 'bit'],
      ['arguments', 'table'],
    ],
  },
  'basic.consume-ok': { id: 0x003c_0015, fields: [['consumerTag', 'shortstr']] },
  'basic.cancel': {
    id: 0x003c_001e,
    fields: [
      ['consumerTag', 'shortstr'],
      ['noWait', 'bit'],
    ],
  },
  'basic.cancel-ok': { id: 0x003c_001f, fields: [['consumerTag', 'shortstr']] },
  'basic.publish': {
    id: 0x003c_0028,
    fields: [
      ['reserved1', 'short'],
      ['exchange', 'shortstr'],
      ['routingKey', 'shortstr'],
      ['mandatory', 'bit'],
      ['immediate', 'bit'],
    ],
    content: true,
  },
  'basic.return': {
    id: 0x003c_0032,
    fields: [
      ['replyCode', 'short'],
      ['replyText', 'shortstr'],
      ['exchange', 'shortstr'],
      ['routingKey', 'shortstr'],
    ],
    content: true,
  },
  'basic.deliver': {
    id: 0x003c_003c,
    fields: [
      ['consumerTag', 'shortstr'],
      ['deliveryTag', 'longlong'],
      ['redelivered', 'bit'],
      ['exchange', 'shortstr'],
      ['routingKey', 'shortstr'],
    ],
    content: true,
  },
  'basic.get': {
    id: 0x003c_0046,
    fields: [
      ['reserved1', 'short'],
      ['queue', 'shortstr'],
      ['noAck', 'bit'],
    ],
  },
  'basic.get-ok': {
    id: 0x003c_0047,
    fields: [
      ['deliveryTag', 'longlong'],
      ['redelivered', 'bit'],
      ['exchange', 'shortstr'],
      ['routingKey', 'shortstr'],
      ['messageCount', 'long'],
    ],
    content: true,
  },
  'basic.get-empty': { id: 0x003c_0048, fields: [['reserved1', 'shortstr']] },
  'basic.ack': {
    id: 0x003c_0050,
    fields: [
      ['deliveryTag', 'longlong'],
      ['multiple', 'bit'],
    ],
  },
  'basic.reject': {
    id: 0x003c_005a,
    fields: [
      ['deliveryTag', 'longlong'],
      ['requeue', 'bit'],
    ],
  },
  'basic.recover-async': { id: 0x003c_0064, fields: [['requeue', 'bit']] },
  'basic.recover': { id: 0x003c_006e, fields: [['requeue', 'bit']] },
  'basic.recover-ok': { id: 0x003c_006f, fields: [] },
  'basic.nack': {
    id: 0x003c_0078,
    fields: [
      ['deliveryTag', 'longlong'],
      ['multiple', 'bit'],
      ['requeue', 'bit'],
    ],
  },

  'confirm.select': { id: 0x0055_000a, fields: [['noWait', 'bit']] },
  'confirm.select-ok': { id: 0x0055_000b, fields: [] },

  'tx.select': { id: 0x005a_000a, fields: [] },
  'tx.select-ok': { id: 0x005a_000b, fields: [] },
  'tx.commit': { id: 0x005a_0014, fields: [] },
  'tx.commit-ok': { id: 0x005a_0015, fields: [] },
  'tx.rollback': { id: 0x005a_001e, fields: [] },
  'tx.rollback-ok': { id: 0x005a_001f, fields: [] },
} as const satisfies Record<string, MethodSpec>;

export type MethodName = keyof typeof METHODS;

/** What a wire type is in the program. 64-bit numbers are plain numbers: delivery tags stay far below 2^53. */
interface FieldValues {
  bit: boolean;
  octet: number;
  short: number;
  long: number;
  longlong: number;
  shortstr: string;
  /** Text or raw bytes are accepted when encoding; decoding gives bytes. */
  longstr: Buffer;
  table: FieldTable;
}

/** A decoded field table: a null-prototype object, so names from the wire are safe as keys. */
export type FieldTable = { readonly [name: string]: HubValue };

/** Arguments of a method by name, derived from the table above. */
export type Arguments<M extends MethodName> = {
  -readonly [F in (typeof METHODS)[M]['fields'][number] as F[0]]: FieldValues[F[1]];
};

const NAMES = new Map<number, MethodName>();
for (const name of Object.keys(METHODS) as MethodName[]) NAMES.set(METHODS[name].id, name);

/** The method with this `class << 16 | method`, or undefined. */
export function methodName(id: number): MethodName | undefined {
  return NAMES.get(id);
}

/** Fields of a method in wire order. */
export function methodFields(name: MethodName): readonly (readonly [name: string, type: FieldType])[] {
  return METHODS[name].fields;
}
