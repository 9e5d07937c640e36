/** What replay does to the entries of a queue: no delivery, no log, no clock. */
import { TRANSIENT_BODY } from '../bodies.ts';
import { GIVEN_UP_MASK } from './entry-info.ts';
import type { Queue } from './queue.ts';

/** Take the ring as a checkpoint held it: entries of messages that were not logged are gone. */
export function adoptEntries(queue: Queue): void {
  const { ring } = queue;
  const { logged } = queue.engine.bodies;
  for (let position = ring.next(0); position >= 0; position = ring.next(position + 1)) {
    const info = ring.info(position);
    if ((info & TRANSIENT_BODY) !== 0) {
      ring.settle(position);
      continue;
    }
    queue.bytes += logged.length(ring.body(position));
    if ((info & GIVEN_UP_MASK) !== 0) queue.foundGivenUp = true;
  }
}

/** Positions from `first` up to, not including, `end` are done. */
export function replaySettle(queue: Queue, first: number, end: number): void {
  const { ring, engine } = queue;
  for (let position = ring.next(first); position >= 0 && position < end; position = ring.next(position + 1)) {
    const row = ring.body(position);
    queue.bytes -= engine.bodies.logged.length(row);
    ring.settle(position);
    engine.bodies.release(row, 0);
  }
}

/** Positions from `first` up to, not including, `end` came back, or were given up: `info` says which and how often. */
export function replayReturn(queue: Queue, first: number, end: number, info: number): void {
  const { ring } = queue;
  if ((info & GIVEN_UP_MASK) !== 0) queue.foundGivenUp = true;
  for (let position = ring.next(first); position >= 0 && position < end; position = ring.next(position + 1)) {
    ring.setInfo(position, info);
  }
}
