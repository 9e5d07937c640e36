/** The beginning of a frame whose rest has not arrived. Only frames that a chunk boundary cuts are copied here. */
import { copyBytes } from '../../bytes.ts';
import { FRAME_EXTRA_BYTES, FRAME_HEAD_BYTES, readU32 } from './codec.ts';

const FIRST_BYTES = 512;

export class FrameCarry {
  bytes: Buffer = EMPTY;
  length = 0;
  /** `bytes[0, length)` is a whole frame, or a head that announces one too large to wait for. */
  whole = false;

  get empty(): boolean {
    return this.length === 0;
  }

  clear(): void {
    this.length = 0;
    this.whole = false;
  }

  /** Keep `chunk` from `at` on: less than a frame. */
  keep(chunk: Buffer, at: number): void {
    const count = chunk.length - at;
    this.#room(Math.max(count, FIRST_BYTES));
    this.length = copyBytes(chunk, at, chunk.length, this.bytes, 0);
  }

  /**
   * Take what completes the frame from the start of `chunk`; answers the index behind it. A frame whose announced size is
   * above `payloadBytesMax` is not waited for: its head alone is handed out, to be refused.
   */
  complete(chunk: Buffer, payloadBytesMax: number): number {
    let at = 0;
    if (this.length < FRAME_HEAD_BYTES) {
      at = this.#take(chunk, at, FRAME_HEAD_BYTES);
      if (this.length < FRAME_HEAD_BYTES) return at;
    }
    const size = readU32(this.bytes, 3);
    if (size > payloadBytesMax) {
      this.whole = true;
      return at;
    }
    const total = size + FRAME_EXTRA_BYTES;
    at = this.#take(chunk, at, total);
    this.whole = this.length === total;
    return at;
  }

  /** Copy from `chunk` until `total` bytes are here. */
  #take(chunk: Buffer, at: number, total: number): number {
    const until = Math.min(chunk.length, at + total - this.length);
    this.#room(total);
    this.length = copyBytes(chunk, at, until, this.bytes, this.length);
    return until;
  }

  #room(bytes: number): void {
    if (bytes <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(bytes);
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }
}

const EMPTY: Buffer = Buffer.alloc(0);
