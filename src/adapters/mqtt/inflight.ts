/** Small bookkeeping in typed arrays: packet ids of both directions. Nothing here allocates per message. */

const SLOTS_FIRST = 16;
const PACKET_ID_MAX = 65_535;

/**
 * Packet ids of messages sent to a client and not yet acknowledged, each with its delivery number. Starts small and grows
 * with what the client leaves unacknowledged.
 */
export class SentIds {
  #deliveries = new Float64Array(SLOTS_FIRST);
  #last = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Give a delivery the next free packet id. At most 65,535 may be in use. @param delivery 1 or more */
  take(delivery: number): number {
    if (this.#count >= this.#deliveries.length - 1) this.#grow(this.#deliveries.length * 2);
    const slots = this.#deliveries.length;
    let id = this.#last;
    do {
      id = id + 1 < slots ? id + 1 : 1;
    } while (this.#deliveries[id] !== 0);
    this.#last = id;
    this.#deliveries[id] = delivery;
    this.#count++;
    return id;
  }

  /** Give a delivery a certain packet id: a message that is sent again under its old one. False when it is in use. */
  takeThis(id: number, delivery: number): boolean {
    if (id >= this.#deliveries.length) this.#grow(id + 1);
    if (this.#deliveries[id] !== 0) return false;
    this.#deliveries[id] = delivery;
    this.#count++;
    return true;
  }

  /** Free a packet id; answers its delivery number, or 0 when it was not in use. */
  release(id: number): number {
    if (id >= this.#deliveries.length) return 0;
    const delivery = this.#deliveries[id] as number;
    if (delivery === 0) return 0;
    this.#deliveries[id] = 0;
    this.#count--;
    return delivery;
  }

  /** The ids in use, in the order of their deliveries. */
  inOrder(): Uint16Array {
    const used: number[] = [];
    for (let id = 1; id < this.#deliveries.length; id++) if (this.#deliveries[id] !== 0) used.push(id);
    used.sort((a, b) => (this.#deliveries[a] as number) - (this.#deliveries[b] as number));
    return Uint16Array.from(used);
  }

  #grow(slots: number): void {
    const larger = new Float64Array(Math.min(Math.max(slots, this.#deliveries.length * 2), PACKET_ID_MAX + 1));
    larger.set(this.#deliveries);
    this.#deliveries = larger;
  }
}

/** A queue of integers in a ring that grows: what a confirm answers, in the order it was asked for. */
export class IntegerQueue {
  #ring = new Uint32Array(SLOTS_FIRST);
  #head = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(value: number): void {
    if (this.#size === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#size++) & (this.#ring.length - 1)] = value;
  }

  /** Take the oldest. The queue must not be empty. */
  shift(): number {
    const value = this.#ring[this.#head] as number;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#size--;
    return value;
  }

  /** Take the newest back. */
  pop(): void {
    this.#size--;
  }

  #grow(): void {
    const larger = new Uint32Array(this.#ring.length * 2);
    for (let i = 0; i < this.#size; i++) larger[i] = this.#ring[(this.#head + i) & (this.#ring.length - 1)] as number;
    this.#ring = larger;
    this.#head = 0;
  }
}
