/** For asynchronous work that looks at much: keeps it from holding up the event loop. */
import type { Clock } from './clock.ts';

export class Slices {
  readonly #clock: Clock;
  readonly #sliceMs: number;
  #until: number;

  /** @param sliceMs of a turn it may take */
  constructor(clock: Clock, sliceMs: number) {
    this.#clock = clock;
    this.#sliceMs = sliceMs;
    this.#until = clock.monotonic() + sliceMs;
  }

  /** The slice is used up: `await next()`. */
  get over(): boolean {
    return this.#clock.monotonic() >= this.#until;
  }

  /** Resolves in a later turn, when others have had theirs. */
  async next(): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.soon(resolve));
    this.#until = this.#clock.monotonic() + this.#sliceMs;
  }
}
