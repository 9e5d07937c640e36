import assert from 'node:assert';
import type { Clock, Timer } from '../core/clock.ts';

interface Task {
  at: number;
  order: number;
  run: (() => void) | undefined;
}

/**
 * Virtual time. Nothing happens until `run` or `settle`; then tasks run one by one in the order of (time, order of creation),
 * and all promise continuations of a task run before the next one. No real I/O may be under way in a simulation.
 */
export class SimClock implements Clock {
  #time = 0;
  #order = 0;
  /** Wall-clock milliseconds at virtual time 0; set it to make the wall clock jump. */
  epochMs: number;
  #soon: (() => void)[] = [];
  /** Binary heap by (at, order). */
  readonly #heap: Task[] = [];

  constructor(epochMs = Date.UTC(2030, 0, 1)) {
    this.epochMs = epochMs;
  }

  now(): number {
    return this.epochMs + Math.floor(this.#time);
  }

  monotonic(): number {
    return this.#time;
  }

  after(delayMs: number, task: () => void): Timer {
    const entry: Task = { at: this.#time + Math.max(0, delayMs), order: this.#order++, run: task };
    this.#push(entry);
    return {
      cancel: () => {
        entry.run = undefined;
      },
    };
  }

  soon(task: () => void): void {
    this.#soon.push(task);
  }

  /** Forget everything planned, as the end of a process does. */
  clear(): void {
    this.#soon = [];
    this.#heap.length = 0;
  }

  /** Run until `done` is true or settled, or nothing is left to run. @param tasksMax guards against a loop without an end */
  async run(done: Promise<unknown> | (() => boolean), tasksMax = 1_000_000): Promise<void> {
    let settled = false;
    const isDone = typeof done === 'function' ? done : () => settled;
    if (typeof done !== 'function') {
      const finish = () => {
        settled = true;
      };
      done.then(finish, finish);
    }
    for (let count = 0; ; count++) {
      assert(count < tasksMax, `the simulation did not come to an end within ${tasksMax} tasks`);
      await microtasks();
      if (isDone()) return;
      if (this.#soon.length > 0) this.#runSoon();
      else if (!this.#runNext(Number.POSITIVE_INFINITY)) return;
    }
  }

  /** Drive a promise to its end and answer its value: `await clock.drive(journal.close())`. */
  async drive<T>(promise: Promise<T>, tasksMax?: number): Promise<T> {
    let open = true;
    const close = () => {
      open = false;
    };
    promise.then(close, close);
    await this.run(promise, tasksMax);
    assert(!open, 'the simulation came to rest before the promise was settled');
    return promise;
  }

  /** Run all that is due within the next `ms` of virtual time, and let that time pass. */
  async advance(ms: number): Promise<void> {
    const end = this.#time + ms;
    await microtasks();
    for (;;) {
      if (this.#soon.length > 0) this.#runSoon();
      else if (!this.#runNext(end)) break;
      await microtasks();
    }
    this.#time = end;
  }

  #runSoon(): void {
    const tasks = this.#soon;
    this.#soon = [];
    for (const task of tasks) task();
  }

  #runNext(end: number): boolean {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.at > end) return false;
      this.#pop();
      if (first.run === undefined) continue;
      this.#time = first.at;
      first.run();
      return true;
    }
  }

  #push(task: Task): void {
    const heap = this.#heap;
    let at = heap.push(task) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(task, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = task;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Task, b: Task): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** All promise continuations that can run without I/O have run when this resolves. */
function microtasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
