/**
 * The entries of one queue: a deque addressed by position, 8 bytes an entry. Positions are given in the order of `push`,
 * start at 0 and never change; settling an entry in the middle leaves a gap, and what lies before the first entry not
 * settled is gone.
 *
 * Storage grows with the distance from head to tail: a block of 16, 128 or 1024 entries, used in a circle, then whole pages
 * found through a directory in memory. It shrinks when the ring drains. A page whose entries are all settled goes back
 * to the store, also from the middle: one old entry does not hold what came after it.
 */
import assert from 'node:assert';
import { CoreError } from '../errors.ts';
import { PAGE_KINDS, PAGE_WORDS, type PageStore } from './page-store.ts';
import type { RowTable } from './row-table.ts';

/** Words of a ring's row on disk. */
export const RING_ROW_WORDS = 8;
const HEAD_LOW = 0;
const HEAD_HIGH = 1;
const TAIL_LOW = 2;
const TAIL_HIGH = 3;
/** How entries are stored: an index into `CAPACITIES`. */
const CLASS = 4;
/** Handle of the block, for the classes that have one. */
const BLOCK = 5;

const ENTRY_WORDS = 2;
/** Entries in a page: 8192. */
const PAGE_ENTRIES = PAGE_WORDS / ENTRY_WORDS;
const PAGE_SHIFT = Math.log2(PAGE_ENTRIES);

const NONE = 0;
const SMALLEST = 1;
const PAGED = 4;
/** Entries a class has room for; a paged ring makes room page by page. */
const CAPACITIES = [0, 16, 128, 1024, PAGE_ENTRIES] as const;
/** Sizes of blocks in entries, of the classes 1 to 3. */
export const BLOCK_SIZES: readonly number[] = CAPACITIES.slice(SMALLEST, PAGED);
/** Holes at the front of the directory that are worth a compaction of it. */
const FRONT_HOLES_MIN = 64;

/** A page of entries, or the block in which a ring has them all. */
interface Run {
  readonly words: Uint32Array;
  /** The store's id of the page. */
  readonly id: number;
  /** Word of the page where the entries begin. */
  readonly at: number;
  /** Entries not settled. */
  live: number;
}

/** Entries copied out of a ring. */
export interface EntryColumns {
  readonly positions: Float64Array;
  readonly infos: Uint32Array;
  count: number;
}

/** Room for what `EntryRing.read` yields at once. */
export function entryColumns(): EntryColumns {
  return { positions: new Float64Array(PAGE_ENTRIES), infos: new Uint32Array(PAGE_ENTRIES), count: 0 };
}

/** In place of a page all of whose entries are settled: reads as settled. Never written to. */
const HOLE: Run = { words: new Uint32Array(PAGE_WORDS), id: 0, at: 0, live: 0 };

/** Of a ring that is not paged. Never written to. */
const NO_PAGES: Run[] = [];

/** What the rings of a store share. */
export interface RingTables {
  readonly store: PageStore;
  readonly rows: RowTable;
  /** Blocks by class; the classes without blocks have none. */
  readonly blocks: readonly (RowTable | undefined)[];
}

export class EntryRing {
  /** Names the ring on disk, for `RingStore.open`. */
  readonly row: number;
  readonly #tables: RingTables;
  readonly #store: PageStore;
  readonly #rowWords: Uint32Array;
  readonly #rowPage: number;
  readonly #rowAt: number;
  #head = 0;
  #tail = 0;
  #count = 0;
  #class: number = NONE;
  #block = 0;
  /** Entries of a run, less one: picks the place in it from a position. */
  #mask = 0;
  /** The run that `push` writes to. */
  #last = HOLE;
  /** `tail` at which there is no room left in it. */
  #room = 0;
  /** Pages of a paged ring, from the one that holds position `#first` (its first entry). */
  #pages: Run[] = NO_PAGES;
  #first = 0;
  /** Pages at the front of the directory that are holes. */
  #frontHoles = 0;
  /** Count of entries at which a smaller class is tried. */
  #shrinkAt = -1;

  /** Use `RingStore.create` or `RingStore.open`. */
  constructor(tables: RingTables, row: number) {
    this.row = row;
    this.#tables = tables;
    this.#store = tables.store;
    this.#rowWords = tables.rows.page(row);
    this.#rowPage = tables.rows.pageId(row);
    this.#rowAt = tables.rows.index(row);
  }

  /** First position not settled; equal to `tail` when there is none. */
  get head(): number {
    return this.#head;
  }

  /** The position the next `push` gives. */
  get tail(): number {
    return this.#tail;
  }

  /** Entries not settled. */
  get count(): number {
    return this.#count;
  }

  /** Add an entry. @param body its handle, not 0 @param info 32 bits of the owner's @returns its position */
  push(body: number, info: number): number {
    const position = this.#tail;
    if (position === this.#room) this.#makeRoom();
    const run = this.#last;
    const at = run.at + (position & this.#mask) * ENTRY_WORDS;
    this.#store.touch(run.id);
    run.words[at] = body;
    run.words[at + 1] = info;
    run.live++;
    this.#count++;
    this.#setTail(position + 1);
    return position;
  }

  /** Let `n` positions pass as if they had been pushed and settled. */
  skip(n: number): void {
    if (this.#count === 0) {
      this.#setTail(this.#tail + n);
      this.#setHead(this.#tail);
      return;
    }
    const end = this.#tail + n;
    while (this.#tail < end) {
      if (this.#tail === this.#room) {
        if (this.#class === PAGED && end - this.#tail >= PAGE_ENTRIES) {
          this.#skipPage();
          continue;
        }
        this.#makeRoom();
      }
      const to = Math.min(end, this.#room);
      this.#store.touch(this.#last.id);
      for (let position = this.#tail; position < to; position++) {
        this.#last.words[this.#last.at + (position & this.#mask) * ENTRY_WORDS] = 0;
      }
      this.#setTail(to);
    }
  }

  /** Body handle of an entry; 0 when it is settled, or was never there. */
  body(position: number): number {
    if (position < this.#head || position >= this.#tail) return 0;
    const run = this.#run(position);
    return run.words[run.at + (position & this.#mask) * ENTRY_WORDS]!;
  }

  /** The owner's bits of an entry; of a settled one, anything. */
  info(position: number): number {
    if (position < this.#head || position >= this.#tail) return 0;
    const run = this.#run(position);
    return run.words[run.at + (position & this.#mask) * ENTRY_WORDS + 1]!;
  }

  /** Change the owner's bits of an entry that is not settled. */
  setInfo(position: number, info: number): void {
    if (this.body(position) === 0) assert.fail('info of an entry that is not there');
    const run = this.#run(position);
    this.#store.touch(run.id);
    run.words[run.at + (position & this.#mask) * ENTRY_WORDS + 1] = info;
  }

  /** Settle an entry. Answers false when it is settled already, or was never there. */
  settle(position: number): boolean {
    if (position < this.#head || position >= this.#tail) return false;
    const run = this.#run(position);
    const at = run.at + (position & this.#mask) * ENTRY_WORDS;
    if (run.words[at] === 0) return false;
    this.#store.touch(run.id);
    run.words[at] = 0;
    run.live--;
    const count = --this.#count;
    if (count === 0) {
      this.#emptied();
      return true;
    }
    if (position === this.#head) this.#setHead(this.next(position + 1));
    if (run.live === 0 && run !== this.#last) this.#dropPage((position - this.#first) >>> PAGE_SHIFT);
    if (count === this.#shrinkAt) this.#shrink();
    return true;
  }

  /** The first position from `from` on that is not settled, or -1. */
  next(from: number): number {
    if (from < this.#head) from = this.#head;
    if (from >= this.#tail) return -1;
    const run = this.#run(from);
    if (run.words[run.at + (from & this.#mask) * ENTRY_WORDS] !== 0) return from;
    return this.#search(from + 1);
  }

  /**
   * Copy the entries from `from` on that are not settled, up to the end of a page. For who looks at many.
   * @returns the position to go on from; the tail, when there is nothing more
   */
  read(from: number, into: EntryColumns): number {
    into.count = 0;
    if (from < this.#head) from = this.#head;
    if (from >= this.#tail) return this.#tail;
    const { words, at, live } = this.#run(from);
    const end = this.#class === PAGED ? Math.min(this.#tail, pageStart(from) + PAGE_ENTRIES) : this.#tail;
    if (live === 0) return end;
    const { positions, infos } = into;
    let count = 0;
    for (let position = from; position < end; position++) {
      const word = at + (position & this.#mask) * ENTRY_WORDS;
      if (words[word] === 0) continue;
      positions[count] = position;
      infos[count++] = words[word + 1] as number;
    }
    into.count = count;
    return end;
  }

  /** Settle everything at once. The bodies are the caller's to release. */
  clear(): void {
    this.#count = 0;
    this.#emptied();
  }

  /** Give everything back, the row too. The ring must not be used any more. */
  destroy(): void {
    this.clear();
    this.#freeStorage();
    this.#tables.rows.free(this.row);
  }

  /**
   * Take the state from the row, after the store was loaded. For `RingStore.open`.
   * @param pages ids of the ring's pages
   */
  restore(pages: readonly number[]): void {
    const words = this.#rowWords;
    const at = this.#rowAt;
    this.#head = words[at + HEAD_LOW]! + words[at + HEAD_HIGH]! * 2 ** 32;
    this.#tail = words[at + TAIL_LOW]! + words[at + TAIL_HIGH]! * 2 ** 32;
    const kind = words[at + CLASS]!;
    this.#check(kind <= PAGED && this.#head <= this.#tail && this.#tail <= Number.MAX_SAFE_INTEGER);
    this.#check(kind === PAGED || (pages.length === 0 && this.#tail - this.#head <= CAPACITIES[kind]!));
    if (kind === PAGED) this.#restorePages(pages);
    else if (kind === NONE) this.#room = this.#head;
    else this.#restoreBlock(kind, words[at + BLOCK]!);
  }

  #run(position: number): Run {
    return this.#class === PAGED ? this.#pages[(position - this.#first) >>> PAGE_SHIFT]! : this.#last;
  }

  #search(from: number): number {
    let position = from;
    while (position < this.#tail) {
      const run = this.#run(position);
      const end = this.#class === PAGED ? Math.min(this.#tail, pageStart(position) + PAGE_ENTRIES) : this.#tail;
      if (run.live > 0) {
        for (; position < end; position++) {
          if (run.words[run.at + (position & this.#mask) * ENTRY_WORDS] !== 0) return position;
        }
      }
      position = end;
    }
    return -1;
  }

  #setTail(tail: number): void {
    this.#tail = tail;
    this.#store.touch(this.#rowPage);
    this.#rowWords[this.#rowAt + TAIL_LOW] = tail;
    this.#rowWords[this.#rowAt + TAIL_HIGH] = tail < 2 ** 32 ? 0 : Math.floor(tail / 2 ** 32);
  }

  #setHead(head: number): void {
    this.#head = head;
    if (this.#class !== PAGED) this.#room = head + CAPACITIES[this.#class]!;
    this.#store.touch(this.#rowPage);
    this.#rowWords[this.#rowAt + HEAD_LOW] = head;
    this.#rowWords[this.#rowAt + HEAD_HIGH] = head < 2 ** 32 ? 0 : Math.floor(head / 2 ** 32);
  }

  #setClass(kind: number, block: number): void {
    this.#class = kind;
    this.#block = block;
    this.#mask = kind === NONE ? 0 : CAPACITIES[kind]! - 1;
    this.#shrinkAt = kind > SMALLEST ? CAPACITIES[kind - 1]! / 2 : -1;
    // Restoring writes what is there: that must not mark the page as changed.
    if (this.#rowWords[this.#rowAt + CLASS] === kind && this.#rowWords[this.#rowAt + BLOCK] === block) return;
    this.#store.touch(this.#rowPage);
    this.#rowWords[this.#rowAt + CLASS] = kind;
    this.#rowWords[this.#rowAt + BLOCK] = block;
  }

  /** Have the entries in a block, whose contents are the caller's business. */
  #useBlock(kind: number, handle: number): void {
    const blocks = this.#tables.blocks[kind]!;
    this.#setClass(kind, handle);
    this.#last = { words: blocks.page(handle), id: blocks.pageId(handle), at: blocks.index(handle), live: 0 };
    this.#room = this.#head + CAPACITIES[kind]!;
  }

  /** Have the entries in pages, of which there is none yet. */
  #usePages(): void {
    this.#setClass(PAGED, 0);
    this.#last = HOLE;
    this.#pages = [];
    this.#frontHoles = 0;
    this.#first = pageStart(this.#head);
    this.#room = this.#head;
  }

  #freeStorage(): void {
    if (this.#class === PAGED) {
      for (const run of this.#pages) if (run.id !== 0) this.#store.free(run.id);
      this.#pages = NO_PAGES;
    } else if (this.#class !== NONE) {
      this.#tables.blocks[this.#class]!.free(this.#block);
    }
    this.#setClass(NONE, 0);
    this.#last = HOLE;
  }

  /** The last entry went. The smallest block is kept, anything larger given back. */
  #emptied(): void {
    if (this.#class > SMALLEST) this.#freeStorage();
    else this.#last.live = 0;
    this.#setHead(this.#tail);
  }

  /** No room for position `tail`: take a larger block, or another page. */
  #makeRoom(): void {
    if (this.#class !== PAGED) this.#move(this.#class + 1);
    // Entries moved to pages may end where a page ends.
    if (this.#class === PAGED && this.#tail === this.#room) this.#addPage();
  }

  #addPage(): void {
    this.#leaveLast();
    assert(this.#tail - this.#first < 2 ** 32, 'a queue spans more than 2^32 positions');
    const start = pageStart(this.#tail);
    const id = this.#store.allocate(PAGE_KINDS.ringPages, this.row, start / PAGE_ENTRIES);
    this.#last = { words: this.#store.words(id), id, at: 0, live: 0 };
    this.#pages.push(this.#last);
    this.#room = start + PAGE_ENTRIES;
  }

  /** Let a whole page of positions pass: no page is needed for them. */
  #skipPage(): void {
    this.#leaveLast();
    this.#last = HOLE;
    this.#pages.push(HOLE);
    this.#setTail(this.#tail + PAGE_ENTRIES);
    this.#room = this.#tail;
  }

  /** The last page is full: from now on it may be dropped, and if nothing in it is live, at once. */
  #leaveLast(): void {
    if (this.#last.live === 0 && this.#last.id !== 0) this.#dropPage(this.#pages.length - 1);
  }

  #dropPage(index: number): void {
    this.#store.free(this.#pages[index]!.id);
    this.#pages[index] = HOLE;
    // There is a live entry somewhere, so this ends at its page.
    while (this.#pages[this.#frontHoles] === HOLE) this.#frontHoles++;
    if (this.#frontHoles < FRONT_HOLES_MIN || this.#frontHoles * 2 < this.#pages.length) return;
    this.#pages.splice(0, this.#frontHoles);
    this.#first += this.#frontHoles * PAGE_ENTRIES;
    this.#frontHoles = 0;
  }

  /** Much was settled: go to the next smaller class, if head and tail are near enough for it. */
  #shrink(): void {
    const smaller = this.#class - 1;
    if (this.#tail - this.#head <= (CAPACITIES[smaller]! * 3) / 4) this.#move(smaller);
  }

  /** Change the class, of a ring whose head and tail are not further apart than the largest block. */
  #move(kind: number): void {
    const tail = this.#tail;
    const span = tail - this.#head;
    for (let n = 0; n < span; n++) {
      moving[n * ENTRY_WORDS] = this.body(this.#head + n);
      moving[n * ENTRY_WORDS + 1] = this.info(this.#head + n);
    }
    this.#freeStorage();
    this.#count = 0;
    this.#tail = this.#head;
    if (kind === PAGED) this.#usePages();
    else this.#useBlock(kind, this.#tables.blocks[kind]!.allocate());
    for (let n = 0; n < span; n++) {
      const body = moving[n * ENTRY_WORDS]!;
      if (body === 0) this.skip(1);
      else this.push(body, moving[n * ENTRY_WORDS + 1]!);
    }
  }

  #restoreBlock(kind: number, handle: number): void {
    this.#check(this.#tables.blocks[kind]!.has(handle));
    this.#useBlock(kind, handle);
    const { words, at } = this.#last;
    for (let position = this.#head; position < this.#tail; position++) {
      if (words[at + (position & this.#mask) * ENTRY_WORDS] !== 0) this.#count++;
    }
    this.#last.live = this.#count;
    this.#check(this.#head === this.#tail || this.body(this.#head) !== 0);
  }

  #restorePages(ids: readonly number[]): void {
    this.#usePages();
    const runs = Math.ceil((this.#tail - this.#first) / PAGE_ENTRIES);
    this.#check(ids.length <= runs && runs * PAGE_ENTRIES <= 2 ** 32);
    for (let n = 0; n < runs; n++) this.#pages.push(HOLE);
    for (const id of ids) {
      const index = this.#store.ordinal(id) - this.#first / PAGE_ENTRIES;
      this.#check(this.#pages[index] === HOLE);
      const run = { words: this.#store.words(id), id, at: 0, live: 0 };
      for (let at = 0; at < PAGE_WORDS; at += ENTRY_WORDS) if (run.words[at] !== 0) run.live++;
      this.#pages[index] = run;
      this.#count += run.live;
    }
    this.#last = this.#pages.at(-1) ?? HOLE;
    this.#room = this.#first + runs * PAGE_ENTRIES;
    this.#check(this.body(this.#head) !== 0 && (this.#last.id !== 0 || this.#tail === this.#room));
  }

  #check(sound: boolean): void {
    if (!sound)
      throw new CoreError('journal-corrupt', `checkpoint: the entries of ring ${this.row} do not fit together`);
  }
}

/** Entries on their way from one storage to another. */
const moving = new Uint32Array(CAPACITIES[PAGED - 1]! * ENTRY_WORDS);

/** Position of the first entry of the page that holds `position`. */
function pageStart(position: number): number {
  return position - (position & (PAGE_ENTRIES - 1));
}
