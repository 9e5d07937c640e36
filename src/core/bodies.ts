/**
 * Where message bodies are. Logged ones lie in the journal, the others in the arena (or, when that is full, in the journal
 * too, unsynced and forgotten by a restart). A queue entry holds a row number and a bit that says of which table.
 */

import type { Background, Job } from './background.ts';
import type { BodyRef, Journal, Located } from './journal/journal.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import { RECORD } from './records.ts';
import { groupHash } from './selection/group-hash.ts';
import { ARENA_SEGMENT, Arena } from './slab/arena.ts';
import type { BodyTable } from './slab/body-table.ts';
import type { EntryRing } from './slab/entry-ring.ts';
import { IndexSlab } from './slab/index-slab.ts';
import type { Template } from './stored-message.ts';

/** Bit of an entry's info: its body row is in the transient table. */
export const TRANSIENT_BODY = 1 << 24;

/** What `release` let go of. */
const released: BodyRef = { segment: 0, offset: 0, length: 0 };

export class Bodies {
  /** Rows of logged bodies: what a checkpoint holds. References are counted by entries of logged queues and last values. */
  readonly logged: BodyTable;
  readonly transient: BodyTable;
  /** Pages and rings of what a restart keeps, and of what it forgets. */
  readonly loggedIndex = new IndexSlab({ tracked: true });
  readonly transientIndex = new IndexSlab({ tracked: false });
  readonly arena = new Arena();
  /** Set when recovery has opened it. */
  journal!: Journal;
  readonly #bytesMax: number;
  /** Result of `locate`. */
  readonly located: Located = { bytes: Buffer.alloc(0), start: 0 };

  constructor(limits: Limits) {
    this.logged = this.loggedIndex.bodies;
    this.transient = this.transientIndex.bodies;
    this.#bytesMax = limits.volatileBytesMax;
  }

  /** A number for a message that no other has in this process. Negative, as places in the journal are positive. */
  nextId(): number {
    return -this.arena.nextSerial();
  }

  /** Keep a body that need not survive, for `refs` entries. Answers the row in the transient table.
   *  @param length `template.lengthOf` of the message */
  addTransient(template: Template, message: Message, length: number, receivedAtMs: number, refs: number): number {
    if (this.#full(length)) return this.#spill(template, message, length, receivedAtMs, refs);
    const { arena } = this;
    arena.allocate(length);
    const { segment, offset } = arena;
    template.write(message, receivedAtMs, arena.bytes(segment), offset);
    return this.transient.add(segment, offset, length, refs, groupHash(message));
  }

  /** Whether a body must go to the journal instead. */
  #full(length: number): boolean {
    const { arena } = this;
    // Chunks that few old bodies hold on to count twice as mildly as live bytes, and are bounded all the same.
    return arena.liveBytes + length > this.#bytesMax || arena.heldBytes > this.#bytesMax * 2;
  }

  #spill(template: Template, message: Message, length: number, receivedAtMs: number, refs: number): number {
    const journal = this.journal;
    const at = journal.append(RECORD.spill, length);
    template.write(message, receivedAtMs, journal.bytes, at);
    return this.transient.add(journal.segment, journal.offset, length, refs, groupHash(message));
  }

  /** Keep a body in its stored form that need not survive, for `refs` entries. Answers the row in the transient table.
   *  @param group `groupHash` of the message */
  keepTransient(stored: Buffer, refs: number, group: number): number {
    const { length } = stored;
    if (this.#full(length)) {
      const at = this.journal.append(RECORD.spill, length);
      stored.copy(this.journal.bytes, at);
      return this.transient.add(this.journal.segment, this.journal.offset, length, refs, group);
    }
    const { arena } = this;
    arena.allocate(length);
    stored.copy(arena.bytes(arena.segment), arena.offset);
    return this.transient.add(arena.segment, arena.offset, length, refs, group);
  }

  table(info: number): BodyTable {
    return (info & TRANSIENT_BODY) === 0 ? this.logged : this.transient;
  }

  /** Give up one reference. Answers the bytes of the body. */
  release(row: number, info: number): number {
    const isLast = this.table(info).release(row, released);
    if (isLast && released.segment >= ARENA_SEGMENT) this.arena.release(released.segment, released.length);
    return released.length;
  }

  /** Give up what the entries of a ring refer to, and the ring. */
  *destroy(ring: EntryRing): Job {
    let done = 0;
    for (let position = ring.next(0); position >= 0; position = ring.next(position)) {
      const row = ring.body(position);
      const info = ring.info(position);
      ring.settle(position);
      this.release(row, info);
      if ((++done & 255) === 0) yield;
    }
    ring.destroy();
  }

  /** Find a body in memory: true fills `located`. */
  locate(segment: number, offset: number): boolean {
    if (segment < ARENA_SEGMENT) return this.journal.locate(segment, offset, this.located);
    this.located.bytes = this.arena.bytes(segment);
    this.located.start = offset;
    return true;
  }

  /** Number of the message whose body is at this place: the same for all its deliveries, and no other's. */
  idOf(segment: number, offset: number): number {
    if (segment < ARENA_SEGMENT) return segment * 0x1_0000_0000 + offset;
    return -this.arena.serialOf(segment, offset);
  }

  /** Live body bytes by segment of the journal, now. */
  liveSegments(): Map<number, number> {
    const bytes = new Map(this.logged.liveSegments());
    for (const [segment, count] of this.transient.liveSegments()) {
      if (segment < ARENA_SEGMENT) bytes.set(segment, (bytes.get(segment) ?? 0) + count);
    }
    return bytes;
  }

  /** Live bodies in some segments of the journal, sorted; the search runs in the background. */
  async refsIn(segments: ReadonlySet<number>, background: Background): Promise<BodyRef[]> {
    const found: BodyRef[][] = [];
    for (const table of [this.logged, this.transient]) await background.run(collect(table.refsIn(segments), found));
    return merged(found[0] ?? [], found[1] ?? []);
  }
}

function* collect(scan: Generator<undefined, BodyRef[], undefined>, found: BodyRef[][]): Job {
  found.push(yield* scan);
}

/** Two sorted lists as one. */
function merged(a: BodyRef[], b: BodyRef[]): BodyRef[] {
  if (b.length === 0) return a;
  return [...a, ...b].sort((x, y) => x.segment - y.segment || x.offset - y.offset);
}
