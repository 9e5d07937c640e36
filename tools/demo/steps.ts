/** Steps of a demonstration: printed when they are proven, numbered from 1. */
const STEP_MS = 5_000;

let steps = 0;

/** Number of the step begun last. */
export function stepsBegun(): number {
  return steps;
}

/** One step: done when `task` resolves; what it resolves to is shown. */
export async function step(text: string, task: () => Promise<string | undefined>): Promise<void> {
  steps += 1;
  process.stdout.write(`${String(steps).padStart(2)}. ${text}`);
  const started = performance.now();
  const seen = await within(task());
  process.stdout.write(
    `${seen === undefined ? '' : `\n      ${seen}`}  (${Math.round(performance.now() - started)} ms)\n`,
  );
}

async function within<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing happened within ${STEP_MS} ms`)), STEP_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What arrives, in order, for whoever waits for the next one. */
export class Inbox<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  put(item: T): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#items.push(item);
    else next(item);
  }

  take(): Promise<T> {
    const item = this.#items.shift();
    return item === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(item);
  }
}
