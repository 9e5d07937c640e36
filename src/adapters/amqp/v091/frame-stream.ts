/**
 * From chunks to frames: finds whole frames in what the connection reads, whatever the cut, and stops when asked to. Frames
 * are handed out where they lie in the chunk; only those that a chunk boundary cuts are copied.
 */
import type { Connection } from '../../connection.ts';
import { FRAME_HEAD_BYTES, readU32 } from './codec.ts';
import { FrameCarry } from './frame-carry.ts';

export interface FrameHandler {
  /**
   * A frame starts at `at`; it is whole, unless `size` (of its payload) is above `payloadBytesMax`. More bytes follow it,
   * up to `end`. Must not throw. Answers the index behind what was used.
   */
  onFrame(bytes: Buffer, at: number, size: number, end: number): number;
  /** All whole frames of a chunk have been handed out. */
  onParsed(): void;
}

export class FrameStream {
  readonly #connection: Connection;
  readonly #handler: FrameHandler;
  readonly #carry = new FrameCarry();
  readonly #holds = new Set<object>();
  readonly #backlog: Buffer[] = [];
  #parsing = false;
  #paused = false;
  #ended = false;
  /** Bytes of a frame's payload, at most. */
  payloadBytesMax: number;

  constructor(connection: Connection, handler: FrameHandler, payloadBytesMax: number) {
    this.#connection = connection;
    this.#handler = handler;
    this.payloadBytesMax = payloadBytesMax;
  }

  /** Somebody holds it: nothing is parsed or read. */
  get held(): boolean {
    return this.#holds.size > 0;
  }

  has(reason: object): boolean {
    return this.#holds.has(reason);
  }

  onChunk(chunk: Buffer): void {
    if (this.#ended) return;
    // The chunk's bytes are good for this call only: what has to wait is copied.
    if (this.held || this.#parsing || this.#backlog.length > 0) this.#backlog.push(Buffer.from(chunk));
    else this.#consume(chunk);
  }

  /** Hand out nothing more, and read nothing, until every reason has been released. */
  hold(reason: object): void {
    if (this.#ended) return;
    this.#holds.add(reason);
    if (this.#paused) return;
    this.#paused = true;
    this.#connection.pause();
  }

  release(reason: object): void {
    if (!this.#holds.delete(reason) || this.held) return;
    // Callers are in the middle of their own work: go on when it is done.
    queueMicrotask(() => this.#continue());
  }

  releaseAll(): void {
    this.#holds.clear();
    queueMicrotask(() => this.#continue());
  }

  /** Nothing more is handed out, and what was kept is dropped. */
  end(): void {
    this.#ended = true;
    this.#holds.clear();
    this.#backlog.length = 0;
    this.#carry.clear();
  }

  #continue(): void {
    if (this.#parsing) return;
    const backlog = this.#backlog;
    while (!this.held && backlog.length > 0) this.#consume(backlog.shift() as Buffer);
    if (this.held || !this.#paused || this.#ended) return;
    this.#paused = false;
    this.#connection.resume();
  }

  #consume(chunk: Buffer): void {
    this.#parsing = true;
    let at = this.#completeCarried(chunk);
    if (this.#carry.empty) at = this.#parse(chunk, at, chunk.length);
    if (at < chunk.length && !this.#ended) {
      if (this.held) this.#backlog.unshift(Buffer.from(chunk.subarray(at)));
      else this.#carry.keep(chunk, at);
    }
    this.#parsing = false;
    this.#handler.onParsed();
  }

  /** Finish the frame whose beginning came with an earlier chunk; answers the index behind what it took. */
  #completeCarried(chunk: Buffer): number {
    const carry = this.#carry;
    if (carry.empty) return 0;
    const at = carry.complete(chunk, this.payloadBytesMax);
    if (!carry.whole) return at;
    const { bytes, length } = carry;
    carry.clear();
    this.#parse(bytes, 0, length);
    return at;
  }

  /** Hand out the frames in `[at, end)`; answers the index of the first byte that belongs to none. */
  #parse(bytes: Buffer, at: number, end: number): number {
    const handler = this.#handler;
    while (end - at >= FRAME_HEAD_BYTES && this.#holds.size === 0 && !this.#ended) {
      const size = readU32(bytes, at + 3);
      // A frame that is too large is not waited for.
      if (at + FRAME_HEAD_BYTES + size >= end && size <= this.payloadBytesMax) return at;
      at = handler.onFrame(bytes, at, size, end);
      if (at > end) return end;
    }
    return at;
  }
}
