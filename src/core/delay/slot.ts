/**
 * The messages of a queue that become due in one span of time. Those that are due next are in a heap, `near`: complete up to a
 * horizon, found by a search that goes on beside delivery. Slots that begin later are not searched yet. What has gone out of
 * the slot is passed over when its turn comes.
 */
import { EntryLog } from '../queue/entry-log.ts';
import type { Queue } from '../queue/queue.ts';
import type { EntryRing } from '../slab/entry-ring.ts';
import type { Delays } from './delays.ts';
import { DUE_MASK, delayedLevel, SLOT_MS } from './info.ts';
import { NearHeap } from './near-heap.ts';
import { type After, DueSearch } from './search.ts';

/** A search finds this share of all, or `delayedNearMin`. */
const NEAR_SHARE = 8;

export class DelaySlot extends EntryLog {
  readonly #delays: Delays;
  /** Bytes of its messages. */
  bytes = 0;
  #near = new NearHeap();
  /** Everything due before it (ms since the start) is in `#near`; -1: nothing is known, which costs nothing. */
  #horizon = -1;
  #search: DueSearch | undefined;

  constructor(delays: Delays, queue: Queue, id: number, ring: EntryRing, startMs: number) {
    super(queue, id, ring, 'delay', startMs);
    this.#delays = delays;
  }

  get startMs(): number {
    return this.value;
  }

  /** The first millisecond that is not in it any more. */
  get endMs(): number {
    return this.value + SLOT_MS;
  }

  /** When a message in it is due. */
  dueMs(position: number): number {
    return this.value + (this.ring.info(position) & DUE_MASK);
  }

  /** The priority of a message in it. */
  level(position: number): number {
    return delayedLevel(this.ring.info(position));
  }

  /** It has nothing, and awaits nothing. */
  get isIdle(): boolean {
    return this.ring.count === 0 && this.batches === undefined;
  }

  protected override came(position: number, length: number): void {
    const due = this.ring.info(position) & DUE_MASK;
    const isNear = due < this.#horizon;
    if (isNear) this.#near.push(due, position);
    this.#delays.came(this, position, length, isNear);
  }

  protected override ripened(): void {
    this.#delays.ripened();
  }

  // ---- What is due ------------------------------------------------------------------------------------------------

  /** When the next one is due, as far as is known; Infinity: none, or `searches`. */
  get nextMs(): number {
    const near = this.#live;
    return near.size === 0 ? Number.POSITIVE_INFINITY : this.value + near.due;
  }

  /** The heap, the first of which is still in the slot. */
  get #live(): NearHeap {
    const near = this.#near;
    while (near.size > 0 && this.ring.body(near.position) === 0) near.pop();
    return near;
  }

  /** Take the position of the message that is next, and due, out of those known; -1 while it is not durable. */
  takeNext(): number {
    const { position } = this.#near;
    if (this.batches !== undefined && position >= this.batches.end(this.ring.tail)) return -1;
    this.#near.pop();
    return position;
  }

  /** There is more to find out before the next ones are known, or soon would be. */
  get searches(): boolean {
    if (this.#search !== undefined) return true;
    const { size } = this.#live;
    const wanted = this.#wanted;
    const isShort = this.#horizon !== Number.POSITIVE_INFINITY && size < wanted / 4;
    return isShort || size > wanted * 2;
  }

  get #wanted(): number {
    return Math.max(this.queue.engine.limits.delayedNearMin, Math.ceil(this.ring.count / NEAR_SHARE));
  }

  /** Go on searching, through about `entries` entries. */
  search(entries: number): void {
    this.#search ??= new DueSearch(this.ring, this.#wanted);
    if (!this.#search.step(entries)) return;
    const { found, horizon } = this.#search.end();
    this.#search = undefined;
    this.#near = found;
    this.#horizon = horizon;
  }

  /** A search of its own, for a listing. */
  list(max: number, after?: After): DueSearch {
    return new DueSearch(this.ring, max, after);
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  /** The info means something else here. */
  protected override adopted(): void {}

  protected override replayCame(length: number): void {
    this.#delays.entered(this, length);
  }

  protected override replayLeft(length: number): void {
    this.#delays.left(this, length);
  }
}
