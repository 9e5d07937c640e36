/**
 * Interning of byte ranges: topics and routing keys come again and again, so each connection keeps what it made of the bytes
 * (a resolved address, with the check that they are valid UTF-8 already done) and finds it without making a string.
 */
interface Entry<T> {
  readonly bytes: Buffer;
  readonly hash: number;
  readonly value: T;
  readonly next: Entry<T> | undefined;
}

const BUCKETS_FIRST = 16;

/** Bytes -> value, open to `entriesMax` entries; when full it is emptied, which bounds memory and costs a re-intern each. */
export class InternTable<T> {
  readonly #entriesMax: number;
  #buckets: (Entry<T> | undefined)[] = new Array<Entry<T> | undefined>(BUCKETS_FIRST).fill(undefined);
  #count = 0;
  #last: Entry<T> | undefined;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#count;
  }

  /** The value kept for `bytes[start, end)`, or undefined. The last answer is tried first: streams repeat themselves. */
  find(bytes: Buffer, start: number, end: number): T | undefined {
    const last = this.#last;
    if (last !== undefined && same(last.bytes, bytes, start, end)) return last.value;
    const hash = hashOf(bytes, start, end);
    let entry = this.#buckets[hash & (this.#buckets.length - 1)];
    while (entry !== undefined) {
      if (entry.hash === hash && same(entry.bytes, bytes, start, end)) {
        this.#last = entry;
        return entry.value;
      }
      entry = entry.next;
    }
    return undefined;
  }

  /** Keep `value` for a copy of `bytes[start, end)`. The caller has made sure `find` does not know it. */
  add(bytes: Buffer, start: number, end: number, value: T): void {
    if (this.#count >= this.#entriesMax) this.clear();
    else if (this.#count >= this.#buckets.length * 2) this.#grow();
    const own = Buffer.from(bytes.subarray(start, end));
    this.#last = this.#link({ bytes: own, hash: hashOf(bytes, start, end), value });
    this.#count++;
  }

  clear(): void {
    this.#buckets = new Array<Entry<T> | undefined>(BUCKETS_FIRST).fill(undefined);
    this.#count = 0;
    this.#last = undefined;
  }

  #link(entry: Omit<Entry<T>, 'next'>): Entry<T> {
    const slot = entry.hash & (this.#buckets.length - 1);
    const linked: Entry<T> = { bytes: entry.bytes, hash: entry.hash, value: entry.value, next: this.#buckets[slot] };
    this.#buckets[slot] = linked;
    return linked;
  }

  #grow(): void {
    const old = this.#buckets;
    this.#buckets = new Array<Entry<T> | undefined>(old.length * 4).fill(undefined);
    for (let entry of old) {
      while (entry !== undefined) {
        this.#link(entry);
        entry = entry.next;
      }
    }
  }
}

function same(own: Buffer, bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (own.length !== length) return false;
  // From the end: topics differ in their last levels more often than in their first.
  for (let i = length - 1; i >= 0; i--) if (own[i] !== bytes[start + i]) return false;
  return true;
}

/** FNV-1a. A peer can make collisions only against its own connection's table, whose size is bounded. */
function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash >>> 0;
}
