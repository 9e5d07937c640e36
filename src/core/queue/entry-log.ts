/**
 * The entries of one ring, with what the journal knows of them: which are on their way to the disk, and which records about
 * them are still to be written. A plain queue has one entry log, of the queue's own number; a queue with several priority
 * levels has one for each level it has used. Records name entry logs, so replay needs to know nothing of levels.
 */
import { type Bodies, TRANSIENT_BODY } from '../bodies.ts';
import type { AwaitsBatches } from '../engine.ts';
import type { LogKind } from '../records.ts';
import type { Rostered } from '../roster.ts';
import type { EntryRing } from '../slab/entry-ring.ts';
import { FORGOTTEN, GIVEN_UP_MASK, SUPERSEDED } from './entry-info.ts';
import { PendingBatches } from './pending-batches.ts';
import type { Queue } from './queue.ts';
import { type Settlements, writeGap } from './settlements.ts';

export abstract class EntryLog implements AwaitsBatches, Rostered<EntryLog> {
  readonly queue: Queue;
  /** Names it in records. */
  readonly id: number;
  readonly ring: EntryRing;
  /** It and what it holds survive a restart, but for messages that were not logged. */
  readonly logged: boolean;
  readonly #bodies: Bodies;
  readonly kind: LogKind;
  /** What tells it from others of its kind in the queue. */
  readonly value: number;
  /** What is to be written about entries; most logs have nothing most of the time. */
  #settlements: Settlements | undefined;
  /** Batches it awaits; undefined when there is none. */
  protected batches: PendingBatches | undefined;
  /** What replay takes for the next position: lags behind the ring's tail while messages are not logged. */
  #loggedTail: number;
  older: EntryLog | undefined;
  newer: EntryLog | undefined;

  constructor(queue: Queue, id: number, ring: EntryRing, kind: LogKind, value: number) {
    this.queue = queue;
    this.id = id;
    this.ring = ring;
    this.logged = queue.logged;
    this.#bodies = queue.engine.bodies;
    this.kind = kind;
    this.value = value;
    this.#loggedTail = ring.tail;
  }

  /** An entry has come in. */
  protected abstract came(position: number, length: number): void;

  /** Entries became durable that were not. */
  protected abstract ripened(): void;

  // ---- In ---------------------------------------------------------------------------------------------------------

  /** Append a message that is not logged. @param row in the transient table @param info `delayInfo` of the message */
  pushTransient(row: number, length: number, info: number): void {
    this.came(this.ring.push(row, TRANSIENT_BODY | info), length);
  }

  /** Append a logged message; it is there for others once `batch` is durable. `beforeLogged` was called before its record.
   *  @param info `delayInfo` of the message */
  pushLogged(row: number, length: number, batch: number, info: number): void {
    const position = this.ring.push(row, info);
    this.#loggedTail = position + 1;
    this.#await(batch, position);
    this.came(position, length);
  }

  /** Append an entry that was in another log of the queue, whose record was written (`beforeLogged` before it). */
  pushMoved(row: number, info: number): number {
    const position = this.ring.push(row, info);
    if ((info & TRANSIENT_BODY) === 0) this.#loggedTail = position + 1;
    return position;
  }

  /** What comes in from now on is there for others once `batch` is durable, or later: also what is not logged. */
  hold(batch: number): void {
    this.#await(batch, this.ring.tail);
  }

  /** Entries from `position` on are there for others once `batch` is durable, or later. */
  #await(batch: number, position: number): void {
    if (this.batches === undefined) {
      this.batches = new PendingBatches();
      this.queue.engine.awaitQueue(this);
    }
    this.batches.add(batch, position);
  }

  /** Make replay give the next message the position it will have here. */
  beforeLogged(): void {
    if (this.#loggedTail === this.ring.tail) return;
    this.#loggedTail = this.ring.tail;
    writeGap(this.queue.engine, this.id, this.#loggedTail);
  }

  becameDurable(batch: number): boolean {
    this.batches?.durable(batch);
    if (this.batches?.empty) this.batches = undefined;
    this.ripened();
    return this.batches !== undefined;
  }

  /** The first batch it awaits; Infinity when it awaits none. */
  get firstPending(): number {
    return this.batches?.first ?? Number.POSITIVE_INFINITY;
  }

  /** The last batch it awaits; 0 when it awaits none. */
  get lastPending(): number {
    return this.batches?.last ?? 0;
  }

  // ---- Out --------------------------------------------------------------------------------------------------------

  /** Bytes of the message at a position, as stored. */
  lengthOf(position: number): number {
    return this.#bodies.table(this.ring.info(position)).length(this.ring.body(position));
  }

  /** Take an entry out. @param isLogged the journal knows of it already. Answers the bytes it had. */
  takeOut(position: number, isLogged: boolean): number {
    const { ring } = this;
    const row = ring.body(position);
    const info = ring.info(position);
    ring.settle(position);
    const length = this.#bodies.release(row, info);
    if (!isLogged && this.logged && (info & TRANSIENT_BODY) === 0) {
      this.#collect().done(position);
    }
    return length;
  }

  /** Log that an entry stays, with the info it has. */
  logInfo(position: number): void {
    const info = this.ring.info(position);
    if (!this.logged || (info & TRANSIENT_BODY) !== 0) return;
    this.#collect().returned(position, info & ~FORGOTTEN);
  }

  /** Log that an entry waits until `dueMs`. */
  logDeferred(position: number, dueMs: number): void {
    if (this.logged && (this.ring.info(position) & TRANSIENT_BODY) === 0) this.#collect().deferred(position, dueMs);
  }

  #collect(): Settlements {
    this.#settlements ??= this.queue.engine.settling(this);
    return this.#settlements;
  }

  /** Write what was collected to the journal. Answers what it was collected in: it is used again. */
  logSettlements(): Settlements | undefined {
    const settlements = this.#settlements;
    this.#settlements = undefined;
    if (this.queue.deleted) settlements?.clear();
    else settlements?.write(this.queue.engine, this.id);
    return settlements;
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  /** Take the ring as a checkpoint held it: entries of messages that were not logged are gone. */
  adopt(): void {
    const { ring } = this;
    for (let position = ring.next(0); position >= 0; position = ring.next(position + 1)) {
      const info = ring.info(position);
      if ((info & TRANSIENT_BODY) !== 0) {
        ring.settle(position);
        continue;
      }
      this.replayCame(this.lengthOf(position));
      this.#noteGroup(ring.body(position));
      this.adopted(position, info);
    }
  }

  /** An entry was in a checkpoint, with this info. */
  protected adopted(position: number, info: number): void {
    if ((info & FORGOTTEN) !== 0) this.ring.setInfo(position, info & ~FORGOTTEN);
    if ((info & GIVEN_UP_MASK) !== 0) this.queue.foundGivenUp = true;
  }

  replayPush(row: number, length: number, info: number): void {
    this.ring.push(row, info);
    this.replayCame(length);
    this.#noteGroup(row);
  }

  #noteGroup(row: number): void {
    if (this.queue.engine.bodies.logged.flags(row) !== 0) this.queue.grouped = true;
  }

  /** Replay put an entry in. */
  protected replayCame(length: number): void {
    this.queue.replayCame(length);
  }

  /** Replay took an entry out. */
  protected replayLeft(length: number): void {
    this.queue.replayLeft(length);
  }

  /** The next message gets position `tail`. */
  replayGap(tail: number): void {
    if (tail > this.ring.tail) this.ring.skip(tail - this.ring.tail);
  }

  /** Positions from `first` up to, not including, `end` are done. */
  replaySettle(first: number, end: number): void {
    const { ring } = this;
    for (let position = ring.next(first); position >= 0 && position < end; position = ring.next(position + 1)) {
      this.replayLeft(this.takeOut(position, true));
    }
  }

  /** Positions from `first` up to, not including, `end` came back, or were given up: `info` says which and how often. */
  replayReturn(first: number, end: number, info: number): void {
    const { ring } = this;
    if ((info & GIVEN_UP_MASK) !== 0) this.queue.foundGivenUp = true;
    for (let position = ring.next(first); position >= 0 && position < end; position = ring.next(position + 1)) {
      // What came back may be logged after the message that has taken its place.
      ring.setInfo(position, info | (ring.info(position) & SUPERSEDED));
    }
  }

  /** Positions from `first` up to, not including, `end` went to another log, with new `info`. */
  replayTransfer(first: number, end: number, info: number, to: EntryLog): void {
    const { ring } = this;
    for (let position = ring.next(first); position >= 0 && position < end; position = ring.next(position + 1)) {
      const row = ring.body(position);
      const length = this.lengthOf(position);
      ring.settle(position);
      this.replayLeft(length);
      to.ring.push(row, info);
      to.replayCame(length);
    }
  }

  /** Replay is over. */
  recovered(): void {
    this.#loggedTail = this.ring.tail;
  }
}
