import assert from 'node:assert';
import type { Clock } from '../clock.ts';

/** A stretch of a segment in memory: `bytes[0]` is the byte at `start` of the segment. Batches are encoded right into it. */
export interface Chunk {
  readonly bytes: Buffer;
  readonly segment: number;
  readonly start: number;
  /** Bytes in use, from 0: what the log has of it. */
  used: number;
  /** Number of the last batch that was opened in it. */
  lastBatch: number;
}

/**
 * The newest chunks of the log, and the buffers they are made of. Holds everything not yet durable, and of the rest as much as
 * `bytesMax` allows. A chunk is contiguous in its segment, so finding a record is a search among a few dozen chunks.
 */
export class TailCache {
  readonly #clock: Clock;
  readonly #bytesMax: number;
  readonly #chunkBytes: number;
  /** In log order. */
  readonly #chunks: Chunk[] = [];
  #bytes = 0;
  #memo = 0;
  readonly #free: Buffer[] = [];

  /** @param chunkBytes size of the ordinary chunk; a larger record gets a chunk of its own size */
  constructor(clock: Clock, bytesMax: number, chunkBytes: number) {
    this.#clock = clock;
    this.#bytesMax = bytesMax;
    this.#chunkBytes = chunkBytes;
  }

  /** A new chunk behind all others, with room for at least `bytes`. */
  add(segment: number, start: number, bytes: number, batch: number): Chunk {
    const buffer =
      bytes > this.#chunkBytes
        ? Buffer.allocUnsafeSlow(bytes)
        : (this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#chunkBytes));
    const chunk = { bytes: buffer, segment, start, used: 0, lastBatch: batch };
    this.#chunks.push(chunk);
    this.#bytes += buffer.length;
    return chunk;
  }

  /** The chunk with this byte of the log, if it is in memory. */
  find(segment: number, offset: number): Chunk | undefined {
    const memo = this.#chunks[this.#memo];
    if (memo !== undefined && holds(memo, segment, offset)) return memo;
    // Most of what is asked for when a queue is behind is older than all of it.
    const oldest = this.#chunks[0];
    if (oldest === undefined || segment < oldest.segment) return undefined;
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const chunk = this.#chunks[middle]!;
      if (chunk.segment < segment || (chunk.segment === segment && chunk.start <= offset)) low = middle + 1;
      else high = middle;
    }
    const found = this.#chunks[low - 1];
    if (found === undefined || !holds(found, segment, offset)) return undefined;
    this.#memo = low - 1;
    return found;
  }

  /** Let go of old chunks beyond the limit. Never of the newest, nor of one with a batch that is not durable. */
  trim(durableBatch: number): void {
    let count = 0;
    const last = this.#chunks.length - 1;
    while (count < last && this.#bytes > this.#bytesMax && this.#chunks[count]!.lastBatch <= durableBatch) {
      this.#bytes -= this.#chunks[count]!.bytes.length;
      count++;
    }
    if (count === 0) return;
    const gone = this.#chunks.splice(0, count);
    this.#memo = 0;
    // Bytes handed out by `find` stay valid until this turn ends, so the buffers are used again only after it.
    this.#clock.soon(() => {
      for (const chunk of gone) this.#recycle(chunk.bytes);
    });
  }

  #recycle(buffer: Buffer): void {
    assert(this.#free.length < 1024);
    if (buffer.length === this.#chunkBytes && this.#free.length * this.#chunkBytes < this.#bytesMax / 4)
      this.#free.push(buffer);
  }
}

function holds(chunk: Chunk, segment: number, offset: number): boolean {
  return chunk.segment === segment && offset >= chunk.start && offset < chunk.start + chunk.used;
}
