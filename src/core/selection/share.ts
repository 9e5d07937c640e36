/**
 * What waits for one consumer alone: messages of groups that are its own and that were met while others looked for theirs.
 * A few of them stand in a list; of the rest it is known where to look for them again.
 */

import { LANE_SPAN } from '../queue/lane.ts';
import { PositionHeap } from '../queue/position-heap.ts';
import type { Subscription } from '../subscription.ts';
import { orderOf } from './order.ts';
import type { Scan } from './scan.ts';

const LISTED_MAX = 512;

export class Share {
  readonly subscription: Subscription;
  readonly scan: Scan;
  /** Names it as an owner. */
  readonly number: number;
  /** Buckets that are its own. */
  owned = 0;
  /** It takes no more. */
  leaving = false;
  /** It stands in the scan's list of those that have something waiting. */
  called = false;
  /** The message it took last is the first of its bucket. */
  groupFirst = false;
  /** By `orderOf`. */
  readonly #listed = new PositionHeap();
  /** By level: from which position of the lane on there may be more. */
  #unlisted: (number | undefined)[] = [];
  /** By `orderOf`: no unlisted one comes before this. */
  #unlistedFrom = Number.POSITIVE_INFINITY;

  constructor(subscription: Subscription, scan: Scan, number: number) {
    this.subscription = subscription;
    this.scan = scan;
    this.number = number;
  }

  /** Something waits for it, as far as is known. */
  get waits(): boolean {
    return this.#listed.size > 0 || this.#unlistedFrom !== Number.POSITIVE_INFINITY;
  }

  /** It can take: say so if something waits for it. */
  call(): void {
    if (this.waits) this.scan.call(this);
  }

  /** How many of those that wait are listed. */
  get listed(): number {
    return this.#listed.size;
  }

  get hasRoom(): boolean {
    return this.#listed.size < LISTED_MAX;
  }

  /** The first one that is listed, by `orderOf`; Infinity when none is. */
  get first(): number {
    return this.#listed.size > 0 ? this.#listed.first : Number.POSITIVE_INFINITY;
  }

  /** The first one may be among those that are not listed. */
  get mustSearch(): boolean {
    return this.#unlistedFrom < this.first;
  }

  /** List one. Only with room. */
  list(position: number): void {
    this.#listed.push(orderOf(position));
  }

  /** Take the first from the list. */
  unlist(): void {
    this.#listed.pop();
  }

  /** There may be one at `position`, unlisted. */
  note(position: number): void {
    const level = Math.floor(position / LANE_SPAN);
    const here = position - level * LANE_SPAN;
    while (this.#unlisted.length <= level) this.#unlisted.push(undefined);
    if (here < (this.#unlisted[level] ?? Number.POSITIVE_INFINITY)) this.#unlisted[level] = here;
    this.#unlistedFrom = Math.min(this.#unlistedFrom, orderOf(position));
  }

  /** The highest level with unlisted ones, or -1. */
  get level(): number {
    return this.#unlisted.findLastIndex((from) => from !== undefined);
  }

  /** Where to look on a level. */
  from(level: number): number {
    return this.#unlisted[level] as number;
  }

  /** What lies before `here` on a level was looked at again. @param here undefined: everything */
  searched(level: number, here: number | undefined): void {
    this.#unlisted[level] = here;
    const next = this.level;
    this.#unlistedFrom =
      next < 0 ? Number.POSITIVE_INFINITY : orderOf(next * LANE_SPAN + (this.#unlisted[next] as number));
  }

  /** Empty the list: its positions. */
  takeListed(): number[] {
    const positions = this.#listed.values().map(orderOf);
    this.#listed.clear();
    return positions;
  }

  /** Where unlisted ones may be: the first position of each level. */
  unlisted(): number[] {
    return this.#unlisted.flatMap((here, level) => (here === undefined ? [] : [level * LANE_SPAN + here]));
  }

  /** There are no unlisted ones. */
  forgetUnlisted(): void {
    this.#unlisted = [];
    this.#unlistedFrom = Number.POSITIVE_INFINITY;
  }
}
