/**
 * The newest message of each value in a last-value queue (`x-last-value-key`): a newer one with the same value takes the older
 * one out. An older one that somebody holds is only marked, and does not come back.
 */
import type { FilterSource } from '../filter/filter.ts';
import { GIVEN_UP_MASK, SUPERSEDED } from '../queue/entry-info.ts';
import type { Queue } from '../queue/queue.ts';
import { type Print, printOf } from './print.ts';
import { type PrintMoment, PrintTable } from './print-table.ts';

export class LastValues {
  /** Name of what makes the value; undefined while nobody knows, in replay. */
  #key: string | undefined;
  /** Keeps values of different keys apart. */
  #seed = 0;
  readonly #queue: Queue;
  /** Fingerprint of key and value -> position in the queue, which may hold nothing any more. */
  readonly #newest: PrintTable;

  constructor(queue: Queue, key: string | undefined) {
    this.#queue = queue;
    this.key = key;
    this.#newest = new PrintTable((position) => isHere(queue, position));
  }

  get key(): string | undefined {
    return this.#key;
  }

  set key(key: string | undefined) {
    this.#key = key;
    this.#seed = printOf(key)?.a ?? 0;
  }

  /** The fingerprint of a message's value; undefined when it has none. */
  printOf(source: FilterSource): Print | undefined {
    return this.#key === undefined ? undefined : printOf(source.value(this.#key), this.#seed);
  }

  /** There may be one more value, or this one is there already. */
  hasRoomFor(print: Print): boolean {
    const { lastValuesPerQueueMax } = this.#queue.engine.limits;
    return this.#newest.size < lastValuesPerQueueMax || !Number.isNaN(this.#newest.get(print));
  }

  /** The message at `position`, which has just come in, is the newest of its value. */
  came(print: Print, position: number): void {
    const older = this.#newest.get(print);
    if (!Number.isNaN(older)) this.#supersede(older);
    this.#newest.set(print, position);
  }

  #supersede(position: number): void {
    const queue = this.#queue;
    if (!isHere(queue, position)) return;
    const lane = queue.laneAt(position);
    const here = position - lane.offset;
    if (!lane.isReady(here)) {
      lane.ring.setInfo(here, lane.ring.info(here) | SUPERSEDED);
      // The newer one may be such as a restart forgets: the older one does not come back for that.
      lane.logInfo(here);
      return;
    }
    queue.withdraw(lane, here);
    queue.dropGivenUp(position);
  }

  /** The same in replay, where nobody holds anything: what is marked goes when replay is over. */
  replayCame(print: Print, position: number): void {
    const older = this.#newest.get(print);
    if (!Number.isNaN(older) && isHere(this.#queue, older)) {
      this.#queue.setInfo(older, this.#queue.info(older) | SUPERSEDED);
    }
    this.#newest.set(print, position);
  }

  moment(): PrintMoment {
    return this.#newest.moment();
  }

  restore(print: Print, position: number): void {
    this.#newest.set(print, position);
  }
}

/** A message is at a position that once held one. */
function isHere(queue: Queue, position: number): boolean {
  const { ring, offset } = queue.laneAt(position);
  return ring.next(position - offset) === position - offset;
}

/** Replay is over: what a newer message had taken the place of goes, unless it is on its way to the dead letter exchange. */
export function dropSuperseded(queue: Queue): void {
  for (const lane of queue.lanes.all) {
    const { ring } = lane;
    for (let here = ring.next(0); here >= 0; here = ring.next(here + 1)) {
      if ((ring.info(here) & (SUPERSEDED | GIVEN_UP_MASK)) === SUPERSEDED) queue.replayLeft(lane.takeOut(here, true));
    }
  }
}
