/**
 * The subscriptions of one session, and what they are in the core:
 *
 * - QoS 1: a binding from `amq.topic` to the session's queue, with argument `mqtt.qos` = granted QoS.
 * - QoS 0: a binding of the connection's tap. That of a persistent session is remembered as a binding from the exchange
 *   `mqtt.qos0` to the session's queue: nothing can be published to that exchange (it is internal), so the binding routes
 *   nothing, is as durable as the queue, is listed with it, and goes with it.
 */
import {
  type Broker,
  type Client,
  CoreError,
  type Message,
  type Pattern,
  type QueueSettings,
  RoutingKey,
  type Tap,
  type TapHandlers,
} from '../../core/index.ts';
import { InternTable } from '../intern.ts';
import { filterMatches, parseFilter, SLASH } from './topic.ts';

/** Topics are routing keys of this exchange. */
export const TOPIC_EXCHANGE = 'amq.topic';
/** Remembers QoS 0 subscriptions of persistent sessions; routes nothing. */
const QOS0_EXCHANGE = 'mqtt.qos0';
/** Binding argument: granted QoS. */
const QOS_ARGUMENT = 'mqtt.qos';
/** Queue argument: the user a session belongs to. */
export const USER_ARGUMENT = 'mqtt.user';

/** The queue of a session. */
export function sessionQueue(clientId: string): string {
  return `mqtt.session.${clientId}`;
}

export function sessionQueueSettings(user: string, persistent: boolean): QueueSettings {
  return { durable: persistent, autoDelete: false, exclusive: !persistent, arguments: { [USER_ARGUMENT]: user } };
}

export type GrantedQos = 0 | 1;
interface Entry {
  readonly pattern: Pattern;
  qos: GrantedQos;
}

export interface SubscriptionsOptions {
  broker: Broker;
  client: Client;
  queue: string;
  user: string;
  persistent: boolean;
  countMax: number;
  tapHandlers: TapHandlers;
  /** The queue exists from now on and may be consumed. */
  onQueue(): void;
}

/** Routing keys whose overlap answer one session keeps. */
const OVERLAPS_KEPT_MAX = 1024;

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  /** By filter text. */
  readonly #entries = new Map<string, Entry>();
  #tap: Tap | undefined;
  #hasQueue: boolean;
  #queued = 0;
  #overlaps: InternTable<boolean> | undefined;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#hasQueue = options.persistent;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Take up the subscriptions of a persistent session that was there before. */
  restore(): void {
    const { broker, client, queue } = this.#options;
    for (const binding of broker.admin.bindings(client.vhost, { kind: 'queue', name: queue })) {
      if (binding.pattern.separator !== SLASH) continue;
      const pattern = parseFilter(binding.pattern.text);
      if (binding.source === TOPIC_EXCHANGE) {
        this.#entries.set(pattern.text, { pattern, qos: 1 });
        this.#queued++;
      } else if (binding.source === QOS0_EXCHANGE) {
        this.#entries.set(pattern.text, { pattern, qos: 0 });
        this.#tapOf().bind(TOPIC_EXCHANGE, pattern);
      }
    }
  }

  /**
   * Add a subscription, or replace the one with the same filter [MQTT-3.8.4-3]. In force when this returns; the promise, if
   * there is one, resolves when it will survive a restart. Throws or rejects with `limit-exceeded` and the like.
   */
  add(pattern: Pattern, qos: GrantedQos): Promise<unknown> | undefined {
    const before = this.#entries.get(pattern.text);
    if (before?.qos === qos) return undefined;
    if (before === undefined && this.#entries.size >= this.#options.countMax) {
      throw new CoreError('limit-exceeded', `${this.#options.countMax} subscriptions of one connection`);
    }
    // The new binding first: a message published meanwhile is not missed, and takers of two kinds do not get it twice.
    const durable = qos === 0 ? this.#bindTap(pattern) : this.#bindQueue(pattern);
    const undone = before === undefined ? undefined : this.#unbind(before);
    this.#entries.set(pattern.text, { pattern, qos });
    if (qos === 1) this.#queued++;
    this.#overlaps = undefined;
    return together(durable, undone);
  }

  /** Remove a subscription if it is there [MQTT-3.10.4-2]. The promise resolves when that is durable. */
  remove(filter: string): Promise<unknown> | undefined {
    const entry = this.#entries.get(filter);
    if (entry === undefined) return undefined;
    this.#entries.delete(filter);
    this.#overlaps = undefined;
    return this.#unbind(entry);
  }

  /** The retained messages that match, then `done`. */
  retained(pattern: Pattern, each: (message: Message) => void, done: () => void): void {
    this.#tapOf().retained(TOPIC_EXCHANGE, pattern, each, done);
  }

  /**
   * True when the session's queue gets this message too: then the tap leaves it to the queue, so that overlapping
   * subscriptions deliver it once, at the highest QoS [MQTT-3.3.5-1].
   */
  queueTakes(message: Message): boolean {
    if (this.#queued === 0) return false;
    this.#overlaps ??= new InternTable<boolean>(OVERLAPS_KEPT_MAX);
    const { keyBytes, keyStart, keyEnd, separator } = message;
    const known = separator === SLASH ? this.#overlaps.find(keyBytes, keyStart, keyEnd) : undefined;
    if (known !== undefined) return known;
    const key = new RoutingKey(keyBytes.toString('utf8', keyStart, keyEnd), separator);
    let taken = false;
    for (const { qos, pattern } of this.#entries.values()) taken ||= qos === 1 && filterMatches(pattern, key.levels);
    if (separator === SLASH) this.#overlaps.add(keyBytes, keyStart, keyEnd, taken);
    return taken;
  }

  #tapOf(): Tap {
    this.#tap ??= this.#options.client.tap(this.#options.tapHandlers);
    return this.#tap;
  }

  #bindTap(pattern: Pattern): Promise<unknown> | undefined {
    this.#tapOf().bind(TOPIC_EXCHANGE, pattern);
    if (!this.#options.persistent) return undefined;
    const { broker, client, queue } = this.#options;
    const target = { kind: 'queue', name: queue } as const;
    const declared = broker.admin.declareExchange(client.vhost, QOS0_EXCHANGE, {
      kind: 'topic',
      durable: true,
      autoDelete: false,
      internal: true,
      arguments: {},
    });
    return together(declared, broker.admin.bind(client.vhost, QOS0_EXCHANGE, target, pattern, { [QOS_ARGUMENT]: 0 }));
  }

  #bindQueue(pattern: Pattern): Promise<unknown> {
    const { broker, client, queue, user } = this.#options;
    let declared: Promise<unknown> | undefined;
    if (!this.#hasQueue) {
      declared = broker.admin.declareQueue(client.vhost, queue, sessionQueueSettings(user, false), client);
      this.#hasQueue = true;
      this.#options.onQueue();
    }
    const target = { kind: 'queue', name: queue } as const;
    const bound = broker.admin.bind(client.vhost, TOPIC_EXCHANGE, target, pattern, { [QOS_ARGUMENT]: 1 }, client);
    return together(declared, bound) as Promise<unknown>;
  }

  #unbind({ pattern, qos }: Entry): Promise<unknown> | undefined {
    const { broker, client, queue, persistent } = this.#options;
    const target = { kind: 'queue', name: queue } as const;
    if (qos === 1) {
      this.#queued--;
      return broker.admin.unbind(client.vhost, TOPIC_EXCHANGE, target, pattern, { [QOS_ARGUMENT]: 1 }, client);
    }
    this.#tapOf().unbind(TOPIC_EXCHANGE, pattern);
    if (!persistent) return undefined;
    return broker.admin.unbind(client.vhost, QOS0_EXCHANGE, target, pattern, { [QOS_ARGUMENT]: 0 }, client);
  }
}

function together(a: Promise<unknown> | undefined, b: Promise<unknown> | undefined): Promise<unknown> | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Promise.all([a, b]);
}
