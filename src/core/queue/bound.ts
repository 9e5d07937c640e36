/** A queue that may hold only so much ready: what comes beyond that, or what was there first, is given up or refused. */
import type { Lane } from './lane.ts';
import type { Queue } from './queue.ts';
import type { QueueRules } from './rules.ts';

/** Messages that are about to come to a queue. */
export interface Claim {
  messages: number;
  bytes: number;
}

const NOTHING: Claim = { messages: 0, bytes: 0 };

/** Messages given up because one came: the rest of a bound that was made narrower has its turns. */
const TRIMMED_AT_ONCE_MAX = 64;

/** Whether rules ask for a bound. */
export function isBounded({ maxLength, maxLengthBytes, ringSize }: QueueRules): boolean {
  return Math.min(maxLength, maxLengthBytes, ringSize) < Number.POSITIVE_INFINITY;
}

/** What `maxLength`, `maxLengthBytes`, `overflow` and `ringSize` of the queue's rules do, as long as one of them bounds it. */
export class Bound {
  readonly #queue: Queue;
  /** Bytes of the ready messages, as stored. */
  #readyBytes: number;
  /** A message comes that takes the place of another: nothing is given up before that has gone. */
  #waits = false;
  /** The position where it came. */
  #came = -1;

  /** @param readyBytes of what is ready now */
  constructor(queue: Queue, readyBytes: number) {
    this.#queue = queue;
    this.#readyBytes = readyBytes;
  }

  get #rules(): QueueRules {
    return this.#queue.rules;
  }

  /** Publishers are to know that a message of `length` bytes has no room. @param coming what comes in before it */
  refuses(length: number, coming: Claim = NOTHING): boolean {
    const { overflow, maxLength, maxLengthBytes } = this.#rules;
    if (overflow === 'drop-head') return false;
    const { messages, bytes } = coming;
    return this.#queue.ready + messages >= maxLength || this.#readyBytes + bytes + length > maxLengthBytes;
  }

  /** What is refused comes in all the same, to be handed on to the dead letter exchange. */
  get handsOn(): boolean {
    return this.#rules.overflow === 'reject-publish-dlx' && this.#rules.deadLetter !== undefined;
  }

  /** A message has come in as the last one. */
  came(position: number, length: number): void {
    this.#readyBytes += length;
    if (this.#waits) this.#came = position;
    else this.#keepTo(position, length);
  }

  #keepTo(position: number, length: number): void {
    if (!this.handsOn || !this.#exceeded) {
      this.#trimNow();
      return;
    }
    this.#readyBytes -= length;
    const lane = this.#queue.laneAt(position);
    // Delivery passes over it.
    lane.mayBeOutOfSight(position - lane.offset + 1);
    this.#queue.giveUp(position, 'maxlen');
  }

  /** A message is about to come that may take the place of another. */
  wait(): void {
    this.#waits = true;
    this.#came = -1;
  }

  /** It has. */
  goOn(): void {
    this.#waits = false;
    if (this.#came < 0) return;
    const lane = this.#queue.laneAt(this.#came);
    this.#keepTo(this.#came, lane.lengthOf(this.#came - lane.offset));
  }

  /** A message is ready again. */
  cameBack(length: number): void {
    this.#readyBytes += length;
    this.#trimNow();
  }

  /** A message is ready no more. */
  left(length: number): void {
    this.#readyBytes -= length;
  }

  /** Nothing is ready. */
  emptied(): void {
    this.#readyBytes = 0;
  }

  /** The oldest of the lowest priority go, where that is the rule: `budget` messages at most. Answers true when there are
   *  more. */
  trim(budget: number): boolean {
    const queue = this.#queue;
    for (let left = budget; queue.ready > 0; left--) {
      const overflows = this.#overflows;
      if (!overflows && queue.ready <= this.#rules.ringSize) return false;
      if (left === 0) return true;
      const lane = queue.lanes.lowest() as Lane;
      const position = lane.oldest();
      queue.pass(lane, position);
      if (overflows) queue.giveUp(lane.offset + position, 'maxlen');
      else queue.dropGivenUp(lane.offset + position);
    }
    return false;
  }

  /** The oldest are to be given up. */
  get #overflows(): boolean {
    return this.#rules.overflow === 'drop-head' && this.#exceeded;
  }

  #trimNow(): void {
    if (this.trim(TRIMMED_AT_ONCE_MAX)) this.#queue.engine.wake(this.#queue);
  }

  get #exceeded(): boolean {
    return this.#queue.ready > this.#rules.maxLength || this.#readyBytes > this.#rules.maxLengthBytes;
  }
}
