/** Which partition of a topic a message goes to, when its publisher did not say. */

const SEED = 0x9747b28c;
const MULTIPLIER = 0x5bd1e995;

/**
 * MurmurHash2, 32 bits, over `bytes[start, end)`, with the seed that existing producers of partitioned logs use for record
 * keys: programs on different clients agree on the partition of a key.
 */
export function murmur2(bytes: Uint8Array, start: number, end: number): number {
  let hash = SEED ^ (end - start);
  let at = start;
  for (; at + 4 <= end; at += 4) {
    let word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    word = Math.imul(word, MULTIPLIER);
    word ^= word >>> 24;
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(word, MULTIPLIER);
  }
  const left = end - at;
  if (left > 0) {
    if (left === 3) hash ^= (bytes[at + 2] as number) << 16;
    if (left >= 2) hash ^= (bytes[at + 1] as number) << 8;
    hash = Math.imul(hash ^ (bytes[at] as number), MULTIPLIER);
  }
  hash ^= hash >>> 13;
  hash = Math.imul(hash, MULTIPLIER);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** Partition of a key: its hash without the sign bit, modulo. */
export function partitionOfKey(bytes: Uint8Array, start: number, end: number, partitions: number): number {
  return (murmur2(bytes, start, end) & 0x7fff_ffff) % partitions;
}

/**
 * For messages without a key: stays with one partition for a while, then goes on to the next. Neighbours that stay together
 * make long runs in one partition, which are cheaper to seal and to read than single messages all over.
 */
export class StickyRoundRobin {
  readonly #runBytes: number;
  #partition = 0;
  #left: number;

  /** @param runBytes that go to one partition, at most, before the next has its turn */
  constructor(runBytes: number) {
    this.#runBytes = runBytes;
    this.#left = runBytes;
  }

  /** The partition for a message of `length` bytes. */
  next(length: number, partitions: number): number {
    // One that is larger than a run is one.
    if (this.#left < length && this.#left < this.#runBytes) {
      this.#partition++;
      this.#left = this.#runBytes;
    }
    if (this.#partition >= partitions) this.#partition = 0;
    this.#left -= length;
    return this.#partition;
  }
}
