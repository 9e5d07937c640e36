/**
 * Times at which queues, or other things, want their turn: one timer for all of them, at the earliest. Each has at most one
 * time that counts; what it was armed for before stays in the heap and is passed over. Wall-clock time, as messages expire
 * by it: the timer never sleeps long, so that a clock that jumps is noticed.
 */
import type { Clock, Timer } from './clock.ts';

/** The wall clock is looked at again after so many milliseconds. */
const SLEEP_MS_MAX = 30_000;

export interface Timed {
  /** The time it is armed for; 0 when it is not. Written by `Deadlines` alone. */
  armedMs: number;
}

interface Entry<T> {
  readonly ms: number;
  readonly item: T;
}

export class Deadlines<T extends Timed> {
  readonly #clock: Clock;
  readonly #due: (item: T) => void;
  readonly #now: () => number;
  /** Binary min-heap by time. */
  readonly #heap: Entry<T>[] = [];
  #timer: Timer | undefined;
  #timerMs = 0;

  /**
   * @param due called when the time of an item has come; it is armed no more
   * @param now the time that counts, in milliseconds: the wall clock, unless another is given
   */
  constructor(clock: Clock, due: (item: T) => void, now = (): number => clock.now()) {
    this.#clock = clock;
    this.#due = due;
    this.#now = now;
  }

  /** Have `item` called at `ms`, or at the earlier time it is armed for. */
  arm(item: T, ms: number): void {
    if (item.armedMs !== 0 && item.armedMs <= ms) return;
    item.armedMs = ms;
    this.#push({ ms, item });
    if (this.#timer === undefined || ms < this.#timerMs) this.#sleep();
  }

  #sleep(): void {
    this.#timer?.cancel();
    const now = this.#now();
    const wake = Math.min((this.#heap[0] as Entry<T>).ms, now + SLEEP_MS_MAX);
    this.#timerMs = wake;
    this.#timer = this.#clock.after(Math.max(0, wake - now), this.#wake);
  }

  readonly #wake = (): void => {
    this.#timer = undefined;
    const now = this.#now();
    for (let first = this.#heap[0]; first !== undefined && first.ms <= now; first = this.#heap[0]) {
      this.#pop();
      const { item, ms } = first;
      if (item.armedMs !== ms) continue;
      item.armedMs = 0;
      this.#due(item);
    }
    if (this.#heap.length > 0 && this.#timer === undefined) this.#sleep();
  };

  #push(entry: Entry<T>): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Entry<T>;
      if (above.ms <= entry.ms) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Entry<T>;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as Entry<T>).ms < (heap[child] as Entry<T>).ms) child++;
      if ((heap[child] as Entry<T>).ms >= last.ms) break;
      heap[at] = heap[child] as Entry<T>;
      at = child;
    }
    heap[at] = last;
  }
}
