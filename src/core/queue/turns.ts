/**
 * Whose turn it is among consumers of one priority. Only those that can take stand in line, as far as is known: one that turns
 * out not to be able leaves the line when its turn comes, and enters it again when it can. So a choice costs the same with ten
 * consumers and with ten thousand, of which one has credit.
 */
import type { Subscription } from '../subscription.ts';

/** The place of a consumer in a line. */
export class Seat {
  readonly subscription: Subscription;
  /** It stands in line. */
  standing = false;
  /** Round robin: its neighbours in the ring. */
  before: Seat = this;
  after: Seat = this;
  /** Fair share: its index in the heap, and when it is due, in rounds of the line. */
  index = 0;
  due = 0;
  round = 0;
  /** Turns it has had in that round. */
  taken = 0;
  /** Fair share: among those due at the same time, the lowest goes first. */
  rank = 0;

  readonly #level: { enter(seat: Seat): void };

  /** @param level whose line it stands in */
  constructor(subscription: Subscription, level: { enter(seat: Seat): void }) {
    this.subscription = subscription;
    this.#level = level;
  }

  /** The consumer can take, again or for the first time. */
  ready(): void {
    if (!this.standing) this.#level.enter(this);
  }
}

/** A line of consumers. */
export interface Line {
  /** Whose turn it is. */
  readonly first: Seat | undefined;
  /** Give `first` its turn: others come before it now. */
  pass(): void;
  enter(seat: Seat): void;
  leave(seat: Seat): void;
}

/** One after the other. */
export class RoundRobin implements Line {
  #first: Seat | undefined;

  get first(): Seat | undefined {
    return this.#first;
  }

  pass(): void {
    this.#first = this.#first?.after;
  }

  enter(seat: Seat): void {
    const after = this.#first ?? seat;
    this.#first = after;
    const { before } = after;
    seat.before = before;
    seat.after = after;
    before.after = seat;
    after.before = seat;
  }

  leave(seat: Seat): void {
    const { before, after } = seat;
    before.after = after;
    after.before = before;
    if (this.#first === seat) this.#first = after === seat ? undefined : after;
    seat.before = seat;
    seat.after = seat;
  }
}

/**
 * In proportion to their weights, and evenly spread: while all stand in line, a consumer of weight w has exactly w turns in
 * each round of the line, in the middle of each of the w parts the round has for it (stride scheduling: Waldspurger and Weihl,
 * 1995). A binary heap by the time the next turn is due. One that comes back after a while has nothing saved up.
 */
export class FairShare implements Line {
  readonly #heap: Seat[] = [];
  /** When the newest turn was due. */
  #now = 0;
  #ranks = 0;

  get first(): Seat | undefined {
    return this.#heap[0];
  }

  pass(): void {
    const seat = this.#heap[0] as Seat;
    this.#now = seat.due;
    seat.taken++;
    plan(seat);
    this.#sink(0, seat);
  }

  enter(seat: Seat): void {
    if (seat.rank === 0) seat.rank = ++this.#ranks;
    if (seat.due <= this.#now) {
      seat.round = Math.floor(this.#now);
      // The turns that are over in this round.
      seat.taken = Math.floor((this.#now - seat.round) * seat.subscription.weight + 0.5);
      plan(seat);
    }
    this.#heap.push(seat);
    this.#rise(this.#heap.length - 1, seat);
  }

  leave(seat: Seat): void {
    const last = this.#heap.pop() as Seat;
    if (last === seat) return;
    const { index } = seat;
    this.#sink(index, last);
    this.#rise(last.index, last);
  }

  /** Put `seat` into the place `at`, or above it. */
  #rise(at: number, seat: Seat): void {
    const heap = this.#heap;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Seat;
      if (!precedes(seat, above)) break;
      heap[at] = above;
      above.index = at;
      at = parent;
    }
    heap[at] = seat;
    seat.index = at;
  }

  /** Put `seat` into the place `at`, or below it. */
  #sink(at: number, seat: Seat): void {
    const heap = this.#heap;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && precedes(right, heap[child] as Seat)) child++;
      const below = heap[child] as Seat;
      if (!precedes(below, seat)) break;
      heap[at] = below;
      below.index = at;
      at = child;
    }
    heap[at] = seat;
    seat.index = at;
  }
}

/** Its next turn, after those it has had. Divided anew each time, not added up: what is due at the same time stays so. */
function plan(seat: Seat): void {
  const { weight } = seat.subscription;
  if (seat.taken === weight) {
    seat.taken = 0;
    seat.round++;
  }
  seat.due = seat.round + (seat.taken + 0.5) / weight;
}

function precedes(one: Seat, other: Seat): boolean {
  return one.due < other.due || (one.due === other.due && one.rank < other.rank);
}
