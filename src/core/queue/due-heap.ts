/** Positions by the time they are due, the earliest first; of those due at the same time the lowest. A binary heap of numbers. */
const ROWS_FIRST = 16;

export class DueHeap {
  size = 0;
  #due = new Float64Array(ROWS_FIRST);
  #position = new Float64Array(ROWS_FIRST);

  /** When the first one is due; Infinity when there is none. */
  get firstDueMs(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : (this.#due[0] as number);
  }

  push(position: number, dueMs: number): void {
    if (this.size === this.#due.length) this.#resize(this.size * 2);
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!precedes(dueMs, position, this.#due[parent] as number, this.#position[parent] as number)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, position, dueMs);
  }

  /** Take the first one out: its position. There is one. */
  pop(): number {
    const first = this.#position[0] as number;
    const last = --this.size;
    const position = this.#position[last] as number;
    const dueMs = this.#due[last] as number;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= last) break;
      if (child + 1 < last && this.#isBefore(child + 1, child)) child++;
      if (!precedes(this.#due[child] as number, this.#position[child] as number, dueMs, position)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, position, dueMs);
    // After a burst, give the memory back.
    if (last > ROWS_FIRST && last * 4 < this.#due.length) this.#resize(this.#due.length / 2);
    return first;
  }

  /** All of them, in no order. A copy. */
  entries(): { positions: Float64Array; dueMs: Float64Array } {
    return { positions: this.#position.slice(0, this.size), dueMs: this.#due.slice(0, this.size) };
  }

  #isBefore(row: number, other: number): boolean {
    const due = this.#due;
    const position = this.#position;
    return precedes(due[row] as number, position[row] as number, due[other] as number, position[other] as number);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#position[from] as number, this.#due[from] as number);
  }

  #put(at: number, position: number, dueMs: number): void {
    this.#position[at] = position;
    this.#due[at] = dueMs;
  }

  #resize(rows: number): void {
    const position = new Float64Array(rows);
    const due = new Float64Array(rows);
    position.set(this.#position.subarray(0, this.size));
    due.set(this.#due.subarray(0, this.size));
    this.#position = position;
    this.#due = due;
  }
}

function precedes(dueMs: number, position: number, otherDueMs: number, otherPosition: number): boolean {
  return dueMs < otherDueMs || (dueMs === otherDueMs && position < otherPosition);
}
