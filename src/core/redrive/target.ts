/** Where a redriven message goes. */
import { historyOf } from '../death.ts';
import { hubOf } from '../hub.ts';
import { exchangeName, keyText, type Message, RoutingKey } from '../message.ts';
import { type Plan, planOf } from '../plan.ts';
import type { Queue } from '../queue/queue.ts';
import type { Vhost } from '../vhost.ts';

const DOT = 0x2e;

/** Queues and topics, and the exchange and routing key the message shows there. */
export interface Destination extends Pick<Plan, 'logged' | 'transient' | 'topics' | 'taps'> {
  readonly exchange: string;
  readonly key: RoutingKey;
}

/** Finds the destination of one message after the other; undefined when there is none. */
export type FindTarget = (message: Message) => Destination | undefined;

/** All go to one queue, as long as it is there. */
export function toQueue(vhost: Vhost, name: string): FindTarget {
  return (message) => {
    const queue = vhost.queues.get(name);
    return queue === undefined ? undefined : inQueue(queue, exchangeName(message), keyOf(message));
  };
}

/** They are routed as if they were published. @param key undefined: their own */
export function toExchange(vhost: Vhost, name: string, key: string | undefined): FindTarget {
  const fixed = key === undefined ? undefined : new RoutingKey(key, DOT);
  return (message) => {
    const exchange = vhost.router.get(name);
    if (exchange === undefined) return undefined;
    const routingKey = fixed ?? keyOf(message);
    const properties = () => hubOf(vhost.engine.formats, message);
    const { logged, transient, topics, taps } = planOf(
      vhost.router.route(exchange, routingKey, properties, message.receivedAtMs),
    );
    if (logged.length + transient.length + topics.length === 0) return undefined;
    return { logged, transient, topics, taps, exchange: name, key: routingKey };
  };
}

/** Each goes to the queue it died in first, and is there what it was. */
export function toOrigin(vhost: Vhost): FindTarget {
  return (message) => {
    const history = historyOf(message);
    const queue = history === undefined ? undefined : vhost.queues.get(history.first.queue);
    if (history === undefined || queue === undefined) return undefined;
    const { first } = history;
    const death = history.deaths.find((one) => one.queue === first.queue && one.reason === first.reason);
    // The oldest deaths of a long history are forgotten.
    const key = death === undefined || death.key === keyText(message) ? keyOf(message) : new RoutingKey(death.key, DOT);
    return inQueue(queue, first.exchange, key);
  };
}

function inQueue(queue: Queue, exchange: string, key: RoutingKey): Destination {
  const queues = [queue];
  const [logged, transient] = queue.logged ? [queues, []] : [[], queues];
  return { logged, transient, topics: [], taps: [], exchange, key };
}

function keyOf(message: Message): RoutingKey {
  return new RoutingKey(keyText(message), message.separator);
}
