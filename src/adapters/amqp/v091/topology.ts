/**
 * The exchange and queue classes: what clients declare, bind and delete. Each function checks what only this protocol
 * knows, and leaves the rest to the core.
 */
import { randomBytes } from 'node:crypto';
import {
  type Admin,
  type BindingTarget,
  type Client,
  CoreError,
  type ExchangeKindName,
  type QueueInfo,
  type TopicInfo,
} from '../../../core/index.ts';
import { AmqpError } from './errors.ts';
import type { ChannelHost } from './host.ts';
import { patternOf } from './message.ts';
import type { Arguments, FieldTable } from './methods.ts';
import { isStream, streamCounts, streamSettings } from './stream-queue.ts';

const KINDS: readonly string[] = ['direct', 'fanout', 'topic', 'headers'];
/** Kinds other brokers know; refused by name rather than as unknown. */
const KINDS_OF_OTHERS: readonly string[] = [
  'x-consistent-hash',
  'x-modulus-hash',
  'x-random',
  'x-recent-history',
  'x-local-random',
];
/** RabbitMQ's plug-in has a kind of exchange for delayed messages, which routes as the kind named by this argument does. Here
 *  any exchange takes delayed messages. */
const DELAYED_KIND = 'x-delayed-message';
const DELAYED_TYPE_ARGUMENT = 'x-delayed-type';
/** Names the broker keeps for itself. */
const RESERVED_PREFIX = 'amq.';

/** What a declaration is answered with. */
type QueueCounts = Pick<QueueInfo, 'name' | 'ready' | 'consumers'>;

type BindArguments = Pick<Arguments<'queue.bind'>, 'routingKey' | 'arguments'>;

export class Topology {
  readonly #admin: Admin;
  readonly #client: Client;
  /** Name of the queue declared last on this channel: what an empty name means (specification 1.7). */
  #lastQueue = '';

  constructor(host: ChannelHost) {
    this.#admin = host.broker.admin;
    this.#client = host.client;
  }

  get #vhost(): string {
    return this.#client.vhost;
  }

  // ---- Exchanges --------------------------------------------------------------------------------------------------

  async declareExchange(args: Arguments<'exchange.declare'>): Promise<void> {
    const name = args.exchange;
    const existing = this.#admin.exchange(this.#vhost, name);
    if (args.passive) {
      if (existing === undefined) throw this.#noExchange(name);
      return;
    }
    refuseDefaultExchange(name);
    const kind = args.type === DELAYED_KIND ? delayedKind(name, args.arguments) : kindOf(args.type);
    if (existing === undefined) refuseReserved('exchange', name);
    const { 'alternate-exchange': alternate, ...others } = args.arguments;
    if (alternate !== undefined && typeof alternate !== 'string') {
      throw new AmqpError('precondition-failed', `invalid arg 'alternate-exchange' for exchange '${name}'`);
    }
    await this.#admin.declareExchange(this.#vhost, name, {
      kind,
      durable: args.durable,
      autoDelete: args.autoDelete,
      internal: args.internal,
      arguments: others,
      ...(alternate === undefined ? {} : { alternate }),
    });
  }

  /** Deleting what is not there succeeds, as in RabbitMQ. */
  async deleteExchange(args: Arguments<'exchange.delete'>): Promise<void> {
    refuseDefaultExchange(args.exchange);
    refuseReserved('exchange', args.exchange);
    if (this.#admin.exchange(this.#vhost, args.exchange) === undefined) return;
    await this.#admin.deleteExchange(this.#vhost, args.exchange, { ifUnused: args.ifUnused });
  }

  bindExchange(args: Arguments<'exchange.bind'>): Promise<void> {
    refuseDefaultExchange(args.destination);
    return this.#bind(args.source, { kind: 'exchange', name: args.destination }, args);
  }

  unbindExchange(args: Arguments<'exchange.unbind'>): Promise<void> {
    refuseDefaultExchange(args.destination);
    return this.#unbind(args.source, { kind: 'exchange', name: args.destination }, args);
  }

  // ---- Queues -----------------------------------------------------------------------------------------------------

  async declareQueue(args: Arguments<'queue.declare'>): Promise<QueueCounts> {
    const info = await (args.passive ? this.#lookAt(args) : this.#declare(args));
    this.#lastQueue = info.name;
    return info;
  }

  async #lookAt(args: Arguments<'queue.declare'>): Promise<QueueCounts> {
    const name = this.queueName(args.queue);
    const stream = this.#stream(name);
    if (stream !== undefined) return streamCounts(stream);
    const info = this.#admin.queue(this.#vhost, name);
    if (info === undefined) throw this.#noQueue(name);
    return this.#visible(info);
  }

  async #declare(args: Arguments<'queue.declare'>): Promise<QueueCounts> {
    if (isStream(args.arguments)) return this.#declareStream(args);
    const name = args.queue === '' ? `${RESERVED_PREFIX}gen-${randomBytes(16).toString('base64url')}` : args.queue;
    const existing = this.#admin.queue(this.#vhost, name);
    if (existing !== undefined && existing.exclusive !== args.exclusive) {
      // Before anything else that may differ, as in RabbitMQ.
      const is = existing.exclusive ? 'exclusive' : 'not exclusive';
      throw new AmqpError('resource-locked', `cannot obtain exclusive access to queue '${name}': it is ${is}`);
    }
    if (existing !== undefined) await this.#visible(existing);
    else if (args.queue !== '') refuseReserved('queue', name);
    const settings = {
      durable: args.durable,
      autoDelete: args.autoDelete,
      exclusive: args.exclusive,
      arguments: queueArguments(name, args),
    };
    return this.#admin.declareQueue(this.#vhost, name, settings, this.#client);
  }

  async #declareStream(args: Arguments<'queue.declare'>): Promise<QueueCounts> {
    if (this.#stream(args.queue) === undefined) refuseReserved('queue', args.queue);
    return streamCounts(await this.#admin.topics.create(this.#vhost, args.queue, streamSettings(args)));
  }

  #stream(name: string): TopicInfo | undefined {
    return this.#admin.topics.get(this.#vhost, name);
  }

  /** Declaring with its own settings changes nothing, and fails when the queue is exclusive to another connection. */
  #visible(info: QueueInfo): Promise<QueueInfo> {
    if (!info.exclusive) return Promise.resolve(info);
    const { durable, autoDelete, exclusive } = info;
    const settings = { durable, autoDelete, exclusive, arguments: info.arguments };
    return this.#admin.declareQueue(this.#vhost, info.name, settings, this.#client);
  }

  /** Resolves to the number of messages deleted. Deleting what is not there succeeds, as in RabbitMQ. */
  async deleteQueue(args: Arguments<'queue.delete'>): Promise<number> {
    const name = this.queueName(args.queue);
    const stream = this.#stream(name);
    if (stream !== undefined) return this.#deleteStream(stream, args);
    if (this.#admin.queue(this.#vhost, name) === undefined) return 0;
    const { ifUnused, ifEmpty } = args;
    return this.#admin.deleteQueue(this.#vhost, name, { ifUnused, ifEmpty, owner: this.#client });
  }

  async #deleteStream(stream: TopicInfo, { ifUnused, ifEmpty }: Arguments<'queue.delete'>): Promise<number> {
    const { name, ready, consumers } = streamCounts(stream);
    if (ifUnused && consumers > 0) throw new AmqpError('precondition-failed', `stream '${name}' in use`);
    if (ifEmpty && ready > 0) throw new AmqpError('precondition-failed', `stream '${name}' is not empty`);
    await this.#admin.topics.delete(this.#vhost, name);
    return ready;
  }

  async purgeQueue(args: Arguments<'queue.purge'>): Promise<number> {
    const name = this.queueName(args.queue);
    if (this.#stream(name) !== undefined) throw new AmqpError('not-implemented', `purging stream '${name}'`);
    if (this.#admin.queue(this.#vhost, name) === undefined) throw this.#noQueue(name);
    return this.#admin.purgeQueue(this.#vhost, name, this.#client);
  }

  bindQueue(args: Arguments<'queue.bind'>): Promise<void> {
    const name = this.queueName(args.queue);
    // Without a queue name, an empty routing key means the name of that queue too (specification 1.7.2.3).
    const routingKey = args.queue === '' && args.routingKey === '' ? name : args.routingKey;
    return this.#bind(args.exchange, this.#target(name), { routingKey, arguments: args.arguments });
  }

  unbindQueue(args: Arguments<'queue.unbind'>): Promise<void> {
    return this.#unbind(args.exchange, this.#target(this.queueName(args.queue)), args);
  }

  /** Topics are queues here. */
  #target(name: string): BindingTarget {
    return { kind: this.#stream(name) === undefined ? 'queue' : 'topic', name };
  }

  /** The queue a request names: an empty name is the one declared last on the channel. */
  queueName(name: string): string {
    if (name !== '') return name;
    if (this.#lastQueue === '') throw new AmqpError('not-found', 'no previously declared queue');
    return this.#lastQueue;
  }

  // ---- Bindings ---------------------------------------------------------------------------------------------------

  async #bind(source: string, target: BindingTarget, args: BindArguments): Promise<void> {
    const pattern = this.#pattern(source, target, args.routingKey);
    await this.#admin.bind(this.#vhost, source, target, pattern, args.arguments, this.#client);
  }

  /** Removing a binding that is not there succeeds, as in RabbitMQ. */
  async #unbind(source: string, target: BindingTarget, args: BindArguments): Promise<void> {
    const pattern = this.#pattern(source, target, args.routingKey);
    try {
      await this.#admin.unbind(this.#vhost, source, target, pattern, args.arguments, this.#client);
    } catch (error) {
      if (!(error instanceof CoreError && error.code === 'not-found')) throw error;
    }
  }

  #pattern(source: string, target: BindingTarget, routingKey: string) {
    refuseDefaultExchange(source);
    const exchange = this.#admin.exchange(this.#vhost, source);
    if (exchange === undefined) throw this.#noExchange(source);
    if (target.kind === 'queue' && this.#admin.queue(this.#vhost, target.name) === undefined) {
      throw this.#noQueue(target.name);
    }
    if (target.kind === 'exchange' && this.#admin.exchange(this.#vhost, target.name) === undefined) {
      throw this.#noExchange(target.name);
    }
    return patternOf(routingKey, exchange.kind === 'topic');
  }

  #noExchange(name: string): AmqpError {
    return new AmqpError('not-found', `no exchange '${name}' in vhost '${this.#vhost}'`);
  }

  #noQueue(name: string): AmqpError {
    return new AmqpError('not-found', `no queue '${name}' in vhost '${this.#vhost}'`);
  }
}

function kindOf(type: string): ExchangeKindName {
  if (KINDS.includes(type)) return type as ExchangeKindName;
  if (KINDS_OF_OTHERS.includes(type)) throw new AmqpError('not-implemented', `exchange type '${type}'`);
  throw new AmqpError('command-invalid', `unknown exchange type '${type}'`);
}

/** The kind an exchange for delayed messages routes by. */
function delayedKind(name: string, args: FieldTable): ExchangeKindName {
  const type = args[DELAYED_TYPE_ARGUMENT];
  if (typeof type === 'string' && KINDS.includes(type)) return type as ExchangeKindName;
  const problem = `'${DELAYED_TYPE_ARGUMENT}' must be one of ${KINDS.join(', ')}`;
  throw new AmqpError('precondition-failed', `invalid argument of exchange '${name}': ${problem}`);
}

function refuseDefaultExchange(name: string): void {
  if (name === '') throw new AmqpError('access-refused', 'operation not permitted on the default exchange');
}

function refuseReserved(what: 'exchange' | 'queue', name: string): void {
  if (!name.startsWith(RESERVED_PREFIX)) return;
  throw new AmqpError('access-refused', `${what} name '${name}' contains reserved prefix '${RESERVED_PREFIX}*'`);
}

/** Check the arguments of a queue; those that only say what is the case anyway are left out. */
function queueArguments(name: string, args: Arguments<'queue.declare'>): FieldTable {
  const { 'x-queue-type': type = 'classic', ...others } = args.arguments;
  if (type === 'classic') return others;
  if (type !== 'quorum') {
    throw new AmqpError('precondition-failed', `invalid arg 'x-queue-type' for queue '${name}': unknown queue type`);
  }
  if (!args.durable || args.exclusive || args.autoDelete) {
    throw new AmqpError(
      'precondition-failed',
      `quorum queue '${name}' must be durable, not exclusive, not auto-delete`,
    );
  }
  return args.arguments;
}
