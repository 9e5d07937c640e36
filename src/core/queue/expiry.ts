/** When the messages of a queue expire, and giving up those that have, from the one to hand out next on. */
import type { Message } from '../message.ts';
import type { Lane } from './lane.ts';
import type { Queue } from './queue.ts';

/** When a message that came to a queue at its `enteredAtMs` expires there; Infinity = never. @param ttlMs of the queue */
export function expiryOf({ expiresAtMs, enteredAtMs }: Message, ttlMs: number): number {
  return Math.min(expiresAtMs === 0 ? Number.POSITIVE_INFINITY : expiresAtMs, enteredAtMs + ttlMs);
}

export class Expiry {
  readonly #queue: Queue;

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  /** Another time to live holds. */
  changed(): void {
    for (const lane of this.#queue.lanes.all) lane.lookedAt = -1;
  }

  /** Whether the message in the engine's view has expired for a consumer that could take it now. @param first time */
  inView(first: boolean): boolean {
    const { engine } = this.#queue;
    const expiresAtMs = this.#timeInView();
    if (expiresAtMs > engine.now()) return false;
    // What must not wait at all did not, if this is the first time that somebody could take it.
    return expiresAtMs !== engine.view.enteredAtMs || !first;
  }

  /** When the message in the engine's view expires here; Infinity = never. */
  #timeInView(): number {
    return expiryOf(this.#queue.engine.view, this.#queue.rules.messageTtlMs);
  }

  /** Give up what has expired, about `budget` messages at most, in each lane up to the first that has not: the queue is armed
   *  for its time. Answers true when there is more to do. */
  run(budget: number): boolean {
    const queue = this.#queue;
    const now = queue.engine.now();
    let nextMs = Number.POSITIVE_INFINITY;
    let left = budget;
    for (const lane of queue.lanes.all) {
      for (let position = lane.next(); position >= 0; position = lane.next()) {
        if (left-- === 0) return true;
        // Not in memory: this queue is woken when it is.
        if (position !== lane.lookedAt && !this.#look(lane, position)) return false;
        if (now < lane.expiresAtMs) {
          nextMs = Math.min(nextMs, lane.expiresAtMs);
          break;
        }
        queue.pass(lane, position);
        queue.giveUp(lane.offset + position, 'expired');
      }
    }
    if (nextMs !== Number.POSITIVE_INFINITY) queue.engine.deadlines.arm(queue, nextMs);
    if (!queue.takers.waiting) queue.readAhead.drop();
    return false;
  }

  /** Find out when the next message of a lane expires. Kept, as its body may have left memory when the next lane was looked at. */
  #look(lane: Lane, position: number): boolean {
    if (!this.#queue.readAhead.show(lane, position)) return false;
    lane.lookedAt = position;
    lane.expiresAtMs = this.#timeInView();
    return true;
  }
}
