/** Where HTTP and WebSocket clients publish to: a topic, a queue, or an exchange with a key. */
import { type Address, CoreError, type Limits, type Producer, parseKey } from '../core/index.ts';
import { checkText } from './json-message.ts';

const DOT = 0x2e;
const SLASH = 0x2f;
/** The exchange that topics live on. */
export const TOPIC_EXCHANGE = 'amq.topic';

/** An exchange and a key, not resolved yet. */
export interface Target {
  readonly exchange: string;
  readonly key: string;
  /** Code of the character between levels: 0x2e `.` or 0x2f `/`. */
  readonly separator: number;
}

/** What a publish in JSON says about where it goes: exactly one of `topic`, `exchange`, `queue`. */
export interface JsonTarget {
  topic?: string;
  exchange?: string;
  key?: string;
  separator?: '.' | '/';
  queue?: string;
}

/** JSON schema members that describe `JsonTarget`. */
export const TARGET_PROPERTIES = {
  topic: { type: 'string' },
  exchange: { type: 'string' },
  key: { type: 'string' },
  separator: { enum: ['.', '/'] },
  queue: { type: 'string' },
} as const;
/** JSON schema alternatives that go with them. */
export const TARGET_ONE_OF = [{ required: ['topic'] }, { required: ['exchange'] }, { required: ['queue'] }] as const;

/** The target a publish in JSON names. Throws `invalid-argument`. */
export function targetOf(said: JsonTarget): Target {
  if (said.topic !== undefined) return topicTarget(said.topic);
  if (said.queue !== undefined) return queueTarget(said.queue);
  return exchangeTarget(said.exchange ?? '', said.key ?? '', said.separator);
}

/** A topic of the topic exchange. Throws `invalid-argument` for what no subscriber could be told. */
export function topicTarget(topic: string): Target {
  checkText(topic, 'the topic');
  if (topic === '') throw new CoreError('invalid-argument', 'the topic is empty');
  if (/[#+]/.test(topic)) throw new CoreError('invalid-argument', `${topic}: + and # are for subscriptions`);
  return { exchange: TOPIC_EXCHANGE, key: topic, separator: SLASH };
}

/** A key of any exchange. Throws `invalid-argument`. */
export function exchangeTarget(exchange: string, key: string, separator: string | undefined): Target {
  checkText(key, 'the key');
  return { exchange: exchangeOf(exchange), key, separator: separator === '/' ? SLASH : DOT };
}

/** One queue, through the default exchange. Throws `invalid-argument`. */
export function queueTarget(queue: string): Target {
  checkText(queue, 'the queue name');
  return { exchange: '', key: queue, separator: DOT };
}

/** The default exchange has an empty name, which no path can hold: it is called `amq.default` in them. */
export function exchangeOf(name: string): string {
  return name === 'amq.default' ? '' : name;
}

/** The addresses one producer has used, by target. */
export class AddressBook {
  readonly #producer: Producer;
  readonly #limits: Limits;
  readonly #addresses = new Map<string, Address>();

  constructor(producer: Producer, limits: Limits) {
    this.#producer = producer;
    this.#limits = limits;
  }

  /** Throws `not-found`, `invalid-argument`, `limit-exceeded`. */
  find(target: Target): Address {
    const name = `${target.exchange.length}:${target.exchange}${target.separator}${target.key}`;
    let address = this.#addresses.get(name);
    if (address === undefined) {
      address = this.#producer.address(target.exchange, parseKey(target.key, target.separator, this.#limits));
      if (this.#addresses.size >= this.#limits.internedKeysPerConnectionMax) this.#addresses.clear();
      this.#addresses.set(name, address);
    }
    return address;
  }

  /** Forget all: a publish failed, the exchange may have been deleted and declared again. */
  clear(): void {
    this.#addresses.clear();
  }
}
