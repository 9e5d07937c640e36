/**
 * The consumers of a queue: the highest priority first, as long as one of that level can take; inside a level one after the
 * other, or by their weights as soon as one of them has another weight than 1.
 */
import type { Subscription } from '../subscription.ts';
import { FairShare, type Line, RoundRobin, Seat } from './turns.ts';

/** Consumers of one priority. */
class Level {
  readonly priority: number;
  /** In the order in which they came. */
  readonly members: Subscription[] = [];
  #line: Line = new RoundRobin();
  #weighted = false;

  constructor(priority: number) {
    this.priority = priority;
  }

  add(subscription: Subscription): void {
    if (subscription.weight !== 1 && !this.#weighted) this.#weigh();
    this.members.push(subscription);
    subscription.seat = new Seat(subscription, this);
    subscription.seat.ready();
  }

  /** Answers whether it was one of them. */
  remove(subscription: Subscription): boolean {
    const at = this.members.indexOf(subscription);
    if (at < 0) return false;
    this.members.splice(at, 1);
    const seat = subscription.seat as Seat;
    if (seat.standing) this.#line.leave(seat);
    subscription.seat = undefined;
    return true;
  }

  /** `seat` is a member's, and does not stand in line. */
  enter(seat: Seat): void {
    seat.standing = true;
    this.#line.enter(seat);
  }

  pick(): Subscription | undefined {
    const line = this.#line;
    for (let seat = line.first; seat !== undefined; seat = line.first) {
      if (seat.subscription.canTake) {
        line.pass();
        return seat.subscription;
      }
      line.leave(seat);
      seat.standing = false;
    }
    return undefined;
  }

  #weigh(): void {
    this.#weighted = true;
    this.#line = new FairShare();
    for (const { seat } of this.members) if (seat?.standing === true) this.#line.enter(seat);
  }
}

/** Of a queue without consumers. */
const NO_LEVELS: Level[] = [];

export class Consumers {
  /** The highest priority first. */
  #levels = NO_LEVELS;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** There is only one that can be served. */
  get sole(): boolean {
    return this.#count === 1;
  }

  /** It keeps others away. */
  get exclusive(): boolean {
    return this.#count === 1 && this.first?.exclusive === true;
  }

  /** Of those of the highest priority, the one that came first. */
  get first(): Subscription | undefined {
    return this.#levels[0]?.members[0];
  }

  add(subscription: Subscription): void {
    const { priority } = subscription;
    if (this.#count === 0) this.#levels = [];
    let at = this.#levels.findIndex((level) => level.priority <= priority);
    if (at < 0) at = this.#levels.length;
    if (this.#levels[at]?.priority !== priority) this.#levels.splice(at, 0, new Level(priority));
    this.#levels[at]?.add(subscription);
    this.#count++;
  }

  /** Answers whether it was one of them. */
  remove(subscription: Subscription): boolean {
    const at = this.#levels.findIndex((level) => level.priority === subscription.priority);
    const level = this.#levels[at];
    if (level === undefined || !level.remove(subscription)) return false;
    if (level.members.length === 0) this.#levels.splice(at, 1);
    this.#count--;
    return true;
  }

  /** The consumer to serve next, or undefined when none can take. */
  pick(): Subscription | undefined {
    for (const level of this.#levels) {
      const subscription = level.pick();
      if (subscription !== undefined) return subscription;
    }
    return undefined;
  }

  /** Whether it is served when it can take: one that waits for its time to come is not. */
  isActive(_subscription: Subscription): boolean {
    return true;
  }

  all(): Subscription[] {
    return this.#levels.flatMap((level) => level.members);
  }
}
