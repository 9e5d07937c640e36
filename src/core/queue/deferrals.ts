/**
 * Messages of a queue that came back and are not to be handed out again before a time. Their entries stay at their places, out
 * of sight; the times are kept here, in memory, and are in the journal as records DEFER and objects of checkpoints. Wall-clock
 * times: they go on while the broker does not run.
 */
import type { DeferredInfo } from '../door.ts';
import { unzigzag, zigzag } from '../records.ts';
import type { TlvReader, TlvWriter } from '../tlv.ts';
import type { Topology } from '../topology.ts';
import { DueHeap } from './due-heap.ts';
import { failuresOf, GIVEN_UP_MASK, HELD, RETURNS_MAX } from './entry-info.ts';
import type { Lane } from './lane.ts';
import type { Queue } from './queue.ts';
import { retryDelayMs } from './retry.ts';

/** Entries of one object in a checkpoint. */
const OBJECT_ENTRIES = 1024;

export class Deferrals {
  readonly #queue: Queue;
  readonly #heap = new DueHeap();
  /** What the journal says, position -> due, until the queue goes on after a restart. */
  #found: Map<number, number> | undefined;

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  /** Messages that wait. */
  get count(): number {
    return this.#heap.size;
  }

  /** A restart has to know of them. */
  get logged(): boolean {
    return this.#queue.logged;
  }

  /** Have the entry at `here`, which was handed out, wait until `dueMs`. False when too many wait: it does not. */
  add(lane: Lane, here: number, dueMs: number): boolean {
    const { engine } = this.#queue;
    if (this.#heap.size >= engine.limits.deferredPerQueueMax) return false;
    this.#hold(lane, here, dueMs);
    lane.logDeferred(here, dueMs);
    engine.deadlines.arm(this.#queue, this.#heap.firstDueMs);
    return true;
  }

  #hold(lane: Lane, here: number, dueMs: number): void {
    const { topology } = this.#queue.vhost;
    lane.ring.setInfo(here, lane.ring.info(here) | HELD);
    if (this.#heap.size === 0) topology.deferring.add(this);
    this.#heap.push(lane.offset + here, dueMs);
  }

  /** Put what is due back in its place, `budget` messages at most; the queue is armed for the next ones. Answers true when
   *  more are due. */
  release(budget: number): boolean {
    const { engine } = this.#queue;
    for (let left = budget; this.#heap.firstDueMs <= engine.now(); left--) {
      if (left === 0) return true;
      const { lane, here } = this.#pop();
      this.#queue.backInPlace(lane, here);
    }
    if (this.#heap.size > 0) engine.deadlines.arm(this.#queue, this.#heap.firstDueMs);
    return false;
  }

  /** Wait no longer for any of them. Answers their number. */
  releaseAll(): number {
    const count = this.#heap.size;
    for (const { lane, here } of this.takeAll()) {
      lane.logDeferred(here, 0);
      this.#queue.backInPlace(lane, here);
    }
    return count;
  }

  /** Wait for none of them any more; what becomes of them is the caller's business. */
  *takeAll(): IterableIterator<{ lane: Lane; here: number }> {
    while (this.#heap.size > 0) yield this.#pop();
  }

  /** The first `count` of them. */
  first(count: number): DeferredInfo[] {
    const { positions, dueMs } = this.#heap.entries();
    const order = [...positions.keys()].sort(
      (a, b) => (dueMs[a] as number) - (dueMs[b] as number) || (positions[a] as number) - (positions[b] as number),
    );
    return order.slice(0, count).map((n) => {
      const lane = this.#queue.laneAt(positions[n] as number);
      const here = (positions[n] as number) - lane.offset;
      const info = lane.ring.info(here);
      const counts = { redeliveries: info & RETURNS_MAX, failures: failuresOf(info) };
      return { dueMs: dueMs[n] as number, ...counts, priority: lane.level, bytes: lane.lengthOf(here) };
    });
  }

  /** The queue is gone. */
  end(): void {
    this.#queue.vhost.topology.deferring.delete(this);
  }

  #pop(): { lane: Lane; here: number } {
    const position = this.#heap.pop();
    if (this.#heap.size === 0) this.end();
    const lane = this.#queue.laneAt(position);
    const here = position - lane.offset;
    lane.ring.setInfo(here, lane.ring.info(here) & ~HELD);
    return { lane, here };
  }

  // ---- Over a restart ---------------------------------------------------------------------------------------------

  /** Encode all that wait now, object by object. @param begin writes what stands in front of one */
  *encode(out: TlvWriter, begin: () => void): Generator<void, void, undefined> {
    const { positions, dueMs } = this.#heap.entries();
    const byLane = new Map<Lane, number[]>();
    for (const [n, position] of positions.entries()) {
      const lane = this.#queue.laneAt(position);
      const entries = byLane.get(lane) ?? [];
      entries.push(position - lane.offset, dueMs[n] as number);
      byLane.set(lane, entries);
    }
    for (const [lane, entries] of byLane) {
      for (let at = 0; at < entries.length; at += OBJECT_ENTRIES * 2) {
        begin();
        yield writeDeferred(out, lane.id, entries.slice(at, at + OBJECT_ENTRIES * 2));
      }
    }
  }

  /** The journal says so of the entry at `position` of the queue. */
  found(position: number, dueMs: number): void {
    this.#found ??= new Map();
    this.#found.set(position, dueMs);
    // Most of them are long gone in a long log.
    if (this.#found.size > this.#queue.engine.limits.deferredPerQueueMax * 2) this.#forgetGone(this.#found);
  }

  #forgetGone(found: Map<number, number>): void {
    for (const position of found.keys()) if (!this.#isThere(position)) found.delete(position);
  }

  #isThere(position: number): boolean {
    const lane = this.#queue.laneAt(position);
    return lane.ring.next(position - lane.offset) === position - lane.offset;
  }

  /** The broker is open: what was found and is not due yet goes on waiting. */
  resume(): void {
    const { engine, bound } = this.#queue;
    const now = engine.now();
    for (const [position, dueMs] of this.#found ?? []) {
      const lane = this.#queue.laneAt(position);
      const here = position - lane.offset;
      const isOver = dueMs <= now || !this.#isThere(position) || (lane.ring.info(here) & GIVEN_UP_MASK) !== 0;
      if (isOver || this.#heap.size >= engine.limits.deferredPerQueueMax) continue;
      this.#hold(lane, here, dueMs);
      lane.mayBeOutOfSight(lane.ring.tail);
      bound?.left(lane.lengthOf(here));
    }
    this.#found = undefined;
    if (this.#heap.size > 0) engine.deadlines.arm(this.#queue, this.#heap.firstDueMs);
  }
}

/**
 * Have an entry that came back wait, if its consumer or the queue's rule for retries wants it. Answers false when it does not.
 * @param deliverAtMs what its consumer wants; 0 = nothing
 */
export function defer(lane: Lane, here: number, failed: boolean, deliverAtMs: number): boolean {
  const { engine, rules } = lane.queue;
  const now = engine.now();
  let dueMs = deliverAtMs;
  if (dueMs === 0 && rules.retry !== undefined) dueMs = now + retryDelayMs(rules.retry, failed, lane.ring.info(here));
  return dueMs > now && deferralsOf(lane.queue).add(lane, here, dueMs);
}

function deferralsOf(queue: Queue): Deferrals {
  queue.deferrals ??= new Deferrals(queue);
  return queue.deferrals;
}

/** Write entries of one log: position in it and due time, by turns. */
export function writeDeferred(out: TlvWriter, logId: number, entries: readonly number[]): void {
  out.u32(logId).varint(entries.length / 2);
  let last = 0;
  let lastDueMs = 0;
  for (let at = 0; at < entries.length; at += 2) {
    const here = entries[at] as number;
    const dueMs = entries[at + 1] as number;
    out.varint(zigzag(here - last)).varint(zigzag(dueMs - lastDueMs));
    last = here;
    lastDueMs = dueMs;
  }
}

/** Read what `writeDeferred` wrote. */
export function readDeferred(from: TlvReader, topology: Topology): void {
  const lane = topology.lane(from.u32());
  let here = 0;
  let dueMs = 0;
  for (let left = from.varint(); left > 0; left--) {
    here += unzigzag(from.varint());
    dueMs += unzigzag(from.varint());
    if (lane !== undefined) deferralsOf(lane.queue).found(lane.offset + here, dueMs);
  }
}
