/**
 * Finds out what a new connection speaks from the eight bytes every version of AMQP starts with:
 *
 *     "AMQP" | protocol id | major | minor | revision       0-9-1: 0 0 9 1     1.0: 0 1 0 0 (SASL: 3 1 0 0, TLS: 2 1 0 0)
 *
 * To anything else we answer the header of what we speak and close, as all versions ask for (0-9-1: 4.2.2; 1.0: 2.2).
 */
import type { Clock, Timer } from '../../core/index.ts';
import { copyBytes } from '../bytes.ts';
import type { Connection, ConnectionHandlers } from '../connection.ts';

export type AmqpVersion = '0-9-1';

const HEADER_BYTES = 8;
const HEADER_091: Buffer = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1]);

/** The version a header asks for: undefined while it may still become one, null when it cannot. */
function versionOf(bytes: Buffer, length: number): AmqpVersion | undefined | null {
  for (let at = 0; at < length; at++) if (bytes[at] !== HEADER_091[at]) return null;
  return length < HEADER_BYTES ? undefined : '0-9-1';
}

/** Waits for the header, then hands the connection over. */
export class Detector implements ConnectionHandlers {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #deadline: number;
  readonly #onVersion: (version: AmqpVersion, handshakeMs: number) => ConnectionHandlers;
  readonly #onGone: () => void;
  readonly #header: Buffer = Buffer.alloc(HEADER_BYTES);
  #filled = 0;

  /**
   * @param onVersion make the session that goes on; it has `handshakeMs` left to get its peer logged in
   * @param onGone the connection ended before there was a session
   */
  constructor(
    connection: Connection,
    clock: Clock,
    onVersion: (version: AmqpVersion, handshakeMs: number) => ConnectionHandlers,
    onGone: () => void,
  ) {
    const { handshakeMs } = connection.limits;
    this.#connection = connection;
    this.#clock = clock;
    this.#onVersion = onVersion;
    this.#onGone = onGone;
    this.#deadline = clock.monotonic() + handshakeMs;
    this.#timer = clock.after(handshakeMs, () => connection.destroy());
    connection.handlers = this;
  }

  onChunk(chunk: Buffer): void {
    if (this.#filled < 0) return;
    const take = Math.min(chunk.length, HEADER_BYTES - this.#filled);
    this.#filled = copyBytes(chunk, 0, take, this.#header, this.#filled);
    const version = versionOf(this.#header, this.#filled);
    if (version === undefined) return;
    if (version === null) {
      this.#refuse();
      return;
    }
    this.#timer.cancel();
    const session = this.#onVersion(version, Math.max(1, this.#deadline - this.#clock.monotonic()));
    if (take < chunk.length) session.onChunk(chunk.subarray(take));
  }

  onRoom(): void {}

  onClosed(): void {
    this.#timer.cancel();
    this.#onGone();
  }

  #refuse(): void {
    this.#filled = -1;
    this.#connection.send(HEADER_091, 0, HEADER_BYTES);
    this.#connection.end();
  }
}
