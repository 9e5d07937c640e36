/**
 * Topics as queues of type `stream`, as RabbitMQ has them: declared with `x-queue-type`, consumed from `x-stream-offset` on, each
 * delivery with its offset in the header of that name.
 */
import {
  FILTER_ARGUMENT,
  FILTER_TAGS_ARGUMENT,
  type PartitionInfo,
  type ReadFrom,
  type ShareOptions,
  type TopicInfo,
  type TopicSettings,
} from '../../../core/index.ts';
import type { StreamPlace } from '../../stream-subscription.ts';
import { AmqpError } from './errors.ts';
import type { Arguments, FieldTable } from './methods.ts';
import { type PropertyBytes, withHeaders } from './properties.ts';

const HOUR_MS = 3_600_000;
const UNIT_MS: { readonly [unit: string]: number } = {
  Y: 365 * 24 * HOUR_MS,
  M: 30 * 24 * HOUR_MS,
  D: 24 * HOUR_MS,
  h: HOUR_MS,
  m: 60_000,
  s: 1000,
};

/** Arguments of other brokers' streams that have nothing to say here. */
const IGNORED: readonly string[] = ['x-initial-cluster-size', 'x-queue-leader-locator', 'x-stream-filter-size-bytes'];

export function isStream(args: FieldTable): boolean {
  return args['x-queue-type'] === 'stream';
}

/** Settings of the topic that a declaration asks for. */
export function streamSettings({
  queue,
  durable,
  exclusive,
  autoDelete,
  arguments: args,
}: Arguments<'queue.declare'>): TopicSettings {
  if (!durable || exclusive || autoDelete || queue === '') {
    throw new AmqpError(
      'precondition-failed',
      `stream '${queue}' must have a name, be durable, not exclusive, not auto-delete`,
    );
  }
  const settings: TopicSettings = { partitions: 1 };
  for (const [name, value] of Object.entries(args)) {
    if (name === 'x-queue-type' || IGNORED.includes(name)) continue;
    if (name === 'x-partitions') settings.partitions = count(name, value);
    else if (name === 'x-compact' && typeof value === 'boolean') settings.compact = value;
    else if (name === 'x-max-age') settings.retentionMs = interval(name, value);
    else if (name === 'x-max-length-bytes') settings.retentionBytes = count(name, value);
    else if (name === 'x-stream-max-segment-size-bytes') settings.fileBytes = count(name, value);
    else throw new AmqpError('precondition-failed', `invalid arg '${name}' for stream '${queue}'`);
  }
  return settings;
}

function count(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  throw new AmqpError('precondition-failed', `argument '${name}' must be an integer`);
}

/** `7D`, `1h`: a number and a unit. In milliseconds. */
function interval(name: string, value: unknown): number {
  const match = typeof value === 'string' ? /^(\d{1,9})([YMDhms])$/.exec(value) : null;
  if (match === null)
    throw new AmqpError('precondition-failed', `argument '${name}' must be like 7D or 12h (Y, M, D, h, m, s)`);
  return Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/** What a declaration is answered with: messages and consumers. */
export function streamCounts({ name, details }: TopicInfo): { name: string; ready: number; consumers: number } {
  const sum = (of: (partition: PartitionInfo) => number) => details.reduce((total, one) => total + of(one), 0);
  return { name, ready: sum(({ start, durableEnd }) => durableEnd - start), consumers: sum(({ readers }) => readers) };
}

/** Where a consumer of a topic begins. Throws when what it asks for cannot be. @param prefetch 0 = no limit */
export function streamPlace(
  info: TopicInfo,
  args: Arguments<'basic.consume'>,
  prefetch: number,
  nowMs: number,
): StreamPlace {
  const { name, partitions } = info;
  if (args.noAck) throw new AmqpError('not-implemented', `consuming stream '${name}' without acknowledgements`);
  if (prefetch === 0)
    throw new AmqpError('precondition-failed', `consumer prefetch count is not set for stream '${name}'`);
  if (args.exclusive) throw new AmqpError('access-refused', `stream '${name}' has no exclusive consumers`);
  const { 'x-stream-offset': offset = 'next', 'x-stream-partition': partition } = args.arguments;
  if (partition === undefined && partitions > 1) {
    throw new AmqpError(
      'precondition-failed',
      `stream '${name}' has ${partitions} partitions: say which in 'x-stream-partition'`,
    );
  }
  const number = partition === undefined ? 0 : count('x-stream-partition', partition);
  if (number < 0 || number >= partitions) {
    throw new AmqpError('precondition-failed', `stream '${name}' has no partition ${number}: ${partitions} in all`);
  }
  return { topic: name, partition: number, from: readFrom(offset, nowMs) };
}

/** Arguments by which consumers of queues choose messages. */
const FILTERS: readonly string[] = [FILTER_ARGUMENT, FILTER_TAGS_ARGUMENT, 'x-stream-filter'];

/** Consumers of a topic get everything: who asks for less is refused. */
export function refuseFilters(name: string, args: FieldTable): void {
  const given = FILTERS.find((one) => args[one] !== undefined);
  if (given !== undefined) throw new AmqpError('precondition-failed', `'${given}': stream '${name}' has no filters`);
}

/** The share group a consumer of a topic joins with `x-share-group`; undefined when it does not. */
export function shareOf(args: FieldTable): ShareOptions | undefined {
  const { 'x-share-group': group, 'x-stream-offset': start = 'next' } = args;
  if (group === undefined) return undefined;
  if (typeof group !== 'string') throw new AmqpError('precondition-failed', "argument 'x-share-group' must be a text");
  if (start !== 'first' && start !== 'next') {
    throw new AmqpError('precondition-failed', "with 'x-share-group', 'x-stream-offset' must be first or next");
  }
  const { 'x-dead-letter-exchange': exchange, 'x-dead-letter-routing-key': key } = args;
  if (exchange === undefined && key === undefined) return { group, start };
  if (typeof exchange !== 'string' || (key !== undefined && typeof key !== 'string')) {
    throw new AmqpError(
      'precondition-failed',
      "arguments 'x-dead-letter-exchange' and 'x-dead-letter-routing-key' must be texts, the second not alone",
    );
  }
  return { group, start, deadLetter: key === undefined ? { exchange } : { exchange, key } };
}

/** `first`, `last`, `next`, an offset (a negative one: so many from the end), a timestamp, or an interval before now. */
function readFrom(offset: unknown, nowMs: number): ReadFrom {
  if (offset === 'first' || offset === 'last' || offset === 'next') return offset;
  if (offset instanceof Date) return { timeMs: Math.max(0, offset.getTime()) };
  if (typeof offset === 'string') return { timeMs: Math.max(0, nowMs - interval('x-stream-offset', offset)) };
  const number = Number(offset);
  if ((typeof offset !== 'number' && typeof offset !== 'bigint') || !Number.isSafeInteger(number)) {
    throw new AmqpError(
      'precondition-failed',
      "argument 'x-stream-offset' must be first, last, next, an offset, a timestamp or an interval",
    );
  }
  return number < 0 ? { lastN: -number } : { offset: number };
}

const OFFSET_NAME = 'x-stream-offset';
/** A field of a header table: name, type `l`, value. */
const OFFSET: Buffer = Buffer.alloc(1 + OFFSET_NAME.length + 1 + 8);
OFFSET[0] = OFFSET_NAME.length;
OFFSET.write(`${OFFSET_NAME}l`, 1, 'latin1');

/** The properties of a message with the header that tells its offset. */
export function withOffset(head: PropertyBytes, offset: number): Buffer {
  OFFSET.writeBigInt64BE(BigInt(offset), OFFSET.length - 8);
  return withHeaders(head, OFFSET);
}
