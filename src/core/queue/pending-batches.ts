/** Batches not yet durable that hold messages of a queue, and the position of the first one in each. */
export class PendingBatches {
  readonly #batches: number[] = [];
  readonly #firsts: number[] = [];

  get empty(): boolean {
    return this.#batches.length === 0;
  }

  /** The message at `position` is in `batch`. */
  add(batch: number, position: number): void {
    const { length } = this.#batches;
    if (length > 0 && this.#batches[length - 1] === batch) return;
    this.#batches.push(batch);
    this.#firsts.push(position);
  }

  /** Everything up to `batch` is durable. */
  durable(batch: number): void {
    while (this.#batches.length > 0 && (this.#batches[0] as number) <= batch) {
      this.#batches.shift();
      this.#firsts.shift();
    }
  }

  /** The first batch awaited; Infinity when there is none. */
  get first(): number {
    return this.#batches[0] ?? Number.POSITIVE_INFINITY;
  }

  /** The last batch awaited; 0 when there is none. */
  get last(): number {
    return this.#batches.at(-1) ?? 0;
  }

  /** Positions below this one are durable. @param tail the next position of the queue */
  end(tail: number): number {
    return this.#firsts.length === 0 ? tail : (this.#firsts[0] as number);
  }
}
