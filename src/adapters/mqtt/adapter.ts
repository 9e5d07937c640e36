/** The MQTT adapter: takes connections from any transport (TCP, TLS, WebSocket) and runs a session on each. */
import type { Broker, Clock, Limits } from '../../core/index.ts';
import type { Authenticator } from '../auth.ts';
import type { Connection } from '../connection.ts';

/** Where the adapter reports; pino fits. Never called per message. */
export interface MqttLog {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface MqttAdapterOptions {
  broker: Broker;
  limits: Limits;
  /** Also decides whether a peer without credentials may enter (`anonymous`). */
  authenticator: Authenticator;
  clock: Clock;
  log: MqttLog;
}

export interface MqttAdapter {
  /** Speak MQTT on a fresh connection. The adapter sets `connection.handlers`. */
  accept(connection: Connection): void;
  /** End all connections (their wills are published); resolves when the last one is gone. */
  close(): Promise<void>;
  /** Open connections, those still in the handshake included. */
  readonly connections: number;
}

/** Registers the format `mqtt3` (id 1) with the broker. */
export function createMqttAdapter(_options: MqttAdapterOptions): MqttAdapter {
  throw new Error('under construction');
}
