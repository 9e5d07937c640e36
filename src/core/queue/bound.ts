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
export function isBounded({ maxLength, maxLengthBytes }: QueueRules): boolean {
  return Math.min(maxLength, maxLengthBytes) < Number.POSITIVE_INFINITY;
}

/** What `maxLength`, `maxLengthBytes` and `overflow` of the queue's rules do, as long as it has one of the first two. */
export class Bound {
  readonly #queue: Queue;
  /** Bytes of the ready messages, as stored. */
  #readyBytes: number;

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
    if (!this.handsOn) {
      this.#trimNow();
    } else if (this.#exceeded) {
      this.#readyBytes -= length;
      this.#queue.giveUpLast(position, 'maxlen');
    }
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
    if (this.#rules.overflow !== 'drop-head') return false;
    for (let left = budget; this.#exceeded && queue.ready > 0; left--) {
      if (left === 0) return true;
      const lane = queue.lanes.lowest() as Lane;
      const position = lane.oldest();
      queue.pass(lane, position);
      queue.giveUp(lane.offset + position, 'maxlen');
    }
    return false;
  }

  #trimNow(): void {
    if (this.trim(TRIMMED_AT_ONCE_MAX)) this.#queue.engine.wake(this.#queue);
  }

  get #exceeded(): boolean {
    return this.#queue.ready > this.#rules.maxLength || this.#readyBytes > this.#rules.maxLengthBytes;
  }
}
