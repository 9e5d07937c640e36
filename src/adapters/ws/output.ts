/**
 * The sending side of a WebSocket. Frames are built in the connection's slab and written to the socket once per turn of the
 * event loop, past `ws`: a frame of a server is not masked, so the same bytes serve every subscriber. That is allowed because
 * only whole frames are written, there is no compression, and `ws` itself writes its own frames (pong, close) at once.
 */
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { Limits } from '../../core/index.ts';
import { Connection, type Peer } from '../connection.ts';

/** FIN and opcode 1, text [RFC 6455 section 5.2]. */
const TEXT = 0x81;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

/** Bytes of the header in front of a payload. */
function headerBytes(payloadBytes: number): number {
  if (payloadBytes < LENGTH_16) return 2;
  return payloadBytes < 0x1_0000 ? 4 : 10;
}

/** Write the header of a text frame at `at`; answers where the payload goes. */
function writeHeader(into: Buffer, at: number, payloadBytes: number): number {
  into[at] = TEXT;
  if (payloadBytes < LENGTH_16) {
    into[at + 1] = payloadBytes;
    return at + 2;
  }
  if (payloadBytes < 0x1_0000) {
    into[at + 1] = LENGTH_16;
    return into.writeUInt16BE(payloadBytes, at + 2);
  }
  into[at + 1] = LENGTH_64;
  into.writeUInt32BE(Math.floor(payloadBytes / 0x1_0000_0000), at + 2);
  return into.writeUInt32BE(payloadBytes >>> 0, at + 6);
}

/** A whole text frame in a buffer of its own, to be sent to many. */
export function textFrame(text: string): Buffer {
  const payloadBytes = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafeSlow(headerBytes(payloadBytes) + payloadBytes);
  frame.write(text, writeHeader(frame, 0, payloadBytes), 'utf8');
  return frame;
}

/** What stands for the code of a close frame that never came [RFC 6455 section 7.1.5]. */
const LOST = 1006;

/** A WebSocket as a `Connection` that frames are written to. What arrives comes from `ws`, as whole messages. */
export class WsOutput extends Connection {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  #corked = false;

  constructor(ws: WebSocket, socket: Socket, peer: Peer, limits: Limits) {
    super(peer, limits);
    this.#ws = ws;
    this.#socket = socket;
    let failure: Error | undefined;
    socket.on('drain', () => this.drained());
    ws.on('error', (error) => {
      failure = error;
    });
    ws.on('close', (code) =>
      this.finished(failure ?? (code === LOST ? new Error('the connection was lost') : undefined)),
    );
  }

  /** Queue one text frame. */
  sendText(text: string): void {
    const payloadBytes = Buffer.byteLength(text);
    const at = this.reserve(headerBytes(payloadBytes) + payloadBytes);
    this.slab.write(text, writeHeader(this.slab, at, payloadBytes), 'utf8');
  }

  /** Queue a whole frame made by `textFrame`. */
  sendFrame(frame: Buffer): void {
    this.send(frame, 0, frame.length);
  }

  /** Send what is queued, then the close frame. */
  closeWith(code: number, reason: string): void {
    if (this.closed) return;
    this.flush();
    // At most 123 bytes fit [RFC 6455 section 5.5.1].
    this.#ws.close(code, reason.length > 100 ? `${reason.slice(0, 97)}...` : reason);
  }

  protected get transportQueued(): number {
    return this.#socket.writableLength;
  }

  protected transmit(bytes: Buffer, done: (() => void) | undefined): void {
    // After a close frame nothing more may be sent.
    if (this.#ws.readyState !== WebSocket.OPEN) {
      done?.();
      return;
    }
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
    }
    this.#socket.write(bytes, done);
  }

  protected uncork(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#socket.uncork();
  }

  protected endTransport(): void {
    this.#ws.close();
  }

  destroy(error?: Error): void {
    this.#ws.terminate();
    this.finished(error);
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }
}
