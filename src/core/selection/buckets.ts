/**
 * Whose the message groups of a queue are. Groups are not remembered one by one: they fall into buckets by the hash of their
 * id, and a bucket belongs to one consumer at a time. That bounds the memory: nine bytes a bucket, as long as somebody consumes.
 */

/** Nobody's. */
export const NOBODY = 0;

/** The owner has been handed nothing of the bucket yet. */
const FRESH = 1;
/** Nothing more of it is handed out until what is out is settled; then it is nobody's. */
const ENDING = 2;

export class Buckets {
  readonly count: number;
  /** Numbers of the owners. */
  readonly #owners: Uint32Array;
  /** Messages of the bucket in the owner's hands. */
  readonly #unsettled: Uint32Array;
  readonly #states: Uint8Array;

  constructor(count: number) {
    this.count = count;
    this.#owners = new Uint32Array(count);
    this.#unsettled = new Uint32Array(count);
    this.#states = new Uint8Array(count);
  }

  /** The bucket of a group. @param hash not 0 */
  bucketOf(hash: number): number {
    return hash % this.count;
  }

  owner(bucket: number): number {
    return this.#owners[bucket] as number;
  }

  unsettled(bucket: number): number {
    return this.#unsettled[bucket] as number;
  }

  isEnding(bucket: number): boolean {
    return ((this.#states[bucket] as number) & ENDING) !== 0;
  }

  /** Give a bucket that is nobody's to a consumer. */
  pin(bucket: number, owner: number): void {
    this.#owners[bucket] = owner;
    this.#states[bucket] = FRESH;
  }

  /** Nothing of the bucket is in anybody's hands: it is nobody's from now on. */
  unpin(bucket: number): void {
    this.#owners[bucket] = NOBODY;
    this.#unsettled[bucket] = 0;
  }

  /** Hand nothing more of it to its owner. */
  end(bucket: number): void {
    this.#states[bucket] = (this.#states[bucket] as number) | ENDING;
  }

  /** A message of the bucket goes to its owner. Answers whether it is the first one. */
  handedOut(bucket: number): boolean {
    this.#unsettled[bucket] = (this.#unsettled[bucket] as number) + 1;
    const state = this.#states[bucket] as number;
    if ((state & FRESH) === 0) return false;
    this.#states[bucket] = state & ~FRESH;
    return true;
  }

  /** A message of the bucket was settled, or went back. Answers whether it was the last one. */
  settled(bucket: number): boolean {
    const left = (this.#unsettled[bucket] as number) - 1;
    this.#unsettled[bucket] = left;
    return left === 0;
  }

  /** The buckets of an owner. */
  *of(owner: number): IterableIterator<number> {
    for (let bucket = 0; bucket < this.count; bucket++) if (this.#owners[bucket] === owner) yield bucket;
  }

  /** The buckets that are somebody's. */
  *pinned(): IterableIterator<number> {
    for (let bucket = 0; bucket < this.count; bucket++) if (this.#owners[bucket] !== NOBODY) yield bucket;
  }
}
