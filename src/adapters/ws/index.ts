/** The WebSocket adapter: JSON frames for browsers (docs/protocols/websocket.md), and the upgrade for other subprotocols. */
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { type Broker, type Clock, CoreError, type ErrorCode, type Limits, type Timer } from '../../core/index.ts';
import type { Authenticator, Login } from '../auth.ts';
import { JSON_FORMAT } from '../json-format.ts';
import { peerOf } from '../listener.ts';
import type { Log } from '../log.ts';
import { basicCredentials, loginOf, OriginPolicy } from '../web.ts';
import { CLOSE } from './errors.ts';
import { MessageFrames } from './message-frames.ts';
import { WsOutput } from './output.ts';
import { type Arrival, JsonSession, type SessionContext } from './session.ts';

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
  /** Protocols besides `junction.json`, by the name clients offer them with (`mqtt`, `amqp`). */
  subprotocols?: ReadonlyMap<string, SubprotocolHandler>;
}

/** Takes over an open WebSocket whose client chose this subprotocol. */
export type SubprotocolHandler = (ws: WebSocket, socket: Socket, arrival: Arrival) => void;

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

const PATH = '/ws';
/** The subprotocol of the JSON frames, also spoken with clients that name none. */
const JSON_SUBPROTOCOL = 'junction.json';
/** Bounds on what a message may be made of: many tiny pieces cost memory of their own. */
const FRAGMENTS_MAX = 1024;
const BUFFERED_CHUNKS_MAX = 32 * 1024;
/** A peer that does not answer the close frame is cut off after this. */
const CLOSE_MS = 1_000;

export function createWsAdapter(options: WsAdapterOptions): WsAdapter {
  return new Adapter(options);
}

class Adapter implements WsAdapter {
  readonly #options: WsAdapterOptions;
  readonly #origins: OriginPolicy;
  readonly #server: WebSocketServer;
  readonly #handlers: Map<string, SubprotocolHandler>;
  /** Open WebSockets; false: no sign of life since the last ping. */
  readonly #alive = new Map<WebSocket, boolean>();
  /** Upgrades whose password is being checked. */
  #entering = 0;
  #context: SessionContext | undefined;
  #pings: Timer | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: WsAdapterOptions) {
    this.#options = options;
    this.#origins = new OriginPolicy(options.allowedOrigins);
    this.#handlers = new Map(options.subprotocols);
    this.#handlers.set(JSON_SUBPROTOCOL, (ws, socket, arrival) => this.#openJson(ws, socket, arrival));
    // `closeTimeout` is missing from the published types.
    const settings: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: options.limits.wsFrameBytesMax,
      maxFragments: FRAGMENTS_MAX,
      maxBufferedChunks: BUFFERED_CHUNKS_MAX,
      closeTimeout: CLOSE_MS,
      handleProtocols: (offered) => this.#choose(offered) ?? false,
    };
    this.#server = new WebSocketServer(settings);
    if (options.broker !== undefined) this.start(options.broker);
  }

  get connections(): number {
    return this.#alive.size + this.#entering;
  }

  attach(server: Server): void {
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      // Whatever goes wrong with the socket until it is a WebSocket: `close` follows.
      socket.on('error', () => socket.destroy());
      this.#upgrade(request, socket as Socket, head).catch((error: unknown) => {
        this.#options.log('error', 'a WebSocket upgrade failed', { err: error });
        socket.destroy();
      });
    });
  }

  start(broker: Broker): void {
    broker.registerFormat(JSON_FORMAT);
    this.#context = { ...this.#options, broker, frames: new MessageFrames(broker) };
    this.#schedulePings();
  }

  close(): Promise<void> {
    this.#context = undefined;
    this.#pings?.cancel();
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    const all = [...this.#alive.keys()];
    const closed = all.map((ws) => new Promise<void>((resolve) => ws.once('close', () => resolve())));
    for (const ws of all) ws.close(CLOSE.goingAway, 'stopping');
    const cut = this.#options.clock.after(CLOSE_MS, () => {
      for (const ws of all) ws.terminate();
    });
    await Promise.all(closed);
    cut.cancel();
  }

  async #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const [path, query = ''] = (request.url ?? '').split('?', 2);
    if (path !== PATH) return refuse(socket, 404, 'not-found', `WebSockets are at ${PATH}`);
    if (this.#context === undefined) return refuse(socket, 503, 'stopping', 'not ready');
    if (this.connections >= this.#options.limits.connectionsMax) return refuse(socket, 503, 'connection-limit');
    if (!this.#origins.allows(request))
      return refuse(socket, 403, 'access-refused', 'pages of this origin may not connect');
    const offered = offeredProtocols(request);
    if (offered.size > 0 && this.#choose(offered) === undefined) {
      return refuse(socket, 400, 'not-supported', `none of the subprotocols; known: ${[...this.#handlers.keys()]}`);
    }
    let login: Login | undefined;
    this.#entering++;
    try {
      login = await this.#login(request, socket);
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      return refuse(socket, 401, error.code, error.message);
    } finally {
      this.#entering--;
    }
    const vhost = new URLSearchParams(query).get('vhost') ?? undefined;
    const arrival: Arrival = { login, vhost, mayBeAnonymous: this.#origins.allowsAnonymous(request) };
    // Checks method, headers and version, and answers what is wrong by itself.
    this.#server.handleUpgrade(request, socket, head, (ws) => this.#open(ws, socket, arrival));
  }

  /** The login of a request that brings credentials. */
  async #login(request: IncomingMessage, socket: Socket): Promise<Login | undefined> {
    const credentials = basicCredentials(request.headers.authorization);
    if (credentials === undefined) return undefined;
    return loginOf(this.#options.authenticator, credentials, peerOf(socket));
  }

  #choose(offered: ReadonlySet<string>): string | undefined {
    for (const name of offered) if (this.#handlers.has(name)) return name;
    return undefined;
  }

  #open(ws: WebSocket, socket: Socket, arrival: Arrival): void {
    if (this.#context === undefined) {
      ws.close(CLOSE.goingAway, 'stopping');
      return;
    }
    this.#alive.set(ws, true);
    // The peer broke the protocol: `ws` has answered with the close code, and `close` follows.
    ws.on('error', () => {});
    ws.on('close', () => this.#alive.delete(ws));
    ws.on('pong', () => this.#alive.set(ws, true));
    this.#handlers.get(ws.protocol === '' ? JSON_SUBPROTOCOL : ws.protocol)?.(ws, socket, arrival);
  }

  #openJson(ws: WebSocket, socket: Socket, arrival: Arrival): void {
    const context = this.#context as SessionContext;
    const { limits } = context;
    const output = new WsOutput(ws, socket, peerOf(socket), limits);
    const session = new JsonSession(context, output, arrival);
    const before = socket.bytesRead;
    // A peer that is not logged in is held to a tighter limit, and that before its frame is complete.
    const watch = (): void => {
      if (session.loggedIn) socket.off('data', watch);
      else if (socket.bytesRead - before > limits.frameBytesBeforeLoginMax) {
        session.end(new CoreError('frame-too-large', 'log in first'));
      }
    };
    // In front of `ws`, which may emit the whole message from the same chunk.
    socket.prependListener('data', watch);
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) session.close(CLOSE.notText, 'frames are text');
      else session.onText(data.toString('utf8'));
    });
  }

  /** Ping everybody from time to time, and cut off who has not answered the last one. */
  #schedulePings(): void {
    this.#pings = this.#options.clock.after(this.#options.limits.wsPingMs, () => {
      for (const [ws, alive] of this.#alive) {
        if (!alive) {
          ws.terminate();
          continue;
        }
        this.#alive.set(ws, false);
        ws.ping();
      }
      this.#schedulePings();
    });
  }
}

function offeredProtocols(request: IncomingMessage): Set<string> {
  const header = request.headers['sec-websocket-protocol'] ?? '';
  return new Set(
    header
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  );
}

/** Answer an upgrade request that is refused, as HTTP. */
function refuse(socket: Socket, status: number, error: ErrorCode, message = ''): void {
  const body = JSON.stringify({ error, message: new CoreError(error, message === '' ? undefined : message).message });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  if (status === 401) head.push('WWW-Authenticate: Basic realm="JunctionMQ", charset="UTF-8"');
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
