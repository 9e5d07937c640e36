/** The HTTP adapter: publish, lease and settle, inspect and declare, health (docs/protocols/http.md). */
import type { Server } from 'node:http';
import type { Broker, Clock, Limits } from '../../core/index.ts';
import type { Authenticator } from '../auth.ts';
import type { Log } from '../log.ts';

export interface HttpAdapterOptions {
  /** May be handed in later, with `start`: the health routes answer before the broker has recovered. */
  broker?: Broker;
  limits: Limits;
  authenticator: Authenticator;
  clock: Clock;
  log: Log;
  /** Of the program, for `/v1/info`. */
  version: string;
  /** What `/health/ready` answers: true from the end of the start until the stop begins. */
  ready(): boolean;
  /** Origins of browser pages, besides our own, that may call us (`https://app.example.org`). */
  allowedOrigins: readonly string[];
}

export interface HttpAdapter {
  /** The server behind it: the WebSocket adapter attaches here. */
  readonly server: Server;
  /** Bind and accept; resolves to the bound port. Rejects with the system error (EADDRINUSE, EACCES, ...). */
  listen(host: string, port: number): Promise<number>;
  /** Serve everything, not only health: the broker has recovered. */
  start(broker: Broker): void;
  /** Refuse new requests, end long polls, requeue what is leased, close every connection. Idempotent. */
  close(): Promise<void>;
}

export async function createHttpAdapter(options: HttpAdapterOptions): Promise<HttpAdapter> {
  void options;
  throw new Error('under construction');
}
