/**
 * Half messages over AMQP 0-9-1 (docs/half-messages.md "AMQP 0-9-1"). Headers of a publish say that it prepares, commits or rolls
 * back; a consumer of the queue `amq.half.checks.<group>`, which is no queue, is asked about the halves of a producer group.
 */
import {
  CoreError,
  type DeliveryBatch,
  type HalfCheck,
  type HalfChecker,
  type HalfOp,
  type HalfSettings,
  type HubValue,
  Message,
  type SettleOp,
  type Subscription,
  type SubscriptionHandlers,
} from '../../../core/index.ts';
import type { MessageWriter } from './deliver.ts';
import { AmqpError } from './errors.ts';
import { Writer } from './fields.ts';
import type { ChannelHost } from './host.ts';
import { AMQP091_FORMAT, SEPARATOR } from './message.ts';
import type { FieldTable } from './methods.ts';
import { decodeProperties, encodeProperties, withHeaders } from './properties.ts';

const CHECKS_PREFIX = 'amq.half.checks.';

/** What a publish with the header `x-half` asks for. */
export interface HalfRequest {
  readonly op: 'prepare' | HalfOp;
  readonly settings: HalfSettings;
  /** The properties without these headers. */
  readonly head: Buffer;
}

const HEADERS: ReadonlySet<string> = new Set([
  'x-half',
  'x-half-group',
  'x-half-id',
  'x-half-check-after-ms',
  'x-half-check-every-ms',
  'x-half-checks',
]);

/** Read the headers whose names start with `x-half`. @throws AmqpError 406 */
export function halfRequest(bytes: Buffer, start: number, end: number): HalfRequest {
  const properties = decodeProperties(bytes, start, end);
  const said: { [name: string]: HubValue } = {};
  const others = Object.create(null) as { [name: string]: HubValue };
  for (const [name, value] of Object.entries(properties.headers ?? {})) {
    if (HEADERS.has(name)) said[name] = value;
    else if (name.startsWith('x-half')) throw refused(name, 'is not known');
    else others[name] = value;
  }
  const op = said['x-half'];
  if (op !== 'prepare' && op !== 'commit' && op !== 'rollback') {
    throw refused('x-half', 'must be "prepare", "commit" or "rollback"');
  }
  const firstCheckMs = countOf(said, 'x-half-check-after-ms');
  const checkEveryMs = countOf(said, 'x-half-check-every-ms');
  const checksMax = countOf(said, 'x-half-checks');
  const settings = {
    ...{ group: textOf(said, 'x-half-group'), id: textOf(said, 'x-half-id') },
    ...(firstCheckMs === undefined ? {} : { firstCheckMs }),
    ...(checkEveryMs === undefined ? {} : { checkEveryMs }),
    ...(checksMax === undefined ? {} : { checksMax }),
  };
  properties.headers = others;
  if (Object.keys(others).length === 0) delete properties.headers;
  const writer = new Writer();
  encodeProperties(writer, properties);
  return { op, settings, head: writer.toBuffer() };
}

function textOf(headers: FieldTable, name: string): string {
  const value = headers[name];
  if (typeof value === 'string') return value;
  throw refused(name, 'must be a text');
}

/** The core knows what numbers are allowed. */
function countOf(headers: FieldTable, name: string): number | undefined {
  const value = headers[name];
  if (value === undefined || typeof value === 'number') return value;
  throw refused(name, 'must be a number');
}

function refused(header: string, text: string): AmqpError {
  return new AmqpError('precondition-failed', `header ${header} ${text}`);
}

/** The producer group whose checks a queue name stands for; undefined: it is the name of a queue. */
export function groupOfChecks(queue: string): string | undefined {
  return queue.startsWith(CHECKS_PREFIX) ? queue.slice(CHECKS_PREFIX.length) : undefined;
}

const SETTLES: Readonly<Record<SettleOp, HalfOp | undefined>> = {
  complete: 'commit',
  discard: 'rollback',
  requeue: undefined,
  modify: undefined,
};

/** The checks of a group as deliveries of a subscription: settling one is the answer. */
export class CheckSubscription implements Subscription {
  readonly queue: string;
  readonly #host: ChannelHost;
  readonly #channel: number;
  readonly #group: string;
  readonly #handlers: SubscriptionHandlers;
  readonly #checker: HalfChecker;
  #credit: number;
  #lastId = 0;
  /** Delivery -> half. */
  readonly #asked = new Map<number, string>();
  /** The halves among these. */
  readonly #thinking = new Set<string>();

  /** Throws `invalid-argument`, `limit-exceeded`. */
  constructor(host: ChannelHost, channel: number, group: string, credit: number, handlers: SubscriptionHandlers) {
    this.queue = CHECKS_PREFIX + group;
    this.#host = host;
    this.#channel = channel;
    this.#group = group;
    this.#credit = credit;
    this.#handlers = handlers;
    this.#checker = host.client.checker(group, { onCheck: (check) => this.#ask(check) });
  }

  get unsettled(): number {
    return this.#asked.size;
  }

  #ask(check: HalfCheck): boolean {
    const { id } = check;
    // It has the question already, and has not answered yet.
    if (this.#thinking.has(id)) return true;
    if (this.#credit <= 0) return false;
    const delivery = new CheckDelivery(this.#lastId + 1, this.#host.messages, check);
    this.#handlers.onDeliveries(delivery);
    if (!delivery.taken) return false;
    this.#lastId++;
    this.#credit--;
    this.#asked.set(this.#lastId, id);
    this.#thinking.add(id);
    return true;
  }

  settle(first: number, last: number, op: SettleOp): number {
    const end = SETTLES[op];
    let count = 0;
    for (let delivery = first; delivery <= last; delivery++) {
      const id = this.#asked.get(delivery);
      if (id === undefined) continue;
      this.#asked.delete(delivery);
      this.#thinking.delete(id);
      count++;
      if (end !== undefined) this.#end(id, end);
    }
    return count;
  }

  #end(id: string, op: HalfOp): void {
    try {
      // What cannot be committed now stays open, and is asked about again.
      this.#host.client.finishHalf(this.#group, id, op, () => {});
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      this.#host.failChannel(this.#channel, error);
    }
  }

  credit(n: number): void {
    this.#credit += n;
  }

  setCredit(n: number): void {
    this.#credit = n;
  }

  /** Who had no room is asked again when the next check is due. */
  resume(): void {}

  afterDurable(done: () => void): void {
    done();
  }

  drain(done: () => void): void {
    this.#credit = 0;
    this.#host.clock.soon(done);
  }

  cancel(): void {
    this.#checker.close();
  }

  close(): void {
    this.#asked.clear();
    this.#thinking.clear();
    this.#checker.close();
  }
}

/** One check as a batch of one delivery: the first message of the half, with headers that say which one it is. */
class CheckDelivery implements DeliveryBatch {
  readonly deliveryId: number;
  readonly redeliveries = 0;
  readonly failures = 0;
  readonly groupFirst = false;
  readonly message: Message = new Message();
  taken = false;
  readonly #messages: MessageWriter;
  readonly #check: HalfCheck;

  constructor(deliveryId: number, messages: MessageWriter, check: HalfCheck) {
    this.deliveryId = deliveryId;
    this.#messages = messages;
    this.#check = check;
  }

  next(): boolean {
    if (this.taken) return false;
    this.taken = true;
    const check = this.#check;
    check.next();
    const { message } = check;
    const parts = this.#messages.partsOf(message);
    const head = withHeaders(parts, fieldsOf(check));
    const bytes = Buffer.concat([head, message.bytes.subarray(message.bodyStart, message.bodyEnd)]);
    const { key: keyBytes, keyStart, keyEnd } = parts;
    Object.assign(this.message, message, {
      ...{ format: AMQP091_FORMAT.id, separator: SEPARATOR, flags: 0, keyBytes, keyStart, keyEnd },
      ...{ bytes, headStart: 0, headEnd: head.length, bodyStart: head.length, bodyEnd: bytes.length },
    });
    return true;
  }
}

function fieldsOf({ group, id, check, checksMax, messages }: HalfCheck): Buffer {
  const headers: { [name: string]: HubValue } = {
    ...{ 'x-half-group': group, 'x-half-id': id, 'x-half-messages': messages },
    ...{ 'x-half-check': check, 'x-half-checks': checksMax },
  };
  const writer = new Writer();
  writer.table(headers);
  return writer.toBuffer().subarray(4);
}
