/** A queue that goes when nobody has used it for a while: no consumer, and nobody declared it again. */
import type { Timer } from '../clock.ts';
import type { Queue } from './queue.ts';

/** Longer than timers take: the rest is waited for afterwards. */
const SLEEP_MS_MAX = 2 ** 30;

export class UnusedTimer {
  readonly #queue: Queue;
  /** Monotonic: a wall clock that jumps must not delete a queue. */
  #usedAtMs = 0;
  #timer: Timer | undefined;

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  /** The queue is being used, or has just been. */
  used(): void {
    this.#usedAtMs = this.#queue.engine.clock.monotonic();
    if (this.#timer === undefined) this.#wait(this.#queue.rules.expiresMs);
  }

  /** Another time holds, or none: it begins now. */
  changed(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.used();
  }

  #wait(ms: number): void {
    if (ms === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#queue.engine.clock.after(Math.min(ms, SLEEP_MS_MAX), () => {
      this.#timer = undefined;
      this.#look();
    });
  }

  #look(): void {
    const { engine, vhost, consumers, deleted, rules } = this.#queue;
    // With consumers it is used; the end of the last one is when waiting begins again.
    if (deleted || engine.closed || engine.failure !== undefined || consumers.count > 0) return;
    const leftMs = this.#usedAtMs + rules.expiresMs - engine.clock.monotonic();
    if (leftMs > 0) this.#wait(leftMs);
    else vhost.deleteQueue(this.#queue);
  }
}
