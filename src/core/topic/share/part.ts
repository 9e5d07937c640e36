/**
 * What a share group knows of one partition: which messages are handed out, which came back, and where the new ones begin.
 *
 *     start                          next            durableEnd
 *       |  done, handed out, come back  |  not handed out  |
 *
 * Between `start` and `next` only what is not done has an entry.
 */

import { codeOf, type DeathReason, reasonOf } from '../../death.ts';
import type { Engine } from '../../engine.ts';
import type { ErrorCode } from '../../errors.ts';
import { PositionHeap } from '../../queue/position-heap.ts';
import type { Block } from '../block.ts';
import type { Frames } from '../frames.ts';
import type { Partition, PartitionReader } from '../partition.ts';
import type { Topics } from '../topics.ts';
import type { ShareGroup } from './group.ts';
import { type SettledRange, type StoredPart, writeSettled } from './records.ts';

/** A message that is not done. */
interface Entry {
  /** How often it came back. */
  returns: number;
  /** Somebody has it now. */
  held: boolean;
  /** It was given up, and is on its way to the group's dead letters. */
  givenUp: DeathReason | undefined;
}

/** What becomes of a message that was handed out. */
export type Outcome = 'done' | 'back' | 'rejected';

/** After a failed read. */
const RETRY_MS = 5_000;

export class SharePart implements PartitionReader {
  awake = false;
  waiting = false;
  readonly id: number;
  readonly partition: Partition;
  readonly group: ShareGroup;
  /** The message shown by `take`. */
  readonly frames: Frames;
  next: number;
  /** Handed out and not settled. */
  held = 0;
  /** Given up, and on their way. */
  leaving = 0;
  readonly #topics: Topics;
  readonly #engine: Engine;
  /** By offset, ascending. */
  readonly #entries = new Map<number, Entry>();
  /** Offsets of those that came back; what is gone meanwhile is still among them. */
  readonly #returned = new PositionHeap();
  #block: Block | undefined;
  #loading = false;
  #closed = false;

  constructor(topics: Topics, group: ShareGroup, id: number, partition: Partition, next: number) {
    this.#topics = topics;
    this.#engine = partition.engine;
    this.group = group;
    this.id = id;
    this.partition = partition;
    this.frames = topics.batches.cursor(partition);
    this.next = next;
    partition.proxies.add(this);
  }

  /** Everything before it is done. */
  get start(): number {
    return this.#entries.keys().next().value ?? this.next;
  }

  /** Not done, of those before `next`. */
  get open(): number {
    return this.#entries.size;
  }

  get loading(): boolean {
    return this.#loading;
  }

  // ---- Handing out ------------------------------------------------------------------------------------------------

  /** There is something new. */
  dispatch(): boolean {
    if (!this.#closed) this.group.wake();
    return false;
  }

  /** Hand out a message, shown by `frames`: its offset, or -1 when there is none for now. Then the group is woken when there is. */
  take(): number {
    while (this.#returned.size > 0) {
      const offset = this.#returned.first;
      const entry = this.#entries.get(offset);
      if (entry !== undefined && !entry.held) {
        if (offset >= this.partition.start && !this.#show(offset)) return -1;
        if (!this.frames.ended && this.frames.offset === offset) {
          this.#returned.pop();
          return this.#hold(offset, entry);
        }
        // Retention or compaction has removed it.
        this.#entries.delete(offset);
      }
      this.#returned.pop();
    }
    return this.#takeNew();
  }

  #takeNew(): number {
    const { partition } = this;
    if (this.#entries.size >= this.#engine.limits.shareOpenMax) return -1;
    do {
      // What is not there any more counts as done.
      this.next = Math.max(this.next, partition.start);
      if (this.next >= partition.durableEnd) {
        partition.wait(this);
        return -1;
      }
      if (!this.#show(this.next)) return -1;
      this.next = this.frames.offset;
    } while (this.frames.ended);
    const offset = this.next++;
    const entry = newEntry(0);
    this.#entries.set(offset, entry);
    return this.#hold(offset, entry);
  }

  #hold(offset: number, entry: Entry): number {
    if (this.frames.isUnpacked) this.group.showing(this);
    entry.held = true;
    this.held++;
    return offset;
  }

  /** Have `frames` at the message of an offset, or at the first one behind it, or at an end up to which there is none. False: it is
   *  being read. */
  #show(offset: number): boolean {
    const { partition, frames } = this;
    if (!frames.ended && frames.offset <= offset) frames.seek(offset);
    if (!frames.ended && frames.offset === offset) return true;
    if (this.#block !== undefined && this.#block.base <= offset && offset < this.#block.end) {
      this.#block.show(frames, offset);
      return true;
    }
    return offset >= partition.sealedEnd ? this.#showRun(offset) : this.#load(offset);
  }

  #showRun(offset: number): boolean {
    const { runs } = this.partition;
    const { bodies } = this.#engine;
    const position = runs.find(offset);
    const row = runs.body(position);
    if (!bodies.locate(bodies.logged.segment(row), bodies.logged.offset(row))) return this.#load(offset);
    runs.show(position, bodies.located.bytes, bodies.located.start, this.frames, offset);
    this.group.showing(this);
    return true;
  }

  /** Bytes of the journal are valid for one turn, and unpacked batches are large. */
  forgetBytes(): void {
    this.frames.clear();
  }

  #load(offset: number): boolean {
    if (this.#loading) return false;
    this.#loading = true;
    this.#forgetBlock();
    const done = (): void => {
      this.#loading = false;
      if (!this.#closed) this.group.wake();
    };
    const failed = (error: Error): void => {
      const { topic, number } = this.partition;
      const fields = { topic: topic.name, partition: number, offset, error: error.message };
      this.#engine.log('error', 'messages of a topic cannot be read; trying again', fields);
      this.#engine.clock.after(RETRY_MS, done);
    };
    this.#topics.block(this.partition, Math.max(offset, this.partition.start)).then((block) => {
      if (this.#closed || block.end <= offset) block.leave();
      else this.#block = block;
      if (this.#block === block || this.#closed) done();
      else failed(new Error('nothing is there'));
    }, failed);
    return false;
  }

  #forgetBlock(): void {
    this.frames.clear();
    this.#block?.leave();
    this.#block = undefined;
  }

  // ---- Settling ---------------------------------------------------------------------------------------------------

  /** How often a message came back. */
  returns(offset: number): number {
    return this.#entries.get(offset)?.returns ?? 0;
  }

  /** Messages that are handed out have been settled. Written down at once. @param offsets ascending */
  settle(offsets: readonly number[], outcome: Outcome): void {
    const ranges: SettledRange[] = [];
    for (const offset of offsets) {
      const entry = this.#entries.get(offset);
      if (entry?.held !== true) continue;
      this.held--;
      entry.held = false;
      if (outcome === 'back') entry.returns++;
      addTo(ranges, offset, this.#place(offset, entry, outcome));
    }
    this.#write(ranges);
  }

  /** Have a message at hand again, on its way, or done. Answers its word in the journal. */
  #place(offset: number, entry: Entry, outcome: Outcome): number {
    const isBack = outcome === 'back' && entry.returns < this.#engine.limits.shareDeliveriesMax;
    if (isBack) {
      this.#returned.push(offset);
      return wordOf(entry);
    }
    const { deadLetters } = this.group;
    if (outcome === 'done' || deadLetters === undefined) {
      this.#entries.delete(offset);
      return DONE;
    }
    entry.givenUp = outcome === 'rejected' ? 'rejected' : 'delivery_limit';
    this.leaving++;
    deadLetters.add(this, offset, entry.givenUp);
    return wordOf(entry);
  }

  /** Messages that were given up have arrived, or nobody waits for them any more. @param offsets ascending */
  gone(offsets: readonly number[]): void {
    const ranges: SettledRange[] = [];
    for (const offset of offsets) {
      if (!this.#entries.delete(offset)) continue;
      this.leaving--;
      addTo(ranges, offset, DONE);
    }
    this.#write(ranges);
    // There may be room for new ones.
    this.group.wake();
  }

  #write(ranges: readonly SettledRange[]): void {
    if (ranges.length > 0 && this.#engine.failure === undefined) writeSettled(this.#engine, this.id, ranges);
  }

  // ---- Replay and checkpoints -------------------------------------------------------------------------------------

  /** A record of settled messages. What was handed out before them and is not mentioned is not done. */
  replay(ranges: readonly SettledRange[]): void {
    for (const { first, count, word } of ranges) {
      for (; this.next < first + count; this.next++) this.#entries.set(this.next, newEntry(0));
      for (let offset = first; offset < first + count; offset++) {
        if (word === DONE) this.#entries.delete(offset);
        else if (this.#entries.has(offset)) this.#entries.set(offset, newEntry(word));
      }
    }
  }

  /** Replay is over: nothing is handed out. */
  recovered(): void {
    const { deadLetters } = this.group;
    for (const [offset, { givenUp }] of this.#entries) {
      if (givenUp === undefined) this.#returned.push(offset);
      else {
        this.leaving++;
        if (deadLetters === undefined) this.gone([offset]);
        else deadLetters.add(this, offset, givenUp);
      }
    }
  }

  moment(): StoredPart {
    const { id, partition, group, next } = this;
    const open = Array.from(this.#entries, ([offset, entry]) => ({ offset, word: wordOf(entry) }));
    return { id, partitionId: partition.id, group: group.name, next, open };
  }

  load(open: StoredPart['open']): void {
    for (const { offset, word } of open) this.#entries.set(offset, newEntry(word));
  }

  // ---- The end ----------------------------------------------------------------------------------------------------

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#forgetBlock();
    this.partition.leave(this);
  }

  /** The topic was deleted. */
  end(reason: ErrorCode): void {
    this.close();
    this.group.end(reason);
  }
}

/** In place of the word of an entry: it is done. */
const DONE = 0;
/** How often it came back, as far as it is written down. */
const RETURNS_MAX = 0xffff;
/** Above that, why it was given up: a code of `DeathReason`. */
const REASON_SHIFT = 16;

/** An entry as the journal has it. One that never came back has none: it is not written down. */
function wordOf({ returns, givenUp }: Entry): number {
  return Math.min(returns, RETURNS_MAX) | (givenUp === undefined ? 0 : codeOf(givenUp) << REASON_SHIFT);
}

function newEntry(word: number): Entry {
  const code = word >> REASON_SHIFT;
  return { returns: word & RETURNS_MAX, held: false, givenUp: code === 0 ? undefined : reasonOf(code) };
}

function addTo(ranges: SettledRange[], offset: number, word: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last.word === word && last.first + last.count === offset) last.count++;
  else ranges.push({ first: offset, count: 1, word });
}
