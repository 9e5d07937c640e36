/**
 * The AMQP side of the gateway: takes connections from a listener (or from WebSocket upgrades), finds out which version of
 * AMQP the peer speaks, and hands the connection to a session of that version.
 */
import type { Broker, Clock, Limits } from '../../core/index.ts';
import type { Authenticator } from '../auth.ts';
import type { Connection } from '../connection.ts';
import type { Log } from '../log.ts';
import { Detector } from './detect.ts';
import { AMQP091_FORMAT, Converter } from './v091/message.ts';
import { Session } from './v091/session.ts';

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

/** Registers the message format with the broker: one adapter for each broker. */
export function createAmqpAdapter(options: AmqpAdapterOptions): AmqpAdapter {
  options.broker.registerFormat(AMQP091_FORMAT);
  const environment = { ...options, converter: new Converter(options.broker) };
  /** Every connection, with what ends it in an orderly way. */
  const open = new Map<Connection, () => void>();
  let whenEmpty: (() => void) | undefined;
  let closing = false;

  const gone = (connection: Connection): void => {
    open.delete(connection);
    if (open.size === 0) whenEmpty?.();
  };

  return {
    accept(connection) {
      if (closing) {
        connection.destroy();
        return;
      }
      open.set(connection, () => connection.destroy());
      const start = (_version: string, handshakeMs: number): Session => {
        const session = new Session(connection, environment, handshakeMs, () => gone(connection));
        open.set(connection, () => session.shutdown('the broker is stopping'));
        return session;
      };
      new Detector(connection, options.clock, start, () => gone(connection));
    },
    async close() {
      closing = true;
      if (open.size === 0) return;
      const empty = new Promise<void>((resolve) => {
        whenEmpty = resolve;
      });
      for (const end of [...open.values()]) end();
      await empty;
    },
    get connections() {
      return open.size;
    },
  };
}
