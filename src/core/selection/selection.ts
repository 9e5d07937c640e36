/**
 * Which message a consumer gets from a queue where that is not simply the next one: some consumers have filters, or messages
 * are in groups. The order stays the same (order.ts); each consumer gets the first message that it may have:
 *
 * - its filter lets it pass;
 * - its group is nobody's (then it becomes the consumer's own), or the consumer's own.
 *
 * A queue without filters and groups has no selection and pays for none.
 */
import { FLAG_ENDS_GROUP } from '../message.ts';
import type { Lane } from '../queue/lane.ts';
import type { Queue } from '../queue/queue.ts';
import { ReadAhead, readAheadOf } from '../queue/read-ahead.ts';
import type { Subscription } from '../subscription.ts';
import { orderOf } from './order.ts';
import { Owners } from './owners.ts';
import { isParked, setParked } from './parking.ts';
import { Scan } from './scan.ts';
import { Share } from './share.ts';

/** Messages looked at for one delivery before others have their turn. */
const LOOKS_MAX = 256;
/** The same for a search through what was looked at before: nothing is decided there. */
const SEARCH_MAX = 1024;
/** So many looks count as one delivery; one that asks a filter counts as one. */
const LOOKS_PER_DELIVERY = 16;

const { POSITIVE_INFINITY } = Number;

/** Whoever looks for something reads on until it is found. */
const WHOLE_QUEUE = { demand: POSITIVE_INFINITY };

/** What came of looking at a message. */
type Answer = typeof TAKEN | typeof PASSED | typeof READ_FIRST;
const TAKEN = 0;
const PASSED = 1;
const READ_FIRST = 2;

export class Selection {
  readonly owners: Owners;
  readonly #queue: Queue;
  /** By the identity of the filter. */
  readonly #scans = new Map<string, Scan>();
  /** The same. */
  #list: readonly Scan[] = [];
  /** Consumers that can take and have nothing to take. */
  #idle: Subscription[] = [];
  /** Counts offers. */
  #turn = 0;
  /** Messages looked at since the last offer began. */
  #looks = 0;

  /** @param queue that has had no selection so far */
  constructor(queue: Queue) {
    this.#queue = queue;
    this.owners = new Owners(queue);
    for (const subscription of queue.takers.all()) this.owners.adopt(this.add(subscription));
  }

  // ---- Consumers --------------------------------------------------------------------------------------------------

  add(subscription: Subscription): Share {
    const identity = subscription.filter?.identity ?? '';
    const scan = this.#scans.get(identity) ?? this.#open(identity, subscription);
    const share = new Share(subscription, scan, this.owners.nextNumber());
    share.leaving = subscription.cancelled;
    scan.shares.push(share);
    subscription.share = share;
    this.owners.add(share);
    return share;
  }

  #open(identity: string, { filter }: Subscription): Scan {
    const readAhead = filter === undefined ? readAheadOf(this.#queue) : new ReadAhead(this.#queue, WHOLE_QUEUE);
    const scan = new Scan(this.#queue, filter, readAhead);
    this.#scans.set(identity, scan);
    this.#list = this.owners.scans = [...this.#scans.values()];
    return scan;
  }

  /** A subscription is over, or (`holds`) takes no more and keeps its deliveries. Answers whether there is nothing left to
   *  choose. */
  leave(subscription: Subscription, holds: boolean): boolean {
    const share = subscription.share as Share;
    share.leaving = true;
    this.owners.giveUpAll(share);
    if (holds) return false;
    this.#remove(share);
    if (this.owners.matter ? this.#list.length > 0 : this.#list.some(({ filter }) => filter !== undefined))
      return false;
    for (const { shares } of this.#list) for (const other of shares) takeAnything(other.subscription);
    return true;
  }

  #remove(share: Share): void {
    const { scan, subscription } = share;
    this.owners.remove(share);
    subscription.share = undefined;
    subscription.idle = false;
    scan.shares.splice(scan.shares.indexOf(share), 1);
    if (scan.reading === share) scan.reading = undefined;
    if (scan.shares.length > 0) return;
    this.#scans.delete(scan.filter?.identity ?? '');
    this.#list = this.owners.scans = [...this.#scans.values()];
    if (scan.filter !== undefined) scan.readAhead.drop();
  }

  /** A consumer is not served for now. What it has is still its own. */
  release({ share }: Subscription): void {
    if (share !== undefined) this.owners.giveUpAll(share);
  }

  // ---- What happens to messages -----------------------------------------------------------------------------------

  /** A lane may have something new, or be new. */
  raise(): void {
    for (const scan of this.#list) scan.raise();
  }

  /** A delivery is about to be settled, or to go back. */
  settled(position: number): void {
    const lane = this.#queue.laneAt(position);
    this.owners.settled(lane, position - lane.offset);
  }

  /** A message that was out of sight is ready again, at its place. */
  cameBack(lane: Lane, here: number): void {
    const bucket = this.owners.bucketAt(lane, here);
    const owner = this.owners.of(bucket);
    for (const scan of this.#list) {
      if (owner === undefined) scan.cameBack(lane, here);
      else if (scan.hasSeen(lane, here)) this.owners.leaveTo(owner, scan, lane, here, bucket);
    }
  }

  /** Everything ready was purged. */
  emptied(): void {
    this.owners.emptied();
    for (const scan of this.#list) scan.emptied();
  }

  // ---- Whose turn it is -------------------------------------------------------------------------------------------

  /** Hand out up to about `budget` messages. Answers true when there is more to do. */
  dispatch(budget: number): boolean {
    const queue = this.#queue;
    for (const subscription of this.#idle.splice(0)) subscription.stir();
    for (let left = budget; left > 0; ) {
      if (queue.deleted) return false;
      if (queue.selection !== this) return true;
      const subscription = this.#pick();
      if (subscription === undefined) return queue.dropExpired(left);
      this.#looks = 0;
      const taken = subscription.offer(this.#portion(subscription, left));
      left -= taken + 1 + Math.floor(this.#looks / LOOKS_PER_DELIVERY);
    }
    return true;
  }

  /** Who is to be offered something; undefined when nobody has anything to take. Those for whom something waits and those for
   *  whom there may be something new go by turns: neither keeps the other from its messages. */
  #pick(): Subscription | undefined {
    const turn = this.#turn++;
    return this.#reader() ?? ((turn & 1) === 0 ? (this.#callee() ?? this.#any()) : (this.#any() ?? this.#callee()));
  }

  /** The consumer whose message has been read from disk: before others want other messages in its place. */
  #reader(): Subscription | undefined {
    for (const scan of this.#list) {
      const { reading } = scan;
      if (reading === undefined || scan.isReading) continue;
      scan.reading = undefined;
      if (this.#mayTake(reading)) return reading.subscription;
    }
    return undefined;
  }

  /** The next one for whom something waits. */
  #callee(): Subscription | undefined {
    const list = this.#list;
    for (let n = 0; n < list.length; n++) {
      const scan = list[((this.#turn >> 1) + n) % list.length] as Scan;
      if (scan.isReading) continue;
      const { called } = scan;
      for (let share = called.shift(); share !== undefined; share = called.shift()) {
        share.called = false;
        if (!share.waits || !this.#mayTake(share)) continue;
        scan.call(share);
        return share.subscription;
      }
    }
    return undefined;
  }

  /** The next one for whom there may be something new. */
  #any(): Subscription | undefined {
    if (this.#list.length === 1 && !hasNew(this.#list[0] as Scan)) return undefined;
    for (;;) {
      const subscription = this.#queue.takers.pick();
      if (subscription?.share === undefined || hasNew(subscription.share.scan)) return subscription;
      subscription.idle = true;
      this.#idle.push(subscription);
    }
  }

  #mayTake(share: Share): boolean {
    return share.subscription.isWilling && this.owners.serves(share);
  }

  /** How many deliveries to offer: a fair share of what nobody owns matters more than the cost of a call. */
  #portion(subscription: Subscription, budget: number): number {
    const { scan, listed } = subscription.share as Share;
    if (subscription.pull || (scan.shares.length === 1 && this.#list.length === 1)) return budget;
    return Math.max(1, Math.min(budget, listed));
  }

  /** There is nothing that this subscription could take now. */
  hasNothingFor({ share }: Subscription): boolean {
    return share === undefined || (!share.waits && share.scan.first() === POSITIVE_INFINITY);
  }

  // ---- Taking -----------------------------------------------------------------------------------------------------

  /** Take the next message for a subscription: the engine's view shows it. Answers its position, or -1. */
  take(subscription: Subscription): number {
    const share = subscription.share as Share;
    const { scan } = share;
    const until = this.#looks + LOOKS_MAX;
    if (scan.reading === share) scan.reading = undefined;
    while (this.#looks++ < until) {
      if (share.mustSearch && !this.#search(share)) break;
      const own = share.first;
      const fresh = scan.first();
      if (own === POSITIVE_INFINITY && fresh === POSITIVE_INFINITY) {
        if (scan.filter !== undefined) scan.readAhead.drop();
        return -1;
      }
      const isOwn = own <= fresh;
      const position = orderOf(isOwn ? own : fresh);
      const lane = this.#queue.laneAt(position);
      const here = position - lane.offset;
      const answer = isOwn ? this.#takeOwn(share, lane, here) : this.#takeNew(share, lane, here);
      if (answer === TAKEN) return position;
      if (answer === READ_FIRST) {
        scan.reading = share;
        return -1;
      }
    }
    return -1;
  }

  /** The first message of the consumer's list. */
  #takeOwn(share: Share, lane: Lane, here: number): Answer {
    if (!lane.isReady(here)) {
      share.unlist();
      return PASSED;
    }
    if (!share.scan.readAhead.show(lane, here)) return READ_FIRST;
    share.unlist();
    if (share.scan.matches()) return this.#handOut(share, lane, here, this.owners.bucketAt(lane, here));
    setParked(lane, here, false);
    return PASSED;
  }

  /** The message that the consumers with this filter look at next. */
  #takeNew(share: Share, lane: Lane, here: number): Answer {
    const { scan } = share;
    const { owners } = this;
    if (!lane.isReady(here)) {
      scan.pass(lane, here);
      return PASSED;
    }
    const bucket = owners.bucketAt(lane, here);
    const owner = owners.of(bucket);
    if (owner !== undefined && (owner !== share || owners.isGivingUp(bucket))) {
      scan.pass(lane, here);
      owners.leaveTo(owner, scan, lane, here, bucket);
      return PASSED;
    }
    if (!scan.readAhead.show(lane, here)) return READ_FIRST;
    scan.pass(lane, here);
    if (!scan.matches()) {
      this.#looks += LOOKS_PER_DELIVERY - 1;
      return PASSED;
    }
    if (bucket >= 0 && owner === undefined) {
      const chosen = this.#leastLaden(share);
      owners.give(bucket, chosen);
      if (chosen !== share) {
        owners.leaveTo(chosen, scan, lane, here, bucket);
        return PASSED;
      }
    }
    return this.#handOut(share, lane, here, bucket);
  }

  #handOut(share: Share, lane: Lane, here: number, bucket: number): Answer {
    const queue = this.#queue;
    if (!queue.handOut(lane, here)) return PASSED;
    share.groupFirst = bucket >= 0 && this.owners.handedOut(bucket);
    if (bucket >= 0 && (queue.engine.view.flags & FLAG_ENDS_GROUP) !== 0) this.owners.giveUp(bucket, share);
    return TAKEN;
  }

  /** Of the consumers that go as high as the one that asks, and can take, the one with the fewest groups. */
  #leastLaden(asking: Share): Share {
    const { subscription, scan } = asking;
    if (subscription.pull || this.#queue.consumers.sole) return asking;
    let least = asking;
    for (const share of scan.shares) {
      if (share.owned >= least.owned || share.leaving) continue;
      const { priority, pull, isWilling, room } = share.subscription;
      if (isWilling && !pull && priority === subscription.priority && room > share.listed) least = share;
    }
    return least;
  }

  /** List more of what waits for a consumer. False when the search goes on another time. */
  #search(share: Share): boolean {
    this.#unlist(share);
    const { scan } = share;
    const { owners } = this;
    let left = SEARCH_MAX;
    for (let level = share.level; level >= 0 && share.hasRoom && left > 0; level = share.level) {
      const lane = this.#queue.lanes.ofLevel(level) as Lane;
      let here = lane.ring.next(share.from(level));
      for (; here >= 0 && scan.hasSeen(lane, here) && share.hasRoom && left > 0; here = lane.ring.next(here + 1)) {
        left--;
        if (!lane.isReady(here) || isParked(lane, here) || owners.of(owners.bucketAt(lane, here)) !== share) continue;
        share.list(lane.offset + here);
        setParked(lane, here, true);
      }
      share.searched(level, here >= 0 && scan.hasSeen(lane, here) ? here : undefined);
    }
    this.#looks += (SEARCH_MAX - left) >> 2;
    return !share.mustSearch;
  }

  /** Note what is listed as unlisted: what comes before it is to be listed first. */
  #unlist(share: Share): void {
    for (const position of share.takeListed()) {
      const lane = this.#queue.laneAt(position);
      const here = position - lane.offset;
      if (!lane.isReady(here)) continue;
      setParked(lane, here, false);
      share.note(position);
    }
  }
}

/** A subscription has come to its queue. */
export function attach(queue: Queue, subscription: Subscription): void {
  queue.takers.add(subscription);
  if (queue.selection !== undefined) queue.selection.add(subscription);
  else if (subscription.filter !== undefined || queue.grouped) queue.selection = new Selection(queue);
}

/** There are messages in groups, or the rules for them are others. */
export function chooseAnew(queue: Queue): void {
  if (queue.selection !== undefined) queue.selection.owners.regroup();
  else if (queue.grouped && queue.takers.any) queue.selection = new Selection(queue);
}

/** There is nothing to choose any more. */
export function endSelection(queue: Queue): void {
  queue.selection = undefined;
  if (queue.count === 0 && (queue.delays?.count ?? 0) === 0) queue.grouped = false;
}

/** A subscription takes the next message from now on, whatever it is. */
function takeAnything(subscription: Subscription): void {
  subscription.share = undefined;
  subscription.stir();
}

function hasNew(scan: Scan): boolean {
  return !scan.isReading && scan.first() !== POSITIVE_INFINITY;
}
