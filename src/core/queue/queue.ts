/**
 * A queue: an index of positions over bodies that lie elsewhere. Positions are given 0, 1, 2, ... in each of its lanes (one,
 * or one for each priority level in use) and never change. Nothing here knows who its consumers are beyond the
 * `Subscription`s it hands messages to.
 */

import type { Client } from '../client.ts';
import { codeOf, type DeathReason } from '../death.ts';
import { Delays } from '../delay/delays.ts';
import type { QueueSettings } from '../door.ts';
import type { Engine } from '../engine.ts';
import { dropSuperseded } from '../marks/last-values.ts';
import { marksFor, type QueueMarks } from '../marks/queue-marks.ts';
import type { Message } from '../message.ts';
import { type Effective, NOTHING } from '../policy/effective.ts';
import type { Rostered } from '../roster.ts';
import { chooseAnew, endSelection, type Selection } from '../selection/selection.ts';
import type { EntryRing } from '../slab/entry-ring.ts';
import type { Subscription } from '../subscription.ts';
import type { Vhost } from '../vhost.ts';
import { Bound, isBounded } from './bound.ts';
import type { Consumers } from './consumers.ts';
import { DeadLetters, resumeGivenUp } from './dead-letters.ts';
import { type Deferrals, defer } from './deferrals.ts';
import { cameBack, failuresOf, GIVEN_UP_SHIFT, RETURNS_MAX, SUPERSEDED } from './entry-info.ts';
import type { EntryLog } from './entry-log.ts';
import { dropExpired, hasExpired, lookAgain } from './expiry.ts';
import { LANE_SPAN, type Lane } from './lane.ts';
import { Lanes } from './lanes.ts';
import { type ReadAhead, showMessage } from './read-ahead.ts';
import type { QueueRules } from './rules.ts';
import { Takers } from './takers.ts';
import { UnusedTimer } from './unused.ts';

/** Expired messages dropped before others have their turn. */
const EXPIRED_PER_TAKE_MAX = 256;

export class Queue implements Rostered<Queue> {
  readonly engine: Engine;
  readonly vhost: Vhost;
  readonly id: number;
  readonly name: string;
  readonly settings: QueueSettings;
  /** What is in force now. Replaced as a whole by `applyRules`: parts ask for the rules when they need them. */
  effective: Effective = NOTHING;
  /** It and its persistent messages survive a restart. */
  readonly logged: boolean;
  /** The client an exclusive queue belongs to. */
  readonly owner: Client | undefined;
  readonly lanes: Lanes;
  /** The lane of level 0: a plain queue has no other. */
  readonly base: Lane;
  readonly takers = new Takers();
  /** Messages that wait for their time; undefined until there are some. */
  delays: Delays | undefined;
  /** Who may have what, where that is not simply the next message. */
  selection: Selection | undefined;
  grouped = false;
  older: Queue | undefined;
  newer: Queue | undefined;
  /** Info of the entry taken last. */
  takenInfo = 0;
  /** In the engine's ready list. */
  awake = false;
  deleted = false;
  armedMs = 0;
  /** It may hold messages that expire. Set before the first one comes. */
  expires = false;
  /** Handed out and not settled. */
  unsettled = 0;
  /** Entries of all lanes, and the bytes of their messages. */
  count = 0;
  bytes = 0;
  published = 0;
  delivered = 0;
  redelivered = 0;
  completed = 0;
  /** Given up and handed on to the dead letter exchange. */
  deadLettered = 0;
  /** Given up and deleted. */
  dropped = 0;

  /** What was read back from disk; undefined until there was something to be. */
  readAhead: ReadAhead | undefined;
  /** Messages being purged: out of sight, and still in the ring. */
  purging = 0;
  #deadLetters: DeadLetters | undefined;
  /** Replay met entries that were given up and may still be here. */
  foundGivenUp = false;
  deferrals: Deferrals | undefined;
  bound: Bound | undefined;
  /** What it knows of messages by their marks, if its rules ask for that. */
  marks: QueueMarks | undefined;
  #unused: UnusedTimer | undefined;

  constructor(vhost: Vhost, id: number, name: string, settings: QueueSettings, ring: EntryRing, owner?: Client) {
    this.engine = vhost.engine;
    this.vhost = vhost;
    this.id = id;
    this.name = name;
    this.settings = settings;
    this.logged = settings.durable && !settings.exclusive;
    this.owner = owner;
    this.lanes = new Lanes(this, id, ring);
    this.base = this.lanes.base;
  }

  /** The rules in force. */
  get rules(): QueueRules {
    return this.effective.rules;
  }

  /** Messages that are deliverable, or will be once durable. */
  get ready(): number {
    return this.count - this.unsettled - this.purging - this.givenUp - this.deferred;
  }

  /** Messages that came back and wait for their time. */
  get deferred(): number {
    return this.deferrals?.count ?? 0;
  }

  /** Messages given up that are still here: on their way, or waiting for somebody to take them. */
  get givenUp(): number {
    return this.#deadLetters?.count ?? 0;
  }

  get consumers(): Consumers {
    return this.takers.consumers;
  }

  // ---- Rules ------------------------------------------------------------------------------------------------------

  /** Go by other rules from now on. What no longer fits them goes in the queue's own turns. */
  applyRules(effective: Effective): void {
    const before = this.rules;
    this.#adopt(effective);
    const { rules } = effective;
    if (rules === before) return;
    if (rules.expiresMs !== before.expiresMs) this.#unused?.changed();
    lookAgain(this);
    // What is at its head is not known without looking: where it goes to matters from now on.
    if (before.deadLetter === undefined && rules.deadLetter !== undefined && this.count > 0) this.expires = true;
    this.vhost.router.changed();
    if (this.count > 0) this.engine.wake(this);
  }

  /** Take rules, and have the parts that they need. */
  #adopt(effective: Effective): void {
    const before = this.rules;
    this.effective = effective;
    const { rules } = effective;
    this.takers.rulesChanged(this, before);
    if (rules.groupBuckets !== before.groupBuckets) chooseAnew(this);
    if (rules.messageTtlMs !== Number.POSITIVE_INFINITY) this.expires = true;
    if (rules.expiresMs !== Number.POSITIVE_INFINITY) this.#unused ??= new UnusedTimer(this);
    this.marks = marksFor(this);
    if (!isBounded(rules)) this.bound = undefined;
    else this.bound ??= new Bound(this, this.bytes - this.lanes.unreadyBytes);
    if (rules.deadLetter !== undefined) this.#deadLetters ??= new DeadLetters(this);
    this.#deadLetters?.ruleChanged();
  }

  // ---- In ---------------------------------------------------------------------------------------------------------

  /** The entry log of its own that a message comes into. Only to be asked when the queue is `choosy`, or the message delayed. */
  entryFor(message: Message): EntryLog {
    if (message.deliverAtMs !== 0 && message.deliverAtMs > this.engine.now()) return Delays.of(this).slotFor(message);
    return this.laneOf(Math.min(message.priority, this.rules.maxPriority));
  }

  /** Where a message comes in depends on its priority. */
  get choosy(): boolean {
    return this.rules.maxPriority > 0;
  }

  /** The lane of a level, made when there is none yet. */
  laneOf(level: number): Lane {
    return this.lanes.ofLevel(level) ?? this.vhost.openLane(this, level);
  }

  /** A message has come into a lane as its last one. */
  came(lane: Lane, position: number, length: number): void {
    this.published++;
    this.arrived(lane, position, length);
  }

  /** A lane has one more as its last one, which was published now, or before and is due. */
  arrived(lane: Lane, position: number, length: number): void {
    this.count++;
    this.bytes += length;
    this.bound?.came(lane.offset + position, length);
    this.#ready(lane);
  }

  /** Messages of a lane became durable. */
  ripened(lane: Lane): void {
    this.#ready(lane);
  }

  #ready(lane: Lane): void {
    this.lanes.raise(lane);
    this.selection?.raise();
    if (!this.awake && (this.takers.waiting || this.expires)) this.engine.wake(this);
  }

  /** All entry logs it has. */
  *entryLogs(): IterableIterator<EntryLog> {
    yield* this.lanes.all;
    if (this.delays !== undefined) yield* this.delays.slots;
  }

  // ---- Out --------------------------------------------------------------------------------------------------------

  /** Hand out up to about `budget` messages. Answers true when there is more to do. */
  dispatch(budget: number): boolean {
    // It was awake when it was deleted: its counts say nothing any more.
    if (this.deleted) return false;
    if (this.bound !== undefined && this.#deadLetters?.crowded !== true && this.bound.trim(budget)) return true;
    const isMoreDue = this.deferrals?.release(budget) === true;
    const more = this.#handOut(budget) || isMoreDue;
    if (this.takers.draining) {
      const until = this.lanes.firstPending - 1;
      this.takers.endDrains((one) => ((this.selection?.hasNothingFor(one) ?? this.next() < 0) ? until : -1));
    }
    return more;
  }

  #handOut(budget: number): boolean {
    if (this.selection !== undefined) return this.selection.dispatch(budget);
    while (budget > 0) {
      if (this.deleted || this.next() < 0) return false;
      const subscription = this.takers.pick();
      if (subscription === undefined) return this.dropExpired(budget);
      // One by one when several consumers can take: a fair share matters more than the cost of a call.
      const taken = subscription.offer(subscription.pull || this.consumers.sole ? budget : 1);
      // The body that is next is being read from disk, which wakes this queue.
      if (taken === 0 && this.readAhead?.loading === true) return false;
      budget -= taken + 1;
    }
    return true;
  }

  /** Give up what has expired where nobody takes it; answers true when there is more to do. */
  dropExpired(budget: number): boolean {
    return this.expires && dropExpired(this, budget);
  }

  /** The position to hand out next, or -1. */
  next(): number {
    const lane = this.lanes.next();
    return lane === undefined ? -1 : lane.offset + this.lanes.found;
  }

  /** Take the next message for a subscription: the engine's view shows it. Answers its position, or -1 when there is none now. */
  take(subscription: Subscription): number {
    if (this.selection !== undefined) return this.selection.take(subscription);
    const { engine, lanes } = this;
    for (let tries = 0; tries < EXPIRED_PER_TAKE_MAX; tries++) {
      const lane = lanes.next();
      if (lane === undefined) return -1;
      const here = lanes.found;
      const position = lane.offset + here;
      if (!showMessage(this, lane, here)) return -1;
      const info = lane.ring.info(here);
      this.pass(lane, here);
      if (this.#goes(position, info)) return position;
    }
    engine.wake(this);
    return -1;
  }

  /** Hand out the ready message in the engine's view, wherever in the order it is; false when it has expired. */
  handOut(lane: Lane, here: number): boolean {
    const info = lane.ring.info(here);
    lane.take(here);
    this.bound?.left(lane.lengthOf(here));
    return this.#goes(lane.offset + here, info);
  }

  /** The message in the engine's view goes to a consumer; false when it has expired, and is given up. */
  #goes(position: number, info: number): boolean {
    const isFirst = (info & RETURNS_MAX) === 0;
    if ((this.expires || this.engine.view.expiresAtMs !== 0) && hasExpired(this, isFirst)) {
      this.giveUp(position, 'expired');
      return false;
    }
    this.unsettled++;
    this.delivered++;
    this.takenInfo = info;
    if (!isFirst) this.redelivered++;
    return true;
  }

  /** The next or the oldest message of a lane is handed out, or given up. */
  pass(lane: Lane, position: number): void {
    lane.pass(position);
    this.bound?.left(lane.lengthOf(position));
  }

  /** Take a ready message out of the order, because it goes elsewhere: taking it out is the caller's next step. */
  withdraw(lane: Lane, position: number): void {
    lane.withdraw(position);
    this.bound?.left(lane.lengthOf(position));
  }

  /** The lane a position is in. */
  laneAt(position: number): Lane {
    return position < LANE_SPAN ? this.base : this.lanes.at(position);
  }

  /** The info of the entry at a position (entry-info.ts). */
  info(position: number): number {
    const lane = this.laneAt(position);
    return lane.ring.info(position - lane.offset);
  }

  /** The row of its message's body. */
  body(position: number): number {
    const lane = this.laneAt(position);
    return lane.ring.body(position - lane.offset);
  }

  setInfo(position: number, info: number): void {
    const lane = this.laneAt(position);
    lane.ring.setInfo(position - lane.offset, info);
  }

  // ---- Settling ---------------------------------------------------------------------------------------------------

  /** A delivery is done. */
  complete(position: number): void {
    this.completed++;
    this.unsettled--;
    this.selection?.settled(position);
    this.takeOut(position, false);
  }

  /** A delivery was rejected. */
  discard(position: number): void {
    this.unsettled--;
    this.selection?.settled(position);
    this.giveUp(position, 'rejected');
  }

  /**
   * A delivery goes back to its place.
   * @param failed counted as a failed attempt
   * @param deliverAtMs not to be handed out before; 0 = as the rules say
   */
  giveBack(position: number, failed: boolean, deliverAtMs = 0): void {
    const lane = this.laneAt(position);
    const here = position - lane.offset;
    const info = cameBack(lane.ring.info(here), failed);
    lane.ring.setInfo(here, info);
    this.unsettled--;
    this.selection?.settled(position);
    if (failed && failuresOf(info) > this.rules.deliveryLimit) {
      this.giveUp(position, 'delivery_limit');
      return;
    }
    lane.logInfo(here);
    const mayWait = deliverAtMs !== 0 || this.rules.retry !== undefined;
    if (!mayWait || !defer(lane, here, failed, deliverAtMs)) this.backInPlace(lane, here);
  }

  /** An entry of a lane is ready again, unless a newer one has taken its place. */
  backInPlace(lane: Lane, here: number): void {
    if ((lane.ring.info(here) & SUPERSEDED) !== 0) {
      this.dropGivenUp(lane.offset + here);
      return;
    }
    lane.giveBack(here);
    this.selection?.cameBack(lane, here);
    this.bound?.cameBack(lane.lengthOf(here));
    this.#ready(lane);
  }

  // ---- Giving up --------------------------------------------------------------------------------------------------

  /** Part with a message that is in the ring and with nobody. */
  giveUp(position: number, reason: DeathReason): void {
    if (this.#deadLetters === undefined || this.rules.deadLetter === undefined) {
      this.dropGivenUp(position);
      return;
    }
    this.setInfo(position, this.info(position) | (codeOf(reason) << GIVEN_UP_SHIFT));
    this.#deadLetters.add(position);
  }

  /** Delete what was given up: nobody wants it. */
  dropGivenUp(position: number): void {
    this.dropped++;
    this.vhost.counters.dropped++;
    this.takeOut(position, false);
  }

  /** To be called before asking when everything settled so far is durable. */
  logAllGivenUp(): void {
    this.#deadLetters?.log();
  }

  /** Have it logged that messages were given up, and leave it to later to hand them on. */
  markGivenUp(): void {
    this.#deadLetters?.mark();
  }

  /** Take an entry out. @param isLogged the journal knows of it already */
  takeOut(position: number, isLogged: boolean): void {
    const lane = position < LANE_SPAN ? this.base : this.lanes.at(position);
    this.count--;
    this.bytes -= lane.takeOut(position - lane.offset, isLogged);
  }

  // ---- Subscriptions ----------------------------------------------------------------------------------------------

  /** Somebody has declared it, or asked it for a message. */
  used(): void {
    this.#unused?.used();
  }

  /** A subscription is over, or (`holds`) is no consumer any more and keeps its deliveries. Answers true when it was the last
   *  consumer of a queue that goes with it. */
  detach(subscription: Subscription, holds: boolean): boolean {
    if (this.selection?.leave(subscription, holds) === true) endSelection(this);
    if (!this.takers.remove(subscription, holds) || this.consumers.count > 0) return false;
    this.forgetUnwanted();
    this.#unused?.used();
    return this.settings.autoDelete;
  }

  /** Give memory back that nobody has a use for. */
  forgetUnwanted(): void {
    if (!this.takers.waiting) this.readAhead?.drop();
  }

  /** How many messages may be asked for soon: what is read ahead for single requests would be read in vain. */
  get demand(): number {
    return this.expires ? Number.POSITIVE_INFINITY : this.takers.demand;
  }

  /** Messages that are next cannot be read for now: nobody should wait for them. */
  unreadable(): void {
    this.takers.endDrains(() => Number.POSITIVE_INFINITY);
  }

  /** A message comes in that is in a group. */
  mindGroups(): void {
    if (this.grouped) return;
    this.grouped = true;
    chooseAnew(this);
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  /** Replay put a message in. */
  replayCame(length: number): void {
    this.count++;
    this.bytes += length;
  }

  /** Replay took a message out. */
  replayLeft(length: number): void {
    this.count--;
    this.bytes -= length;
  }

  /** Replay is over. */
  recovered(): void {
    if (this.marks?.lastValues !== undefined) dropSuperseded(this);
    for (const log of this.entryLogs()) log.recovered();
    this.#adopt(this.vhost.policies.effectiveFor(this));
    for (const problem of this.effective.problems)
      this.engine.log('warn', 'a rule of a queue has no effect', { queue: this.name, problem });
  }

  /** The broker is open: go on with what was under way. */
  resume(): void {
    this.used();
    if (this.foundGivenUp) resumeGivenUp(this, this.#deadLetters);
    this.deferrals?.resume();
    this.delays?.resume();
    // What is at its head is not known without looking: only where that matters is it worth it.
    if (this.#deadLetters !== undefined) this.expires = true;
    if ((this.expires || this.bound !== undefined) && this.count > 0) this.engine.wake(this);
  }

  /** The queue is gone for everybody: give its bodies and pages back, in slices. */
  destroy(): void {
    this.deleted = true;
    this.#unused?.end();
    this.deferrals?.end();
    this.deferrals = undefined;
    this.readAhead?.drop();
    for (const { ring } of this.entryLogs()) void this.engine.background.run(this.engine.bodies.destroy(ring));
  }
}
