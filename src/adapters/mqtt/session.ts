/**
 * One MQTT connection as a state machine: packets in, packets out through an `Outbox`; it knows no socket.
 *
 *     new --CONNECT--> connecting --login, session taken up--> open --DISCONNECT, error, close, take-over--> over
 *                          '------------------ refused ---------------------------------------------------'
 */

import {
  type Broker,
  type Client,
  type ClientHandlers,
  CoreError,
  type ErrorCode,
  type Limits,
  type Message,
  type Pattern,
  type TapHandlers,
} from '../../core/index.ts';
import type { Authenticator } from '../auth.ts';
import type { Connection, ConnectionHandlers } from '../connection.ts';
import type { Log } from '../log.ts';
import { NOT_YET, PacketReader, type PacketSink, STOP, TAKEN, TYPE, type Verdict } from './codec.ts';
import { lowerQos, QueueDelivery } from './delivery.ts';
import { codeOf, connackCode } from './errors.ts';
import { checkClientId, checkOwner, logIn } from './login.ts';
import type { TopicRange } from './message.ts';
import { Outbox } from './outbox.ts';
import {
  ack,
  CONNACK,
  CONNACK_V5_UNSUPPORTED,
  type Connect,
  connack,
  decodeAck,
  decodeConnect,
  decodeSubscribe,
  decodeUnsubscribe,
  PINGRESP,
  PUBLISH_RETAIN,
  SUBACK_FAILURE,
  suback,
} from './packets.ts';
import { Publishing, type PublishingShared } from './publishing.ts';
import { type Away, SessionTable } from './sessions.ts';
import { type GrantedQos, Subscriptions, sessionQueue, sessionQueueSettings } from './subscriptions.ts';
import { parseFilter } from './topic.ts';
import { Watchdog } from './watchdog.ts';

/** What the sessions of one adapter share. */
export interface SessionShared extends PublishingShared {
  readonly broker: Broker;
  readonly limits: Limits;
  readonly authenticator: Authenticator;
  readonly log: Log;
  readonly topic: TopicRange;
  readonly sessions: SessionTable<Session>;
  /** A client id for a client that gave none. */
  newClientId(): string;
  /** The connection is gone, for good. */
  onGone(session: Session): void;
}

/** Not worth a line in the log, whatever the state. */
const CLOSED_BY_PEER = 'closed by the peer';

/** Why reading from the peer is paused; bits. */
const PAUSED_HANDSHAKE = 1;
const PAUSED_PRESSED = 2;
const PAUSED_ALARM = 4;

export class Session implements PacketSink, ConnectionHandlers, ClientHandlers, TapHandlers {
  readonly #shared: SessionShared;
  readonly #connection: Connection;
  readonly #reader: PacketReader;
  readonly #outbox: Outbox;
  #state: 'new' | 'connecting' | 'open' | 'over' = 'new';
  #level: 3 | 4 = 4;
  #user = '';
  #clientId = '';
  /** Key in the session table; empty before login. */
  #key = '';
  #clean = true;
  #client: Client | undefined;
  #publishing: Publishing | undefined;
  #subscriptions: Subscriptions | undefined;
  #delivery: QueueDelivery | undefined;
  #away: Away | undefined;
  #publishWill: (() => void) | undefined;
  #paused = 0;
  readonly #watchdog: Watchdog;

  constructor(shared: SessionShared, connection: Connection, nowMs: number) {
    this.#shared = shared;
    this.#connection = connection;
    this.#outbox = new Outbox(connection, shared.topic);
    this.#reader = new PacketReader(
      this,
      Math.min(shared.limits.frameBytesBeforeLoginMax, shared.limits.messageBytesMax),
    );
    this.#reader.onlyFirstByte = TYPE.CONNECT;
    this.#watchdog = new Watchdog(shared.limits, this.#reader, nowMs);
    connection.handlers = this;
  }

  get user(): string {
    return this.#user;
  }

  get clientId(): string {
    return this.#clientId;
  }

  // ---- Bytes in ---------------------------------------------------------------------------------------------------

  onChunk(chunk: Buffer): void {
    this.#watchdog.heard = true;
    if (this.#state === 'over') return;
    try {
      this.#reader.feed(chunk);
      this.#delivery?.flushAcknowledged();
    } catch (error) {
      this.#fail(error);
    }
    this.#shared.frame.settle();
    // Only acknowledgements can pile up here; deliveries have their own brakes.
    if (this.#connection.queuedBytes > this.#shared.limits.connectionOutBytesMax) this.#endSlow();
  }

  onRoom(): void {
    this.#delivery?.resume();
  }

  onClosed(): void {
    this.end(CLOSED_BY_PEER);
    this.#shared.onGone(this);
  }

  onPacket(bytes: Buffer, start: number, body: number, end: number): Verdict {
    const first = bytes[start] as number;
    if (this.#state !== 'open') return this.#state === 'new' ? this.#onConnect(bytes, body, end) : STOP;
    if ((first & 0xf0) === TYPE.PUBLISH) return this.#onPublish(bytes, start, body, end);
    // 3.1 allows DUP on packets that ask for an answer; 3.1.1 has their flags fixed [MQTT-2.2.2-2].
    switch (this.#level === 3 ? first & ~8 : first) {
      case TYPE.PUBACK: {
        const id = decodeAck(bytes, body, end);
        this.#delivery?.acknowledge(id);
        return TAKEN;
      }
      case TYPE.PUBREL | 2:
        this.#publishingOf().release(decodeAck(bytes, body, end));
        return TAKEN;
      case TYPE.SUBSCRIBE | 2:
        this.#onSubscribe(bytes, body, end);
        return TAKEN;
      case TYPE.UNSUBSCRIBE | 2:
        this.#onUnsubscribe(bytes, body, end);
        return TAKEN;
      case TYPE.PINGREQ:
        if (end > body) throw new CoreError('malformed-frame', 'PINGREQ has no body');
        this.#outbox.packet(PINGRESP);
        return TAKEN;
      case TYPE.DISCONNECT:
        if (end > body) throw new CoreError('malformed-frame', 'DISCONNECT has no body');
        this.#publishWill = undefined;
        this.end('DISCONNECT');
        return STOP;
      default:
        throw new CoreError('protocol-violation', `a client may not send a packet that begins 0x${first.toString(16)}`);
    }
  }

  // ---- CONNECT ----------------------------------------------------------------------------------------------------

  #onConnect(bytes: Buffer, body: number, end: number): Verdict {
    const packet = decodeConnect(bytes, body, end);
    if ('other' in packet) {
      this.#outbox.packet(packet.level === 5 ? CONNACK_V5_UNSUPPORTED : connack(false, CONNACK.BAD_VERSION));
      this.end(`protocol level ${packet.level} is not spoken here [MQTT-3.1.2-2]`);
      return STOP;
    }
    this.#state = 'connecting';
    this.#level = packet.level;
    this.#pause(PAUSED_HANDSHAKE);
    this.#enter(packet).catch((error: unknown) => this.#refuse(error));
    return STOP;
  }

  /** Log in and take up the session: end the connection that has it, make or find its queue, answer. */
  async #enter(packet: Connect): Promise<void> {
    const { broker, sessions, limits, authenticator, newClientId } = this.#shared;
    const login = await logIn(authenticator, this.#connection.peer, packet);
    if (this.#state !== 'connecting') return;
    checkClientId(packet, limits);
    const clientId = packet.clientId === '' ? newClientId() : packet.clientId;
    const key = SessionTable.key(login.vhost, clientId);
    const before = sessions.live(key);
    checkOwner(broker, login, clientId, before?.user);
    before?.end('taken over by a new connection [MQTT-3.1.4-2]');
    const { address, port } = this.#connection.peer;
    const identity = { user: login.user, clientId, protocol: 'mqtt', peer: `${address}:${port}` };
    this.#client = broker.client(login.vhost, identity, this);
    this.#user = login.user;
    this.#clientId = clientId;
    this.#key = key;
    this.#clean = packet.clean;
    sessions.enter(key, this);
    const present = await this.#takeUpQueue(this.#client, sessionQueue(clientId));
    if (this.#state === 'connecting') this.#open(packet, present);
  }

  /** Answers whether there is a session to go on with (Session Present, 3.2.2.2). */
  async #takeUpQueue(client: Client, queue: string): Promise<boolean> {
    const admin = this.#shared.broker.admin;
    const stored = admin.queue(client.vhost, queue);
    this.#away = this.#shared.sessions.takeAway(this.#key);
    if (this.#clean) {
      this.#away = undefined;
      if (stored !== undefined) await admin.deleteQueue(client.vhost, queue);
      return false;
    }
    if (stored === undefined) await admin.declareQueue(client.vhost, queue, sessionQueueSettings(this.#user, true));
    return stored !== undefined;
  }

  #open(packet: Connect, present: boolean): void {
    if (packet.will !== undefined) this.#publishWill = this.#publishingOf().prepareWill(packet.will);
    this.#state = 'open';
    this.#watchdog.silenceMsMax = packet.keepAliveS * 1500;
    this.#reader.onlyFirstByte = 0;
    this.#reader.packetBytesMax = this.#shared.limits.messageBytesMax;
    this.#outbox.packet(connack(present && this.#level === 4, CONNACK.ACCEPTED));
    if (!this.#clean) {
      if (present) this.#subscriptionsOf().restore();
      if (this.#away !== undefined) this.#publishingOf().restoreReceived(this.#away.receivedIds);
      this.#startDelivery();
    }
    this.#shared.log('debug', 'mqtt session open', { client: this.#clientId, user: this.#user, present });
    this.#resume(PAUSED_HANDSHAKE);
  }

  #startDelivery(): void {
    this.#delivery = new QueueDelivery(
      this.#connection,
      this.#outbox,
      this.#shared.limits,
      (reason) => this.end(`the session's queue ended: ${reason}`),
      this.#away?.sentIds,
    );
    this.#delivery.start(this.#client as Client, sessionQueue(this.#clientId));
  }

  #refuse(error: unknown): void {
    if (this.#state === 'over') return;
    const code = connackCode(error);
    if (code !== undefined && this.#state === 'connecting') this.#outbox.packet(connack(false, code));
    this.#fail(error);
  }

  // ---- Publishing -------------------------------------------------------------------------------------------------

  #onPublish(bytes: Buffer, start: number, body: number, end: number): Verdict {
    const publishing = this.#publishing;
    if (publishing === undefined) return this.#onFirstPublish(bytes, start, body, end);
    try {
      publishing.publish(bytes, start, body, end);
      return TAKEN;
    } catch (error) {
      if (codeOf(error) !== 'publishing-blocked') throw error;
      this.#pause(PAUSED_ALARM);
      return NOT_YET;
    }
  }

  #onFirstPublish(bytes: Buffer, start: number, body: number, end: number): Verdict {
    this.#publishingOf();
    if (this.#shared.broker.blockedBy !== undefined) {
      this.#pause(PAUSED_ALARM);
      return NOT_YET;
    }
    return this.#onPublish(bytes, start, body, end);
  }

  #publishingOf(): Publishing {
    this.#publishing ??= new Publishing(this.#shared, this.#outbox, this.#client as Client, {
      onPressed: (pressed) => (pressed ? this.#pause(PAUSED_PRESSED) : this.#resume(PAUSED_PRESSED)),
      onRefused: (packetId) => this.end(`the message with packet identifier ${packetId} was refused [MQTT-3.3.5-2]`),
    });
    return this.#publishing;
  }

  // ---- Subscribing ------------------------------------------------------------------------------------------------

  #onSubscribe(bytes: Buffer, body: number, end: number): void {
    const { id, filters } = decodeSubscribe(bytes, body, end);
    // All are checked before any is made: a malformed filter ends the connection.
    const patterns = filters.map(({ text }) => parseFilter(text));
    const codes = filters.map(({ qos }): number => Math.min(qos, 1));
    const pending: Promise<unknown>[] = [];
    patterns.forEach((pattern, index) => {
      const refused = (error: unknown): void => {
        codes[index] = SUBACK_FAILURE;
        this.#shared.log('debug', 'mqtt subscription refused', { client: this.#clientId, reason: reasonOf(error) });
      };
      try {
        const durable = this.#subscribe(pattern, codes[index] as GrantedQos);
        if (durable !== undefined) pending.push(durable.catch(refused));
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        refused(error);
      }
    });
    if (pending.length === 0) this.#subscribed(id, patterns, codes);
    else void Promise.all(pending).then(() => this.#subscribed(id, patterns, codes));
  }

  /** Made when first needed: many clients only publish, or wait. */
  #subscriptionsOf(): Subscriptions {
    this.#subscriptions ??= new Subscriptions({
      broker: this.#shared.broker,
      client: this.#client as Client,
      queue: sessionQueue(this.#clientId),
      user: this.#user,
      persistent: !this.#clean,
      countMax: this.#shared.limits.subscriptionsPerConnectionMax,
      tapHandlers: this,
      onQueue: () => this.#startDelivery(),
    });
    return this.#subscriptions;
  }

  #subscribe(pattern: Pattern, qos: GrantedQos): Promise<unknown> | undefined {
    if (pattern.levels[0] === '$share') throw new CoreError('not-supported', 'shared subscriptions');
    return this.#subscriptionsOf().add(pattern, qos);
  }

  /** SUBACK, then the retained messages of each filter. */
  #subscribed(id: number, patterns: readonly Pattern[], codes: readonly number[]): void {
    if (this.#state !== 'open') return;
    this.#outbox.packet(suback(id, codes));
    patterns.forEach((pattern, index) => {
      const granted = codes[index] as number;
      if (granted === SUBACK_FAILURE) return;
      const each = (message: Message): void => this.#sendRetained(message, granted);
      this.#subscriptions?.retained(pattern, each, () => undefined);
    });
  }

  #sendRetained(message: Message, granted: number): void {
    if (this.#state !== 'open') return;
    if (lowerQos(message, granted) > 0 && this.#queueRetained(message)) return;
    if (this.#connection.queuedBytes > this.#shared.limits.connectionOutBytesMax) this.#endSlow();
    this.#outbox.endRun();
    this.#outbox.publish(message, PUBLISH_RETAIN, 0);
  }

  /** A retained QoS 1 message goes the way of all QoS 1 messages: through the session's queue. */
  #queueRetained(message: Message): boolean {
    const topic = this.#shared.topic;
    if (!topic.of(message)) return true;
    const name = Buffer.from(topic.bytes.subarray(topic.start, topic.end));
    try {
      this.#publishingOf().queueRetained(sessionQueue(this.#clientId), 1, name, message);
      return true;
    } catch (error) {
      if (codeOf(error) !== 'publishing-blocked') throw error;
      return false;
    }
  }

  #onUnsubscribe(bytes: Buffer, body: number, end: number): void {
    const { id, filters } = decodeUnsubscribe(bytes, body, end);
    const pending: Promise<unknown>[] = [];
    for (const filter of filters) {
      const durable = this.#subscriptions?.remove(filter);
      if (durable !== undefined) pending.push(durable);
    }
    const answer = (): void => {
      if (this.#state === 'open') this.#outbox.packet(ack(TYPE.UNSUBACK, id));
    };
    if (pending.length === 0) answer();
    else Promise.all(pending).then(answer, (error: unknown) => this.#fail(error));
  }

  /** A message for the QoS 0 subscriptions. */
  onMessage(message: Message): boolean {
    const frame = this.#shared.frame;
    if (this.#delivery !== undefined && this.#subscriptions?.queueTakes(message)) return true;
    return frame.of(message) && this.#outbox.share(frame);
  }

  // ---- Pauses and the end -----------------------------------------------------------------------------------------

  onBlocked(): void {
    if (this.#publishing !== undefined) this.#pause(PAUSED_ALARM);
  }

  onUnblocked(): void {
    this.#resume(PAUSED_ALARM);
  }

  /** The core ends the client; `onClosed` is the connection's. */
  onClose(code: ErrorCode, detail: string): void {
    this.end(`${code}: ${detail}`);
  }

  #pause(why: number): void {
    if (this.#paused === 0) this.#connection.pause();
    this.#paused |= why;
  }

  #resume(why: number): void {
    if ((this.#paused & why) === 0) return;
    this.#paused &= ~why;
    if (this.#paused !== 0 || this.#state === 'over') return;
    try {
      // What was kept may be stopped again half-way.
      this.#reader.resume();
      this.#delivery?.flushAcknowledged();
    } catch (error) {
      this.#fail(error);
    }
    if (this.#paused === 0 && this.#state === 'open') this.#connection.resume();
  }

  #fail(error: unknown): void {
    if (!(error instanceof CoreError))
      this.#shared.log('error', 'mqtt session failed', { client: this.#clientId, error });
    this.end(reasonOf(error));
  }

  #endSlow(): void {
    this.end('slow-consumer: the peer does not read what it asked for');
    this.#connection.destroy();
  }

  /** End the session and its connection; publishes the will unless a DISCONNECT came [MQTT-3.1.2-8]. Idempotent. */
  end(reason: string): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    const refused = this.#client === undefined && reason !== CLOSED_BY_PEER;
    this.#shared.log(refused ? 'info' : 'debug', 'mqtt session over', {
      client: this.#clientId,
      peer: this.#connection.peer.address,
      reason,
    });
    try {
      this.#publishWill?.();
    } catch (error) {
      this.#shared.log('warn', 'will not published', { client: this.#clientId, reason: reasonOf(error) });
    }
    const sentIds = this.#delivery?.leave() ?? new Uint16Array(0);
    const receivedIds = this.#publishing?.receivedIds() ?? new Set<number>();
    this.#client?.close();
    this.#shared.sessions.leave(this.#key, this, this.#clean ? undefined : { sentIds, receivedIds });
    // Reading goes on, into nothing, so that the peer's end is noticed.
    this.#connection.resume();
    this.#connection.end();
  }

  /** Look for a peer that is silent, slow or gone. Called a few times a second. */
  watch(nowMs: number): void {
    if (this.#state === 'over') {
      if (this.#watchdog.lookAtEnd(nowMs)) this.#connection.destroy();
      return;
    }
    const why =
      this.#state === 'open'
        ? this.#watchdog.lookAtSession(nowMs, this.#paused !== 0)
        : this.#watchdog.lookAtHandshake(nowMs);
    if (why !== undefined) this.end(why);
  }

  /** Do not wait for the peer. */
  destroy(): void {
    this.#connection.destroy();
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
