/**
 * Notices deliveries that have been unsettled for too long, without noting when each was made: a few marks, taken at regular
 * times, remember which delivery was the newest one then. While nothing is unsettled there is no timer.
 */
import type { Clock, Timer } from './clock.ts';
import type { Outstanding } from './outstanding.ts';

/** What is overdue is noticed after its time, and at most two of so many parts of it later. */
const PARTS = 8;

export class ConsumerTimeout {
  readonly timeoutMs: number;
  readonly #clock: Clock;
  readonly #overdue: () => void;
  #timer: Timer | undefined;
  /** The newest delivery at each of the last ticks, by the number of the tick. */
  #marks: Float64Array | undefined;
  #ticks = 0;

  /** @param overdue called once: a delivery was not settled within `timeoutMs` */
  constructor(clock: Clock, timeoutMs: number, overdue: () => void) {
    this.#clock = clock;
    this.timeoutMs = timeoutMs;
    this.#overdue = overdue;
  }

  /** Something is unsettled. */
  watch(outstanding: Outstanding): void {
    if (this.#timer !== undefined) return;
    this.#marks ??= new Float64Array(PARTS);
    this.#marks.fill(0);
    this.#ticks = 0;
    this.#wait(outstanding, this.#marks);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #wait(outstanding: Outstanding, marks: Float64Array): void {
    this.#timer = this.#clock.after(this.timeoutMs / PARTS, () => this.#tick(outstanding, marks));
  }

  #tick(outstanding: Outstanding, marks: Float64Array): void {
    this.#timer = undefined;
    if (outstanding.count === 0) return;
    const at = this.#ticks++ % PARTS;
    if (outstanding.oldestId <= (marks[at] as number)) {
      this.#overdue();
      return;
    }
    marks[at] = outstanding.newestId;
    this.#wait(outstanding, marks);
  }
}
