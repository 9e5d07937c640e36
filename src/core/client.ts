/** One connection's presence in a virtual host: owns what is to be cleaned up when the connection goes. */
import type {
  Client as ClientDoor,
  ClientHandlers,
  ClientInfo,
  Identity,
  ProducerHandlers,
  SubscribeOptions,
  SubscriptionHandlers,
  TapHandlers,
} from './door.ts';
import type { Engine } from './engine.ts';
import { CoreError, type ErrorCode } from './errors.ts';
import { Producer } from './producer.ts';
import type { Queue } from './queue/queue.ts';
import { Subscription } from './subscription.ts';
import { Tap } from './tap.ts';
import type { Vhost } from './vhost.ts';

export class Client implements ClientDoor {
  readonly id: number;
  readonly identity: Identity;
  readonly home: Vhost;
  readonly engine: Engine;
  readonly handlers: ClientHandlers;
  /** Exclusive queues of this client. */
  readonly queues = new Set<Queue>();
  published = 0;
  delivered = 0;
  closed = false;
  readonly #connectedAtMs: number;
  readonly #subscriptions = new Set<Subscription>();
  readonly #others = new Set<Producer | Tap>();
  readonly #gone: (client: Client) => void;

  /** @param gone called once, when the client has closed */
  constructor(id: number, home: Vhost, identity: Identity, handlers: ClientHandlers, gone: (client: Client) => void) {
    this.id = id;
    this.home = home;
    this.engine = home.engine;
    this.identity = identity;
    this.handlers = handlers;
    this.#connectedAtMs = this.engine.clock.now();
    this.#gone = gone;
  }

  get vhost(): string {
    return this.home.name;
  }

  producer(handlers: ProducerHandlers): Producer {
    this.#checkOpen();
    const producer = new Producer(this, handlers);
    this.#others.add(producer);
    return producer;
  }

  tap(handlers: TapHandlers): Tap {
    this.#checkOpen();
    const tap = new Tap(this, handlers);
    this.#others.add(tap);
    return tap;
  }

  subscribe(name: string, options: SubscribeOptions, handlers: SubscriptionHandlers): Subscription {
    this.#checkOpen();
    const queue = this.home.queueFor(name, this);
    const { subscriptionsPerConnectionMax } = this.engine.limits;
    if (this.#subscriptions.size >= subscriptionsPerConnectionMax) {
      throw new CoreError('limit-exceeded', `${subscriptionsPerConnectionMax} subscriptions on one connection`);
    }
    const subscription = new Subscription(queue, this, options, handlers);
    const held = queue.consumers.all().some((other) => other.exclusive);
    if (held || (subscription.exclusive && queue.consumers.count > 0)) {
      throw new CoreError('in-use', `queue '${name}' has ${held ? 'an exclusive consumer' : 'other consumers'}`);
    }
    this.#subscriptions.add(subscription);
    subscription.start();
    return subscription;
  }

  #checkOpen(): void {
    if (this.closed) throw new CoreError('stopping', 'the client is closed');
  }

  /** A subscription ended. */
  left(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
  }

  /** A producer or tap ended. */
  leftBy(other: Producer | Tap): void {
    this.#others.delete(other);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const subscription of [...this.#subscriptions]) subscription.close();
    for (const other of [...this.#others]) other.close();
    for (const queue of [...this.queues]) this.home.deleteQueue(queue);
    this.#gone(this);
  }

  /** The operator or the broker closes the client. */
  closeBy(reason: ErrorCode, detail: string): void {
    if (this.closed) return;
    for (const subscription of [...this.#subscriptions]) subscription.end(reason);
    this.handlers.onClose?.(reason, detail);
    this.close();
  }

  info(): ClientInfo {
    let unsettled = 0;
    for (const subscription of this.#subscriptions) unsettled += subscription.unsettled;
    const { user, clientId, protocol, peer } = this.identity;
    return {
      ...{ user, clientId, protocol, peer },
      id: this.id,
      vhost: this.home.name,
      connectedAtMs: this.#connectedAtMs,
      subscriptions: this.#subscriptions.size,
      unsettled,
      published: this.published,
      delivered: this.delivered,
    };
  }
}
