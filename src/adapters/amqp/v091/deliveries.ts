/** The consuming side of one channel: consumers, prefetch, delivery tags and their settlement, basic.get. */
import {
  CoreError,
  type DeliveryBatch,
  type ErrorCode,
  FILTER_ARGUMENT,
  FILTER_TAGS_ARGUMENT,
  type SettleOp,
  type SubscribeOptions,
  type Subscription,
  type Transaction,
} from '../../../core/index.ts';
import { type StreamPlace, StreamSubscription } from '../../stream-subscription.ts';
import { Consumer, type GetReceiver, Getter, type Taker } from './consumer.ts';
import { AmqpError } from './errors.ts';
import { CheckSubscription, groupOfChecks } from './halves.ts';
import type { ChannelHost, Collector } from './host.ts';
import type { Arguments, FieldTable } from './methods.ts';
import { refuseFilters, shareOf, streamPlace } from './stream-queue.ts';
import { DeliveryTags, type TakenTag } from './tags.ts';

/** Idle getters kept for the next basic.get of their queue. */
const GETTERS_MAX = 16;

export class Deliveries implements GetReceiver, Collector {
  readonly #host: ChannelHost;
  readonly #channel: number;
  readonly #tags = new DeliveryTags();
  /** By slot; slot 0 is never used. */
  readonly #takers: (Taker | undefined)[] = [undefined];
  readonly #freeSlots: number[] = [];
  readonly #byTag = new Map<string, Consumer>();
  readonly #getters = new Map<string, Getter>();
  readonly #paused = new Set<Consumer>();
  /** Prefetch of consumers to come, and of the whole channel; 0 = no limit. */
  #prefetch = 0;
  #channelPrefetch = 0;
  #flowing = true;
  // Acknowledgements of consecutive deliveries of one consumer, settled together.
  #runSlot = 0;
  #runFirst = 0;
  #runLast = 0;
  /** tx.select was sent: settlements go into it, and their tags are kept for a rollback. */
  #transaction: Transaction | undefined;
  #held: TakenTag[] = [];
  /** Tags of takers that the broker ended: what they stood for has gone back, and they may still be settled. */
  #stale = 0;

  constructor(host: ChannelHost, channel: number) {
    this.#host = host;
    this.#channel = channel;
  }

  /** basic.qos: as RabbitMQ reads it, `global` means this channel as a whole, otherwise each consumer to come. */
  qos(count: number, global: boolean): void {
    if (!global) {
      this.#prefetch = count;
      return;
    }
    this.#channelPrefetch = count;
    this.resume();
  }

  /** channel.flow */
  flow(active: boolean): void {
    this.#flowing = active;
    if (active) this.resume();
  }

  /** Consumers that had to stop may go on. */
  resume(): void {
    if (this.#paused.size === 0 || !this.#mayTake(false)) return;
    const paused = [...this.#paused];
    this.#paused.clear();
    for (const consumer of paused) consumer.resume();
  }

  /** Answers the consumer tag. */
  consume(queue: string, args: Arguments<'basic.consume'>): string {
    const tag = args.consumerTag === '' ? `amq.ctag-${crypto.randomUUID()}` : args.consumerTag;
    if (this.#byTag.has(tag)) throw new AmqpError('not-allowed', `attempt to reuse consumer tag '${tag}'`);
    const limited = !args.noAck && this.#prefetch > 0;
    const credit = limited ? this.#prefetch : Number.POSITIVE_INFINITY;
    const options = { ...wishesOf(args), credit, exclusive: args.exclusive, settled: args.noAck, tag };
    const topic = this.#host.broker.admin.topics.get(this.#host.client.vhost, queue);
    if (topic !== undefined) refuseFilters(queue, args.arguments);
    const share = topic === undefined ? undefined : shareOf(args.arguments);
    const place =
      topic === undefined || share !== undefined
        ? undefined
        : streamPlace(topic, args, this.#prefetch, this.#host.clock.now());
    const consumer = new Consumer(this.#takeSlot(), tag, args.noAck, limited, this);
    this.#takers[consumer.slot] = consumer;
    if (place === undefined) this.#subscribe(consumer, queue, share === undefined ? options : { ...options, share });
    else consumer.subscription = this.#read(consumer, place, options);
    this.#byTag.set(tag, consumer);
    return tag;
  }

  #read(consumer: Consumer, place: StreamPlace, options: { credit: number; settled: boolean }): StreamSubscription {
    const { client } = this.#host;
    const failed = (error: Error): void => this.#host.failChannel(this.#channel, error);
    return new StreamSubscription(client, place, options, consumer, failed);
  }

  /** basic.cancel: what is unsettled stays with the channel. */
  cancel(tag: string): void {
    const consumer = this.#byTag.get(tag);
    if (consumer === undefined) return;
    this.#byTag.delete(tag);
    this.#paused.delete(consumer);
    consumer.cancel();
    this.#retire(consumer);
  }

  /** basic.get. Resolves to false when there was nothing; otherwise the message has been written. */
  get(queue: string, noAck: boolean): Promise<boolean> {
    if (this.#host.broker.admin.topics.get(this.#host.client.vhost, queue) !== undefined) {
      throw new AmqpError('not-implemented', `basic.get from stream '${queue}'`);
    }
    const name = `${noAck ? 'n' : 'a'}:${queue}`;
    let getter = this.#getters.get(name);
    if (getter === undefined || getter.over) {
      if (this.#getters.size >= GETTERS_MAX) this.#closeIdleGetters();
      getter = new Getter(this.#takeSlot(), noAck, queue, this);
      this.#takers[getter.slot] = getter;
      this.#subscribe(getter, queue, { credit: 0, settled: noAck, pull: true });
      this.#getters.set(name, getter);
    }
    return getter.get();
  }

  #subscribe(taker: Taker, queue: string, options: SubscribeOptions): void {
    try {
      const group = groupOfChecks(queue);
      taker.subscription =
        group === undefined ? this.#host.client.subscribe(queue, options, taker) : this.#checks(group, options, taker);
    } catch (error) {
      taker.over = true;
      this.#retire(taker);
      throw exclusiveUse(error);
    }
  }

  /** Be asked about half messages: the answers are given by settling. */
  #checks(group: string, { credit, settled, exclusive, pull }: SubscribeOptions, taker: Taker): Subscription {
    if (this.#transaction !== undefined) throw new AmqpError('precondition-failed', 'checks on a channel in tx mode');
    if (settled === true) {
      throw new AmqpError(
        'precondition-failed',
        'checks must be acknowledged: without it every answer would be a commit',
      );
    }
    if (exclusive === true || pull === true)
      throw new AmqpError('not-implemented', 'exclusive use of checks, or basic.get');
    return new CheckSubscription(this.#host, this.#channel, group, credit, taker);
  }

  /** basic.ack */
  ack(tag: number, multiple: boolean): void {
    if (this.#transaction !== undefined) {
      this.#hold(this.#transaction, tag, multiple, 'complete');
      return;
    }
    if (multiple) {
      this.flush();
      this.#settleUpTo(tag, 'complete');
      return;
    }
    const tags = this.#tags;
    if (!tags.take(tag)) throw unknownTag(tag);
    if (tags.slot === this.#runSlot && tags.id === this.#runLast + 1) {
      this.#runLast = tags.id;
      return;
    }
    if (this.#runSlot === 0) this.#host.flushAfterChunk(this);
    else this.#settleRun();
    this.#runSlot = tags.slot;
    this.#runFirst = tags.id;
    this.#runLast = tags.id;
  }

  /** basic.nack and basic.reject. */
  nack(tag: number, multiple: boolean, op: SettleOp): void {
    if (this.#transaction !== undefined) {
      this.#hold(this.#transaction, tag, multiple, op);
      return;
    }
    this.flush();
    if (multiple) {
      this.#settleUpTo(tag, op);
      return;
    }
    if (!this.#tags.take(tag)) throw unknownTag(tag);
    this.#settle(this.#tags.slot, this.#tags.id, this.#tags.id, op);
    this.#settled();
  }

  /** basic.recover: everything unsettled goes back to its queue. */
  recover(): void {
    this.flush();
    this.#settleUpTo(0, 'requeue');
  }

  /** Settle the acknowledgements collected so far. */
  flush(): void {
    if (this.#runSlot === 0) return;
    this.#settleRun();
    this.#runSlot = 0;
    this.#settled();
  }

  /** @param lost the connection went without a word */
  close(lost: boolean): void {
    this.flush();
    for (const taker of this.#takers) taker?.close(lost);
    this.#byTag.clear();
    this.#getters.clear();
    this.#paused.clear();
  }

  // ---- Deliveries -------------------------------------------------------------------------------------------------

  deliver(consumer: Consumer, batch: DeliveryBatch): void {
    const { messages } = this.#host;
    const { slot, noAck, prefix } = consumer;
    for (;;) {
      if (!this.#mayTake(noAck)) {
        this.#paused.add(consumer);
        return;
      }
      if (!batch.next()) return;
      const tag = noAck ? this.#tags.skip() : this.#tags.add(slot, batch.deliveryId);
      if (!noAck) consumer.held++;
      messages.deliver(this.#channel, prefix, tag, batch);
    }
  }

  ended(taker: Taker, reason: ErrorCode): void {
    this.#stale += taker.held;
    this.#retire(taker);
    const isKnown = taker instanceof Consumer && this.#byTag.get(taker.tag) === taker;
    if (isKnown) {
      this.#byTag.delete(taker.tag);
      this.#paused.delete(taker);
    }
    if (isKnown && this.#host.capable('consumer_cancel_notify')) {
      this.#host.send(this.#channel, 'basic.cancel', { consumerTag: taker.tag, noWait: true });
    } else if (reason === 'consumer-timeout') {
      // What it holds has gone back, and there is no softer way to say so.
      this.#host.failChannel(this.#channel, new CoreError(reason));
    }
    this.#settled();
  }

  got(getter: Getter, batch: DeliveryBatch): void {
    const tag = getter.noAck ? this.#tags.skip() : this.#tags.add(getter.slot, batch.deliveryId);
    if (!getter.noAck) getter.held++;
    const left = this.#host.broker.admin.queue(this.#host.client.vhost, getter.queue)?.ready ?? 0;
    this.#host.messages.getOk(this.#channel, tag, left, batch);
  }

  #mayTake(noAck: boolean): boolean {
    if (!this.#flowing || !this.#host.connection.roomy) return false;
    return noAck || this.#channelPrefetch === 0 || this.#unsettled < this.#channelPrefetch;
  }

  /** What a transaction holds is not settled yet. */
  get #unsettled(): number {
    return this.#tags.outstanding + this.#held.length - this.#stale;
  }

  // ---- In a transaction -------------------------------------------------------------------------------------------

  /** tx.select: from now on settlements are part of the transaction. */
  join(transaction: Transaction): void {
    this.flush();
    if (this.#takers.some((taker) => taker?.subscription instanceof CheckSubscription)) {
      throw new AmqpError('precondition-failed', 'checks on a channel in tx mode');
    }
    this.#transaction = transaction;
  }

  #hold(transaction: Transaction, tag: number, multiple: boolean, op: SettleOp): void {
    if (!(multiple && tag === 0) && !this.#tags.has(tag)) throw unknownTag(tag);
    for (const one of multiple ? this.#tags.upTo(tag === 0 ? Number.MAX_SAFE_INTEGER : tag) : [tag]) {
      this.#tags.take(one);
      const { slot, id } = this.#tags;
      const { subscription } = this.#takers[slot] as Taker;
      // Reading a topic takes nothing away: there is nothing to commit.
      if (subscription instanceof StreamSubscription) {
        this.#settle(slot, id, id, op);
        continue;
      }
      this.#held.push({ tag: one, slot, id });
      if (subscription !== undefined) transaction.settle(subscription, id, id, op);
    }
  }

  /** The transaction was committed. */
  committed(): void {
    for (const { slot } of this.#held) {
      const taker = this.#takers[slot] as Taker;
      this.#release(taker, 1);
      taker.settled(1);
      this.#retire(taker);
    }
    this.#held = [];
    this.#settled();
  }

  /** The transaction was rolled back: what it held can be settled again. */
  rolledBack(): void {
    this.#tags.restore(this.#held);
    this.#held = [];
  }

  // ---- Settling ---------------------------------------------------------------------------------------------------

  /** Tag 0 means everything outstanding (specification 1.8.3.13). */
  #settleUpTo(tag: number, op: SettleOp): void {
    if (tag !== 0 && !this.#tags.has(tag)) throw unknownTag(tag);
    const last = tag === 0 ? Number.MAX_SAFE_INTEGER : tag;
    this.#tags.takeUpTo(last, (slot, first, until) => this.#settle(slot, first, until, op));
    this.#settled();
  }

  #settleRun(): void {
    this.#settle(this.#runSlot, this.#runFirst, this.#runLast, 'complete');
  }

  #settle(slot: number, first: number, last: number, op: SettleOp): void {
    const taker = this.#takers[slot] as Taker;
    this.#release(taker, last - first + 1);
    taker.settle(first, last, op);
    if (taker.over) this.#retire(taker);
  }

  /** So many tags of a taker stand for nothing any more. */
  #release(taker: Taker, count: number): void {
    taker.held -= count;
    if (taker.subscription === undefined) this.#stale -= count;
  }

  #settled(): void {
    if (this.#channelPrefetch > 0) this.resume();
  }

  // ---- Slots ------------------------------------------------------------------------------------------------------

  #takeSlot(): number {
    return this.#freeSlots.pop() ?? this.#takers.push(undefined) - 1;
  }

  /** Its slot may be used again: it gives no more deliveries, and no tag refers to it. */
  #retire(taker: Taker): void {
    if (!taker.over || taker.held > 0 || this.#takers[taker.slot] !== taker) return;
    this.#takers[taker.slot] = undefined;
    this.#freeSlots.push(taker.slot);
    taker.close();
  }

  #closeIdleGetters(): void {
    for (const [name, getter] of this.#getters) {
      if (getter.held > 0) continue;
      getter.over = true;
      this.#retire(getter);
      this.#getters.delete(name);
    }
  }
}

/** What a consumer asks for in its arguments. */
function wishesOf({ arguments: args }: Arguments<'basic.consume'>): Partial<SubscribeOptions> {
  const timeoutMs = numberOf(args, 'x-consumer-timeout');
  const filter = textOf(args, FILTER_ARGUMENT);
  const tags = textOf(args, FILTER_TAGS_ARGUMENT);
  return {
    priority: numberOf(args, 'x-priority') ?? 0,
    weight: numberOf(args, 'x-weight') ?? 1,
    ...(timeoutMs === undefined ? {} : { timeoutMs: timeoutMs === -1 ? Number.POSITIVE_INFINITY : timeoutMs }),
    ...(filter === undefined ? {} : { filter }),
    ...(tags === undefined ? {} : { tags }),
  };
}

function textOf(args: FieldTable, name: string): string | undefined {
  const value = args[name];
  if (value === undefined || typeof value === 'string') return value;
  throw new AmqpError('precondition-failed', `consumer argument '${name}' must be text`);
}

/** The core knows what it may be. */
function numberOf(args: FieldTable, name: string): number | undefined {
  const value = args[name];
  if (value === undefined || (typeof value === 'number' && Number.isInteger(value))) return value;
  throw new AmqpError('precondition-failed', `consumer argument '${name}' must be an integer`);
}

function unknownTag(tag: number): AmqpError {
  return new AmqpError('precondition-failed', `unknown delivery tag ${tag}`);
}

/** A queue in exclusive use refuses consumers with 403, where other things in use answer 406. */
function exclusiveUse(error: unknown): unknown {
  if (error instanceof CoreError && error.code === 'in-use') return new AmqpError('access-refused', error.message);
  return error;
}
