/**
 * First in, first out, in a ring that grows. `Array.shift` costs as much as a long array is long, and an array with a moving
 * start grows for as long as it never becomes empty.
 */

const SLOTS_FIRST = 16;
/** A larger ring is given back when it is empty. */
const SLOTS_KEPT = 1024;

export class Fifo<T> {
  #ring: (T | undefined)[] = new Array<T | undefined>(SLOTS_FIRST).fill(undefined);
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The oldest; undefined when there is none. */
  get first(): T | undefined {
    return this.#ring[this.#head];
  }

  push(item: T): void {
    if (this.#size === this.#ring.length) this.#resize(this.#size * 2);
    this.#ring[(this.#head + this.#size++) & (this.#ring.length - 1)] = item;
  }

  /** Take the oldest; undefined when there is none. */
  shift(): T | undefined {
    const item = this.#ring[this.#head];
    if (this.#size === 0) return undefined;
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    if (--this.#size === 0 && this.#ring.length > SLOTS_KEPT) this.#resize(SLOTS_FIRST);
    return item;
  }

  /** All of them, the oldest first. */
  toArray(): T[] {
    const ring = this.#ring;
    const items = new Array<T>(this.#size);
    for (let n = 0; n < this.#size; n++) items[n] = ring[(this.#head + n) & (ring.length - 1)] as T;
    return items;
  }

  /** @param slots a power of two, not below the size */
  #resize(slots: number): void {
    const old = this.#ring;
    const ring = new Array<T | undefined>(slots).fill(undefined);
    for (let n = 0; n < this.#size; n++) ring[n] = old[(this.#head + n) & (old.length - 1)];
    this.#ring = ring;
    this.#head = 0;
  }
}
