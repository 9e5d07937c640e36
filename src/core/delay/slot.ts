/**
 * The messages of a queue that become due in one span of time. Those that are due next are known in their order, `near`: complete
 * up to a horizon, found by a search that goes on beside delivery. Slots that begin later are not searched yet. What has gone out
 * of the slot is passed over when its turn comes.
 */
import { EntryLog } from '../queue/entry-log.ts';
import type { Queue } from '../queue/queue.ts';
import type { EntryRing } from '../slab/entry-ring.ts';
import type { Delays } from './delays.ts';
import { DUE_MASK, delayedLevel, SLOT_MS } from './info.ts';
import { Near } from './near.ts';
import { NearSearch } from './near-search.ts';
import { type After, DueSearch } from './search.ts';

/** A search finds this share of all, or `delayedNearMin`. */
const NEAR_SHARE = 4;
/** Entries that a search looks at before others have their turn: some hundred microseconds. A small slot is searched at once. */
const SEARCHED_PER_VISIT = 32_768;

export class DelaySlot extends EntryLog {
  readonly #delays: Delays;
  /** Bytes of its messages. */
  bytes = 0;
  #near = new Near();
  /** Everything due before it (ms since the start) is in `#near`; -1: nothing is known, which costs nothing. */
  #horizon = -1;
  #search: NearSearch | undefined;
  #wantedMost = 0;

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

  /** Those known, the first of which is still in the slot. */
  get #live(): Near {
    const near = this.#near;
    while (near.size > 0 && this.ring.body(near.position) === 0) near.pop();
    return near;
  }

  /** Take the positions of those known that are due, `max` at most. Answers false when one is not durable yet. */
  takeDue(now: number, max: number, into: number[]): boolean {
    const near = this.#near;
    const due = now - this.value;
    const end = this.batches === undefined ? Number.POSITIVE_INFINITY : this.batches.end(this.ring.tail);
    let isDurable = true;
    while (into.length < max && near.size > 0 && near.due <= due) {
      const { position } = near;
      isDurable = position < end;
      if (!isDurable) break;
      near.pop();
      into.push(position);
    }
    // A loop that does nothing else: entries lie anywhere in memory, and the processor fetches several at a time.
    let count = 0;
    for (let n = 0; n < into.length; n++) {
      const position = into[n] as number;
      if (this.ring.body(position) !== 0) into[count++] = position;
    }
    into.length = count;
    return isDurable;
  }

  /** There is more to find out before the next ones are known, or soon would be. */
  get searches(): boolean {
    if (this.#search !== undefined) return true;
    const { size } = this.#live;
    const wanted = this.#wanted;
    const isShort = this.#horizon !== Number.POSITIVE_INFINITY && size < wanted / 4;
    return isShort || size > wanted * 2;
  }

  /** Entries a search finds. It does not fall while the slot empties: each search costs a look at all that is left of its memory. */
  get #wanted(): number {
    const share = Math.ceil(this.ring.count / NEAR_SHARE);
    this.#wantedMost = Math.max(this.#wantedMost, this.queue.engine.limits.delayedNearMin, share);
    return this.#wantedMost;
  }

  /** Go on searching for a while. */
  search(): void {
    this.#search ??= new NearSearch(this.ring, this.#wanted);
    if (!this.#search.step(SEARCHED_PER_VISIT)) return;
    this.#near = this.#search.near;
    this.#horizon = this.#search.horizon;
    this.#search = undefined;
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
