/** The confirms of one producer: numbers 1, 2, 3, ... given in order, each when the batch it waits for is durable. */
import type { ProducerHandlers } from './door.ts';
import type { AwaitsBatches, Engine } from './engine.ts';
import type { Stage, StageWaiter } from './topic/stage.ts';

/** Stands for a batch that is not known yet. */
const HELD = Number.POSITIVE_INFINITY;
/** Stands for the batch that what is staged for topics gets. */
const STAGED = Number.MAX_VALUE;

export class Confirms implements AwaitsBatches, StageWaiter {
  readonly #engine: Engine;
  readonly #handlers: ProducerHandlers;
  #closed = false;
  /** Numbers that are to get a refusal, ascending. */
  #refused: number[] = [];
  /** Numbers given out, and those confirmed. */
  #asked = 0;
  #confirmed = 0;
  /** Confirms that nothing holds back, to be given at the end of the turn. */
  #atOnce = 0;
  /** Batches awaited, and the last number that each confirms. */
  readonly #batches: number[] = [];
  readonly #upTo: number[] = [];
  /** The engine tells of batches. */
  #awaiting = false;
  /** The stage tells of the batch. */
  #staged = false;

  constructor(engine: Engine, handlers: ProducerHandlers) {
    this.#engine = engine;
    this.#handlers = handlers;
  }

  /** Number something. @param batch 0: nothing to wait for but what precedes it */
  ask(batch: number, refused: boolean): void {
    const n = ++this.#asked;
    if (refused) this.#refused.push(n);
    const last = this.#batches.length - 1;
    if (last < 0 && batch === 0) {
      if (this.#atOnce <= this.#confirmed) this.#engine.confirmSoon(this);
      this.#atOnce = n;
    } else if (last >= 0 && this.#batches[last] !== HELD && (batch === 0 || this.#batches[last] === batch)) {
      this.#upTo[last] = n;
    } else {
      this.#await(batch, n);
    }
  }

  /** Number something that is staged: its batch is known when the stage is flushed. */
  askStaged(stage: Stage, refused: boolean): void {
    if (!this.#staged) {
      this.#staged = true;
      stage.wait(this);
    }
    this.ask(STAGED, refused);
  }

  /** What was staged is in this batch. */
  staged(batch: number): void {
    this.#staged = false;
    const batches = this.#batches;
    for (let n = 0; n < batches.length; n++) if (batches[n] === STAGED) batches[n] = batch;
    // Nothing was staged after all.
    if (batch <= this.#engine.journal.durableBatch) this.#engine.confirmSoon(this);
  }

  #await(batch: number, n: number): void {
    this.#batches.push(batch);
    this.#upTo.push(n);
    if (this.#awaiting) return;
    this.#awaiting = true;
    this.#engine.awaitConfirms(this);
  }

  /** Number something whose batch is not known yet: what follows waits for it. Answers the number, for `release`. */
  hold(): number {
    const n = ++this.#asked;
    this.#await(HELD, n);
    return n;
  }

  /** The batch of number `n` is known now. @param batch 0: none */
  release(n: number, batch: number, refused: boolean): void {
    this.#batches[this.#upTo.indexOf(n)] = batch;
    if (refused) {
      const later = this.#refused.findIndex((other) => other > n);
      this.#refused.splice(later < 0 ? this.#refused.length : later, 0, n);
    }
    this.#giveDurable(this.#engine.journal.durableBatch);
  }

  /** End of the turn. */
  confirmAtOnce(): void {
    this.#giveDurable(this.#engine.journal.durableBatch);
    if (!this.#closed && this.#atOnce > this.#confirmed) this.#give(this.#atOnce);
  }

  becameDurable(batch: number): boolean {
    this.#giveDurable(batch);
    this.#awaiting = this.#batches.length > 0 && !this.#closed;
    return this.#awaiting;
  }

  #giveDurable(batch: number): void {
    let upTo = 0;
    while (this.#batches.length > 0 && (this.#batches[0] as number) <= batch) {
      this.#batches.shift();
      upTo = this.#upTo.shift() as number;
    }
    if (upTo > 0 && !this.#closed) this.#give(upTo);
  }

  #give(upTo: number): void {
    this.#confirmed = upTo;
    const refused = this.#refused.length === 0 ? undefined : this.#takeRefused(upTo);
    this.#handlers.onConfirm?.(upTo, refused);
  }

  #takeRefused(upTo: number): readonly number[] | undefined {
    const refused = this.#refused.filter((n) => n <= upTo);
    if (refused.length > 0) this.#refused = this.#refused.slice(refused.length);
    return refused.length === 0 ? undefined : refused;
  }

  /** Give no more. */
  close(): void {
    this.#closed = true;
  }
}
