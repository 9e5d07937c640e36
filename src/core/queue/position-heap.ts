/** A binary min-heap of queue positions: returned messages, the oldest first. */
export class PositionHeap {
  readonly #items: number[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** The smallest; the caller has made sure that there is one. */
  get first(): number {
    return this.#items[0] as number;
  }

  push(position: number): void {
    this.#items.push(position);
    this.#rise(this.#items.length - 1, position);
  }

  pop(): number {
    const first = this.#items[0] as number;
    this.#removeAt(0);
    return first;
  }

  /** Take one out wherever it is: as slow as the heap is large, unless it is among the smallest. */
  remove(position: number): boolean {
    const at = this.#items.indexOf(position);
    if (at < 0) return false;
    this.#removeAt(at);
    return true;
  }

  #removeAt(at: number): void {
    const items = this.#items;
    const last = items.pop() as number;
    if (at === items.length) return;
    this.#rise(this.#sink(at, last), last);
  }

  /** Move the hole at `at` down until `position` fits; answers where it is then. */
  #sink(at: number, position: number): number {
    const items = this.#items;
    const size = items.length;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= size) break;
      if (child + 1 < size && (items[child + 1] as number) < (items[child] as number)) child++;
      if ((items[child] as number) >= position) break;
      items[at] = items[child] as number;
      at = child;
    }
    return at;
  }

  /** Put `position` at `at` or above, moving larger ones down. */
  #rise(at: number, position: number): void {
    const items = this.#items;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] as number;
      if (above <= position) break;
      items[at] = above;
      at = parent;
    }
    items[at] = position;
  }

  has(position: number): boolean {
    return this.#items.includes(position);
  }

  /** All of them, in heap order. */
  values(): readonly number[] {
    return this.#items;
  }

  clear(): void {
    this.#items.length = 0;
  }
}
