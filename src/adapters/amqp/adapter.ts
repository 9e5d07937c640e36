/**
 * The AMQP side of the gateway: takes connections from a listener (or from WebSocket upgrades), finds out which version of
 * AMQP the peer speaks, and hands the connection to a session of that version.
 */
import type { Broker, Clock, Limits } from '../../core/index.ts';
import type { Authenticator } from '../auth.ts';
import type { Connection } from '../connection.ts';

/** Says something about the control plane: never one line per message. */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  msg: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;

export interface AmqpAdapterOptions {
  readonly broker: Broker;
  readonly limits: Limits;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly log: Log;
  /** Shown to clients in the server properties. */
  readonly product: string;
  readonly version: string;
}

export interface AmqpAdapter {
  /** Take over a connection whose peer has said nothing yet. */
  accept(connection: Connection): void;
  /** Tell every peer that the broker stops (320) and resolve when all of them are gone; takes at most a few seconds. */
  close(): Promise<void>;
  /** Connections open now. */
  readonly connections: number;
}

export function createAmqpAdapter(options: AmqpAdapterOptions): AmqpAdapter {
  options.log('debug', 'the AMQP adapter is under construction');
  return {
    accept: (connection) => connection.destroy(),
    close: () => Promise.resolve(),
    connections: 0,
  };
}
