/** A JSON WebSocket from its first frame to its end (docs/protocols/websocket.md). Knows frames, not sockets. */
import {
  type Arguments,
  type Broker,
  type Client,
  type Clock,
  CoreError,
  type ErrorCode,
  FILTER_ARGUMENT,
  FILTER_TAGS_ARGUMENT,
  type Limits,
  parsePattern,
  type SettleOp,
  type ShareOptions,
  type SubscribeOptions,
  type Timer,
  type Transaction,
} from '../../core/index.ts';
import type { Authenticator, Login } from '../auth.ts';
import { deliverAt } from '../deliver-at.ts';
import { checkText } from '../json-message.ts';
import { holdOffsets } from '../json-transaction.ts';
import type { Log } from '../log.ts';
import { TOPIC_EXCHANGE } from '../targets.ts';
import { enteredVhost, loginOf } from '../web.ts';
import { answerDelayed } from './delayed.ts';
import { asCoreError, CLOSE, CLOSE_CODE, endsConnection } from './errors.ts';
import {
  type ClientFrame,
  type DelayedFrame,
  FrameError,
  type FrameId,
  type LoginFrame,
  parseFrame,
  type SettleFrame,
  type SubscribeFrame,
  type TransactionFrame,
} from './frames.ts';
import { HalfMember } from './halves.ts';
import { Membership, membershipOf } from './membership.ts';
import type { MessageFrames } from './message-frames.ts';
import type { WsOutput } from './output.ts';
import { Publisher } from './publisher.ts';
import { StreamReading } from './stream.ts';
import {
  type DeliveryRange,
  type JsonSubscription,
  QueueSubscription,
  type SubscriptionHost,
  TapSubscription,
} from './subscriptions.ts';

/** What all sessions share. */
export interface SessionContext {
  readonly broker: Broker;
  readonly limits: Limits;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  readonly frames: MessageFrames;
}

/** What the upgrade request said. */
export interface Arrival {
  /** From its `Authorization` header: the session starts logged in. */
  readonly login: Login | undefined;
  /** From its query. */
  readonly vhost: string | undefined;
  /** It may log in without credentials, as far as the origin is concerned. */
  readonly mayBeAnonymous: boolean;
}

/** Unsettled deliveries of a queue subscription that names no credit. */
const CREDIT_DEFAULT = 100;
const SLASH = 0x2f;
const SETTLE_OPS: Readonly<Record<SettleFrame['op'], SettleOp>> = {
  ack: 'complete',
  requeue: 'requeue',
  discard: 'discard',
};

/** The parts of a session that is logged in. */
interface Entered {
  readonly client: Client;
  readonly publisher: Publisher;
  readonly halves: HalfMember;
  readonly host: SubscriptionHost;
}

export class JsonSession {
  readonly #context: SessionContext;
  readonly #output: WsOutput;
  readonly #arrival: Arrival;
  readonly #handshake: Timer;
  readonly #subscriptions = new Map<FrameId, JsonSubscription>();
  #entered: Entered | undefined;
  /** Frames that came while the password was being checked. */
  #early: string[] | undefined;
  #earlyBytes = 0;
  #ended = false;

  constructor(context: SessionContext, output: WsOutput, arrival: Arrival) {
    this.#context = context;
    this.#output = output;
    this.#arrival = arrival;
    this.#handshake = context.clock.after(context.limits.handshakeMs, () =>
      this.end(new CoreError('handshake-timeout')),
    );
    output.handlers = {
      onChunk: () => {},
      onRoom: () => this.#onRoom(),
      onClosed: (error) => this.#leave(error !== undefined),
    };
    if (arrival.login !== undefined) {
      const { login } = arrival;
      this.#guard(undefined, () => this.#enter(login, arrival.vhost));
    }
  }

  /** Frames are held to the full limit, not the tighter one of before the login. */
  get loggedIn(): boolean {
    return this.#entered !== undefined;
  }

  /** One text message arrived. */
  onText(text: string): void {
    if (this.#ended) return;
    if (this.#early !== undefined) {
      this.#keep(this.#early, text);
      return;
    }
    let frame: ClientFrame;
    try {
      frame = parseFrame(text);
    } catch (error) {
      this.#fail(error instanceof FrameError ? error.id : undefined, error);
      return;
    }
    this.#guard(frame.id, () => this.#onFrame(frame));
  }

  /** End with an error: tell the peer, then close. */
  end(error: CoreError): void {
    if (this.#ended) return;
    this.#send({ op: 'error', code: error.code, message: error.message });
    this.close(CLOSE_CODE[error.code], error.code);
  }

  /** Close in order. */
  close(code: number = CLOSE.normal, reason = ''): void {
    this.#leave();
    this.#output.closeWith(code, reason);
  }

  #onFrame(frame: ClientFrame): void {
    if (frame.op === 'login') {
      this.#login(frame);
      return;
    }
    const entered = this.#entered ?? this.#enterAnonymously();
    switch (frame.op) {
      case 'publish':
        entered.publisher.publish(frame);
        return;
      case 'ack':
      case 'requeue':
      case 'discard':
        this.#settle(frame);
        return;
      case 'renew': {
        const renewed = this.#queueSubscription(frame.sub).renew(rangesOf(frame));
        if (frame.id !== undefined) this.#send({ op: 'ok', id: frame.id, renewed });
        return;
      }
      case 'transaction':
        this.#transact(frame, entered.publisher);
        return;
      case 'subscribe':
        this.#subscribe(frame, entered.host);
        return;
      case 'member':
        this.#checkFree(frame.id);
        this.#subscriptions.set(frame.id, new Membership(entered.host, frame));
        this.#ok(frame.id);
        return;
      case 'offsets':
        membershipOf(this.#subscription(frame.sub), frame.sub).commit(frame.offsets, () => this.#ok(frame.id));
        return;
      case 'release':
        membershipOf(this.#subscription(frame.sub), frame.sub).release(frame.partitions);
        this.#ok(frame.id);
        return;
      case 'credit':
        this.#setCredit(frame.sub, frame.credit);
        this.#ok(frame.id);
        return;
      case 'unsubscribe':
        this.#subscription(frame.sub).close();
        this.#subscriptions.delete(frame.sub);
        this.#ok(frame.id);
        return;
      case 'prepare':
        entered.publisher.prepare(frame);
        return;
      case 'commit':
      case 'rollback':
        entered.halves.end(frame);
        return;
      case 'join':
        entered.halves.join(frame.group);
        this.#ok(frame.id);
        return;
      case 'leave':
        entered.halves.leave(frame.group);
        this.#ok(frame.id);
        return;
      case 'delayed':
      case 'cancel':
      case 'fire':
        this.#delayed(frame, entered.client.vhost);
        return;
      case 'ping':
        this.#send({ op: 'pong', id: frame.id });
        return;
    }
  }

  // ---- Logging in -------------------------------------------------------------------------------------------------

  #login(frame: LoginFrame): void {
    if (this.#entered !== undefined) throw new CoreError('protocol-violation', 'logged in already');
    this.#early = [];
    const { authenticator } = this.#context;
    loginOf(authenticator, frame, this.#output.peer).then(
      (login) => {
        if (this.#ended) return;
        this.#guard(frame.id, () => {
          this.#enter(login, frame.vhost ?? this.#arrival.vhost);
          this.#ok(frame.id);
        });
        this.#goOn();
      },
      (error) => this.#fail(frame.id, error),
    );
  }

  /** Frames that came during the login have their turn. */
  #goOn(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const text of early) this.onText(text);
  }

  #keep(early: string[], text: string): void {
    this.#earlyBytes += text.length;
    if (this.#earlyBytes > this.#context.limits.frameBytesBeforeLoginMax) {
      this.end(new CoreError('frame-too-large', 'wait for the answer to the login'));
      return;
    }
    early.push(text);
  }

  #enterAnonymously(): Entered {
    const { authenticator } = this.#context;
    const login = this.#arrival.mayBeAnonymous ? authenticator.anonymous(this.#output.peer) : undefined;
    if (login === undefined) throw new CoreError('authentication-failed', 'send a login frame first');
    return this.#enter(login, this.#arrival.vhost);
  }

  #enter(login: Login, asked: string | undefined): Entered {
    const { broker, limits, clock, authenticator, frames, version } = this.#context;
    const { peer } = this.#output;
    const vhost = enteredVhost(authenticator, login, asked);
    const client = broker.client(
      vhost,
      { user: login.user, clientId: '', protocol: 'ws', peer: `${peer.address}:${peer.port}` },
      {
        onBlocked: (reason) => this.#send({ op: 'blocked', reason }),
        onUnblocked: () => this.#send({ op: 'unblocked' }),
        onClose: (code, detail) => this.end(new CoreError(code, detail)),
      },
    );
    const publisher = new Publisher(broker, client, limits, clock, {
      onConfirmed: (id, routed, delayed) => this.#send({ op: 'ok', id, routed, delayed }),
      onPrepared: (id, half) => this.#send({ op: 'ok', id, half }),
      onRefused: (id, error) => this.#fail(id, error),
      onFull: () => this.#output.pause(),
      onDrain: () => this.#output.resume(),
    });
    const halves = new HalfMember(broker, client, this.#output, limits, {
      onDone: (id) => this.#ok(id),
      onRefused: (id, error) => this.#fail(id, error),
    });
    const onEnd = (id: FrameId, reason: ErrorCode) => this.#onEnd(id, reason);
    const onActive = (sub: FrameId, active: boolean) => this.#send({ op: 'active', sub, active });
    const host: SubscriptionHost = { client, output: this.#output, frames, limits, onEnd, onActive };
    this.#handshake.cancel();
    this.#entered = { client, publisher, halves, host };
    this.#send({ op: 'hello', server: 'JunctionMQ', version, user: login.user, vhost });
    return this.#entered;
  }

  // ---- Subscribing ------------------------------------------------------------------------------------------------

  /** There may be a subscription of this name. Throws `already-exists`, `limit-exceeded`. */
  #checkFree(id: FrameId): void {
    const { subscriptionsPerConnectionMax } = this.#context.limits;
    if (this.#subscriptions.has(id)) throw new CoreError('already-exists', `subscription ${id}`);
    if (this.#subscriptions.size >= subscriptionsPerConnectionMax) {
      throw new CoreError('limit-exceeded', `${subscriptionsPerConnectionMax} subscriptions`);
    }
  }

  #subscribe(frame: SubscribeFrame, host: SubscriptionHost): void {
    const { id } = frame;
    const { limits } = this.#context;
    this.#checkFree(id);
    if (frame.queue !== undefined) {
      this.#subscriptions.set(id, new QueueSubscription(host, id, frame.queue, optionsOf(frame)));
      this.#ok(id);
      return;
    }
    if (frame.stream !== undefined && frame.group !== undefined) {
      const share = shareOf(frame, frame.group);
      this.#subscriptions.set(id, new QueueSubscription(host, id, frame.stream, { ...optionsOf(frame), share }));
      this.#ok(id);
      return;
    }
    if (frame.stream !== undefined) {
      const reading = new StreamReading(host, frame);
      this.#subscriptions.set(id, reading);
      reading.start(frame.stream, frame).then(
        (offset) => this.#send({ op: 'ok', id, offset }),
        (error: CoreError) => {
          this.#subscriptions.delete(id);
          this.#fail(id, error);
        },
      );
      return;
    }
    const topic = frame.topic ?? '';
    checkText(topic, 'the topic');
    const pattern = parsePattern(topic, SLASH, '+', '#', { hidesDollar: true, strict: true, limits });
    const binding = { exchange: frame.exchange ?? TOPIC_EXCHANGE, pattern, args: filtersOf(frame) };
    const tap = new TapSubscription(host, id, binding);
    this.#subscriptions.set(id, tap);
    // Answered before the retained values: the client knows then what the messages are.
    this.#ok(id);
    if (frame.retained !== false) tap.sendRetained(binding, () => {});
  }

  #subscription(id: FrameId): JsonSubscription {
    const subscription = this.#subscriptions.get(id);
    if (subscription === undefined) throw new CoreError('not-found', `subscription ${id}`);
    return subscription;
  }

  #setCredit(id: FrameId, credit: number): void {
    const subscription = this.#subscription(id);
    if (subscription instanceof StreamReading) subscription.setCredit(credit);
    else this.#queueSubscription(id).setWindow(credit);
  }

  #queueSubscription(id: FrameId): QueueSubscription {
    const subscription = this.#subscription(id);
    if (subscription instanceof QueueSubscription) return subscription;
    throw new CoreError('precondition-failed', `subscription ${id} is not to a queue: its messages need no settling`);
  }

  #settle(frame: SettleFrame): void {
    const subscription = this.#queueSubscription(frame.sub);
    const settled = subscription.settle(rangesOf(frame), opOf(frame), deliverAt(this.#context.clock, frame));
    const { id } = frame;
    if (id !== undefined) subscription.afterDurable(() => this.#send({ op: 'ok', id, settled }));
  }

  #transact({ id, publishes = [], settlements = [], offsets = [] }: TransactionFrame, publisher: Publisher): void {
    const named = settlements.map((item) => ({ item, subscription: this.#queueSubscription(item.sub) }));
    let settled = 0;
    const hold = (transaction: Transaction): void => {
      holdOffsets(transaction, offsets);
      for (const { item, subscription } of named) {
        settled += subscription.hold(transaction, rangesOf(item), opOf(item), deliverAt(this.#context.clock, item));
      }
    };
    publisher.transact(publishes, hold, () => {
      for (const { subscription } of named) subscription.makeRoom();
      this.#send({ op: 'ok', id, published: publishes.length, settled });
    });
  }

  #delayed(frame: DelayedFrame, vhost: string): void {
    const { id } = frame;
    const { broker, limits } = this.#context;
    answerDelayed(broker.admin.delays, vhost, frame, limits).then(
      (answer) => this.#send({ op: 'ok', id, ...answer }),
      (error) => this.#fail(id, error),
    );
  }

  #onEnd(id: FrameId, code: ErrorCode): void {
    if (!this.#subscriptions.delete(id)) return;
    this.#send({ op: 'end', sub: id, code, message: new CoreError(code).message });
  }

  // ---- The connection ---------------------------------------------------------------------------------------------

  #onRoom(): void {
    for (const subscription of this.#subscriptions.values()) subscription.onRoom();
  }

  /** Be gone for the broker: what is unsettled is requeued. Idempotent. @param lost the peer went without a word */
  #leave(lost = false): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#handshake.cancel();
    this.#early = undefined;
    this.#entered?.client.close(lost);
    this.#subscriptions.clear();
  }

  #guard(id: FrameId | undefined, task: () => void): void {
    try {
      task();
    } catch (error) {
      this.#fail(id, error);
    }
  }

  /** Answer a refused request; end the connection when the error is one of those, or nobody is logged in. */
  #fail(id: FrameId | undefined, thrown: unknown): void {
    if (this.#ended) return;
    const error = asCoreError(thrown);
    if (error.code === 'internal-error') this.#context.log('error', 'a WebSocket frame failed', { err: thrown });
    this.#send({ op: 'error', id, code: error.code, message: error.message });
    if (endsConnection(error) || this.#entered === undefined) this.close(CLOSE_CODE[error.code], error.code);
  }

  #ok(id: FrameId | undefined): void {
    if (id !== undefined) this.#send({ op: 'ok', id });
  }

  #send(frame: object): void {
    if (this.#ended) return;
    this.#output.sendText(JSON.stringify(frame));
    if (this.#output.queuedBytes > this.#context.limits.connectionOutBytesMax) {
      this.#context.log('warn', 'a WebSocket peer does not read: closed', { peer: this.#output.peer.address });
      this.#leave();
      this.#output.destroy();
    }
  }
}

/** How a subscription to a queue consumes. */
function optionsOf(frame: SubscribeFrame): SubscribeOptions {
  const { id, credit = CREDIT_DEFAULT, priority, weight, timeout_ms: timeoutMs, filter, tags } = frame;
  const options: SubscribeOptions = { credit, tag: String(id), priority: priority ?? 0, weight: weight ?? 1 };
  if (filter !== undefined) options.filter = filter;
  if (tags !== undefined) options.tags = tags;
  if (timeoutMs !== undefined) options.timeoutMs = timeoutMs === -1 ? Number.POSITIVE_INFINITY : timeoutMs;
  return options;
}

/** How a subscription to a stream takes part in a share group. */
function shareOf({ from, dead_letter: deadLetter }: SubscribeFrame, group: string): ShareOptions {
  const share: ShareOptions = { group, start: from === 'first' ? 'first' : 'next' };
  return deadLetter === undefined ? share : { ...share, deadLetter };
}

/** The deliveries a settlement is about. */
function rangesOf({ delivery, deliveries }: Pick<SettleFrame, 'delivery' | 'deliveries'>): readonly DeliveryRange[] {
  return deliveries ?? [delivery ?? 0];
}

/** What a settlement does with them. */
function opOf({ op, failed }: Omit<SettleFrame, 'id'>): SettleOp {
  if (failed !== true) return SETTLE_OPS[op];
  if (op !== 'requeue') throw new CoreError('invalid-argument', 'only what is requeued can be failed');
  return 'modify';
}

/** The filters of a subscription to topics, as binding arguments. */
function filtersOf({ filter, tags }: SubscribeFrame): Arguments {
  return {
    ...(filter === undefined ? {} : { [FILTER_ARGUMENT]: filter }),
    ...(tags === undefined ? {} : { [FILTER_TAGS_ARGUMENT]: tags }),
  };
}
