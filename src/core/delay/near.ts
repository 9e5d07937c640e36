/**
 * The messages of a delay slot of which is known when they are due, in that order; of equal times the lowest position first. A
 * search yields most of them, sorted; what comes in later lies in a heap beside.
 */
import { NearHeap } from './near-heap.ts';

/** Pairs of due time and position in their order. Positions are counted from `base`. */
export interface Sorted {
  /** Milliseconds from the beginning of the slot. */
  readonly dues: Uint32Array;
  readonly offsets: Uint32Array;
  readonly base: number;
  readonly length: number;
}

const NOTHING: Sorted = { dues: new Uint32Array(), offsets: new Uint32Array(), base: 0, length: 0 };

export class Near {
  readonly #sorted: Sorted;
  readonly #later: NearHeap = new NearHeap();
  #at = 0;

  constructor(sorted: Sorted = NOTHING) {
    this.#sorted = sorted;
  }

  get size(): number {
    return this.#sorted.length - this.#at + this.#later.size;
  }

  /** The pair that comes first; the caller has made sure that there is one. */
  get due(): number {
    return this.#isSortedFirst ? (this.#sorted.dues[this.#at] as number) : this.#later.due;
  }

  get position(): number {
    const { offsets, base } = this.#sorted;
    return this.#isSortedFirst ? base + (offsets[this.#at] as number) : this.#later.position;
  }

  get #isSortedFirst(): boolean {
    const later = this.#later;
    if (later.size === 0) return true;
    // What came later has a higher position.
    return this.#at < this.#sorted.length && (this.#sorted.dues[this.#at] as number) <= later.due;
  }

  push(due: number, position: number): void {
    this.#later.push(due, position);
  }

  pop(): void {
    if (this.#isSortedFirst) this.#at++;
    else this.#later.pop();
  }
}
