/** When the messages of a queue expire, and giving up those that have, from the one to hand out next on. */
import type { Message } from '../message.ts';
import type { Lane } from './lane.ts';
import type { Queue } from './queue.ts';
import { showMessage } from './read-ahead.ts';

/** When a message that came to a queue at its `enteredAtMs` expires there; Infinity = never. @param ttlMs of the queue */
export function expiryOf({ expiresAtMs, enteredAtMs }: Message, ttlMs: number): number {
  return Math.min(expiresAtMs === 0 ? Number.POSITIVE_INFINITY : expiresAtMs, enteredAtMs + ttlMs);
}

/** Another time to live holds in a queue. */
export function lookAgain({ lanes }: Queue): void {
  for (const lane of lanes.all) lane.lookedAt = -1;
}

/** Whether the message in the engine's view has expired for a consumer that could take it now. @param first time */
export function hasExpired(queue: Queue, first: boolean): boolean {
  const { engine } = queue;
  const expiresAtMs = timeInView(queue);
  if (expiresAtMs > engine.now()) return false;
  // What must not wait at all did not, if this is the first time that somebody could take it.
  return expiresAtMs !== engine.view.enteredAtMs || !first;
}

/** When the message in the engine's view expires in a queue; Infinity = never. */
function timeInView({ engine, rules }: Queue): number {
  return expiryOf(engine.view, rules.messageTtlMs);
}

/** Give up what has expired in a queue, about `budget` messages at most, in each lane up to the first that has not: the queue
 *  is armed for its time. Answers true when there is more to do. */
export function dropExpired(queue: Queue, budget: number): boolean {
  const now = queue.engine.now();
  let nextMs = Number.POSITIVE_INFINITY;
  let left = budget;
  for (const lane of queue.lanes.all) {
    for (let position = lane.next(); position >= 0; position = lane.next()) {
      if (left-- === 0) return true;
      // Not in memory: this queue is woken when it is.
      if (position !== lane.lookedAt && !look(queue, lane, position)) return false;
      if (now < lane.expiresAtMs) {
        nextMs = Math.min(nextMs, lane.expiresAtMs);
        break;
      }
      queue.pass(lane, position);
      queue.giveUp(lane.offset + position, 'expired');
    }
  }
  if (nextMs !== Number.POSITIVE_INFINITY) queue.engine.deadlines.arm(queue, nextMs);
  if (!queue.takers.waiting) queue.readAhead?.drop();
  return false;
}

/** Find out when the next message of a lane expires. Kept, as its body may have left memory when the next lane was looked at. */
function look(queue: Queue, lane: Lane, position: number): boolean {
  if (!showMessage(queue, lane, position)) return false;
  lane.lookedAt = position;
  lane.expiresAtMs = timeInView(queue);
  return true;
}
