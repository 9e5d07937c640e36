/**
 * The messages of a queue that wait for their time. They lie in slots (slot.ts), by when they are due; the first slots are
 * looked at, and what is due goes to the end of the lane of its priority, in one record for many: in the order of due times,
 * at the same millisecond in the order of arrival. Times are those of the wall clock: one that jumps ahead makes due what it
 * passes over, one that jumps back makes what has not gone yet wait longer.
 */
import type { Timed } from '../deadlines.ts';
import type { Dispatched } from '../engine.ts';
import { CoreError } from '../errors.ts';
import { FLAG_RETAIN, type Message } from '../message.ts';
import type { Lane } from '../queue/lane.ts';
import type { Queue } from '../queue/queue.ts';
import { transfer } from '../queue/transfer.ts';
import { handleOf } from './handle.ts';
import { SLOT_MS } from './info.ts';
import { DELAY_MS_MAX } from './levels.ts';
import type { DelaySlot } from './slot.ts';

/** A slot is looked at so long before it begins. */
const LOOK_AHEAD_MS = 10_000;

/** Of messages being moved. */
const lengths: number[] = [];

/** Check what a publisher asks for. Throws `invalid-argument`. */
export function checkDelay({ deliverAtMs, flags }: Message, nowMs: number): void {
  if (!Number.isSafeInteger(deliverAtMs) || deliverAtMs < 0) {
    throw new CoreError('invalid-argument', `deliver at ${deliverAtMs}: not a time in whole milliseconds since 1970`);
  }
  const delayMs = deliverAtMs - nowMs;
  if (delayMs > DELAY_MS_MAX) {
    throw new CoreError(
      'invalid-argument',
      `a delay of ${delayMs} ms; at most ${DELAY_MS_MAX} (ten years) are allowed`,
    );
  }
  if (delayMs > 0 && (flags & FLAG_RETAIN) !== 0) {
    throw new CoreError('invalid-argument', 'a delayed message cannot be a retained last value');
  }
}

export class Delays implements Dispatched, Timed {
  awake = false;
  armedMs = 0;
  /** Messages that wait, and their bytes. */
  count = 0;
  bytes = 0;
  readonly #queue: Queue;
  /** By time. */
  readonly slots: DelaySlot[] = [];
  /** Where the last one came in. */
  #lastSlot: DelaySlot | undefined;
  #lastPosition = -1;
  /** Something due waits for its batch. */
  #isBlocked = false;

  /** Those of a queue, made when there are none yet. */
  static of(queue: Queue): Delays {
    queue.delays ??= new Delays(queue);
    return queue.delays;
  }

  private constructor(queue: Queue) {
    this.#queue = queue;
  }

  // ---- In ---------------------------------------------------------------------------------------------------------

  /** The slot of a message, opened when there is none yet. */
  slotFor({ deliverAtMs }: Message): DelaySlot {
    const startMs = deliverAtMs - (deliverAtMs % SLOT_MS);
    if (this.#lastSlot?.startMs === startMs) return this.#lastSlot;
    const slot = this.slots[this.#indexOf(startMs)];
    if (slot?.startMs === startMs) return slot;
    // It may have to be looked at soon.
    this.#wake();
    return this.#queue.vhost.openSlot(this.#queue, startMs);
  }

  add(slot: DelaySlot): void {
    this.slots.splice(this.#indexOf(slot.startMs), 0, slot);
  }

  /** Where in the slots the first is that begins at a time or later. */
  #indexOf(startMs: number): number {
    let low = 0;
    let high = this.slots.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.slots[middle] as DelaySlot).startMs < startMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** A message has come into a slot. @param isNear it is among those of which is known when they are due */
  came(slot: DelaySlot, position: number, length: number, isNear: boolean): void {
    this.entered(slot, length);
    this.#queue.published++;
    this.#lastSlot = slot;
    this.#lastPosition = position;
    if (!isNear) return;
    this.#queue.engine.deadlines.arm(this, slot.dueMs(position));
    // Too many of them take memory.
    if (slot.searches) this.#wake();
  }

  /** A slot has one more. */
  entered(slot: DelaySlot, length: number): void {
    this.count++;
    this.bytes += length;
    slot.bytes += length;
  }

  /** A slot has one less. */
  left(slot: DelaySlot, length: number): void {
    this.#left(slot, 1, length);
  }

  #left(slot: DelaySlot, count: number, bytes: number): void {
    this.count -= count;
    this.bytes -= bytes;
    slot.bytes -= bytes;
  }

  /** The handle of the message that came last. */
  get lastHandle(): string {
    return this.#lastSlot === undefined ? '' : handleOf(this.#lastSlot, this.#lastPosition);
  }

  /** Messages of a slot became durable. */
  ripened(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    this.#wake();
  }

  /** The broker is open: see what is due. */
  resume(): void {
    this.#wake();
  }

  #wake(): void {
    this.#queue.engine.wake(this);
  }

  // ---- Out --------------------------------------------------------------------------------------------------------

  dispatch(budget: number): boolean {
    if (this.#queue.deleted) return false;
    const { engine, vhost } = this.#queue;
    const now = engine.now();
    for (const slot of this.slots) {
      if (slot.startMs - LOOK_AHEAD_MS > now) {
        engine.deadlines.arm(this, slot.startMs - LOOK_AHEAD_MS);
        return false;
      }
      const { searches } = slot;
      if (searches) slot.search();
      if (slot.nextMs <= now) {
        this.#fire(slot, now, budget);
        return searches || !this.#isBlocked;
      }
      if (searches) return true;
      if (slot.ring.count > 0) {
        engine.deadlines.arm(this, slot.nextMs);
      } else if (slot.endMs > now) {
        engine.deadlines.arm(this, slot.endMs);
      } else if (slot.isIdle) {
        vhost.closeSlot(slot);
        return true;
      } else {
        this.#isBlocked = true;
      }
    }
    return false;
  }

  /** Hand on what is due, `budget` messages at most. */
  #fire(slot: DelaySlot, now: number, budget: number): void {
    const positions: number[] = [];
    this.#isBlocked = !slot.takeDue(now, budget, positions);
    this.#release(slot, positions);
  }

  /** Let messages of a slot go to the lanes of their priorities, in this order. */
  #release(slot: DelaySlot, positions: readonly number[]): void {
    const queue = this.#queue;
    if (!queue.choosy) {
      this.#move(slot, queue.base, positions);
      return;
    }
    const byLevel = new Map<number, number[]>();
    for (const position of positions) {
      const level = Math.min(slot.level(position), queue.rules.maxPriority);
      const others = byLevel.get(level);
      if (others === undefined) byLevel.set(level, [position]);
      else others.push(position);
    }
    for (const [level, ofLevel] of byLevel) this.#move(slot, queue.laneOf(level), ofLevel);
  }

  #move(slot: DelaySlot, lane: Lane, positions: readonly number[]): void {
    const first = transfer(slot, lane, positions, 0);
    // A loop that does nothing else: rows lie anywhere in memory, and the processor fetches several at a time.
    let bytes = 0;
    for (let n = 0; n < positions.length; n++) bytes += lengths[n] = lane.lengthOf(first + n);
    this.#left(slot, positions.length, bytes);
    // Not before the record is written: a queue that is full may give some of them up at once.
    for (let n = 0; n < positions.length; n++) this.#queue.arrived(lane, first + n, lengths[n] as number);
  }

  // ---- By hand ----------------------------------------------------------------------------------------------------

  /** Let a message go now, which is durable. */
  release(slot: DelaySlot, position: number): void {
    this.#release(slot, [position]);
  }

  /** Delete a message. */
  cancel(slot: DelaySlot, position: number): void {
    this.left(slot, slot.takeOut(position, false));
  }

  /** Delete all of them; answers their number. */
  purge(): number {
    const { count } = this;
    for (const slot of [...this.slots]) this.#queue.vhost.closeSlot(slot);
    return count;
  }

  /** A slot goes with all that is in it. */
  forget(slot: DelaySlot): void {
    this.slots.splice(this.slots.indexOf(slot), 1);
    this.count -= slot.ring.count;
    this.bytes -= slot.bytes;
    if (this.#lastSlot === slot) this.#lastSlot = undefined;
  }
}
