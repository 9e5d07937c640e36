/**
 * Things that are due at times of their own, with one timer for all of them. Times are monotonic: a wall clock that jumps moves
 * nothing. An item knows its place in the heap, so that taking one out that came long before its time leaves nothing behind.
 */
import type { Clock, Timer } from '../clock.ts';

/** What timers take without overflowing. */
const SLEEP_MS_MAX = 3_600_000;

/** The fields are the schedule's business. */
export interface Scheduled {
  dueMs: number;
  /** Index in the heap; -1: not in it. */
  heapAt: number;
}

export class Schedule<T extends Scheduled> {
  readonly #clock: Clock;
  readonly #due: (item: T) => void;
  /** Binary min-heap by time. */
  readonly #heap: T[] = [];
  #timer: Timer | undefined;
  #timerMs = 0;
  #stopped = false;

  /** @param due called when the time of an item has come; it is in no more */
  constructor(clock: Clock, due: (item: T) => void) {
    this.#clock = clock;
    this.#due = due;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Have `item` called in `delayMs`, whatever it was in for before. */
  set(item: T, delayMs: number): void {
    this.delete(item);
    item.dueMs = this.#clock.monotonic() + delayMs;
    this.#rise(item, this.#heap.length);
    if (this.#timer === undefined || item.dueMs < this.#timerMs) this.#sleep();
  }

  delete(item: T): void {
    const at = item.heapAt;
    if (at < 0) return;
    item.heapAt = -1;
    const last = this.#heap.pop() as T;
    if (last === item) return;
    const above = this.#heap[(at - 1) >> 1];
    if (at > 0 && above !== undefined && above.dueMs > last.dueMs) this.#rise(last, at);
    else this.#sink(last, at);
  }

  /** Call nobody any more. */
  stop(): void {
    this.#timer?.cancel();
    this.#stopped = true;
  }

  #sleep(): void {
    if (this.#stopped) return;
    this.#timer?.cancel();
    const now = this.#clock.monotonic();
    const first = this.#heap[0] as T;
    const delayMs = Math.min(Math.max(0, first.dueMs - now), SLEEP_MS_MAX);
    this.#timerMs = now + delayMs;
    this.#timer = this.#clock.after(delayMs, this.#wake);
  }

  readonly #wake = (): void => {
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    for (let first = this.#heap[0]; first !== undefined && first.dueMs <= now; first = this.#heap[0]) {
      this.delete(first);
      this.#due(first);
    }
    if (this.#heap.length > 0 && this.#timer === undefined) this.#sleep();
  };

  /** Put an item at a free place, or above it. */
  #rise(item: T, at: number): void {
    const heap = this.#heap;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as T;
      if (above.dueMs <= item.dueMs) break;
      this.#place(above, at);
      at = parent;
    }
    this.#place(item, at);
  }

  /** Put an item at a free place, or below it. */
  #sink(item: T, at: number): void {
    const heap = this.#heap;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as T).dueMs < (heap[child] as T).dueMs) child++;
      if ((heap[child] as T).dueMs >= item.dueMs) break;
      this.#place(heap[child] as T, at);
      at = child;
    }
    this.#place(item, at);
  }

  #place(item: T, at: number): void {
    this.#heap[at] = item;
    item.heapAt = at;
  }
}
