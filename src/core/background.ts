/** Work that would hold up the event loop if done at once, done in slices of at most `limits.sliceMs`. */
import type { Clock } from './clock.ts';
import { Fifo } from './fifo.ts';

/** A job yields between steps of some tens of microseconds. */
export type Job = Generator<void, void, undefined>;

function* nothing(): Job {}

export class Background {
  readonly #clock: Clock;
  readonly #sliceMs: number;
  readonly #jobs = new Fifo<{ job: Job; done: () => void }>();
  #running = false;

  constructor(clock: Clock, sliceMs: number) {
    this.#clock = clock;
    this.#sliceMs = sliceMs;
  }

  get busy(): boolean {
    return this.#jobs.size > 0;
  }

  /** Resolves when no job is under way. */
  async whenIdle(): Promise<void> {
    while (this.busy) await this.run(nothing());
  }

  /** Run `job` after those before it; the first slice at once. Resolves when it has ended. */
  run(job: Job): Promise<void> {
    return new Promise((resolve) => {
      this.#jobs.push({ job, done: resolve });
      if (!this.#running) this.#slice();
    });
  }

  readonly #slice = (): void => {
    const until = this.#clock.monotonic() + this.#sliceMs;
    this.#running = true;
    for (let next = this.#jobs.first; next !== undefined; next = this.#jobs.first) {
      while (!next.job.next().done) {
        if (this.#clock.monotonic() >= until) {
          this.#clock.soon(this.#slice);
          return;
        }
      }
      this.#jobs.shift();
      next.done();
    }
    this.#running = false;
  };
}
