/** The MQTT adapter: takes connections from any transport (TCP, TLS, WebSocket) and runs a session on each. */
import { randomBytes } from 'node:crypto';
import { type Broker, type Clock, type Limits, Message, type Timer } from '../../core/index.ts';
import type { Authenticator } from '../auth.ts';
import type { Connection } from '../connection.ts';
import type { Log } from '../log.ts';
import { MQTT3, mqtt3, TopicRange } from './message.ts';
import { SharedFrame } from './outbox.ts';
import { Session, type SessionShared } from './session.ts';
import { SessionTable } from './sessions.ts';
import { ForeignTopics } from './topic.ts';

export interface MqttAdapterOptions {
  broker: Broker;
  limits: Limits;
  /** Also decides whether a peer without credentials may enter (`anonymous`). */
  authenticator: Authenticator;
  clock: Clock;
  log: Log;
}

export interface MqttAdapter {
  /** Speak MQTT on a fresh connection. The adapter sets `connection.handlers`. */
  accept(connection: Connection): void;
  /** End all connections (their wills are published); resolves when the last one is gone. Idempotent. */
  close(): Promise<void>;
  /** Open connections, those still in the handshake included. */
  readonly connections: number;
}

/** Milliseconds between two looks at the times of all connections. */
const WATCH_MS = 250;
/** Milliseconds peers have to close their side when the adapter closes. */
const CLOSE_MS = 1_000;

class Adapter implements MqttAdapter {
  readonly #options: MqttAdapterOptions;
  readonly #shared: SessionShared;
  readonly #open = new Set<Session>();
  #watch: Timer | undefined;
  #closed: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(options: MqttAdapterOptions) {
    this.#options = options;
    const topic = new TopicRange(new ForeignTopics());
    const view = new Message();
    view.format = MQTT3;
    this.#shared = {
      broker: options.broker,
      limits: options.limits,
      authenticator: options.authenticator,
      log: options.log,
      view,
      topic,
      frame: new SharedFrame(topic),
      sessions: new SessionTable<Session>(),
      newClientId: () => `auto-${randomBytes(12).toString('hex')}`,
      onGone: (session) => this.#gone(session),
    };
  }

  get connections(): number {
    return this.#open.size;
  }

  accept(connection: Connection): void {
    if (this.#closed !== undefined) {
      connection.destroy();
      return;
    }
    this.#open.add(new Session(this.#shared, connection, this.#options.clock.monotonic()));
    this.#watch ??= this.#options.clock.after(WATCH_MS, this.#look);
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#onEmpty = resolve;
      for (const session of [...this.#open]) session.end('stopping: the broker is stopping');
      if (this.#open.size === 0) resolve();
      this.#options.clock.after(CLOSE_MS, () => {
        for (const session of [...this.#open]) session.destroy();
      });
    });
    return this.#closed;
  }

  readonly #look = (): void => {
    const nowMs = this.#options.clock.monotonic();
    for (const session of this.#open) session.watch(nowMs);
    // No timer for nobody: a simulated clock could never run dry.
    this.#watch = this.#open.size === 0 ? undefined : this.#options.clock.after(WATCH_MS, this.#look);
  };

  #gone(session: Session): void {
    this.#open.delete(session);
    if (this.#open.size === 0) this.#onEmpty?.();
  }
}

/** Registers the format `mqtt3` (id 1) with the broker. */
export function createMqttAdapter(options: MqttAdapterOptions): MqttAdapter {
  options.broker.registerFormat(mqtt3);
  return new Adapter(options);
}
