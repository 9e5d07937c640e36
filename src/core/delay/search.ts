/**
 * Finding the messages of a delay slot that are due first: one pass over its entries in the order of memory, in steps, which
 * keeps the best in a heap of bounded size. Messages that come in meanwhile are met at the end of the pass; those that go may
 * still be among the found.
 */
import type { EntryRing } from '../slab/entry-ring.ts';
import { DUE_MASK } from './info.ts';
import { NearHeap } from './near-heap.ts';

/** Begin behind this entry. */
export interface After {
  readonly due: number;
  readonly position: number;
}

export class DueSearch {
  readonly #ring: EntryRing;
  readonly #max: number;
  readonly #after: After | undefined;
  #next = 0;
  /** Negatives: what would have to go first is the first. */
  readonly #best = new NearHeap();
  #isCut = false;

  /** @param max entries to find */
  constructor(ring: EntryRing, max: number, after?: After) {
    this.#ring = ring;
    this.#max = max;
    this.#after = after;
  }

  /** Look at about `entries` more. Answers true when there are no others. */
  step(entries: number): boolean {
    const ring = this.#ring;
    let position = ring.next(this.#next);
    for (let left = entries; position >= 0; position = ring.next(position + 1)) {
      if (left-- === 0) {
        this.#next = position;
        return false;
      }
      this.#consider(ring.info(position) & DUE_MASK, position);
    }
    this.#next = ring.tail;
    return true;
  }

  #consider(due: number, position: number): void {
    const best = this.#best;
    if (best.size === this.#max) {
      // Positions only grow, so of equal times the one that was found stays.
      this.#isCut = true;
      if (due < -best.due && this.#isWanted(due, position)) best.replace(-due, -position);
    } else if (this.#isWanted(due, position)) {
      best.push(-due, -position);
    }
  }

  #isWanted(due: number, position: number): boolean {
    const after = this.#after;
    return after === undefined || due > after.due || (due === after.due && position > after.position);
  }

  /**
   * What was found, the earliest first; the search is over.
   * @returns horizon: everything that is due before it was found (Infinity: everything there is)
   */
  end(): { found: NearHeap; horizon: number } {
    const found = this.#best;
    const horizon = this.#isCut ? -found.due : Number.POSITIVE_INFINITY;
    found.negate();
    return { found, horizon };
  }
}
