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
    const items = this.#items;
    let at = items.length;
    items.push(position);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] as number;
      if (above <= position) break;
      items[at] = above;
      at = parent;
    }
    items[at] = position;
  }

  pop(): number {
    const items = this.#items;
    const first = items[0] as number;
    const last = items.pop() as number;
    const size = items.length;
    if (size === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= size) break;
      if (child + 1 < size && (items[child + 1] as number) < (items[child] as number)) child++;
      if ((items[child] as number) >= last) break;
      items[at] = items[child] as number;
      at = child;
    }
    items[at] = last;
    return first;
  }

  has(position: number): boolean {
    return this.#items.includes(position);
  }

  /** Take one out, wherever it is; what is not the smallest costs as much as the heap is large. */
  remove(position: number): void {
    const at = this.#items.indexOf(position);
    if (at === 0) this.pop();
    if (at <= 0) return;
    const others = this.#items.splice(at).slice(1);
    // What stands before its place is a heap as it was.
    for (const other of others) this.push(other);
  }

  /** All of them, in heap order. */
  values(): readonly number[] {
    return this.#items;
  }

  clear(): void {
    this.#items.length = 0;
  }
}
