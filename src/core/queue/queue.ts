/**
 * A queue: an index of positions over bodies that lie elsewhere. Positions are given 0, 1, 2, ... and never change. What is
 * delivered next is the oldest returned message, else the oldest one never handed out; of a logged queue, only what is
 * durable. Nothing here knows who its consumers are beyond the `Subscription`s it hands messages to.
 */

import { TRANSIENT_BODY } from '../bodies.ts';
import type { Client } from '../client.ts';
import type { QueueSettings } from '../door.ts';
import type { Engine } from '../engine.ts';
import { RECORD, zigzag } from '../records.ts';
import type { Rostered } from '../roster.ts';
import type { EntryRing } from '../slab/entry-ring.ts';
import { readStored } from '../stored-message.ts';
import type { Subscription } from '../subscription.ts';
import { TlvWriter } from '../tlv.ts';
import type { Vhost } from '../vhost.ts';
import { Consumers } from './consumers.ts';
import { PositionHeap } from './position-heap.ts';
import { RangeLog } from './range-log.ts';
import { ReadAhead } from './read-ahead.ts';

// An entry's info: how often it came back, how often of these it had failed (both saturate), and TRANSIENT_BODY.
const RETURNS_MAX = 0xffff;
const FAILURE = 1 << 16;
const FAILURES_MASK = 0xff << 16;

/** Expired messages dropped before others have their turn. */
const EXPIRED_PER_TAKE_MAX = 256;

const record = new TlvWriter();

export class Queue implements Rostered<Queue> {
  readonly engine: Engine;
  readonly vhost: Vhost;
  readonly id: number;
  readonly name: string;
  readonly settings: QueueSettings;
  /** It and its persistent messages survive a restart. */
  readonly logged: boolean;
  /** The client an exclusive queue belongs to. */
  readonly owner: Client | undefined;
  readonly ring: EntryRing;
  readonly consumers = new Consumers();
  /** Pull subscriptions that have credit now: served first, and counted nowhere. */
  readonly pulls = new Consumers();
  older: Queue | undefined;
  newer: Queue | undefined;
  /** In the engine's ready list. */
  awake = false;
  deleted = false;
  /** Handed out and not settled. */
  unsettled = 0;
  bytes = 0;
  published = 0;
  delivered = 0;
  redelivered = 0;
  completed = 0;
  /** Rejected or expired. */
  dropped = 0;

  /** The next position that was never handed out is this one or a later one. */
  #cursor: number;
  readonly #returned = new PositionHeap();
  readonly #readAhead: ReadAhead;
  /** Batches not yet durable that hold messages of ours, and the position of the first one in each. */
  readonly #batches: number[] = [];
  readonly #batchFirst: number[] = [];
  /** What replay takes for the next position: lags behind the ring's tail while messages are not logged. */
  #loggedTail: number;
  readonly #settled = new RangeLog();
  readonly #returns = new RangeLog();
  /** Positions below this one that are still in the ring and not handed out are being purged. */
  #purging = 0;
  /** Subscriptions that are no consumers. */
  #others: Set<Subscription> | undefined;
  /** Subscriptions that wait for the end of what there is for them. */
  #draining: Subscription[] = [];

  constructor(vhost: Vhost, id: number, name: string, settings: QueueSettings, ring: EntryRing, owner?: Client) {
    this.engine = vhost.engine;
    this.vhost = vhost;
    this.id = id;
    this.name = name;
    this.settings = settings;
    this.logged = settings.durable && !settings.exclusive;
    this.owner = owner;
    this.ring = ring;
    this.#cursor = ring.head;
    this.#loggedTail = ring.tail;
    this.#readAhead = new ReadAhead(this);
  }

  /** Messages that are deliverable, or will be once durable. */
  get ready(): number {
    return this.ring.count - this.unsettled - this.#purging;
  }

  /** Somebody may take messages. */
  get #wanted(): boolean {
    return this.consumers.count > 0 || this.pulls.count > 0;
  }

  // ---- In ---------------------------------------------------------------------------------------------------------

  /** Append a message that is not logged. @param row in the transient table */
  pushTransient(row: number, length: number): void {
    this.ring.push(row, TRANSIENT_BODY);
    this.bytes += length;
    this.published++;
    if (!this.awake && this.#wanted) this.engine.wake(this);
  }

  /** Append a logged message; it is delivered once `batch` is durable. `beforeLogged` was called before its record. */
  pushLogged(row: number, length: number, batch: number): void {
    const position = this.ring.push(row, 0);
    this.#loggedTail = position + 1;
    this.bytes += length;
    this.published++;
    const batches = this.#batches;
    if (batches.length > 0 && batches[batches.length - 1] === batch) return;
    if (batches.length === 0) this.engine.awaitQueue(this);
    batches.push(batch);
    this.#batchFirst.push(position);
  }

  /** Make replay give the next message the position it will have here. */
  beforeLogged(): void {
    if (this.#loggedTail !== this.ring.tail) this.#logGap();
  }

  #logGap(): void {
    const { journal } = this.engine;
    const tail = this.ring.tail;
    const at = journal.append(RECORD.gap, 12);
    journal.bytes.writeUInt32LE(this.id, at);
    journal.bytes.writeDoubleLE(tail, at + 4);
    this.engine.wrote();
    this.#loggedTail = tail;
  }

  /** A group commit ended. Answers whether later ones are awaited. */
  becameDurable(batch: number): boolean {
    while (this.#batches.length > 0 && (this.#batches[0] as number) <= batch) {
      this.#batches.shift();
      this.#batchFirst.shift();
    }
    if (this.#wanted) this.engine.wake(this);
    return this.#batches.length > 0;
  }

  // ---- Out --------------------------------------------------------------------------------------------------------

  /** Hand out up to about `budget` messages. Answers true when there is more to do. */
  dispatch(budget: number): boolean {
    const more = this.#handOut(budget);
    if (this.#draining.length > 0) this.#endDrains(false);
    return more;
  }

  #handOut(budget: number): boolean {
    while (budget > 0) {
      if (this.deleted || this.#next() < 0) return false;
      const subscription = this.pulls.pick() ?? this.consumers.pick();
      if (subscription === undefined) return false;
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
  #next(): number {
    const returned = this.#returned;
    if (returned.size > 0) return returned.first;
    const limit = this.#batches.length === 0 ? this.ring.tail : (this.#batchFirst[0] as number);
    if (this.#cursor >= limit) return -1;
    const position = this.ring.next(this.#cursor);
    return position >= 0 && position < limit ? position : -1;
  }

  /** Take the next message: the engine's view shows it. Answers its position, or -1 when there is none for now. */
  take(): number {
    const { engine, ring } = this;
    for (let tries = 0; tries < EXPIRED_PER_TAKE_MAX; tries++) {
      const position = this.#next();
      if (position < 0) return -1;
      const row = ring.body(position);
      const info = ring.info(position);
      if (!this.#show(position, row, info)) return -1;
      if (this.#returned.size > 0) this.#returned.pop();
      else this.#cursor = position + 1;
      this.unsettled++;
      const expiresAtMs = engine.view.expiresAtMs;
      if (expiresAtMs !== 0 && expiresAtMs <= engine.now()) {
        this.#drop(position);
        continue;
      }
      this.delivered++;
      if ((info & RETURNS_MAX) > 0) this.redelivered++;
      return position;
    }
    engine.wake(this);
    return -1;
  }

  /** Point the engine's view to a body; false when it has to be read from disk first. */
  #show(position: number, row: number, info: number): boolean {
    const { bodies, view } = this.engine;
    const table = bodies.table(info);
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
    this.#remove(position);
  }

  /** A delivery was rejected: it is deleted. */
  discard(position: number): void {
    // Dead-lettering comes in here: the message is still in the ring.
    this.#drop(position);
  }

  /** A delivery goes back to its place. @param failed counted as a failed attempt */
  giveBack(position: number, failed: boolean): void {
    const old = this.ring.info(position);
    let info = (old & RETURNS_MAX) === RETURNS_MAX ? old : old + 1;
    if (failed && (info & FAILURES_MASK) !== FAILURES_MASK) info += FAILURE;
    this.ring.setInfo(position, info);
    this.unsettled--;
    this.#returned.push(position);
    if (this.logged && (info & TRANSIENT_BODY) === 0) {
      this.#collecting();
      this.#returns.add(position, info);
    }
    if (this.#wanted) this.engine.wake(this);
  }

  #drop(position: number): void {
    this.dropped++;
    this.vhost.counters.dropped++;
    this.unsettled--;
    this.#remove(position);
  }

  #remove(position: number): void {
    const { ring, engine } = this;
    const row = ring.body(position);
    const info = ring.info(position);
    this.bytes -= engine.bodies.table(info).length(row);
    ring.settle(position);
    engine.bodies.release(row, info);
    if (this.logged && (info & TRANSIENT_BODY) === 0) {
      this.#collecting();
      this.#settled.add(position, 0);
    }
  }

  #collecting(): void {
    if (this.#settled.empty && this.#returns.empty) this.engine.settling(this);
  }

  /** Write what was collected to the journal. */
  logSettlements(): void {
    if (!this.deleted) {
      this.#logRanges(RECORD.return, this.#returns, true);
      this.#logRanges(RECORD.settle, this.#settled, false);
    }
    this.#settled.clear();
    this.#returns.clear();
  }

  #logRanges(type: number, ranges: RangeLog, withInfo: boolean): void {
    if (ranges.empty) return;
    record.reset().u32(this.id);
    let last = 0;
    for (let at = 0; at < ranges.length; at++) {
      const first = ranges.first(at);
      record.varint(zigzag(first - last)).varint(ranges.count(at));
      if (withInfo) record.varint(ranges.info(at));
      last = first + ranges.count(at);
    }
    const { journal } = this.engine;
    const at = journal.append(type, record.length);
    record.copyTo(journal.bytes, at);
    this.engine.wrote();
  }

  // ---- Subscriptions ----------------------------------------------------------------------------------------------

  attach(subscription: Subscription): void {
    if (subscription.pull) this.#keep(subscription);
    else this.consumers.add(subscription);
  }

  #keep(subscription: Subscription): void {
    this.#others ??= new Set();
    this.#others.add(subscription);
  }

  /**
   * A subscription is over, or (`holds`) is no consumer any more and keeps its deliveries. Answers true when it was the last
   * consumer of a queue that goes with it.
   */
  detach(subscription: Subscription, holds: boolean): boolean {
    if (this.#draining.length > 0) this.#draining = this.#draining.filter((other) => other !== subscription);
    if (holds) this.#keep(subscription);
    else this.#others?.delete(subscription);
    if (!this.consumers.remove(subscription) || this.consumers.count > 0) return false;
    this.#forgetUnwanted();
    return this.settings.autoDelete;
  }

  /** All of them, consumers or not. */
  subscriptions(): Subscription[] {
    return [...this.consumers.all(), ...(this.#others ?? [])];
  }

  /** A pull subscription has credit and would take. */
  pull(subscription: Subscription): void {
    this.pulls.add(subscription);
  }

  /** A pull subscription takes no more for now. */
  pullNoMore(subscription: Subscription): void {
    this.pulls.remove(subscription);
    this.#forgetUnwanted();
  }

  #forgetUnwanted(): void {
    if (!this.#wanted) this.#readAhead.drop();
  }

  /** How many messages may be asked for soon: what is read ahead for single pulls would be read in vain. */
  get demand(): number {
    if (this.consumers.count > 0) return Infinity;
    let demand = 0;
    for (const subscription of this.pulls.all()) demand += subscription.room;
    return demand;
  }

  /** Tell a subscription when there is nothing more for it; it says what that means. */
  drain(subscription: Subscription): void {
    if (!this.#draining.includes(subscription)) this.#draining.push(subscription);
    this.engine.wake(this);
  }

  /** Messages that are next cannot be read for now: nobody should wait for them. */
  unreadable(): void {
    this.#endDrains(true);
  }

  #endDrains(all: boolean): void {
    const draining = this.#draining;
    this.#draining = [];
    // Up to here everything is handed out.
    let until = -1;
    if (this.#next() < 0) until = this.#batches.length === 0 ? Infinity : (this.#batchFirst[0] as number);
    for (const subscription of draining) {
      if (all || subscription.drainUntil <= until || subscription.room === 0) subscription.drained();
      else this.#draining.push(subscription);
    }
  }

  // ---- Replay -----------------------------------------------------------------------------------------------------

  /** Take a ring as a checkpoint held it: entries of messages that were not logged are gone. */
  adoptEntries(): void {
    const { ring } = this;
    const { logged } = this.engine.bodies;
    for (let position = ring.next(0); position >= 0; position = ring.next(position + 1)) {
      if ((ring.info(position) & TRANSIENT_BODY) !== 0) ring.settle(position);
      else this.bytes += logged.length(ring.body(position));
    }
  }

  replayPush(row: number, length: number): void {
    this.ring.push(row, 0);
    this.bytes += length;
  }

  /** The next message gets position `tail`. */
  replayGap(tail: number): void {
    if (tail > this.ring.tail) this.ring.skip(tail - this.ring.tail);
  }

  /** Positions from `first` up to, not including, `end` are done. */
  replaySettle(first: number, end: number): void {
    const { ring, engine } = this;
    for (let position = ring.next(first); position >= 0 && position < end; position = ring.next(position + 1)) {
      const row = ring.body(position);
      this.bytes -= engine.bodies.logged.length(row);
      ring.settle(position);
      engine.bodies.release(row, 0);
    }
  }

  replayReturn(first: number, end: number, info: number): void {
    const { ring } = this;
    for (let position = ring.next(first); position >= 0 && position < end; position = ring.next(position + 1)) {
      ring.setInfo(position, info);
    }
  }

  /** Replay is over. */
  recovered(): void {
    this.#cursor = this.ring.head;
    this.#loggedTail = this.ring.tail;
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
    this.#purging += count;
    return { count, done: this.engine.background.run(this.#purge(returned, from, to)) };
  }

  *#purge(returned: readonly number[], from: number, to: number): Generator<void, void, undefined> {
    let done = 0;
    for (const position of returned) {
      if (this.deleted) return;
      this.#purging--;
      this.#remove(position);
      if ((++done & 255) === 0) yield;
    }
    for (let position = this.ring.next(from); position >= 0 && position < to; position = this.ring.next(position + 1)) {
      if (this.deleted) return;
      this.#purging--;
      this.#remove(position);
      if ((++done & 255) === 0) yield;
    }
  }

  /** The queue is gone for everybody: give its bodies and pages back, in slices. */
  destroy(): void {
    this.deleted = true;
    this.#readAhead.drop();
    this.#returned.clear();
    void this.engine.background.run(this.#destroy());
  }

  *#destroy(): Generator<void, void, undefined> {
    const { ring, engine } = this;
    let done = 0;
    for (let position = ring.next(0); position >= 0; position = ring.next(position)) {
      const row = ring.body(position);
      const info = ring.info(position);
      ring.settle(position);
      engine.bodies.release(row, info);
      if ((++done & 255) === 0) yield;
    }
    ring.destroy();
  }
}
