/** The publishing side of a JSON WebSocket: one producer, confirms answered with the id of the frame. */
import { randomUUID } from 'node:crypto';
import {
  type Broker,
  type Client,
  type Clock,
  CONFIRM,
  CoreError,
  type Limits,
  MANDATORY,
  Message,
  type Producer,
  type Transaction,
} from '../../core/index.ts';
import { prepareJson } from '../json-half.ts';
import { bodyOf, checkText, fillMessage } from '../json-message.ts';
import { holdPublishes, type JsonItem } from '../json-transaction.ts';
import { PendingConfirms } from '../pending-confirms.ts';
import { AddressBook, targetOf } from '../targets.ts';
import type { FrameId, PrepareFrame, PublishFrame } from './frames.ts';

export interface PublisherHandlers {
  /** The message of frame `id` is as durable as was asked. @param delayed its handles, if it waits */
  onConfirmed(id: FrameId, routed: boolean, delayed: readonly string[] | undefined): void;
  /** The messages of frame `id` are prepared under this id, on disk. */
  onPrepared(id: FrameId, half: string): void;
  onRefused(id: FrameId, error: CoreError): void;
  /** Stop reading from the peer until `onDrain`. */
  onFull(): void;
  onDrain(): void;
}

interface Waiting {
  readonly id: FrameId;
  readonly mandatory: boolean;
  routed: boolean;
  /** Handles of a message that waits. */
  delayed?: readonly string[];
  /** Of a half message. */
  readonly half?: string;
}

/** `publish` fills it and the core copies it before the call returns: one is enough. */
const view = new Message();

export class Publisher {
  readonly #producer: Producer;
  readonly #addresses: AddressBook;
  readonly #confirms = new PendingConfirms<Waiting>();
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #handlers: PublisherHandlers;
  #current: Waiting | undefined;

  constructor(broker: Broker, client: Client, limits: Limits, clock: Clock, handlers: PublisherHandlers) {
    this.#broker = broker;
    this.#clock = clock;
    this.#handlers = handlers;
    this.#producer = client.producer({
      onConfirm: (upTo, refused) => this.#confirms.confirm(upTo, refused, (waiting, ok) => this.#answer(waiting, ok)),
      onReturn: () => {
        if (this.#current !== undefined) this.#current.routed = false;
      },
      onDrain: () => handlers.onDrain(),
    });
    this.#addresses = new AddressBook(this.#producer, limits);
  }

  /** Publish what a frame says. With an id the confirm is answered; without one nobody hears of it again.
   *  Throws `not-found`, `invalid-argument`, `publishing-blocked`, `message-too-large`. */
  publish(frame: PublishFrame): void {
    if (this.#broker.blockedBy !== undefined) throw new CoreError('publishing-blocked', this.#broker.blockedBy);
    const address = this.#addresses.find(targetOf(frame));
    fillMessage(this.#broker, view, frame, bodyOf(frame), this.#clock.now());
    const { id } = frame;
    if (id === undefined) {
      if (!this.#producer.publish(address, view, 0)) this.#handlers.onFull();
      return;
    }
    const waiting: Waiting = { id, mandatory: frame.mandatory === true || frame.queue !== undefined, routed: true };
    // Mandatory always: that is how we learn whether it was routed.
    this.#confirmed(waiting, () => {
      const goesOn = this.#producer.publish(address, view, MANDATORY | CONFIRM);
      if (view.deliverAtMs !== 0 && this.#producer.lastDelayed.length > 0) waiting.delayed = this.#producer.lastDelayed;
      return goesOn;
    });
  }

  /** Prepare the messages of a frame. Throws as the producer does. */
  prepare(frame: PrepareFrame): void {
    if (this.#broker.blockedBy !== undefined) throw new CoreError('publishing-blocked', this.#broker.blockedBy);
    const { id, group, half = randomUUID() } = frame;
    checkText(group, 'the name of the producer group');
    checkText(half, 'the id of the half message');
    const nowMs = this.#clock.now();
    const send = (options: number) =>
      prepareJson(this.#producer, this.#addresses, frame, { broker: this.#broker, group, id: half, nowMs, options });
    if (id !== undefined) this.#confirmed({ id, mandatory: false, routed: true, half }, () => send(CONFIRM));
    else if (frame.half === undefined)
      throw new CoreError('invalid-argument', 'without `id` or `half`, nobody knows it');
    else if (!send(0)) this.#handlers.onFull();
  }

  /** Send something whose confirm is answered. @param send answers false when the peer must pause */
  #confirmed(waiting: Waiting, send: () => boolean): void {
    this.#current = waiting;
    this.#confirms.push(waiting);
    try {
      if (!send()) this.#handlers.onFull();
    } catch (error) {
      this.#confirms.pop();
      this.#addresses.clear();
      throw error;
    } finally {
      this.#current = undefined;
    }
  }

  /**
   * Do what `hold` puts into a transaction and these publishes, all or none of it; `done` is called once it is durable. Throws
   * what `hold` and the commit throw, `unroutable` for a mandatory message included, and `publishing-blocked`.
   */
  transact(items: readonly JsonItem[], hold: (transaction: Transaction) => void, done: () => void): void {
    if (this.#broker.blockedBy !== undefined) throw new CoreError('publishing-blocked', this.#broker.blockedBy);
    const transaction = this.#producer.transaction({ unroutable: 'refuse' });
    try {
      holdPublishes(this.#broker, transaction, this.#addresses, items, this.#clock.now());
      hold(transaction);
      transaction.commit(done);
    } catch (error) {
      this.#addresses.clear();
      throw error;
    } finally {
      transaction.close();
    }
  }

  #answer(waiting: Waiting, ok: boolean): void {
    if (!ok) {
      this.#handlers.onRefused(waiting.id, new CoreError('limit-exceeded', 'a queue it was routed to is full'));
    } else if (waiting.mandatory && !waiting.routed) {
      this.#handlers.onRefused(waiting.id, new CoreError('unroutable'));
    } else if (waiting.half !== undefined) {
      this.#handlers.onPrepared(waiting.id, waiting.half);
    } else {
      this.#handlers.onConfirmed(waiting.id, waiting.routed, waiting.delayed);
    }
  }
}
