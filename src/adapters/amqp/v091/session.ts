/**
 * One AMQP 0-9-1 connection: splits the bytes into frames, keeps the connection's state, and hands frames to channels.
 *
 *     starting -> authenticating -> tuning -> opening -> running -> closing -> closed
 */
import type { Client, Clock, Limits, Timer } from '../../../core/index.ts';
import type { Login } from '../../auth.ts';
import type { Connection, ConnectionHandlers } from '../../connection.ts';
import { Blocking } from './blocking.ts';
import { Channel } from './channel.ts';
import {
  type ArgumentsToSend,
  type DecodedMethod,
  decodeMethod,
  encodeMethod,
  FRAME_BODY,
  FRAME_END,
  FRAME_EXTRA_BYTES,
  FRAME_HEAD_BYTES,
  FRAME_HEADER,
  FRAME_HEARTBEAT,
  FRAME_METHOD,
  readU16,
  readU32,
} from './codec.ts';
import { MessageWriter } from './deliver.ts';
import type { SessionEnvironment } from './environment.ts';
import { AmqpError, closeArguments, REPLY_OF, shortText, toAmqpError } from './errors.ts';
import { Writer } from './fields.ts';
import { type FrameHandler, FrameStream } from './frame-stream.ts';
import {
  agreedTuning,
  credentialsOf,
  isCapable,
  MECHANISMS,
  proposedTuning,
  serverProperties,
  type Tuning,
} from './handshake.ts';
import { Heartbeat } from './heartbeat.ts';
import type { ChannelHost, Collector, LateWriter } from './host.ts';
import { type Arguments, METHODS, type MethodName } from './methods.ts';

type State = 'starting' | 'authenticating' | 'tuning' | 'opening' | 'running' | 'closing' | 'closed';

/** How long a peer may take to answer connection.close. */
const CLOSE_WAIT_MS = 3_000;
const BASIC_PUBLISH = METHODS['basic.publish'].id;
const CHANNEL_OPEN = METHODS['channel.open'].id;
const CHANNEL_CLOSE = METHODS['channel.close'].id;
const CHANNEL_CLOSE_OK = METHODS['channel.close-ok'].id;
/** Method frames are encoded here and copied to the connection. */
const scratch = new Writer();
export class Session implements ChannelHost, ConnectionHandlers, FrameHandler {
  readonly connection: Connection;
  readonly messages: MessageWriter;
  readonly #environment: SessionEnvironment;
  readonly #onClosed: () => void;
  #state: State = 'starting';
  #timer: Timer | undefined;
  #heartbeat: Heartbeat | undefined;
  #login: Login | undefined;
  #clientProperties: Arguments<'connection.start-ok'>['clientProperties'] = {};
  #tuning: Tuning;
  #client: Client | undefined;
  // Channels; the last one used is tried first.
  readonly #channels = new Map<number, Channel>();
  #lastChannel: Channel | undefined;
  // Parsing
  readonly #stream: FrameStream;
  /** Index behind the frame in hand, and its method. */
  #next = 0;
  #methodId = 0;
  #collectors: Collector[] = [];
  #lateWriters: LateWriter[] = [];
  #blocking: Blocking | undefined;

  /** @param handshakeMs what is left of the time the peer has to log in */
  constructor(connection: Connection, environment: SessionEnvironment, handshakeMs: number, onClosed: () => void) {
    this.connection = connection;
    this.messages = new MessageWriter(connection, environment.converter);
    this.#environment = environment;
    this.#onClosed = onClosed;
    this.#tuning = proposedTuning(environment.limits);
    const beforeLogin = environment.limits.frameBytesBeforeLoginMax - FRAME_EXTRA_BYTES;
    this.#stream = new FrameStream(connection, this, beforeLogin);
    connection.handlers = this;
    connection.beforeFlush = () => this.#writeLate();
    this.#timer = environment.clock.after(handshakeMs, () => this.#tooSlow());
    this.send(0, 'connection.start', {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: serverProperties(environment.product, environment.version),
      mechanisms: MECHANISMS,
      locales: 'en_US',
    });
  }

  // ---- What channels use ------------------------------------------------------------------------------------------

  get broker() {
    return this.#environment.broker;
  }

  get clock(): Clock {
    return this.#environment.clock;
  }

  get limits(): Limits {
    return this.#environment.limits;
  }

  get client(): Client {
    return this.#client as Client;
  }

  get internedKeysMax(): number {
    return Math.max(16, Math.floor(this.limits.internedKeysPerConnectionMax / (this.#channels.size + 1)));
  }

  get payloadBytesMax(): number {
    return this.#stream.payloadBytesMax;
  }

  capable(capability: string): boolean {
    return isCapable(this.#clientProperties, capability);
  }

  send<M extends MethodName>(channel: number, name: M, args: ArgumentsToSend<M>): void {
    if (this.#state === 'closed') return;
    encodeMethod(scratch.reset(), channel, name, args);
    const at = this.connection.reserve(scratch.at);
    scratch.bytes.copy(this.connection.slab, at, 0, scratch.at);
  }

  flushAfterChunk(collector: Collector): void {
    this.#collectors.push(collector);
  }

  writeBeforeFlush(writer: LateWriter): void {
    this.#lateWriters.push(writer);
    this.connection.schedule();
  }

  hold(reason: object): void {
    if (this.#state !== 'closing') this.#stream.hold(reason);
  }

  release(reason: object): void {
    this.#stream.release(reason);
  }

  failChannel(channel: number, error: Error): void {
    this.#methodId = 0;
    this.#fail(error, channel);
  }

  publishing(): void {
    this.#blocking?.publishing();
  }

  // ---- What the connection tells ----------------------------------------------------------------------------------

  onChunk(chunk: Buffer): void {
    this.#stream.onChunk(chunk);
  }

  onRoom(): void {
    for (const channel of this.#channels.values()) channel.deliveries.resume();
  }

  onClosed(error: Error | undefined): void {
    const { log } = this.#environment;
    const lost = this.#state === 'running';
    if (lost) log('info', 'amqp connection lost', { ...this.#about(), error: error?.message });
    this.#state = 'closed';
    this.#stop(lost);
    this.#stream.end();
    this.#onClosed();
  }

  /** The broker stops, or an operator wants this connection gone. */
  shutdown(reason: string): void {
    this.#closeConnection(new AmqpError('connection-forced', reason));
  }

  // ---- Frames -----------------------------------------------------------------------------------------------------

  onFrame(bytes: Buffer, at: number, size: number, end: number): number {
    this.#next = at + FRAME_EXTRA_BYTES + size;
    this.#methodId = 0;
    try {
      this.#frame(bytes, at, size, end);
    } catch (error) {
      this.#fail(error, readU16(bytes, at + 1));
    }
    return this.#next;
  }

  onParsed(): void {
    if (this.#collectors.length === 0) return;
    const collectors = this.#collectors;
    this.#collectors = [];
    for (const collector of collectors) collector.flush();
  }

  #frame(bytes: Buffer, at: number, size: number, end: number): void {
    if (size > this.payloadBytesMax) {
      throw new AmqpError('frame-error', `frame of ${size} bytes is larger than ${this.payloadBytesMax}`);
    }
    const start = at + FRAME_HEAD_BYTES;
    const payloadEnd = start + size;
    if (bytes[payloadEnd] !== FRAME_END) throw new AmqpError('frame-error', 'a frame does not end with 0xce');
    const type = bytes[at] as number;
    const number = readU16(bytes, at + 1);
    if (type === FRAME_METHOD) this.#methodFrame(number, bytes, start, payloadEnd, end);
    else if (type === FRAME_HEADER || type === FRAME_BODY) this.#contentFrame(type, number, bytes, start, payloadEnd);
    else if (type === FRAME_HEARTBEAT) this.#heartbeatFrame(number, size);
    else throw new AmqpError('frame-error', `unknown frame type ${type}`);
  }

  #methodFrame(number: number, bytes: Buffer, start: number, payloadEnd: number, end: number): void {
    if (payloadEnd - start < 4) throw new AmqpError('frame-error', 'a method frame is cut short');
    const id = readU32(bytes, start);
    this.#methodId = id;
    if (number === 0) {
      this.#connectionMethod(id, bytes, start, payloadEnd);
      return;
    }
    const last = this.#lastChannel;
    const channel = last !== undefined && last.number === number ? last : this.#findChannel(number);
    if (channel === undefined || channel.closing) {
      this.#unopenedMethod(channel, number, id);
      return;
    }
    if (id === BASIC_PUBLISH) {
      this.#next = channel.publisher.publish(bytes, start + 4, payloadEnd, end);
      return;
    }
    if (id === CHANNEL_OPEN) throw new AmqpError('channel-error', "second 'channel.open' seen");
    if (id === CHANNEL_CLOSE) {
      this.#dropChannel(channel);
      this.send(number, 'channel.close-ok', {});
      return;
    }
    if (id >>> 16 === 10) throw new AmqpError('command-invalid', 'connection methods belong on channel 0');
    const waiting = channel.method(id, bytes, start, payloadEnd);
    if (waiting !== undefined) this.#wait(waiting, number, id);
  }

  #contentFrame(type: number, number: number, bytes: Buffer, start: number, end: number): void {
    const channel = this.#findChannel(number);
    if (channel === undefined) {
      if (this.#state === 'closing') return;
      throw new AmqpError('channel-error', "expected 'channel.open'");
    }
    if (channel.closing) return;
    this.#methodId = BASIC_PUBLISH;
    if (type === FRAME_HEADER) channel.publisher.header(bytes, start, end);
    else channel.publisher.body(bytes, start, end);
  }

  #heartbeatFrame(number: number, size: number): void {
    if (number !== 0) throw new AmqpError('unexpected-frame', 'heartbeats belong on channel 0');
    if (size !== 0) throw new AmqpError('frame-error', 'a heartbeat has no payload');
  }

  // ---- Channels ---------------------------------------------------------------------------------------------------

  #findChannel(number: number): Channel | undefined {
    const channel = this.#channels.get(number);
    if (channel !== undefined) this.#lastChannel = channel;
    return channel;
  }

  /** A method on a channel that is not open, or that we are closing. */
  #unopenedMethod(channel: Channel | undefined, number: number, id: number): void {
    if (this.#state === 'closing') return;
    if (channel !== undefined) {
      // After channel.close everything but its answer is ignored (specification 1.5.2.5).
      if (id === CHANNEL_CLOSE) this.send(number, 'channel.close-ok', {});
      if (id === CHANNEL_CLOSE || id === CHANNEL_CLOSE_OK) this.#dropChannel(channel);
      return;
    }
    if (this.#state !== 'running') throw new AmqpError('command-invalid', 'the connection is not open yet');
    if (id === CHANNEL_CLOSE_OK) return;
    if (id !== CHANNEL_OPEN) throw new AmqpError('channel-error', "expected 'channel.open'");
    if (number > this.#tuning.channelMax) {
      throw new AmqpError('channel-error', `channel ${number} is higher than channel_max ${this.#tuning.channelMax}`);
    }
    this.#channels.set(number, new Channel(this, number));
    this.send(number, 'channel.open-ok', {});
  }

  #dropChannel(channel: Channel): void {
    if (!channel.closing) channel.close();
    this.#channels.delete(channel.number);
    if (this.#lastChannel === channel) this.#lastChannel = undefined;
  }

  /** Parse nothing more until the core has done what a method asked for: later methods may depend on it. */
  #wait(done: Promise<void>, number: number, methodId: number): void {
    this.hold(done);
    const after = () => this.release(done);
    done.then(after, (error: unknown) => {
      this.#methodId = methodId;
      this.#fail(error, number);
      after();
    });
  }

  #writeLate(): void {
    if (this.#lateWriters.length === 0 || this.#state !== 'running') return;
    const writers = this.#lateWriters;
    this.#lateWriters = [];
    for (const writer of writers) writer.writeLate();
  }

  // ---- The connection class ---------------------------------------------------------------------------------------

  #connectionMethod(id: number, bytes: Buffer, start: number, end: number): void {
    if (this.#state === 'closing') {
      this.#whileClosing(id);
      return;
    }
    if (id >>> 16 !== 10) throw new AmqpError('command-invalid', 'only connection methods belong on channel 0');
    const method = decodeMethod(bytes, start, end);
    if (method.name === 'connection.close') this.#closedByPeer(method.args);
    else if (method.name === 'connection.start-ok' && this.#state === 'starting') this.#startOk(method.args, id);
    else if (method.name === 'connection.tune-ok' && this.#state === 'tuning') this.#tuneOk(method.args);
    else if (method.name === 'connection.open' && this.#state === 'opening') this.#open(method.args);
    else if (method.name === 'connection.update-secret' && this.#state === 'running') this.#newSecret(method, id);
    else throw new AmqpError('command-invalid', `method ${method.name} is not allowed while ${this.#state}`);
  }

  #startOk(args: Arguments<'connection.start-ok'>, id: number): void {
    this.#state = 'authenticating';
    this.#clientProperties = args.clientProperties;
    const { user, password } = credentialsOf(args.mechanism, args.response);
    this.#wait(this.#authenticate(user, password, args.mechanism), 0, id);
  }

  async #authenticate(user: string, password: string, mechanism: string): Promise<void> {
    const { peer } = this.connection;
    const login = await this.#environment.authenticator.login(user, password, peer);
    if (this.#state !== 'authenticating') return;
    if (login === undefined) {
      this.#environment.log('warn', 'amqp login refused', { user, peer: peer.address });
      const text = `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`;
      if (this.capable('authentication_failure_close')) throw new AmqpError('access-refused', text);
      // Older clients take a closed socket for the answer.
      this.connection.end();
      return;
    }
    this.#login = login;
    this.#state = 'tuning';
    const { channelMax, frameBytesMax, heartbeatSeconds } = this.#tuning;
    this.send(0, 'connection.tune', { channelMax, frameMax: frameBytesMax, heartbeat: heartbeatSeconds });
  }

  #tuneOk(args: Arguments<'connection.tune-ok'>): void {
    this.#tuning = agreedTuning(this.#tuning, args);
    this.#stream.payloadBytesMax = this.#tuning.frameBytesMax - FRAME_EXTRA_BYTES;
    this.messages.frameBytesMax = this.#tuning.frameBytesMax;
    this.#state = 'opening';
    if (this.#tuning.heartbeatSeconds === 0) return;
    this.#heartbeat = new Heartbeat(
      this.connection,
      this.clock,
      this.#tuning.heartbeatSeconds,
      () => this.#stream.held,
      () => {
        this.#environment.log('warn', 'amqp peer missed heartbeats', this.#about());
        this.connection.destroy();
      },
    );
  }

  #open(args: Arguments<'connection.open'>): void {
    const { broker, authenticator, log } = this.#environment;
    const login = this.#login as Login;
    const vhost = args.virtualHost;
    if (!authenticator.mayEnter(login, vhost)) {
      throw new AmqpError('not-allowed', `access to vhost '${vhost}' refused for user '${login.user}'`);
    }
    if (!broker.admin.vhosts().some(({ name }) => name === vhost)) {
      throw new AmqpError('not-allowed', `vhost '${vhost}' not found`);
    }
    const { address, port } = this.connection.peer;
    const name = this.#clientProperties['connection_name'];
    const clientId = typeof name === 'string' ? shortText(name) : '';
    const identity = { user: login.user, clientId, protocol: 'amqp091', peer: `${address}:${port}` };
    const blocking = new Blocking(this, broker.blockedBy);
    this.#client = broker.client(vhost, identity, {
      onBlocked: (reason) => blocking.onAlarm(reason),
      onUnblocked: () => blocking.onAlarmOver(),
      onClose: (reason, detail) => this.#closeConnection(new AmqpError(REPLY_OF[reason], detail)),
    });
    this.#blocking = blocking;
    this.#timer?.cancel();
    this.#state = 'running';
    this.send(0, 'connection.open-ok', {});
    log('debug', 'amqp connection open', this.#about());
  }

  /** connection.update-secret: the new password is checked, and the connection goes on. */
  #newSecret(method: DecodedMethod & { name: 'connection.update-secret' }, id: number): void {
    const user = (this.#login as Login).user;
    const check = async (): Promise<void> => {
      const secret = method.args.newSecret.toString('utf8');
      const login = await this.#environment.authenticator.login(user, secret, this.connection.peer);
      if (login === undefined) throw new AmqpError('access-refused', 'the new secret was refused');
      this.send(0, 'connection.update-secret-ok', {});
    };
    this.#wait(check(), 0, id);
  }

  // ---- Endings ----------------------------------------------------------------------------------------------------

  #fail(error: unknown, number: number): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    const failure = toAmqpError(error, this.#methodId);
    if (failure.reply === 'internal-error') {
      this.#environment.log('error', 'amqp session failed', {
        ...this.#about(),
        error: String(failure.cause ?? failure),
      });
    }
    const channel = this.#channels.get(number);
    if (!failure.soft || channel === undefined) {
      this.#closeConnection(failure);
      return;
    }
    if (channel.closing) return;
    channel.close();
    channel.closing = true;
    this.send(number, 'channel.close', closeArguments(failure));
  }

  #closeConnection(failure: AmqpError): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#environment.log('info', 'amqp connection closed by the broker', {
      ...this.#about(),
      reason: failure.replyText,
    });
    this.#state = 'closing';
    this.#stop();
    this.send(0, 'connection.close', closeArguments(failure));
    this.#timer = this.clock.after(CLOSE_WAIT_MS, () => this.connection.destroy());
    this.#stream.releaseAll();
  }

  /** We have sent connection.close: everything but its answer is ignored. */
  #whileClosing(id: number): void {
    if (id === METHODS['connection.close'].id) this.send(0, 'connection.close-ok', {});
    else if (id !== METHODS['connection.close-ok'].id) return;
    this.#state = 'closed';
    this.#stream.end();
    this.connection.end();
  }

  #closedByPeer(args: Arguments<'connection.close'>): void {
    this.#environment.log('debug', 'amqp connection closed', { ...this.#about(), reply: args.replyText });
    for (const channel of this.#channels.values()) channel.publisher.writeLate();
    this.#stop();
    this.send(0, 'connection.close-ok', {});
    this.#state = 'closed';
    this.#stream.end();
    this.connection.end();
    this.#timer = this.clock.after(CLOSE_WAIT_MS, () => this.connection.destroy());
  }

  #tooSlow(): void {
    this.#environment.log('info', 'amqp handshake was not finished in time', this.#about());
    this.connection.destroy();
  }

  /** Give everything back to the core. */
  #stop(lost = false): void {
    this.#timer?.cancel();
    this.#heartbeat?.stop();
    for (const channel of this.#channels.values()) channel.close(lost);
    this.#channels.clear();
    this.#lastChannel = undefined;
    this.#client?.close(lost);
  }

  #about(): Readonly<Record<string, unknown>> {
    const { address, port } = this.connection.peer;
    return { peer: `${address}:${port}`, user: this.#login?.user, vhost: this.#client?.vhost, state: this.#state };
  }
}
