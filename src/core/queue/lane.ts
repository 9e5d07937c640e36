/**
 * The entries of one priority level of a queue, and which of them is next: the oldest returned one, else the oldest that was
 * never handed out; of a logged queue, only what is durable. Positions here are those of the lane's ring; a queue with several
 * lanes adds `offset` to them (lanes.ts).
 */

import type { EntryRing } from '../slab/entry-ring.ts';
import { GIVEN_UP_MASK, HELD, OUT_OF_SIGHT, PARKED } from './entry-info.ts';
import { EntryLog } from './entry-log.ts';
import { PositionHeap } from './position-heap.ts';
import type { Queue } from './queue.ts';

/** Positions of a lane above the first one begin at its level times this: a million messages a second last for a year. */
export const LANE_SPAN: number = 2 ** 45;

export class Lane extends EntryLog {
  readonly level: number;
  /** Its positions in the queue begin here. */
  readonly offset: number;
  /** The position whose message expires at `expiresAtMs`; -1 = nobody has looked. Written by expiry.ts alone. */
  lookedAt = -1;
  expiresAtMs = 0;
  /** The next position that was never handed out is this one or a later one. */
  #cursor: number;
  /** Given back, if there are any. */
  #returned: PositionHeap | undefined;
  /** Positions below this one may hold entries that are out of sight: delivery passes over them. */
  #mixedBelow = 0;

  constructor(queue: Queue, id: number, ring: EntryRing, level: number) {
    super(queue, id, ring, 'level', level);
    this.level = level;
    this.offset = level * LANE_SPAN;
    this.#cursor = ring.head;
  }

  protected override came(position: number, length: number): void {
    this.queue.came(this, position, length);
  }

  protected override ripened(): void {
    this.queue.ripened(this);
  }

  /** The position to hand out next, or -1. */
  next(): number {
    if (this.#returned !== undefined) return this.#returned.first;
    const { tail } = this.ring;
    const limit = this.batches === undefined ? tail : this.batches.end(tail);
    if (this.#cursor >= limit) return -1;
    let position = this.ring.next(this.#cursor);
    if (this.#cursor < this.#mixedBelow) position = this.#nextKept(position);
    return position >= 0 && position < limit ? position : -1;
  }

  /** The first ready message, whether it is durable yet or not; -1 when there is none. */
  oldest(): number {
    if (this.#returned !== undefined) return this.#returned.first;
    return this.#cursor >= this.ring.tail ? -1 : this.#nextKept(this.ring.next(this.#cursor));
  }

  /** The first position from `position` on that is in sight. */
  #nextKept(position: number): number {
    const { ring } = this;
    while (position >= 0 && (ring.info(position) & OUT_OF_SIGHT) !== 0) position = ring.next(position + 1);
    this.#cursor = position < 0 ? ring.tail : position;
    return position;
  }

  /** `position`, which is the next one or the oldest, is handed out, or given up. */
  pass(position: number): void {
    if (this.#returned === undefined) {
      this.#cursor = position + 1;
      return;
    }
    this.#returned.pop();
    if (this.#returned.size === 0) this.#returned = undefined;
  }

  /** An entry that was handed out, or out of sight, is back at its place. */
  giveBack(position: number): void {
    // Behind the cursor it is met in its turn.
    if (position >= this.#cursor) return;
    this.#returned ??= new PositionHeap();
    this.#returned.push(position);
  }

  /** `position`, which is ready and need not be the next one, is handed out. */
  take(position: number): void {
    this.withdraw(position);
    this.mayBeOutOfSight(position + 1);
    this.ring.setInfo(position, (this.ring.info(position) & ~PARKED) | HELD);
  }

  /** The next position that was never handed out is this one or a later one. */
  get start(): number {
    return this.#cursor;
  }

  /** What comes in at this position or behind it is not durable yet. */
  get end(): number {
    const { tail } = this.ring;
    return this.batches === undefined ? tail : this.batches.end(tail);
  }

  /** Entries before `start` that are ready. */
  get returned(): readonly number[] {
    return this.#returned?.values() ?? [];
  }

  /** Anything below `end` may be out of sight from now on. */
  mayBeOutOfSight(end: number): void {
    this.#mixedBelow = Math.max(this.#mixedBelow, end);
  }

  /** The entries that were given up before a restart. From now on delivery passes over them. */
  *givenUp(): IterableIterator<number> {
    const { ring } = this;
    this.mayBeOutOfSight(ring.tail);
    for (let position = ring.next(0); position >= 0; position = ring.next(position + 1)) {
      if ((ring.info(position) & GIVEN_UP_MASK) !== 0) yield position;
    }
  }

  override recovered(): void {
    super.recovered();
    this.#cursor = this.ring.head;
  }

  /** Bytes of the messages that are not ready, as stored: handed out, given up. */
  unreadyBytes(): number {
    const { ring } = this;
    let bytes = 0;
    const end = Math.max(this.#cursor, Math.min(this.#mixedBelow, ring.tail));
    for (let position = ring.next(0); position >= 0 && position < end; position = ring.next(position + 1)) {
      const isReady = position >= this.#cursor && (ring.info(position) & OUT_OF_SIGHT) === 0;
      if (!isReady) bytes += this.lengthOf(position);
    }
    for (const position of this.#returnedInOrder()) bytes -= this.lengthOf(position);
    return bytes;
  }

  /** The ready entries in the order in which they go out. What changes meanwhile may be seen or not. */
  *ready(): IterableIterator<number> {
    yield* this.#returnedInOrder();
    const { ring } = this;
    for (let position = ring.next(this.#cursor); position >= 0; position = ring.next(position + 1)) {
      if ((ring.info(position) & OUT_OF_SIGHT) === 0) yield position;
    }
  }

  /** Whether the entry at a position is still here, and with nobody: durable or not. */
  isReady(position: number): boolean {
    const { ring, queue } = this;
    if (ring.body(position) === 0 || (ring.info(position) & OUT_OF_SIGHT) !== 0) return false;
    if (position >= this.#cursor) return true;
    // Where it is chosen what goes to whom, all that is handed out is HELD. A purge marks nothing.
    return (queue.selection !== undefined && queue.purging === 0) || this.#isReturned(position);
  }

  /** Take a ready entry out of the order. */
  withdraw(position: number): void {
    if (position >= this.#cursor) return;
    this.#returned?.remove(position);
    if (this.#returned?.size === 0) this.#returned = undefined;
  }

  /** Whether an entry is still out of sight because of `hideAll`: not if it was so for another reason then. */
  isHidden(position: number): boolean {
    if (position >= this.#mixedBelow) return true;
    return (this.ring.info(position) & OUT_OF_SIGHT) === 0 && !this.#isReturned(position);
  }

  #isReturned(position: number): boolean {
    return this.#returned?.has(position) ?? false;
  }

  #returnedInOrder(): number[] {
    return this.#returned === undefined ? [] : [...this.#returned.values()].sort((a, b) => a - b);
  }

  /** Put everything ready out of sight: the returned entries, in order, and the range of the others. */
  hideAll(): { returned: number[]; from: number; to: number } {
    const returned = this.#returnedInOrder();
    const from = this.#cursor;
    this.#returned = undefined;
    this.#cursor = this.ring.tail;
    return { returned, from, to: this.#cursor };
  }
}
