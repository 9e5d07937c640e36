/** A queue that goes when nobody has used it for a while: no consumer, no single request, and nobody declared it again. */
import type { Timed } from '../deadlines.ts';
import type { Queue } from './queue.ts';

export class UnusedTimer implements Timed {
  armedMs = 0;
  /** Undefined when the queue is gone: its time may be years ahead, and must not hold it. */
  #queue: Queue | undefined;
  /** Monotonic. */
  #usedAtMs = 0;

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  /** The queue is being used, or has just been. */
  used(): void {
    if (this.#queue === undefined) return;
    this.#usedAtMs = this.#queue.engine.clock.monotonic();
    if (this.armedMs === 0) this.#wait(this.#queue);
  }

  /** Another time holds, or none: it begins now. */
  changed(): void {
    if (this.#queue === undefined) return;
    this.#usedAtMs = this.#queue.engine.clock.monotonic();
    this.#wait(this.#queue);
  }

  /** The queue is gone. */
  end(): void {
    this.#queue = undefined;
  }

  #wait({ engine, rules }: Queue): void {
    const endMs = this.#usedAtMs + rules.expiresMs;
    if (endMs !== Number.POSITIVE_INFINITY) engine.unused.arm(this, endMs);
  }

  /** Its time has come, or had come before the queue was used again. */
  look(): void {
    if (this.#queue === undefined) return;
    const { engine, vhost, takers, rules } = this.#queue;
    // Who consumes or waits for a message uses it; the end of the last one is when waiting begins again.
    if (engine.closed || engine.failure !== undefined || takers.waiting) return;
    if (this.#usedAtMs + rules.expiresMs > engine.clock.monotonic()) this.#wait(this.#queue);
    else vhost.deleteQueue(this.#queue);
  }
}
