/** What waits for confirms: the n-th confirm-asking publish of a producer is confirmed as number n (core/door.ts). */

/** Confirmed entries are dropped from the front of the list when there are this many. */
const TRIM_ENTRIES = 1024;

/** Values in publish order, handed back as the confirms come. One of these belongs to one `Producer`. */
export class PendingConfirms<T> {
  #values: (T | undefined)[] = [];
  /** Index in `#values` of the oldest that waits. */
  #start = 0;
  /** Confirm number of that one. */
  #next = 1;

  /** How many wait. */
  get size(): number {
    return this.#values.length - this.#start;
  }

  /** To be called right before a publish with CONFIRM: its confirm may come while `publish` still runs. */
  push(value: T): void {
    this.#values.push(value);
  }

  /** Take the last value back: its publish threw, so it has no number. */
  pop(): void {
    this.#values.pop();
  }

  /** Hand back everything up to number `upTo`, in order. */
  confirm(upTo: number, refused: readonly number[] | undefined, each: (value: T, ok: boolean) => void): void {
    let at = 0;
    while (this.#next <= upTo && this.#start < this.#values.length) {
      const number = this.#next++;
      const value = this.#values[this.#start] as T;
      this.#values[this.#start++] = undefined;
      const isRefused = refused !== undefined && refused[at] === number;
      if (isRefused) at++;
      each(value, !isRefused);
    }
    if (this.#start === this.#values.length) this.#clear();
    else if (this.#start >= TRIM_ENTRIES && this.#start * 2 >= this.#values.length) this.#trim();
  }

  /** The producer is gone: hand back everything that still waits. */
  abandon(each: (value: T) => void): void {
    const left = this.#values.slice(this.#start) as T[];
    this.#clear();
    for (const value of left) each(value);
  }

  #clear(): void {
    this.#values = [];
    this.#start = 0;
  }

  #trim(): void {
    this.#values = this.#values.slice(this.#start);
    this.#start = 0;
  }
}
