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

export class Bound {
  readonly #queue: Queue;
  readonly #rules: QueueRules;
  /** Bytes of the ready messages, as stored. */
  #readyBytes = 0;

  /** The bound of a queue, if its rules ask for one. */
  static of(queue: Queue): Bound | undefined {
    const { maxLength, maxLengthBytes } = queue.rules;
    return Math.min(maxLength, maxLengthBytes) === Number.POSITIVE_INFINITY ? undefined : new Bound(queue);
  }

  private constructor(queue: Queue) {
    this.#queue = queue;
    this.#rules = queue.rules;
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
      this.dropHead();
    } else if (this.#exceeded) {
      this.#readyBytes -= length;
      this.#queue.giveUpLast(position, 'maxlen');
    }
  }

  /** A message is ready again. */
  cameBack(length: number): void {
    this.#readyBytes += length;
    this.dropHead();
  }

  /** A message is ready no more. */
  left(length: number): void {
    this.#readyBytes -= length;
  }

  /** Nothing is ready. */
  emptied(): void {
    this.#readyBytes = 0;
  }

  /** The oldest of the lowest priority go, where that is the rule. */
  dropHead(): void {
    const queue = this.#queue;
    if (this.#rules.overflow !== 'drop-head') return;
    while (this.#exceeded && queue.ready > 0) {
      const lane = queue.lanes.lowest() as Lane;
      const position = lane.oldest();
      queue.pass(lane, position);
      queue.giveUp(lane.offset + position, 'maxlen');
    }
  }

  get #exceeded(): boolean {
    return this.#queue.ready > this.#rules.maxLength || this.#readyBytes > this.#rules.maxLengthBytes;
  }
}
