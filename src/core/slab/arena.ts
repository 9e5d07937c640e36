/**
 * Bodies that live in memory only. They are put one behind the other into chunks of 1 MiB; a chunk that all its bodies have
 * left is used again. Larger bodies get a chunk of their own. The chunks are outside the collected heap.
 */
import assert from 'node:assert';

/** Segment numbers from here on name chunks of the arena; below are those of the journal. A small integer for the engine. */
export const ARENA_SEGMENT = 0x4000_0000;

const CHUNK_BYTES = 1024 * 1024;
/** Bodies larger than this get a chunk of their own, so that at most a quarter of a chunk is left unused. */
const SHARED_BYTES_MAX = CHUNK_BYTES / 4;
/** Empty chunks kept for the next bodies: 8 MiB. */
const SPARE_CHUNKS_MAX = 8;

/** No two bodies begin within so many bytes: a stored message is longer. */
const SERIAL_BYTES = 16;

const NO_CHUNK = Buffer.alloc(0);

export class Arena {
  /** Chunk of the last allocation: a segment number from `ARENA_SEGMENT` on. */
  segment = ARENA_SEGMENT;
  /** Offset of the last allocation in its chunk. */
  offset = 0;
  readonly #chunks: Buffer[] = [];
  /** Bodies alive in each chunk. */
  readonly #bodies: number[] = [];
  /** Of the body at offset 0 of each chunk: chunks are used again, so places are no ids. */
  readonly #serials: number[] = [];
  #lastSerial = 0;
  readonly #freeNumbers: number[] = [];
  readonly #spare: Buffer[] = [];
  #current = -1;
  /** Bytes used of the current chunk; more than it has while there is none. */
  #used = CHUNK_BYTES + 1;
  #liveBytes = 0;
  #heldBytes = 0;

  /** Bytes of the bodies alive. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of the chunks in use, spare ones included: what the arena costs. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Make room for a body; `segment` and `offset` then tell where, and `bytes(segment)` is to be written to. */
  allocate(length: number): void {
    if (length > SHARED_BYTES_MAX) {
      this.#allocateOwn(length);
      return;
    }
    if (this.#used + length > CHUNK_BYTES) this.#nextChunk();
    this.#bodies[this.#current]!++;
    this.segment = ARENA_SEGMENT + this.#current;
    this.offset = this.#used;
    this.#used += length;
    this.#liveBytes += length;
  }

  /** The chunk of a segment number. */
  bytes(segment: number): Buffer {
    return this.#chunks[segment - ARENA_SEGMENT]!;
  }

  /** A number that no body, and nobody who asked, has or will have in this process: 1 or more. */
  nextSerial(): number {
    return ++this.#lastSerial;
  }

  /** The number of the body at a place: no other has it. */
  serialOf(segment: number, offset: number): number {
    return this.#serials[segment - ARENA_SEGMENT]! + Math.floor(offset / SERIAL_BYTES);
  }

  /** Give a body back. Its bytes may be overwritten by the next `allocate`. */
  release(segment: number, length: number): void {
    const number = segment - ARENA_SEGMENT;
    const bodies = this.#bodies[number]! - 1;
    if (bodies < 0) assert.fail('released a body that is not in the arena');
    this.#bodies[number] = bodies;
    this.#liveBytes -= length;
    if (bodies > 0) return;
    // The chunk in use starts again from its beginning: those bytes are likely still in the processor's cache.
    if (number !== this.#current) {
      this.#drop(number);
      return;
    }
    this.#used = 0;
    this.#numberBodies(number, CHUNK_BYTES);
  }

  #nextChunk(): void {
    // The chunk left behind has bodies: if it had none, it would have started again from its beginning.
    this.#current = this.#newChunk();
    this.#numberBodies(this.#current, CHUNK_BYTES);
    const spare = this.#spare.pop();
    if (spare === undefined) this.#heldBytes += CHUNK_BYTES;
    this.#chunks[this.#current] = spare ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#used = 0;
  }

  #allocateOwn(length: number): void {
    const number = this.#newChunk();
    this.#numberBodies(number, SERIAL_BYTES);
    this.#chunks[number] = Buffer.allocUnsafeSlow(length);
    this.#bodies[number] = 1;
    this.#heldBytes += length;
    this.#liveBytes += length;
    this.segment = ARENA_SEGMENT + number;
    this.offset = 0;
  }

  /** Number the bodies to come in a chunk. */
  #numberBodies(chunk: number, bytes: number): void {
    this.#serials[chunk] = this.#lastSerial + 1;
    this.#lastSerial += bytes / SERIAL_BYTES;
  }

  #newChunk(): number {
    const number = this.#freeNumbers.pop();
    if (number !== undefined) return number;
    this.#bodies.push(0);
    this.#serials.push(0);
    return this.#chunks.push(NO_CHUNK) - 1;
  }

  #drop(number: number): void {
    const chunk = this.#chunks[number]!;
    this.#chunks[number] = NO_CHUNK;
    this.#freeNumbers.push(number);
    if (chunk.length === CHUNK_BYTES && this.#spare.length < SPARE_CHUNKS_MAX) this.#spare.push(chunk);
    else this.#heldBytes -= chunk.length;
  }
}
