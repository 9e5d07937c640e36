/** Positions settled or returned since the last record was written, as ranges: mostly one, which grows at its end. */
export class RangeLog {
  #first: number[] = [];
  #count: number[] = [];
  #info: number[] = [];

  get empty(): boolean {
    return this.#first.length === 0;
  }

  /** Number of ranges. */
  get length(): number {
    return this.#first.length;
  }

  add(position: number, info: number): void {
    const last = this.#first.length - 1;
    if (last >= 0 && this.#info[last] === info) {
      const count = this.#count[last] as number;
      if ((this.#first[last] as number) + count === position) {
        this.#count[last] = count + 1;
        return;
      }
    }
    this.#first.push(position);
    this.#count.push(1);
    this.#info.push(info);
  }

  first(at: number): number {
    return this.#first[at] as number;
  }

  count(at: number): number {
    return this.#count[at] as number;
  }

  info(at: number): number {
    return this.#info[at] as number;
  }

  clear(): void {
    if (this.#first.length > 1024) {
      // After a burst, give the memory back.
      this.#first = [];
      this.#count = [];
      this.#info = [];
      return;
    }
    this.#first.length = 0;
    this.#count.length = 0;
    this.#info.length = 0;
  }
}
