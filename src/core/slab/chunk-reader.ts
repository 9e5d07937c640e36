/** Exact reads from a stream of chunks that may be cut anywhere: how checkpoint state is read back. */
import { CoreError } from '../errors.ts';

export class ChunkReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Fill `target`. Rejects with CoreError `journal-corrupt` when the stream ends before that. */
  async fill(target: Uint8Array): Promise<void> {
    let filled = 0;
    while (filled < target.length) {
      if (this.#at === this.#chunk.length && !(await this.#pull())) {
        throw new CoreError('journal-corrupt', 'checkpoint: the state ends too early');
      }
      const count = Math.min(target.length - filled, this.#chunk.length - this.#at);
      target.set(this.#chunk.subarray(this.#at, this.#at + count), filled);
      this.#at += count;
      filled += count;
    }
  }

  /** The next `length` bytes, in a buffer of their own. The caller has checked `length`. Rejects as `fill` does. */
  async read(length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(length);
    await this.fill(bytes);
    return bytes;
  }

  /** Whether nothing is left. */
  async atEnd(): Promise<boolean> {
    return this.#at === this.#chunk.length && !(await this.#pull());
  }

  /** Go to the next chunk that is not empty; false at the end. */
  async #pull(): Promise<boolean> {
    for (;;) {
      const next = await this.#chunks.next();
      if (next.done) return false;
      this.#chunk = next.value;
      this.#at = 0;
      if (this.#chunk.length > 0) return true;
    }
  }
}
