/**
 * A queue: an index of positions over bodies that lie elsewhere. Positions are given 0, 1, 2, ... and never change. What is
 * delivered next is the oldest returned message, else the oldest one never handed out; of a logged queue, only what is
 * durable. Nothing here knows who its consumers are beyond the `Subscription`s it hands messages to.
 */

import { TRANSIENT_BODY } from '../bodies.ts';
import type { Client } from '../client.ts';
import { codeOf, type DeathReason } from '../death.ts';
import type { QueueSettings } from '../door.ts';
import type { Engine } from '../engine.ts';
import type { Rostered } from '../roster.ts';
import type { EntryRing } from '../slab/entry-ring.ts';
import { readStored } from '../stored-message.ts';
import type { Subscription } from '../subscription.ts';
import type { Vhost } from '../vhost.ts';
import { Bound } from './bound.ts';
import { Consumers } from './consumers.ts';
import { DeadLetters } from './dead-letters.ts';
import { FAILURE, FAILURES_MASK, GIVEN_UP_MASK, GIVEN_UP_SHIFT, RETURNS_MAX } from './entry-info.ts';
import { Expiry } from './expiry.ts';
import { PendingBatches } from './pending-batches.ts';
import { PositionHeap } from './position-heap.ts';
import { Pulls } from './pulls.ts';
import { purgeEntries } from './purge.ts';
import { ReadAhead } from './read-ahead.ts';
import { type QueueRules, readRules } from './rules.ts';
import { Settlements } from './settlements.ts';
import { UnusedTimer } from './unused.ts';

/** Expired messages dropped before others have their turn. */
const EXPIRED_PER_TAKE_MAX = 256;

export class Queue implements Rostered<Queue> {
  readonly engine: Engine;
  readonly vhost: Vhost;
  readonly id: number;
  readonly name: string;
  readonly settings: QueueSettings;
  /** What `settings.arguments` ask for. */
  readonly rules: QueueRules;
  /** It and its persistent messages survive a restart. */
  readonly logged: boolean;
  /** The client an exclusive queue belongs to. */
  readonly owner: Client | undefined;
  readonly ring: EntryRing;
  readonly consumers = new Consumers();
  /** Pull subscriptions that have credit now: served first, and counted nowhere. */
  readonly #pulls = new Pulls();
  older: Queue | undefined;
  newer: Queue | undefined;
  /** In the engine's ready list. */
  awake = false;
  deleted = false;
  armedMs = 0;
  /** It may hold messages that expire. Set before the first one comes. */
  expires: boolean;
  /** Handed out and not settled. */
  unsettled = 0;
  bytes = 0;
  published = 0;
  delivered = 0;
  redelivered = 0;
  completed = 0;
  /** Given up and handed on to the dead letter exchange. */
  deadLettered = 0;
  /** Given up and deleted. */
  dropped = 0;

  /** The next position that was never handed out is this one or a later one. */
  #cursor: number;
  readonly #returned = new PositionHeap();
  readonly #readAhead: ReadAhead;
  readonly #batches = new PendingBatches();
  /** What replay takes for the next position: lags behind the ring's tail while messages are not logged. */
  #loggedTail: number;
  readonly #settlements: Settlements;
  /** Messages being purged: out of sight, and still in the ring. */
  purging = 0;
  readonly #deadLetters: DeadLetters | undefined;
  /** Replay met entries that were given up and may still be here. */
  foundGivenUp = false;
  /** Positions below this one may hold such entries: delivery passes over them. */
  #givenUpBelow = 0;
  readonly #expiry: Expiry;
  readonly bound: Bound | undefined;
  readonly #unused: UnusedTimer | undefined;

  constructor(vhost: Vhost, id: number, name: string, settings: QueueSettings, ring: EntryRing, owner?: Client) {
    this.engine = vhost.engine;
    this.vhost = vhost;
    this.id = id;
    this.name = name;
    this.settings = settings;
    this.rules = readRules(settings.arguments, (text) => {
      this.engine.log('warn', 'an argument of a queue has no effect', { queue: name, argument: text });
    });
    this.logged = settings.durable && !settings.exclusive;
    this.owner = owner;
    this.ring = ring;
    this.#cursor = ring.head;
    this.#loggedTail = ring.tail;
    this.#readAhead = new ReadAhead(this);
    this.#settlements = new Settlements(this.engine, id);
    const { deadLetter, messageTtlMs, expiresMs } = this.rules;
    this.#expiry = new Expiry(this);
    this.bound = Bound.of(this);
    this.expires = messageTtlMs !== Number.POSITIVE_INFINITY;
    this.#unused = expiresMs === Number.POSITIVE_INFINITY ? undefined : new UnusedTimer(this, expiresMs);
    this.#deadLetters = deadLetter === undefined ? undefined : new DeadLetters(this, deadLetter);
  }

  /** Messages that are deliverable, or will be once durable. */
  get ready(): number {
    return this.ring.count - this.unsettled - this.purging - (this.#deadLetters?.count ?? 0);
  }

  /** Somebody may take messages. */
  get #wanted(): boolean {
    return this.consumers.count > 0 || this.#pulls.waiting > 0;
  }

  // ---- In ---------------------------------------------------------------------------------------------------------

  /** Append a message that is not logged. @param row in the transient table */
  pushTransient(row: number, length: number): void {
    const position = this.ring.push(row, TRANSIENT_BODY);
    this.bytes += length;
    this.published++;
    this.bound?.came(position, length);
    if (!this.awake && (this.#wanted || this.expires)) this.engine.wake(this);
  }

  /** Append a logged message; it is delivered once `batch` is durable. `beforeLogged` was called before its record. */
  pushLogged(row: number, length: number, batch: number): void {
    const position = this.ring.push(row, 0);
    this.#loggedTail = position + 1;
    this.bytes += length;
    this.published++;
    if (this.#batches.add(batch, position)) this.engine.awaitQueue(this);
    this.bound?.came(position, length);
  }

  /** Make replay give the next message the position it will have here. */
  beforeLogged(): void {
    if (this.#loggedTail === this.ring.tail) return;
    this.#loggedTail = this.ring.tail;
    this.#settlements.writeGap(this.#loggedTail);
  }

  /** A group commit ended. Answers whether later ones are awaited. */
  becameDurable(batch: number): boolean {
    this.#batches.durable(batch);
    if (this.#wanted || this.expires) this.engine.wake(this);
    return !this.#batches.empty;
  }

  // ---- Out --------------------------------------------------------------------------------------------------------

  /** Hand out up to about `budget` messages. Answers true when there is more to do. */
  dispatch(budget: number): boolean {
    const more = this.#handOut(budget);
    if (this.#pulls.draining) this.#endDrains();
    return more;
  }

  #handOut(budget: number): boolean {
    while (budget > 0) {
      if (this.deleted || this.next() < 0) return false;
      const subscription = this.#pulls.pick() ?? this.consumers.pick();
      if (subscription === undefined) return this.expires && this.#expiry.run(budget);
      // One by one when several consumers can take: a fair share matters more than the cost of a call.
      const taken = subscription.offer(subscription.pull || this.consumers.count === 1 ? budget : 1);
      if (taken === 0 && this.#waiting()) return false;
      budget -= taken + 1;
    }
    return true;
  }

  /** The body that is next is being read from disk, which wakes this queue. */
  #waiting(): boolean {
    return this.#readAhead.loading;
  }

  /** The position to hand out next, or -1. */
  next(): number {
    const returned = this.#returned;
    if (returned.size > 0) return returned.first;
    const limit = this.#batches.end(this.ring.tail);
    if (this.#cursor >= limit) return -1;
    let position = this.ring.next(this.#cursor);
    if (this.#cursor < this.#givenUpBelow) position = this.#nextKept(position);
    return position >= 0 && position < limit ? position : -1;
  }

  /** The ready message that is the first one, whether it is durable yet or not. There is one. */
  oldest(): number {
    return this.#returned.size > 0 ? this.#returned.first : this.#nextKept(this.ring.next(this.#cursor));
  }

  /** The first position from `position` on that was not given up: before a restart, or as it came. */
  #nextKept(position: number): number {
    const { ring } = this;
    while (position >= 0 && (ring.info(position) & GIVEN_UP_MASK) !== 0) position = ring.next(position + 1);
    this.#cursor = position < 0 ? ring.tail : position;
    return position;
  }

  /** Take the next message: the engine's view shows it. Answers its position, or -1 when there is none for now. */
  take(): number {
    const { engine, ring } = this;
    for (let tries = 0; tries < EXPIRED_PER_TAKE_MAX; tries++) {
      const position = this.next();
      if (position < 0) return -1;
      if (!this.show(position)) return -1;
      const info = ring.info(position);
      this.pass(position);
      if ((this.expires || engine.view.expiresAtMs !== 0) && this.#expiry.inView((info & RETURNS_MAX) === 0)) {
        this.giveUp(position, 'expired');
        continue;
      }
      this.unsettled++;
      this.delivered++;
      if ((info & RETURNS_MAX) > 0) this.redelivered++;
      return position;
    }
    engine.wake(this);
    return -1;
  }

  /** The message to hand out next is handed out, or given up. */
  pass(position: number): void {
    if (this.#returned.size > 0) this.#returned.pop();
    else this.#cursor = position + 1;
    if (this.expires) this.#expiry.changed();
    this.bound?.left(this.#lengthOf(position));
  }

  /** Nobody consumes: give the memory back. */
  forgetReadAhead(): void {
    if (this.consumers.count === 0) this.#readAhead.drop();
  }

  /** Point the engine's view to a body; false when it has to be read from disk first. */
  show(position: number): boolean {
    const { bodies, view } = this.engine;
    const row = this.ring.body(position);
    const table = bodies.table(this.ring.info(position));
    const segment = table.segment(row);
    const offset = table.offset(row);
    const located = bodies.located;
    if (!this.#readAhead.find(position, located) && !bodies.locate(segment, offset)) {
      this.#readAhead.want(position);
      return false;
    }
    const start = located.start;
    readStored(view, located.bytes, start, start + table.length(row));
    view.id = bodies.idOf(segment, offset);
    return true;
  }

  /** How often the message at a position was handed out before. */
  redeliveries(position: number): number {
    return this.ring.info(position) & RETURNS_MAX;
  }

  // ---- Settling ---------------------------------------------------------------------------------------------------

  /** A delivery is done. */
  complete(position: number): void {
    this.completed++;
    this.unsettled--;
    this.takeOut(position, false);
  }

  /** A delivery was rejected. */
  discard(position: number): void {
    this.unsettled--;
    this.giveUp(position, 'rejected');
  }

  /** A delivery goes back to its place. @param failed counted as a failed attempt */
  giveBack(position: number, failed: boolean): void {
    const old = this.ring.info(position);
    let info = (old & RETURNS_MAX) === RETURNS_MAX ? old : old + 1;
    if (failed && (info & FAILURES_MASK) !== FAILURES_MASK) info += FAILURE;
    this.ring.setInfo(position, info);
    this.unsettled--;
    this.#returned.push(position);
    this.#logInfo(position, info);
    this.#expiry.changed();
    this.bound?.cameBack(this.#lengthOf(position));
    if (this.#wanted || this.expires) this.engine.wake(this);
  }

  // ---- Giving up --------------------------------------------------------------------------------------------------

  /** Part with a message that is in the ring and with nobody. */
  giveUp(position: number, reason: DeathReason): void {
    if (this.#deadLetters === undefined) {
      this.dropGivenUp(position);
      return;
    }
    this.ring.setInfo(position, this.ring.info(position) | (codeOf(reason) << GIVEN_UP_SHIFT));
    this.#deadLetters.add(position);
  }

  /** Part with the message that came last: delivery passes over it. */
  giveUpLast(position: number, reason: DeathReason): void {
    this.#givenUpBelow = position + 1;
    this.giveUp(position, reason);
  }

  #lengthOf(position: number): number {
    return this.engine.bodies.table(this.ring.info(position)).length(this.ring.body(position));
  }

  /** Why the message at a position was given up: a code of `reasonOf`. */
  givenUpFor(position: number): number {
    return (this.ring.info(position) & GIVEN_UP_MASK) >> GIVEN_UP_SHIFT;
  }

  /** Delete what was given up: nobody wants it. */
  dropGivenUp(position: number): void {
    this.dropped++;
    this.vhost.counters.dropped++;
    this.takeOut(position, false);
  }

  /** Log that a message was given up, because it stays here for now. */
  logGivenUp(position: number): void {
    this.#logInfo(position, this.ring.info(position));
  }

  #logInfo(position: number, info: number): void {
    if (!this.logged || (info & TRANSIENT_BODY) !== 0) return;
    this.#collecting();
    this.#settlements.returned(position, info);
  }

  /** To be called before asking when everything settled so far is durable. */
  logAllGivenUp(): void {
    this.#deadLetters?.log();
  }

  /** Take an entry out. @param isLogged the journal knows of it already */
  takeOut(position: number, isLogged: boolean): void {
    const { ring, engine } = this;
    const row = ring.body(position);
    const info = ring.info(position);
    this.bytes -= engine.bodies.table(info).length(row);
    ring.settle(position);
    engine.bodies.release(row, info);
    if (!isLogged && this.logged && (info & TRANSIENT_BODY) === 0) {
      this.#collecting();
      this.#settlements.done(position);
    }
  }

  #collecting(): void {
    if (this.#settlements.empty) this.engine.settling(this);
  }

  /** Write what was collected to the journal. */
  logSettlements(): void {
    if (this.deleted) this.#settlements.clear();
    else this.#settlements.write();
  }

  // ---- Subscriptions ----------------------------------------------------------------------------------------------

  /** Somebody has declared it. */
  used(): void {
    this.#unused?.used();
  }

  attach(subscription: Subscription): void {
    if (subscription.pull) this.#pulls.keep(subscription);
    else this.consumers.add(subscription);
  }

  /**
   * A subscription is over, or (`holds`) is no consumer any more and keeps its deliveries. Answers true when it was the last
   * consumer of a queue that goes with it.
   */
  detach(subscription: Subscription, holds: boolean): boolean {
    this.#pulls.drainNoMore(subscription);
    if (holds) this.#pulls.keep(subscription);
    else this.#pulls.forget(subscription);
    if (!this.consumers.remove(subscription) || this.consumers.count > 0) return false;
    this.#forgetUnwanted();
    this.#unused?.used();
    return this.settings.autoDelete;
  }

  /** All of them, consumers or not. */
  subscriptions(): Subscription[] {
    return [...this.consumers.all(), ...this.#pulls.all()];
  }

  /** A pull subscription has credit and would take. */
  pull(subscription: Subscription): void {
    this.#pulls.wants(subscription);
  }

  /** A pull subscription takes no more for now. */
  pullNoMore(subscription: Subscription): void {
    this.#pulls.wantsNoMore(subscription);
    this.#forgetUnwanted();
  }

  #forgetUnwanted(): void {
    if (!this.#wanted) this.#readAhead.drop();
  }

  /** How many messages may be asked for soon: what is read ahead for single pulls would be read in vain. */
  get demand(): number {
    return this.consumers.count > 0 || this.expires ? Infinity : this.#pulls.room();
  }

  /** Tell a subscription when there is nothing more for it; it says what that means. */
  drain(subscription: Subscription): void {
    this.#pulls.drain(subscription);
    this.engine.wake(this);
  }

  /** Messages that are next cannot be read for now: nobody should wait for them. */
  unreadable(): void {
    this.#pulls.endDrains(Infinity);
  }

  #endDrains(): void {
    this.#pulls.endDrains(this.next() < 0 ? this.#batches.end(Infinity) : -1);
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  replayPush(row: number, length: number): void {
    this.ring.push(row, 0);
    this.bytes += length;
  }

  /** The next message gets position `tail`. */
  replayGap(tail: number): void {
    if (tail > this.ring.tail) this.ring.skip(tail - this.ring.tail);
  }

  /** Replay is over. */
  recovered(): void {
    this.#cursor = this.ring.head;
    this.#loggedTail = this.ring.tail;
    this.bound?.left(-this.bytes);
  }

  /** The broker is open: go on with what was under way. */
  resume(): void {
    this.used();
    this.#resumeGivenUp();
    this.bound?.dropHead();
    // What is at its head is not known without looking: only where that matters is it worth it.
    if (this.#deadLetters !== undefined) this.expires = true;
    if (this.expires && this.ring.count > 0) this.engine.wake(this);
  }

  #resumeGivenUp(): void {
    if (!this.foundGivenUp) return;
    const { ring } = this;
    this.#givenUpBelow = ring.tail;
    for (let position = ring.next(0); position >= 0; position = ring.next(position + 1)) {
      if (this.givenUpFor(position) === 0) continue;
      this.bound?.left(this.#lengthOf(position));
      if (this.#deadLetters === undefined) this.dropGivenUp(position);
      else this.#deadLetters.add(position);
    }
  }

  // ---- Emptying ---------------------------------------------------------------------------------------------------

  /** Delete every message that is not handed out; answers their number. They are out of sight at once. */
  purge(): { count: number; done: Promise<void> } {
    const count = this.ready;
    const returned = [...this.#returned.values()].sort((a, b) => a - b);
    const from = this.#cursor;
    const to = this.ring.tail;
    this.#returned.clear();
    this.#cursor = to;
    this.purging += count;
    this.bound?.emptied();
    return { count, done: this.engine.background.run(purgeEntries(this, returned, from, to)) };
  }

  /** The queue is gone for everybody: give its bodies and pages back, in slices. */
  destroy(): void {
    this.deleted = true;
    this.#readAhead.drop();
    this.#returned.clear();
    void this.engine.background.run(this.engine.bodies.destroy(this.ring));
  }
}
