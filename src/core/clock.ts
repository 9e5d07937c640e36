/**
 * Time, as the core sees it. Everything that waits or reads a clock does it through this interface, so that the
 * simulation can drive the same code with a clock of its own (DESIGN section 10).
 */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch. May jump; never use it to measure a duration. */
  now(): number;
  /** Monotonic time in milliseconds, with fractions. */
  monotonic(): number;
  /** Run `task` once after `delayMs` milliseconds. The timer does not keep the process alive. */
  after(delayMs: number, task: () => void): Timer;
  /** Run `task` once at the end of this turn of the event loop (`setImmediate`): the seam where batches form. */
  soon(task: () => void): void;
}

export interface Timer {
  /** Stop the timer; without effect when it has fired already. */
  cancel(): void;
}

/** The machine's own clock. */
export class SystemClock implements Clock {
  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  after(delayMs: number, task: () => void): Timer {
    const handle = setTimeout(task, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  }

  soon(task: () => void): void {
    setImmediate(task);
  }
}
