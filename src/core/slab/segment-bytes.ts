/** Live bodies and their bytes by segment number: numbers grow for years, those in use lie in few neighbourhoods. */
const CHUNK_BITS = 10;
const CHUNK = 1 << CHUNK_BITS;

interface Chunk {
  readonly bytes: Float64Array;
  readonly counts: Uint32Array;
  /** Bodies counted in this chunk. */
  bodies: number;
}

export class SegmentBytes {
  readonly #chunks = new Map<number, Chunk>();
  /** The chunk used last: mostly the next one too. It is kept when it becomes empty, until another is used. */
  #lastKey = -1;
  #last: Chunk = { bytes: new Float64Array(0), counts: new Uint32Array(0), bodies: 0 };
  #total = 0;

  /** Bytes in all segments. */
  get total(): number {
    return this.#total;
  }

  /** Count a body in. */
  add(segment: number, length: number): void {
    const key = segment >>> CHUNK_BITS;
    const chunk = key === this.#lastKey ? this.#last : this.#chunk(key);
    chunk.bytes[segment & (CHUNK - 1)]! += length;
    chunk.counts[segment & (CHUNK - 1)]!++;
    chunk.bodies++;
    this.#total += length;
  }

  /** Count a body out that was counted in. */
  remove(segment: number, length: number): void {
    const key = segment >>> CHUNK_BITS;
    const chunk = key === this.#lastKey ? this.#last : this.#chunk(key);
    chunk.bytes[segment & (CHUNK - 1)]! -= length;
    chunk.counts[segment & (CHUNK - 1)]!--;
    chunk.bodies--;
    this.#total -= length;
  }

  /** Bytes in one segment. */
  of(segment: number): number {
    return this.#chunks.get(segment >>> CHUNK_BITS)?.bytes[segment & (CHUNK - 1)] ?? 0;
  }

  /** Segments with bytes, and how many. */
  *entries(): Generator<[segment: number, bytes: number], void, undefined> {
    for (const [key, { bytes }] of this.#chunks) {
      for (const [place, count] of bytes.entries()) if (count > 0) yield [key * CHUNK + place, count];
    }
  }

  /** Bodies in one segment. */
  bodiesOf(segment: number): number {
    return this.#chunks.get(segment >>> CHUNK_BITS)?.counts[segment & (CHUNK - 1)] ?? 0;
  }

  clear(): void {
    this.#chunks.clear();
    this.#lastKey = -1;
    this.#total = 0;
  }

  #chunk(key: number): Chunk {
    if (this.#last.bodies === 0) this.#chunks.delete(this.#lastKey);
    let chunk = this.#chunks.get(key);
    if (chunk === undefined) {
      chunk = { bytes: new Float64Array(CHUNK), counts: new Uint32Array(CHUNK), bodies: 0 };
      this.#chunks.set(key, chunk);
    }
    this.#lastKey = key;
    this.#last = chunk;
    return chunk;
  }
}
