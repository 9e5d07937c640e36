/** A queue that goes when nobody has used it for a while: no consumer, and nobody declared it again. */
import type { Queue } from './queue.ts';

/** Longer than timers take: the rest is waited for afterwards. */
const SLEEP_MS_MAX = 2 ** 30;

export class UnusedTimer {
  readonly #queue: Queue;
  readonly #expiresMs: number;
  /** Monotonic: a wall clock that jumps must not delete a queue. */
  #usedAtMs = 0;
  #waiting = false;

  constructor(queue: Queue, expiresMs: number) {
    this.#queue = queue;
    this.#expiresMs = expiresMs;
  }

  /** The queue is being used, or has just been. */
  used(): void {
    this.#usedAtMs = this.#queue.engine.clock.monotonic();
    if (!this.#waiting) this.#wait(this.#expiresMs);
  }

  #wait(ms: number): void {
    this.#waiting = true;
    this.#queue.engine.clock.after(Math.min(ms, SLEEP_MS_MAX), () => {
      this.#waiting = false;
      this.#look();
    });
  }

  #look(): void {
    const { engine, vhost, consumers, deleted } = this.#queue;
    // With consumers it is used; the end of the last one is when waiting begins again.
    if (deleted || engine.closed || engine.failure !== undefined || consumers.count > 0) return;
    const leftMs = this.#usedAtMs + this.#expiresMs - engine.clock.monotonic();
    if (leftMs > 0) this.#wait(leftMs);
    else vhost.deleteQueue(this.#queue);
  }
}
