/** So many a second, evenly: no credit is saved up while nothing is taken. */
import type { Clock } from '../clock.ts';

/** Sleeping for less costs more than it spreads. */
const SLEEP_MS_MIN = 20;

export class Rate {
  readonly #clock: Clock;
  readonly #msEach: number;
  /** When the next one is due; monotonic. */
  #dueMs: number;

  /** @param perSecond Infinity: as fast as it goes */
  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#msEach = 1000 / perSecond;
    this.#dueMs = clock.monotonic();
  }

  /** Milliseconds to sleep before the next one; 0: now. */
  waitMs(): number {
    if (this.#msEach === 0) return 0;
    const aheadMs = this.#dueMs - this.#clock.monotonic();
    return aheadMs <= 0 ? 0 : Math.max(aheadMs, SLEEP_MS_MIN);
  }

  /** One was taken. */
  took(): void {
    this.#dueMs = Math.max(this.#dueMs, this.#clock.monotonic() - SLEEP_MS_MIN) + this.#msEach;
  }
}
