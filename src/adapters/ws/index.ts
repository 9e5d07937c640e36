/** The WebSocket adapter: JSON frames for browsers (docs/protocols/websocket.md), and the upgrade for other subprotocols. */
import type { Server } from 'node:http';
import type { Broker, Clock, Limits } from '../../core/index.ts';
import type { Authenticator } from '../auth.ts';
import type { Log } from '../log.ts';

export interface WsAdapterOptions {
  /** May be handed in later, with `start`. */
  broker?: Broker;
  limits: Limits;
  authenticator: Authenticator;
  clock: Clock;
  log: Log;
  /** Of the program, for the greeting. */
  version: string;
  /** Origins of browser pages, besides our own, that may connect (`https://app.example.org`). */
  allowedOrigins: readonly string[];
}

export interface WsAdapter {
  /** Take the upgrade requests of an HTTP server. */
  attach(server: Server): void;
  /** Take connections: the broker has recovered. */
  start(broker: Broker): void;
  /** Tell every peer that we are going away and close. Idempotent. */
  close(): Promise<void>;
  /** Open connections. */
  readonly connections: number;
}

export function createWsAdapter(options: WsAdapterOptions): WsAdapter {
  void options;
  throw new Error('under construction');
}
