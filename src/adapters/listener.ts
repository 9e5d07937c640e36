/** Listening sockets: TCP now, TLS when it is configured. Each accepted socket becomes a `Connection`. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Limits } from '../core/index.ts';
import { type Connection, type Peer, StreamConnection } from './connection.ts';
import { readShared } from './shared-reads.ts';

export interface Listener {
  /** The bound port. */
  readonly port: number;
  /** Stop accepting; resolves when the socket is closed. Open connections are not touched. */
  close(): Promise<void>;
}

export interface ListenOptions {
  host: string;
  port: number;
  limits: Limits;
  /** Answer false to refuse a connection (limit reached): it is closed at once. */
  admit?(): boolean;
  onConnection(connection: Connection): void;
}

export function peerOf(socket: Socket, tls = false): Peer {
  const address = socket.remoteAddress ?? '';
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  return { address: plain, port: socket.remotePort ?? 0, loopback: plain === '::1' || plain.startsWith('127.'), tls };
}

/** Rejects with the system error (EADDRINUSE, EACCES, ...) when the port cannot be bound. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const server: Server = createServer({ noDelay: true, keepAlive: true, pauseOnConnect: true }, (accepted) => {
    if (options.admit !== undefined && !options.admit()) {
      accepted.destroy();
      return;
    }
    const peer = peerOf(accepted);
    const socket = readShared(accepted, (bytes) => connection.received(bytes));
    const connection: StreamConnection = new StreamConnection(socket, peer, options.limits);
    options.onConnection(connection);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
