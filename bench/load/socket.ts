/**
 * A client socket with as little between us and the kernel as Node allows: reads go into one buffer for good, and what is left
 * of a frame at its end is moved to the front before the next read.
 */
import { connect, type Socket } from 'node:net';

const READ_BYTES = 256 * 1024;

/** Consume whole frames of `bytes[0, end)` and answer how many bytes they were. */
export type Parse = (bytes: Buffer, end: number) => number;

export class FastSocket {
  readonly #bytes = Buffer.allocUnsafe(READ_BYTES);
  readonly #socket: Socket;
  #kept = 0;
  #closing = false;
  /** What to do with the bytes that come in; may be replaced at any time. */
  parse: Parse = (_bytes, end) => end;
  onError: (error: Error) => void = (error) => {
    throw error;
  };

  private constructor(port: number) {
    this.#socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: () => this.#bytes.subarray(this.#kept), callback: (count) => this.#read(count) },
    });
    this.#socket.on('error', (error) => this.onError(error));
    this.#socket.on('close', () => {
      if (!this.#closing) this.onError(new Error('the server closed a connection'));
    });
  }

  /** Connect to a port on loopback. */
  static async open(port: number): Promise<FastSocket> {
    const fast = new FastSocket(port);
    await new Promise<void>((resolve, reject) => {
      fast.#socket.once('connect', resolve);
      fast.#socket.once('error', reject);
    });
    return fast;
  }

  /** The bytes must stay as they are until they are sent. */
  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Bytes handed to `write` that the kernel has not taken. */
  get waiting(): number {
    return this.#socket.writableLength;
  }

  /** Close once everything written is sent. */
  close(): void {
    this.#closing = true;
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #read(count: number): boolean {
    const end = this.#kept + count;
    const used = this.parse(this.#bytes, end);
    this.#kept = end - used;
    if (this.#kept > 0 && used > 0) this.#bytes.copyWithin(0, used, end);
    if (this.#kept === READ_BYTES) throw new Error(`a frame larger than ${READ_BYTES} bytes`);
    return true;
  }
}
