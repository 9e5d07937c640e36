/** A broker with an MQTT adapter and scripted peers on connections in memory: no sockets. */
import mqttPacket, { type Packet } from 'mqtt-packet';
import type { Authenticator, Login } from '../../../src/adapters/auth.ts';
import { Connection, type Peer } from '../../../src/adapters/connection.ts';
import { createMqttAdapter, type MqttAdapter } from '../../../src/adapters/mqtt/adapter.ts';
import { type Clock, type Limits, limitsWith, SystemClock } from '../../../src/core/index.ts';
import { NodeDisk } from '../../../src/core/journal/node-disk.ts';
import { openBroker, type RunningBroker, startBroker } from '../../../src/core/start.ts';
import { memoryRecovery } from '../../../src/testing/memory-journal.ts';

/** A connection whose other end is a `ScriptedPeer`. */
export class MemoryConnection extends Connection {
  paused = false;
  ended = false;
  /** False: the peer does not read; what is written stays queued. */
  reading = true;
  readonly written: Buffer[] = [];
  onWritten: (() => void) | undefined;
  #inbox: Buffer[] = [];
  #unread = 0;

  protected get transportQueued(): number {
    return this.#unread;
  }

  protected transmit(bytes: Buffer, done: (() => void) | undefined): void {
    this.written.push(Buffer.from(bytes));
    if (!this.reading) this.#unread += bytes.length;
    done?.();
  }

  protected uncork(): void {
    if (this.reading) this.onWritten?.();
  }

  protected endTransport(): void {
    this.ended = true;
    setImmediate(() => this.destroy());
  }

  /** The peer reads again. */
  read(): void {
    this.reading = true;
    this.#unread = 0;
    this.onWritten?.();
    this.drained();
  }

  destroy(error?: Error): void {
    this.ended = true;
    this.finished(error);
    this.onWritten?.();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    setImmediate(() => this.#pump());
  }

  /** Bytes from the peer. */
  deliver(bytes: Buffer): void {
    this.#inbox.push(bytes);
    this.#pump();
  }

  #pump(): void {
    while (!this.paused && !this.closed && this.#inbox.length > 0) this.received(this.#inbox.shift() as Buffer);
  }
}

/** Any MQTT packet, as mqtt-packet describes it. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into packets of every kind.
export type Received = Packet & Record<string, any>;

/** Longest any test waits for something that must come. */
const WAIT_MS = 5_000;

export class ScriptedPeer {
  readonly connection: MemoryConnection;
  readonly #packets: Received[] = [];
  readonly #parser;
  #taken = 0;
  #wake: (() => void) | undefined;

  constructor(connection: MemoryConnection, protocolVersion = 4) {
    this.connection = connection;
    this.#parser = mqttPacket.parser({ protocolVersion });
    this.#parser.on('packet', (packet) => this.#packets.push(packet as Received));
    connection.onWritten = () => {
      while (this.#taken < connection.written.length) this.#parser.parse(connection.written[this.#taken++] as Buffer);
      this.#wake?.();
    };
  }

  send(packet: Packet | Buffer): void {
    this.connection.deliver(Buffer.isBuffer(packet) ? packet : mqttPacket.generate(packet));
  }

  /** The next packet; undefined when the connection closed before one came. */
  async next(): Promise<Received | undefined> {
    await this.#until(() => this.#packets.length > 0);
    return this.#packets.shift();
  }

  async #until(done: () => boolean): Promise<void> {
    const deadline = Date.now() + WAIT_MS;
    while (!done() && !this.connection.closed) {
      if (Date.now() > deadline) throw new Error('no packet came');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The next packet, which must be of this kind. */
  async expect(cmd: string): Promise<Received> {
    const packet = await this.next();
    if (packet?.cmd !== cmd) throw new Error(`expected ${cmd}, got ${JSON.stringify(packet ?? 'the end')}`);
    return packet;
  }

  /** Everything that comes before the answer to a ping, after the broker had some turns to think. */
  async all(): Promise<Received[]> {
    for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
    this.send({ cmd: 'pingreq' });
    const packets: Received[] = [];
    for (;;) {
      const packet = await this.next();
      if (packet === undefined) throw new Error('closed');
      if (packet.cmd === 'pingresp') return packets;
      packets.push(packet);
    }
  }

  /** Resolves when the broker has closed the connection; answers the packets that came before. */
  async closed(): Promise<Received[]> {
    const packets: Received[] = [];
    for (;;) {
      const packet = await this.next();
      if (packet === undefined) return packets;
      packets.push(packet);
    }
  }

  /** Go away without a word. */
  vanish(): void {
    this.connection.destroy();
  }

  subscribe(messageId: number, ...filters: [topic: string, qos: 0 | 1 | 2][]): Promise<Received> {
    this.send({ cmd: 'subscribe', messageId, subscriptions: filters.map(([topic, qos]) => ({ topic, qos })) });
    return this.expect('suback');
  }

  publish(
    topic: string,
    payload: string,
    more: { qos?: 0 | 1 | 2; messageId?: number; retain?: boolean; dup?: boolean } = {},
  ) {
    this.send({ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false, ...more });
  }

  /** Publish with QoS 1 and wait for the PUBACK; whatever else comes stays to be taken. */
  async publishSafely(topic: string, payload: string, more: { retain?: boolean } = {}): Promise<void> {
    this.publish(topic, payload, { qos: 1, messageId: 99, ...more });
    const find = () => this.#packets.findIndex((packet) => packet.cmd === 'puback');
    await this.#until(() => find() >= 0);
    if (find() < 0) throw new Error('no puback');
    this.#packets.splice(find(), 1);
  }
}

export interface ConnectOptions {
  clientId?: string;
  clean?: boolean;
  keepalive?: number;
  username?: string;
  password?: string;
  protocolVersion?: 3 | 4;
  will?: { topic: string; payload: string; qos?: 0 | 1 | 2; retain?: boolean };
}

/** `alice` and `bob`, whose passwords are their names; anonymous unless `anonymous: false`. */
function authenticator(anonymous: boolean): Authenticator {
  const login = (user: string): Login => ({ user, vhost: '/', administrator: false });
  return {
    login: async (user, password) => (['alice', 'bob'].includes(user) && password === user ? login(user) : undefined),
    anonymous: () => (anonymous ? login('') : undefined),
    mayEnter: (_login, vhost) => vhost === '/',
  };
}

export interface HarnessOptions {
  clock?: Clock;
  limits?: Partial<Limits>;
  anonymous?: boolean;
  /** Data directory; in memory without one. */
  folder?: string;
  /** What the disk of `folder` says is free. */
  freeBytes?: () => number;
}

export class Harness {
  readonly running: RunningBroker;
  readonly adapter: MqttAdapter;
  readonly limits: Limits;
  /** Mistakes of ours that were logged: there must be none. */
  readonly errors: readonly string[];
  #peers = 0;

  private constructor(running: RunningBroker, adapter: MqttAdapter, limits: Limits, errors: readonly string[]) {
    this.running = running;
    this.adapter = adapter;
    this.limits = limits;
    this.errors = errors;
  }

  static async start(options: HarnessOptions = {}): Promise<Harness> {
    const clock = options.clock ?? new SystemClock();
    const limits = limitsWith(options.limits);
    const errors: string[] = [];
    const log = (level: string, text: string, fields?: object): void => {
      if (level === 'error') errors.push(`${text} ${String(Object.values(fields ?? {}).map(String))}`);
    };
    const disk = new NodeDisk(options.folder ?? '');
    const { freeBytes } = options;
    if (freeBytes !== undefined) disk.freeBytes = async () => freeBytes();
    const running =
      options.folder === undefined
        ? await startBroker({ disk, clock, limits, log }, memoryRecovery(clock))
        : await openBroker({ disk, clock, limits, log });
    const adapter = createMqttAdapter({
      broker: running.broker,
      limits,
      authenticator: authenticator(options.anonymous ?? true),
      clock,
      log,
    });
    return new Harness(running, adapter, limits, errors);
  }

  get broker() {
    return this.running.broker;
  }

  /** A connection on which nothing was said yet. */
  open(): ScriptedPeer {
    const peer: Peer = { address: '127.0.0.1', port: 10_000 + this.#peers++, loopback: true, tls: false };
    const connection = new MemoryConnection(peer, this.limits);
    this.adapter.accept(connection);
    return new ScriptedPeer(connection);
  }

  /** A peer that has sent its CONNECT. */
  greet(options: ConnectOptions = {}): ScriptedPeer {
    const peer = this.open();
    const { will, protocolVersion = 4, ...rest } = options;
    peer.send({
      cmd: 'connect',
      protocolId: protocolVersion === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion,
      clientId: `peer-${this.#peers}`,
      clean: true,
      keepalive: 0,
      ...rest,
      ...(will === undefined ? {} : { will: { qos: 0, retain: false, ...will, payload: Buffer.from(will.payload) } }),
    } as unknown as Packet);
    return peer;
  }

  /** A peer whose session is open. */
  async connect(options: ConnectOptions = {}): Promise<ScriptedPeer & { present: boolean }> {
    const peer = this.greet(options);
    const answer = await peer.expect('connack');
    if (answer['returnCode'] !== 0) throw new Error(`refused with ${answer['returnCode']}`);
    return Object.assign(peer, { present: answer['sessionPresent'] === true });
  }

  async close(): Promise<void> {
    await this.adapter.close();
    await this.running.close();
    if (this.errors.length > 0) throw new Error(this.errors.join('; '));
  }
}

/** What a publish said: topic, payload, QoS and flags in one line, for comparisons. */
export function line(packet: Received): string {
  const flags = `${packet['retain'] ? ' retain' : ''}${packet.dup ? ' dup' : ''}`;
  return `${packet['topic']} ${packet['payload']} qos${packet.qos}${flags}`;
}
