/**
 * How far the consumers with one filter have looked through a queue. Each message is looked at once for all of them: it goes
 * to the one that asks, waits for the one whose group it is in, or is none of theirs. What comes back is looked at again.
 */
import { Fifo } from '../fifo.ts';
import type { BindingFilter } from '../filter/binding.ts';
import { hubSource } from '../filter/source.ts';
import { hubOf } from '../hub.ts';
import { exchangeName, keyText } from '../message.ts';
import type { Lane } from '../queue/lane.ts';
import { LANE_SPAN } from '../queue/lane.ts';
import { PositionHeap } from '../queue/position-heap.ts';
import type { Queue } from '../queue/queue.ts';
import type { ReadAhead } from '../queue/read-ahead.ts';
import { orderOf } from './order.ts';
import type { Share } from './share.ts';

/** Beyond so many, everything from the first of them on is looked at again. */
const AGAIN_MAX = 1024;

const { POSITIVE_INFINITY } = Number;

export class Scan {
  readonly filter: BindingFilter | undefined;
  readonly readAhead: ReadAhead;
  readonly shares: Share[] = [];
  /** Those that have something waiting and could take. */
  readonly called = new Fifo<Share>();
  /** The consumer whose next message is being read from disk. */
  reading: Share | undefined;
  readonly #queue: Queue;
  /** By level: what lies before in the lane was looked at. Where there is none, that is so from the start of the lane on. */
  #seen: (number | undefined)[] = [];
  /** By bucket, then by level: the first message passed over because its bucket was somebody's who may not have it now. */
  readonly #missed = new Map<number, (number | undefined)[]>();
  /** By `orderOf`: to be looked at again. */
  readonly #again = new PositionHeap();
  /** Of the lanes, those before this index have nothing new. */
  #from = 0;
  /** What `first` found is in `#again`. */
  #isAgain = false;

  constructor(queue: Queue, filter: BindingFilter | undefined, readAhead: ReadAhead) {
    this.#queue = queue;
    this.filter = filter;
    this.readAhead = readAhead;
    this.restart();
  }

  /** Look at everything anew. */
  restart(): void {
    this.emptied();
    for (const lane of this.#queue.lanes.all) for (const here of lane.returned) this.cameBack(lane, here);
  }

  /** Nobody can be served before a read ends, which wakes the queue. */
  get isReading(): boolean {
    return this.reading !== undefined && this.readAhead.loading;
  }

  /** The next message to look at, by `orderOf`; Infinity when there is none now. */
  first(): number {
    const fresh = this.#firstNew();
    const again = this.#again.size > 0 ? this.#again.first : POSITIVE_INFINITY;
    this.#isAgain = again < fresh;
    return Math.min(again, fresh);
  }

  #firstNew(): number {
    const { all } = this.#queue.lanes;
    for (; this.#from < all.length; this.#from++) {
      const lane = all[this.#from] as Lane;
      const { end } = lane;
      const from = this.#seenOf(lane);
      if (from >= end) continue;
      const here = lane.ring.next(from);
      const isThere = here >= 0 && here < end;
      const seen = isThere ? here : end;
      if (seen !== from) this.#see(lane, seen);
      if (isThere) return orderOf(lane.offset + here);
    }
    return POSITIVE_INFINITY;
  }

  /** Be done with what `first` found. */
  pass(lane: Lane, here: number): void {
    if (this.#isAgain) this.#again.pop();
    else this.#see(lane, here + 1);
  }

  #seenOf(lane: Lane): number {
    return this.#seen[lane.level] ?? lane.start;
  }

  #see(lane: Lane, here: number): void {
    while (this.#seen.length <= lane.level) this.#seen.push(undefined);
    this.#seen[lane.level] = here;
  }

  /** Whether a message lies where everything was looked at. */
  hasSeen(lane: Lane, here: number): boolean {
    return here < this.#seenOf(lane);
  }

  /** A lane may have something new, or be new. */
  raise(): void {
    this.#from = 0;
  }

  /** A message that was handed out is ready again. */
  cameBack(lane: Lane, here: number): void {
    if (!this.hasSeen(lane, here)) return;
    if (this.#again.size < AGAIN_MAX) this.#again.push(orderOf(lane.offset + here));
    else this.#lookAgain(lane, here);
  }

  /** A message of a bucket is not for anybody now, and may be later: after `retry`. */
  miss(position: number, bucket: number): void {
    const level = Math.floor(position / LANE_SPAN);
    const missed = this.#missed.get(bucket) ?? [];
    this.#missed.set(bucket, missed);
    while (missed.length <= level) missed.push(undefined);
    missed[level] = Math.min(missed[level] ?? POSITIVE_INFINITY, position % LANE_SPAN);
  }

  /** Look again at what was missed of a bucket. */
  retry(bucket: number): void {
    for (const [level, here] of (this.#missed.get(bucket) ?? []).entries()) {
      const lane = this.#queue.lanes.ofLevel(level);
      if (here !== undefined && lane !== undefined) this.#lookAgain(lane, here);
    }
    this.#missed.delete(bucket);
  }

  #lookAgain(lane: Lane, here: number): void {
    if (!this.hasSeen(lane, here)) return;
    this.#see(lane, here);
    this.raise();
  }

  /** Everything ready was purged. */
  emptied(): void {
    this.#seen = [];
    this.#missed.clear();
    this.#again.clear();
    this.#from = 0;
  }

  /** Whether the message in the engine's view passes the filter. */
  matches(): boolean {
    if (this.filter === undefined) return true;
    const { formats, view } = this.#queue.engine;
    const { receivedAtMs } = view;
    const facts = { key: keyText(view), exchange: exchangeName(view), receivedAtMs };
    return this.filter.matches(hubSource(hubOf(formats, view), facts));
  }

  /** A consumer has something waiting. */
  call(share: Share): void {
    if (share.called) return;
    share.called = true;
    this.called.push(share);
  }
}
