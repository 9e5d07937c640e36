/**
 * Delivery tags of one channel: which delivery of which consumer each stands for, until it is settled. A ring of typed
 * arrays, because there is one entry a message; the few tags left behind while thousands go by move to a map, so that one
 * forgotten delivery does not make the ring grow without end.
 */

/** A tag that was taken back, and the delivery it stood for. */
export interface TakenTag {
  readonly tag: number;
  readonly slot: number;
  readonly id: number;
}

/** One delivery, or several of one consumer, that go with what was settled. `first` to `last` are its delivery ids. */
export type SettleVisitor = (slot: number, first: number, last: number) => void;

const RING_FIRST = 16;

export class DeliveryTags {
  #slots = new Uint32Array(RING_FIRST);
  #ids = new Float64Array(RING_FIRST);
  /** The oldest tag the ring may hold. */
  #base = 1;
  #next = 1;
  #inRing = 0;
  /** Unsettled tags older than `#base`, ascending. */
  readonly #left = new Map<number, { slot: number; id: number }>();
  /** Where `take` puts what it found. */
  slot = 0;
  id = 0;

  /** Tags given and not taken back. */
  get outstanding(): number {
    return this.#inRing + this.#left.size;
  }

  /** Give the next tag to delivery `id` of the consumer in `slot` (1 or more). */
  add(slot: number, id: number): number {
    if (this.#next - this.#base === this.#slots.length) this.#makeRoom();
    const tag = this.#next++;
    const at = tag & (this.#slots.length - 1);
    this.#slots[at] = slot;
    this.#ids[at] = id;
    this.#inRing++;
    return tag;
  }

  /** Give the next tag to a delivery that needs no settling. */
  skip(): number {
    if (this.#base === this.#next) {
      this.#base++;
      return this.#next++;
    }
    const tag = this.add(0, 0);
    this.#inRing--;
    return tag;
  }

  /** True when `tag` was given and not taken back. */
  has(tag: number): boolean {
    if (tag < this.#base) return this.#left.has(tag);
    return tag < this.#next && this.#slots[tag & (this.#slots.length - 1)] !== 0;
  }

  /** Take a tag back and put its consumer and delivery id in `slot` and `id`; false when it is not outstanding. */
  take(tag: number): boolean {
    if (tag < this.#base) return this.#takeLeft(tag);
    if (tag >= this.#next) return false;
    const at = tag & (this.#slots.length - 1);
    const slot = this.#slots[at] as number;
    if (slot === 0) return false;
    this.slot = slot;
    this.id = this.#ids[at] as number;
    this.#slots[at] = 0;
    this.#inRing--;
    if (tag === this.#base) this.#advance();
    return true;
  }

  /**
   * Take back every tag up to `last`. The visitor gets runs of consecutive deliveries of one consumer, oldest first.
   * Answers how many there were.
   */
  takeUpTo(last: number, visit: SettleVisitor): number {
    const before = this.outstanding;
    for (const [tag, entry] of this.#left) {
      if (tag > last) break;
      this.#left.delete(tag);
      visit(entry.slot, entry.id, entry.id);
    }
    const mask = this.#slots.length - 1;
    const end = Math.min(last + 1, this.#next);
    let slot = 0;
    let first = 0;
    let until = 0;
    for (let tag = this.#base; tag < end; tag++) {
      const at = tag & mask;
      const owner = this.#slots[at] as number;
      if (owner === 0) continue;
      const id = this.#ids[at] as number;
      this.#slots[at] = 0;
      this.#inRing--;
      if (owner === slot && id === until + 1) {
        until = id;
        continue;
      }
      if (slot !== 0) visit(slot, first, until);
      slot = owner;
      first = id;
      until = id;
    }
    if (slot !== 0) visit(slot, first, until);
    if (end > this.#base) {
      this.#base = end;
      this.#advance();
    }
    return before - this.outstanding;
  }

  /** Every outstanding tag up to `last`, ascending. */
  upTo(last: number): number[] {
    const found: number[] = [];
    for (const tag of this.#left.keys()) if (tag <= last) found.push(tag);
    const end = Math.min(last + 1, this.#next);
    for (let tag = this.#base; tag < end; tag++) if (this.has(tag)) found.push(tag);
    return found;
  }

  /** Let tags stand for their deliveries again. */
  restore(taken: readonly TakenTag[]): void {
    for (const { tag, slot, id } of taken) {
      if (tag < this.#base) {
        this.#left.set(tag, { slot, id });
        continue;
      }
      const at = tag & (this.#slots.length - 1);
      this.#slots[at] = slot;
      this.#ids[at] = id;
      this.#inRing++;
    }
    const left = [...this.#left].sort(([a], [b]) => a - b);
    this.#left.clear();
    for (const [tag, entry] of left) this.#left.set(tag, entry);
  }

  #takeLeft(tag: number): boolean {
    const entry = this.#left.get(tag);
    if (entry === undefined) return false;
    this.#left.delete(tag);
    this.slot = entry.slot;
    this.id = entry.id;
    return true;
  }

  /** Let the ring begin at its oldest unsettled tag. */
  #advance(): void {
    const mask = this.#slots.length - 1;
    let base = this.#base;
    while (base < this.#next && this.#slots[base & mask] === 0) base++;
    this.#base = base;
  }

  #makeRoom(): void {
    if (this.#inRing * 4 <= this.#slots.length) this.#leaveOldest();
    else this.#grow();
  }

  /** Most of the ring is settled: move what is unsettled in its older half to the map. */
  #leaveOldest(): void {
    const mask = this.#slots.length - 1;
    const end = this.#base + this.#slots.length / 2;
    for (let tag = this.#base; tag < end; tag++) {
      const slot = this.#slots[tag & mask] as number;
      if (slot === 0) continue;
      this.#left.set(tag, { slot, id: this.#ids[tag & mask] as number });
      this.#slots[tag & mask] = 0;
      this.#inRing--;
    }
    this.#base = end;
    this.#advance();
  }

  #grow(): void {
    const [oldSlots, oldIds] = [this.#slots, this.#ids];
    const oldMask = oldSlots.length - 1;
    this.#slots = new Uint32Array(oldSlots.length * 2);
    this.#ids = new Float64Array(oldSlots.length * 2);
    const mask = this.#slots.length - 1;
    for (let tag = this.#base; tag < this.#next; tag++) {
      this.#slots[tag & mask] = oldSlots[tag & oldMask] as number;
      this.#ids[tag & mask] = oldIds[tag & oldMask] as number;
    }
  }
}
