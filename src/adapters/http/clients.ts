/**
 * The presence of HTTP users in the broker. A request is no connection, so all requests of one user in one virtual host
 * share one `Client` and one `Producer`: publishes of many requests go into one group commit. It ends when idle.
 */
import {
  type Appended,
  type Broker,
  type Client,
  type Clock,
  CONFIRM,
  CoreError,
  type ErrorCode,
  type HalfOp,
  type Limits,
  MANDATORY,
  type Message,
  type Producer,
  type Timer,
  type Transaction,
} from '../../core/index.ts';
import type { Login } from '../auth.ts';
import { type JsonPrepare, prepareJson } from '../json-half.ts';
import { PendingConfirms } from '../pending-confirms.ts';
import { AddressBook, type Target } from '../targets.ts';

/** How a publish ended that was taken. */
export interface Published {
  /** False: no queue and no subscriber takes the key. A retained value is kept all the same. */
  readonly routed: boolean;
  /** Handles of a message that waits, one for each queue. */
  readonly delayed?: readonly string[];
}

interface Waiting {
  resolve(published: Published): void;
  reject(error: CoreError): void;
  routed: boolean;
  delayed: readonly string[];
}

/** One user in one virtual host. */
export class HttpClient {
  readonly client: Client;
  readonly #producer: Producer;
  readonly #addresses: AddressBook;
  readonly #confirms = new PendingConfirms<Waiting>();
  /** Waiting for the producer to drain; undefined while it takes more. */
  #full: (() => void)[] | undefined;
  #blockedBy: string | undefined;
  #current: Waiting | undefined;
  #closed: CoreError | undefined;
  /** Requests and leases that hold on to it. */
  uses = 0;
  /** Ends it when it has been without use for a while. */
  idle: Timer | undefined;

  constructor(broker: Broker, vhost: string, login: Login, limits: Limits, onClosed: () => void) {
    this.#blockedBy = broker.blockedBy;
    const identity = { user: login.user, clientId: '', protocol: 'http', peer: 'requests' };
    this.client = broker.client(vhost, identity, {
      onBlocked: (reason) => {
        this.#blockedBy = reason;
      },
      onUnblocked: () => {
        this.#blockedBy = undefined;
      },
      onClose: (code, detail) => {
        this.close(new CoreError(code, detail));
        onClosed();
      },
    });
    this.#producer = this.client.producer({
      onConfirm: (upTo, refused) => this.#onConfirm(upTo, refused),
      onReturn: () => {
        if (this.#current !== undefined) this.#current.routed = false;
      },
      onDrain: () => this.#onDrain(),
    });
    this.#addresses = new AddressBook(this.#producer, limits);
  }

  /**
   * Publish and wait until the message is as durable as was asked. `fill` is called right before, to fill the view.
   * Rejects with `not-found` (exchange), `publishing-blocked`, `message-too-large`, or why the client ended.
   */
  async publish(target: Target, view: Message, fill: (view: Message) => void): Promise<Published> {
    if (this.#blockedBy !== undefined) throw new CoreError('publishing-blocked', this.#blockedBy);
    while (this.#full !== undefined) await this.#drained(this.#full);
    if (this.#closed !== undefined) throw this.#closed;
    const address = this.#addresses.find(target);
    fill(view);
    // Mandatory always: that is how we learn whether it was routed.
    return this.#confirmed((waiting) => {
      const goesOn = this.#producer.publish(address, view, MANDATORY | CONFIRM);
      if (view.deliverAtMs !== 0) waiting.delayed = this.#producer.lastDelayed;
      return goesOn;
    });
  }

  /** Append to a topic, and wait until that is durable; resolves to where the message is. Rejects as `publish` does. */
  async append(
    target: Target,
    view: Message,
    fill: (view: Message) => void,
  ): Promise<{ partition: number; offset: number }> {
    if (this.#blockedBy !== undefined) throw new CoreError('publishing-blocked', this.#blockedBy);
    while (this.#full !== undefined) await this.#drained(this.#full);
    if (this.#closed !== undefined) throw this.#closed;
    const address = this.#addresses.find(target);
    fill(view);
    let place = { partition: -1, offset: -1 };
    const { routed } = await this.#confirmed(() => {
      const goesOn = this.#producer.publish(address, view, MANDATORY | CONFIRM);
      place = { partition: this.#producer.lastPartition, offset: this.#producer.lastOffset };
      return goesOn;
    });
    if (!routed) throw new CoreError('unroutable', target.key);
    return place;
  }

  /** Append a batch to a topic as it is, and wait until that is durable. Rejects as `publish` does, and as `Producer.appendBatch` throws. */
  async appendBatch(target: Target, batch: Message): Promise<Appended> {
    if (this.#blockedBy !== undefined) throw new CoreError('publishing-blocked', this.#blockedBy);
    while (this.#full !== undefined) await this.#drained(this.#full);
    if (this.#closed !== undefined) throw this.#closed;
    const address = this.#addresses.find(target);
    let appended: Appended | undefined;
    await this.#confirmed(() => {
      appended = this.#producer.appendBatch(address, batch, CONFIRM);
      return appended.goesOn;
    });
    return appended as unknown as Appended;
  }

  /** Prepare a half message, and wait until it is on disk. Rejects as `publish` does, and as the producer throws. */
  async prepareHalf(
    said: JsonPrepare,
    half: { broker: Broker; group: string; id: string; nowMs: number },
  ): Promise<void> {
    if (this.#blockedBy !== undefined) throw new CoreError('publishing-blocked', this.#blockedBy);
    while (this.#full !== undefined) await this.#drained(this.#full);
    if (this.#closed !== undefined) throw this.#closed;
    const options = { ...half, options: CONFIRM };
    await this.#confirmed(() => prepareJson(this.#producer, this.#addresses, said, options));
  }

  /** End a half message, and wait until that is on disk. Rejects as `Client.finishHalf` throws, or with why it is still open. */
  finishHalf(group: string, id: string, op: HalfOp): Promise<void> {
    return new Promise((resolve, reject) => {
      this.client.finishHalf(group, id, op, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  /** Send something that is confirmed, and wait for that. @param send answers false when the producer must wait */
  #confirmed(send: (waiting: Waiting) => boolean): Promise<Published> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { resolve, reject, routed: true, delayed: [] };
      this.#current = waiting;
      this.#confirms.push(waiting);
      try {
        if (!send(waiting)) this.#full ??= [];
      } catch (error) {
        this.#confirms.pop();
        this.#addresses.clear();
        throw error;
      } finally {
        this.#current = undefined;
      }
    });
  }

  /**
   * Do what `hold` puts into a transaction, all or none of it; resolves when it is durable. Rejects with what `hold` throws, with
   * what the commit throws, `unroutable` for a mandatory message included, with `publishing-blocked`, or why the client ended.
   */
  async transact(hold: (transaction: Transaction, addresses: AddressBook) => void): Promise<void> {
    if (this.#blockedBy !== undefined) throw new CoreError('publishing-blocked', this.#blockedBy);
    while (this.#full !== undefined) await this.#drained(this.#full);
    if (this.#closed !== undefined) throw this.#closed;
    const transaction = this.#producer.transaction({ unroutable: 'refuse' });
    try {
      hold(transaction, this.#addresses);
      await new Promise<void>((resolve) => transaction.commit(resolve));
    } catch (error) {
      this.#addresses.clear();
      throw error;
    } finally {
      transaction.close();
    }
  }

  /** End it: everything leased is requeued, everything waiting is rejected. Idempotent. */
  close(reason: CoreError): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    this.idle?.cancel();
    this.client.close();
    this.#onDrain();
    this.#confirms.abandon((waiting) => waiting.reject(reason));
  }

  #drained(waiters: (() => void)[]): Promise<void> {
    return new Promise((resolve) => waiters.push(resolve));
  }

  #onDrain(): void {
    const waiters = this.#full;
    this.#full = undefined;
    if (waiters !== undefined) for (const go of waiters) go();
  }

  #onConfirm(upTo: number, refused: readonly number[] | undefined): void {
    this.#confirms.confirm(upTo, refused, (waiting, ok) => {
      const { routed, delayed } = waiting;
      if (ok) waiting.resolve(delayed.length > 0 ? { routed, delayed } : { routed });
      else waiting.reject(new CoreError('limit-exceeded', 'a queue it was routed to is full'));
    });
  }
}

/** All of them, by virtual host and user. */
export class HttpClients {
  readonly #broker: Broker;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #clients = new Map<string, HttpClient>();

  constructor(broker: Broker, limits: Limits, clock: Clock) {
    this.#broker = broker;
    this.#limits = limits;
    this.#clock = clock;
  }

  /** The client of a user, made when there is none. Give it back with `release`. Throws `not-found`, `connection-limit`. */
  acquire(vhost: string, login: Login): HttpClient {
    // The length keeps the two parts apart whatever they hold.
    const name = `${vhost.length}:${vhost}${login.user}`;
    let client = this.#clients.get(name);
    if (client === undefined) {
      client = new HttpClient(this.#broker, vhost, login, this.#limits, () => this.#clients.delete(name));
      this.#clients.set(name, client);
    }
    client.idle?.cancel();
    client.idle = undefined;
    client.uses++;
    return client;
  }

  release(client: HttpClient): void {
    client.uses--;
    if (client.uses > 0) return;
    client.idle = this.#clock.after(this.#limits.httpClientIdleMs, () => this.#end(client));
  }

  close(code: ErrorCode): void {
    for (const client of this.#clients.values()) client.close(new CoreError(code));
    this.#clients.clear();
  }

  #end(client: HttpClient): void {
    for (const [name, known] of this.#clients) if (known === client) this.#clients.delete(name);
    client.close(new CoreError('not-found', 'the client was idle'));
  }
}
