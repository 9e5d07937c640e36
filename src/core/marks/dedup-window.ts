/**
 * The message ids a queue remembers: those of the last while (`x-dedup-window-ms`), and of the last so many messages
 * (`x-dedup-count-max`). They are kept in a few generations of equal size, of which the oldest goes as a whole: what counts as
 * remembered is exact in time, and up to half more than the count.
 */
import type { Queue } from '../queue/queue.ts';
import type { Print } from './print.ts';
import { type PrintMoment, PrintTable } from './print-table.ts';

const GENERATIONS = 2;

interface Generation {
  /** Wall clock, when it began. */
  readonly sinceMs: number;
  /** When an id was seen; below zero: with a message that a restart forgets, and the id with it. */
  readonly seen: PrintTable;
}

export class DedupWindow {
  readonly #queue: Queue;
  /** The newest last. */
  #generations: Generation[] = [];

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  get #countMax(): number {
    return Math.min(this.#queue.rules.dedupCountMax, this.#queue.engine.limits.dedupIdsPerQueueMax);
  }

  /** Ids it holds. */
  get size(): number {
    return this.#generations.reduce((sum, { seen }) => sum + seen.size, 0);
  }

  /** Whether a message with this id came within the window. */
  has(print: Print, nowMs: number): boolean {
    const fromMs = nowMs - this.#queue.rules.dedupWindowMs;
    // The same id may be in several generations, when it came again after its time.
    for (const { seen } of this.#generations) if (Math.abs(seen.get(print)) > fromMs) return true;
    return false;
  }

  /** A message with this id has come. @param isLogged a restart keeps it */
  add(print: Print, nowMs: number, isLogged: boolean): void {
    this.expire(nowMs);
    const { dedupWindowMs } = this.#queue.rules;
    const young = this.#generations.at(-1);
    const isFull =
      young === undefined ||
      young.seen.size >= Math.ceil(this.#countMax / GENERATIONS) ||
      nowMs - young.sinceMs >= dedupWindowMs / GENERATIONS;
    if (isFull) this.#begin(nowMs);
    this.#generations.at(-1)?.seen.set(print, isLogged ? nowMs : -nowMs);
  }

  #begin(sinceMs: number): void {
    this.#generations.push({ sinceMs, seen: new PrintTable() });
    if (this.#generations.length > GENERATIONS + 1) this.#generations.shift();
  }

  /** Forget generations whose time is over. */
  expire(nowMs: number): void {
    const fromMs = nowMs - this.#queue.rules.dedupWindowMs;
    // All of a generation came before the next one began.
    while (this.#generations.length > 1 && (this.#generations[1] as Generation).sinceMs <= fromMs) {
      this.#generations.shift();
    }
  }

  clear(): void {
    this.#generations = [];
  }

  // ---- Checkpoints ------------------------------------------------------------------------------------------------

  moment(): { sinceMs: number; seen: PrintMoment }[] {
    return this.#generations.map(({ sinceMs, seen }) => ({ sinceMs, seen: seen.moment() }));
  }

  /** An id of a checkpoint; generations come in order. */
  restore(sinceMs: number, print: Print, seenMs: number): void {
    if (this.#generations.at(-1)?.sinceMs !== sinceMs) this.#begin(sinceMs);
    this.#generations.at(-1)?.seen.set(print, seenMs);
  }
}
