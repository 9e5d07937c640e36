/** One connection's presence in a virtual host: owns what is to be cleaned up when the connection goes. */
import type {
  CheckerHandlers,
  Client as ClientDoor,
  ClientHandlers,
  ClientInfo,
  GroupHandlers,
  GroupOptions,
  HalfDone,
  HalfOp,
  Identity,
  ProducerHandlers,
  ReaderHandlers,
  ReaderOptions,
  ReadFrom,
  ShareOptions,
  SubscribeOptions,
  Subscription as SubscriptionDoor,
  SubscriptionHandlers,
  TapHandlers,
} from './door.ts';
import type { Engine } from './engine.ts';
import { CoreError, type ErrorCode } from './errors.ts';
import { type Bag, bagAdd, bagItems, bagRemove } from './exchange/bag.ts';
import { Checker } from './half/producer-group.ts';
import { Producer } from './producer.ts';
import type { Queue } from './queue/queue.ts';
import { Subscription } from './subscription.ts';
import { Tap } from './tap.ts';
import type { Member } from './topic/member.ts';
import type { Partition } from './topic/partition.ts';
import { Reader } from './topic/reader.ts';
import { resolveOffset } from './topic/resolve.ts';
import { ShareSubscription } from './topic/share/subscription.ts';
import type { Transaction } from './transaction/transaction.ts';
import type { Vhost } from './vhost.ts';

type Other = Producer | Tap | ShareSubscription;

export class Client implements ClientDoor {
  readonly id: number;
  readonly identity: Identity;
  readonly home: Vhost;
  readonly engine: Engine;
  readonly handlers: ClientHandlers;
  published = 0;
  delivered = 0;
  closed = false;
  readonly #connectedAtMs: number;
  // Bags, because most connections have one of a kind or none, and there are thousands of connections.
  #subscriptions: Bag<Subscription>;
  #subscriptionCount = 0;
  #others: Bag<Other>;
  /** Its exclusive queues. */
  #queues: Bag<Queue>;
  #readers: Bag<Reader>;
  #readerCount = 0;
  #members: Bag<Member>;
  #checkers: Bag<Checker>;
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
    this.#others = bagAdd<Other>(this.#others, producer);
    return producer;
  }

  tap(handlers: TapHandlers): Tap {
    this.#checkOpen();
    const tap = new Tap(this, handlers);
    this.#others = bagAdd<Other>(this.#others, tap);
    return tap;
  }

  subscribe(name: string, options: SubscribeOptions, handlers: SubscriptionHandlers): SubscriptionDoor {
    this.#checkOpen();
    if (options.share !== undefined) return this.#share(name, options, options.share, handlers);
    const queue = this.home.queueFor(name, this);
    const { subscriptionsPerConnectionMax } = this.engine.limits;
    if (this.#subscriptionCount >= subscriptionsPerConnectionMax) {
      throw new CoreError('limit-exceeded', `${subscriptionsPerConnectionMax} subscriptions on one connection`);
    }
    const subscription = new Subscription(queue, this, options, handlers);
    if (subscription.pull && queue.rules.singleActive) {
      throw new CoreError('resource-locked', `queue '${name}' serves one consumer at a time, and no single requests`);
    }
    const held = queue.consumers.exclusive;
    if (held || (subscription.exclusive && queue.consumers.count > 0)) {
      throw new CoreError('in-use', `queue '${name}' has ${held ? 'an exclusive consumer' : 'other consumers'}`);
    }
    this.#subscriptions = bagAdd(this.#subscriptions, subscription);
    this.#subscriptionCount++;
    subscription.start();
    return subscription;
  }

  #share(
    name: string,
    options: SubscribeOptions,
    share: ShareOptions,
    handlers: SubscriptionHandlers,
  ): SubscriptionDoor {
    const topic = this.home.topicOf(name);
    if (options.filter !== undefined || options.tags !== undefined) {
      throw new CoreError('invalid-argument', `a share group of topic '${name}' hands out everything: no filters`);
    }
    const group = this.home.topology.topics.shares.open(topic, share.group, share);
    const subscription = new ShareSubscription(group, this, options, handlers);
    this.#others = bagAdd<Other>(this.#others, subscription);
    return subscription;
  }

  reader(
    topic: string,
    partition: number,
    offset: number,
    handlers: ReaderHandlers,
    options: ReaderOptions = {},
  ): Reader {
    this.#checkOpen();
    const source = this.#partition(topic, partition);
    const { readersPerConnectionMax } = this.engine.limits;
    if (this.#readerCount >= readersPerConnectionMax) {
      throw new CoreError('limit-exceeded', `${readersPerConnectionMax} topic readers on one connection`);
    }
    const reader = new Reader(this.home.topology.topics, source, offset, this, handlers, options);
    this.#readers = bagAdd(this.#readers, reader);
    this.#readerCount++;
    return reader;
  }

  async offsetOf(topic: string, partition: number, from: ReadFrom): Promise<number> {
    return resolveOffset(this.home.topology.topics, this.#partition(topic, partition), from);
  }

  joinGroup(group: string, options: GroupOptions, handlers: GroupHandlers): Member {
    this.#checkOpen();
    const { groups } = this.home.topology.topics;
    const member = groups.use(this.home, group, (one) => one.join(this, options, handlers));
    this.#members = bagAdd(this.#members, member);
    return member;
  }

  /** A member of a group has left. */
  leftGroup(member: Member): void {
    this.#members = bagRemove(this.#members, member);
  }

  checker(name: string, handlers: CheckerHandlers): Checker {
    this.#checkOpen();
    const { halves } = this.home.topology;
    const group = halves.groups.open(this.home, name);
    const checker = new Checker(group, this, handlers, () => halves.groups.tidy(group));
    this.#checkers = bagAdd(this.#checkers, checker);
    return checker;
  }

  /** It can be asked no more about the halves of a group. */
  leftChecking(checker: Checker): void {
    this.#checkers = bagRemove(this.#checkers, checker);
  }

  finishHalf(group: string, id: string, op: HalfOp, done: HalfDone): void {
    this.#checkOpen();
    const { halves } = this.home.topology;
    const half = halves.ending(this.home, group, id, op);
    if (half === undefined) this.engine.afterDurable(() => done(undefined));
    else
      halves.end(half, op, (error) => {
        if (error === undefined) this.engine.afterDurable(() => done(undefined));
        else done(error);
      });
  }

  #partition(topic: string, partition: number): Partition {
    return this.home.topicOf(topic).partition(partition);
  }

  /** A reader ended. */
  leftReading(reader: Reader): void {
    this.#readers = bagRemove(this.#readers, reader);
    this.#readerCount--;
  }

  #checkOpen(): void {
    if (this.closed) throw new CoreError('stopping', 'the client is closed');
  }

  /** A subscription ended. */
  left(subscription: Subscription): void {
    this.#subscriptions = bagRemove(this.#subscriptions, subscription);
    this.#subscriptionCount--;
  }

  /** A producer or tap ended. */
  leftBy(other: Other): void {
    this.#others = bagRemove(this.#others, other);
  }

  /** An exclusive queue was made for it. */
  owns(queue: Queue): void {
    this.#queues = bagAdd(this.#queues, queue);
  }

  /** An exclusive queue of its own is gone. */
  ownsNoMore(queue: Queue): void {
    this.#queues = bagRemove(this.#queues, queue);
  }

  close(lost = false): void {
    if (this.closed) return;
    this.closed = true;
    for (const subscription of bagItems(this.#subscriptions)) subscription.close(lost);
    for (const other of bagItems(this.#others)) other.close();
    for (const reader of bagItems(this.#readers)) reader.close();
    for (const member of bagItems(this.#members)) member.leave();
    for (const checker of bagItems(this.#checkers)) checker.close();
    for (const queue of bagItems(this.#queues)) this.home.deleteQueue(queue);
    this.#gone(this);
  }

  /** The operator or the broker closes the client. */
  closeBy(reason: ErrorCode, detail: string): void {
    if (this.closed) return;
    for (const subscription of bagItems(this.#subscriptions)) subscription.end(reason);
    for (const reader of bagItems(this.#readers)) reader.end(reason);
    for (const member of bagItems(this.#members)) member.end(reason);
    for (const other of bagItems(this.#others)) if (other instanceof ShareSubscription) other.end(reason);
    this.handlers.onClose?.(reason, detail);
    this.close();
  }

  /** Those of its producers. */
  transactions(): Transaction[] {
    return bagItems(this.#others).flatMap((other) => (other instanceof Producer ? other.transactions() : []));
  }

  info(): ClientInfo {
    let unsettled = 0;
    for (const subscription of bagItems(this.#subscriptions)) unsettled += subscription.unsettled;
    const { user, clientId, protocol, peer } = this.identity;
    return {
      ...{ user, clientId, protocol, peer },
      id: this.id,
      vhost: this.home.name,
      connectedAtMs: this.#connectedAtMs,
      subscriptions: this.#subscriptionCount,
      unsettled,
      published: this.published,
      delivered: this.delivered,
    };
  }
}
