/** A binary min-heap of (due time, position) pairs: the earliest first, of equal times the lowest position. 12 bytes a pair. */

const FIRST_PAIRS = 16;

export class NearHeap {
  /** Milliseconds from the beginning of a slot. */
  #dues = new Int32Array(FIRST_PAIRS);
  #positions = new Float64Array(FIRST_PAIRS);
  size = 0;

  /** The pair that comes first; the caller has made sure that there is one. */
  get due(): number {
    return this.#dues[0] as number;
  }

  get position(): number {
    return this.#positions[0] as number;
  }

  push(due: number, position: number): void {
    if (this.size === this.#dues.length) this.#grow();
    const dues = this.#dues;
    const positions = this.#positions;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = dues[parent] as number;
      if (above < due || (above === due && (positions[parent] as number) < position)) break;
      dues[at] = above;
      positions[at] = positions[parent] as number;
      at = parent;
    }
    dues[at] = due;
    positions[at] = position;
  }

  pop(): void {
    const last = --this.size;
    if (last > 0) this.#sink(0, this.#dues[last] as number, this.#positions[last] as number);
  }

  /** Take the first pair out and put another one in. */
  replace(due: number, position: number): void {
    this.#sink(0, due, position);
  }

  /** Turn the order round: every number becomes its negative. A heap of negatives has the last pair first. */
  negate(): void {
    const dues = this.#dues;
    const positions = this.#positions;
    for (let at = 0; at < this.size; at++) {
      dues[at] = -(dues[at] as number);
      positions[at] = -(positions[at] as number);
    }
    for (let at = (this.size >> 1) - 1; at >= 0; at--) this.#sink(at, dues[at] as number, positions[at] as number);
  }

  /** Put a pair into the place `at`, or below it. */
  #sink(at: number, due: number, position: number): void {
    const dues = this.#dues;
    const positions = this.#positions;
    const { size } = this;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= size) break;
      let below = dues[child] as number;
      if (child + 1 < size) {
        const other = dues[child + 1] as number;
        if (other < below || (other === below && (positions[child + 1] as number) < (positions[child] as number))) {
          child++;
          below = other;
        }
      }
      if (below > due || (below === due && (positions[child] as number) > position)) break;
      dues[at] = below;
      positions[at] = positions[child] as number;
      at = child;
    }
    dues[at] = due;
    positions[at] = position;
  }

  #grow(): void {
    const dues = new Int32Array(this.size * 2);
    const positions = new Float64Array(this.size * 2);
    dues.set(this.#dues);
    positions.set(this.#positions);
    this.#dues = dues;
    this.#positions = positions;
  }
}
