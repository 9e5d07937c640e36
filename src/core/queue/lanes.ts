/**
 * The lanes of a queue: one for each priority level it has used, the highest first. Level 0 is always there, and all that a
 * queue without priorities has. A position in the queue is the lane's `offset` plus the position in the lane.
 */
import type { EntryRing } from '../slab/entry-ring.ts';
import { LANE_SPAN, Lane } from './lane.ts';
import type { Queue } from './queue.ts';

const LEVELS = 256;
const LEVEL_MAX = LEVELS - 1;
/** Of a word, and so of the highest level in it. */
const FIRST_BIT = 0x8000_0000;

export class Lanes {
  readonly base: Lane;
  /** All of them, as soon as there is another one than the base. */
  #all: Lane[] | undefined;
  /** By level, as soon as there is another one than the base. */
  #byLevel: (Lane | undefined)[] | undefined;
  /** Result of `next`: the position in the lane. */
  found = -1;
  /** One bit a level, the highest level first: set where there may be something to hand out. Kept if there are several lanes. */
  #mayHave: Uint32Array | undefined;

  constructor(queue: Queue, id: number, ring: EntryRing) {
    this.base = new Lane(queue, id, ring, 0);
  }

  /** All of them, the highest level first. */
  get all(): readonly Lane[] {
    return this.#all ?? [this.base];
  }

  /** The lane of a level, if the queue has used it. */
  ofLevel(level: number): Lane | undefined {
    return level === 0 ? this.base : this.#byLevel?.[level];
  }

  /** The lane a position of the queue is in. */
  at(position: number): Lane {
    return this.ofLevel(Math.floor(position / LANE_SPAN)) as Lane;
  }

  add(lane: Lane): void {
    this.#all ??= [this.base];
    this.#all.push(lane);
    this.#all.sort((a, b) => b.level - a.level);
    this.#byLevel ??= [this.base];
    while (this.#byLevel.length <= lane.level) this.#byLevel.push(undefined);
    this.#byLevel[lane.level] = lane;
    this.#mayHave ??= new Uint32Array(LEVELS / 32);
    for (const one of this.#all) this.raise(one);
  }

  /** The lane that has the next message, and where, in `found`; or undefined when none has one. */
  next(): Lane | undefined {
    if (this.#mayHave === undefined) {
      this.found = this.base.next();
      return this.found < 0 ? undefined : this.base;
    }
    return this.#nextOf(this.#mayHave);
  }

  #nextOf(mayHave: Uint32Array): Lane | undefined {
    for (let word = 0; word < mayHave.length; word++) {
      for (let bits = mayHave[word] as number; bits !== 0; bits = mayHave[word] as number) {
        const bit = Math.clz32(bits);
        const lane = this.ofLevel(LEVEL_MAX - word * 32 - bit) as Lane;
        this.found = lane.next();
        if (this.found >= 0) return lane;
        mayHave[word] = bits & ~(FIRST_BIT >>> bit);
      }
    }
    return undefined;
  }

  /** A lane may have something to hand out. */
  raise(lane: Lane): void {
    if (this.#mayHave === undefined) return;
    const at = LEVEL_MAX - lane.level;
    this.#mayHave[at >>> 5] = (this.#mayHave[at >>> 5] as number) | (FIRST_BIT >>> (at & 31));
  }

  /** The lane that has the message to be dropped first, as the queue is too long: of the lowest level. */
  lowest(): Lane | undefined {
    return this.all.findLast((lane) => lane.oldest() >= 0);
  }

  /** Bytes of the messages that are not ready, as stored. */
  get unreadyBytes(): number {
    let bytes = 0;
    for (const lane of this.all) bytes += lane.unreadyBytes();
    return bytes;
  }

  /** The first batch that one of them awaits; Infinity when none does. */
  get firstPending(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const lane of this.all) first = Math.min(first, lane.firstPending);
    return first;
  }

  /** The last batch that one of them awaits; 0 when none does. */
  get lastPending(): number {
    let last = 0;
    for (const lane of this.all) last = Math.max(last, lane.lastPending);
    return last;
  }
}
