/**
 * What a subscription has been handed and not settled: positions by delivery number. A ring of slots as long as the numbers lie
 * close together; a few old ones that are left behind move out of it, so that they do not make it grow with all that came after.
 */

const SLOTS_FIRST = 16;
/** From this size on, a few old deliveries must not make the ring grow. */
const SLOTS_SPARSE = 1024;
const SETTLED = -1;
const NO_SLOTS = new Float64Array(0);

/** Told of each delivery that is settled. */
export interface Settler<Op> {
  apply(position: number, op: Op): void;
}

export class Outstanding {
  /** How many there are. */
  count = 0;
  /** Position by delivery number, in a ring of a power of two; `SETTLED` where it is done. */
  #slots = new Float64Array(SLOTS_FIRST);
  /** The oldest delivery that may be unsettled, but for those in `#old`. */
  #firstId = 1;
  /** Number of the newest delivery. */
  newestId = 0;
  /** Positions of deliveries that were left behind: unsettled for much longer than the others. */
  readonly #old = new Map<number, number>();

  /** Number of the oldest one; beyond the newest number when there is none. */
  get oldestId(): number {
    for (const id of this.#old.keys()) return id;
    return this.#firstId;
  }

  /** Delivery `id`, the next number. */
  add(id: number, position: number): void {
    this.newestId = id;
    if (id - this.#firstId >= this.#slots.length) this.#grow();
    this.#slots[id & (this.#slots.length - 1)] = position;
    this.count++;
  }

  /** Delivery `id`, the next number, is settled already. */
  skip(id: number): void {
    this.newestId = id;
    this.#firstId = id + 1;
  }

  /** Settle deliveries `first` to `last`, both included; those settled already are passed over. */
  settle<Op>(first: number, last: number, op: Op, settler: Settler<Op>): void {
    if (this.#old.size > 0 && first < this.#firstId) this.#settleOld(first, last, op, settler);
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let id = Math.max(first, this.#firstId); id <= last; id++) {
      const position = slots[id & mask] as number;
      if (position === SETTLED) continue;
      slots[id & mask] = SETTLED;
      this.count--;
      settler.apply(position, op);
    }
    while (this.#firstId <= this.newestId && slots[this.#firstId & mask] === SETTLED) this.#firstId++;
  }

  /** How many of the deliveries `first` to `last` are unsettled. */
  countIn(first: number, last: number): number {
    let count = 0;
    for (const id of this.#old.keys()) if (id >= first && id <= last) count++;
    const mask = this.#slots.length - 1;
    for (let id = Math.max(first, this.#firstId); id <= last; id++) {
      if (this.#slots[id & mask] !== SETTLED) count++;
    }
    return count;
  }

  /** Their positions. */
  each(visit: (position: number) => void): void {
    for (const position of this.#old.values()) visit(position);
    const mask = this.#slots.length - 1;
    for (let id = this.#firstId; id <= this.newestId; id++) {
      const position = this.#slots[id & mask] as number;
      if (position !== SETTLED) visit(position);
    }
  }

  settleAll<Op>(op: Op, settler: Settler<Op>): void {
    if (this.count > 0) this.settle(1, this.newestId, op, settler);
  }

  /** Forget them and give the memory back: there are no more to come. */
  clear(): void {
    this.count = 0;
    this.#old.clear();
    this.#slots = NO_SLOTS;
  }

  #settleOld<Op>(first: number, last: number, op: Op, settler: Settler<Op>): void {
    if (first === last) {
      const position = this.#old.get(first);
      if (position === undefined) return;
      this.#old.delete(first);
      this.count--;
      settler.apply(position, op);
      return;
    }
    for (const [id, position] of this.#old) {
      // In ascending order: they were added so.
      if (id > last) break;
      if (id < first) continue;
      this.#old.delete(id);
      this.count--;
      settler.apply(position, op);
    }
  }

  /** Make room for one more delivery. */
  #grow(): void {
    const old = this.#slots;
    if (old.length >= SLOTS_SPARSE && (this.count - this.#old.size) * 4 < old.length) {
      this.#leaveBehind(this.#firstId + old.length / 2);
      return;
    }
    const slots = new Float64Array(old.length * 2);
    for (let id = this.#firstId; id < this.newestId; id++) {
      slots[id & (slots.length - 1)] = old[id & (old.length - 1)] as number;
    }
    this.#slots = slots;
  }

  /** Move what is unsettled before delivery `id` out of the ring. */
  #leaveBehind(id: number): void {
    const mask = this.#slots.length - 1;
    for (; this.#firstId < id; this.#firstId++) {
      const position = this.#slots[this.#firstId & mask] as number;
      if (position !== SETTLED) this.#old.set(this.#firstId, position);
    }
  }
}
