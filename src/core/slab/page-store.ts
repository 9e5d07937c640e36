/**
 * 64 KiB pages of 32-bit words, the ground all indexes stand on: bodies and queue entries live in typed arrays outside the
 * collected heap, so that ten million of them cost 24 bytes each and no pause (DESIGN section 6).
 *
 * A store can be photographed while it is in use. `snapshot` only notes which pages belong to the picture; whoever writes
 * to such a page afterwards calls `touch` first, which saves the old contents if they have not been written out yet. A page
 * carries three words about itself (kind, owner, ordinal), so that tables find their pages again after a restart.
 */
import assert from 'node:assert';
import { endianness } from 'node:os';
import { CoreError } from '../errors.ts';
import type { ChunkReader } from './chunk-reader.ts';

assert(endianness() === 'LE', 'pages are stored as they are in memory, little endian');

/** Words of 4 bytes in a page. */
export const PAGE_WORDS = 16_384;
/** Bytes in a page. */
export const PAGE_BYTES = PAGE_WORDS * 4;

/** What a page is used for; stored with it. Owners of other tables take numbers from 16. */
export const PAGE_KINDS = {
  bodyRows: 1,
  bodyCounts: 2,
  ringRows: 3,
  ringBlocks16: 4,
  ringBlocks128: 5,
  ringBlocks1024: 6,
  ringPages: 7,
} as const;

/** First word of a stored snapshot: "JMQP". */
const SNAPSHOT_MAGIC = 0x50514d4a;
const SNAPSHOT_VERSION = 1;
/** magic, version, 1 = full or 2 = delta, count of freed pages, count of pages, 0. */
const SNAPSHOT_HEADER_WORDS = 6;
/** id, kind, owner, ordinal, then the page. */
const FRAME_HEADER_WORDS = 4;
const FRAME_BYTES = FRAME_HEADER_WORDS * 4 + PAGE_BYTES;
/** Emptied pages kept for the next allocation: 4 MiB. */
const SPARE_PAGES_MAX = 64;
/** Page ids are bounded by the memory they stand for: 2^22 pages are 256 GiB. */
const PAGE_ID_MAX = 1 << 22;

const NO_PAGE = new Uint32Array(0);

/** The old contents of a page that was written to, or freed, before the running snapshot got to it. */
interface SavedPage {
  readonly id: number;
  readonly kind: number;
  readonly owner: number;
  readonly ordinal: number;
  readonly words: Uint32Array;
}

/** One picture of a store. End it with `commit` or `abort`; until then no other can begin. */
export interface PageSnapshot {
  readonly kind: 'full' | 'delta';
  /** Bytes that `chunks` will yield in all. */
  readonly bytes: number;
  /** The stored form, about a page at a time. A chunk is valid only until the next one is pulled. */
  chunks(): Generator<Uint8Array, void, undefined>;
  /** It is durable: the next delta holds only what changed after it. All chunks must have been pulled. */
  commit(): void;
  /** It was not stored: what it held goes into the next one again. */
  abort(): void;
}

export class PageStore {
  /** Contents by page id; freed pages and id 0 are `NO_PAGE`. */
  readonly #pages: Uint32Array[] = [NO_PAGE];
  /** Epoch in which each page was last written to. */
  #stamps = new Uint32Array(256);
  /** 1: the page was in the last committed snapshot, or was loaded. */
  #stored = new Uint8Array(256);
  /** 1: the running snapshot holds this page and has not yielded it, nor was it saved. */
  #awaited = new Uint8Array(256);
  #kinds = new Uint32Array(256);
  #owners = new Uint32Array(256);
  #ordinals = new Uint32Array(256);
  readonly #freeIds: number[] = [];
  readonly #spare: Uint32Array[] = [];
  readonly #tracked: boolean;
  #used = 0;
  /** Counts snapshots: a page stamped with a smaller number was not written to since the newest one began. */
  #epoch = 1;
  /** Epoch of the last committed snapshot; pages stamped later are dirty. */
  #committed = 0;
  #hasBase = false;
  #running: Snapshot | undefined;

  /** @param options tracked: whether snapshots are possible. State that need not survive is kept in an untracked store. */
  constructor(options: { tracked: boolean }) {
    this.#tracked = options.tracked;
  }

  /** Pages in use. */
  get pages(): number {
    return this.#used;
  }

  /** One more than the highest page id ever in use. */
  get idEnd(): number {
    return this.#pages.length;
  }

  /** Take a zeroed page. The answer is its id, 1 or more; `kind`, `owner` and `ordinal` are kept and stored with it. */
  allocate(kind: number, owner: number, ordinal: number): number {
    const id = this.#freeIds.pop() ?? this.#newId();
    const spare = this.#spare.pop();
    this.#pages[id] = spare === undefined ? new Uint32Array(PAGE_WORDS) : spare.fill(0);
    this.#stamps[id] = this.#epoch;
    this.#label(id, kind, owner, ordinal);
    this.#used++;
    return id;
  }

  /** Give a page back. Its words must not be used any more. */
  free(id: number): void {
    const words = this.#pages[id];
    assert(words !== undefined && words !== NO_PAGE, 'freed a page that is not in use');
    this.#pages[id] = NO_PAGE;
    this.#freeIds.push(id);
    this.#used--;
    if (this.#awaited[id] === 1) this.#save(id, words);
    else this.#recycle(words);
  }

  /** The words of a page; the same array for as long as the page is in use. */
  words(id: number): Uint32Array {
    return this.#pages[id]!;
  }

  /** To be called before writing to a page: keeps a running snapshot right and marks the page as changed. */
  touch(id: number): void {
    if (this.#stamps[id] !== this.#epoch) this.#firstTouch(id);
  }

  kind(id: number): number {
    return this.#kinds[id]!;
  }

  owner(id: number): number {
    return this.#owners[id]!;
  }

  ordinal(id: number): number {
    return this.#ordinals[id]!;
  }

  /** Ids of all pages of a kind, ascending. For rebuilding tables after `load`. */
  pagesOf(kind: number): number[] {
    const ids: number[] = [];
    for (let id = 1; id < this.#pages.length; id++) {
      if (this.#kinds[id] === kind && this.#pages[id] !== NO_PAGE) ids.push(id);
    }
    return ids;
  }

  /**
   * Begin a snapshot of the state as it is now. Takes microseconds, however many pages there are; the pages are copied as the
   * caller pulls them. A delta holds the pages changed since the last committed snapshot and the ids freed since then.
   */
  snapshot(kind: 'full' | 'delta'): PageSnapshot {
    assert(this.#tracked, 'snapshot of an untracked store');
    assert(this.#running === undefined, 'one snapshot at a time');
    assert(kind === 'full' || this.#hasBase, 'a delta needs a snapshot to build on');
    const pages: number[] = [];
    const freed: number[] = [];
    // Locals: the first snapshot of a process runs this loop before it is compiled.
    const all = this.#pages;
    const stamps = this.#stamps;
    const stored = this.#stored;
    const awaited = this.#awaited;
    const newest = kind === 'full' ? -1 : this.#committed;
    for (let id = 1, end = all.length; id < end; id++) {
      if (all[id] === NO_PAGE) {
        if (stored[id] === 1) freed.push(id);
      } else if (stamps[id]! > newest) {
        pages.push(id);
        awaited[id] = 1;
      }
    }
    this.#running = new Snapshot(kind, pages, freed, {
      take: (id, frame) => this.#take(id, frame),
      recycle: (words) => this.#recycle(words),
      end: (stored) => this.#end(stored),
    });
    this.#epoch++;
    return this.#running;
  }

  /**
   * Read one stored snapshot. A full one replaces all pages, a delta changes what the snapshots before it left. Load them
   * oldest first, then rebuild the tables. Rejects with CoreError `journal-corrupt` when it is none, or cut short.
   */
  async load(reader: ChunkReader): Promise<void> {
    assert(this.#running === undefined, 'load during a snapshot');
    const header = new Uint32Array(SNAPSHOT_HEADER_WORDS);
    await reader.fill(bytesOf(header));
    const [magic, version, kind, freedCount, pageCount] = header;
    if (magic !== SNAPSHOT_MAGIC || version !== SNAPSHOT_VERSION || (kind !== 1 && kind !== 2)) {
      throw new CoreError('journal-corrupt', 'checkpoint: not an index snapshot of version 1');
    }
    if (kind === 1) this.#reset();
    else if (!this.#hasBase) throw new CoreError('journal-corrupt', 'checkpoint: a delta without a full snapshot');
    if (freedCount! > PAGE_ID_MAX) throw new CoreError('journal-corrupt', 'checkpoint: too many freed pages');
    const freed = new Uint32Array(freedCount!);
    await reader.fill(bytesOf(freed));
    for (const id of freed) this.#drop(id);
    const frame = new Uint32Array(FRAME_HEADER_WORDS);
    for (let n = 0; n < pageCount!; n++) {
      await reader.fill(bytesOf(frame));
      await reader.fill(bytesOf(this.#place(frame)));
    }
    this.#hasBase = true;
    this.#rebuildFreeIds();
  }

  #newId(): number {
    const id = this.#pages.length;
    assert(id < PAGE_ID_MAX, 'out of page ids');
    this.#pages.push(NO_PAGE);
    this.#growTo(id);
    return id;
  }

  #growTo(id: number): void {
    let size = this.#stamps.length;
    if (id < size) return;
    while (size <= id) size *= 2;
    this.#stamps = grown(this.#stamps, new Uint32Array(size));
    this.#kinds = grown(this.#kinds, new Uint32Array(size));
    this.#owners = grown(this.#owners, new Uint32Array(size));
    this.#ordinals = grown(this.#ordinals, new Uint32Array(size));
    this.#stored = grown(this.#stored, new Uint8Array(size));
    this.#awaited = grown(this.#awaited, new Uint8Array(size));
  }

  #label(id: number, kind: number, owner: number, ordinal: number): void {
    this.#kinds[id] = kind;
    this.#owners[id] = owner;
    this.#ordinals[id] = ordinal;
  }

  #recycle(words: Uint32Array): void {
    if (this.#spare.length < SPARE_PAGES_MAX) this.#spare.push(words);
  }

  #firstTouch(id: number): void {
    this.#stamps[id] = this.#epoch;
    if (this.#awaited[id] !== 1) return;
    const copy = this.#spare.pop() ?? new Uint32Array(PAGE_WORDS);
    copy.set(this.#pages[id]!);
    this.#save(id, copy);
  }

  /** Hand the contents a page had when the snapshot began over to the snapshot. */
  #save(id: number, words: Uint32Array): void {
    this.#awaited[id] = 0;
    const saved = { id, kind: this.#kinds[id]!, owner: this.#owners[id]!, ordinal: this.#ordinals[id]!, words };
    this.#running!.saved.push(saved);
  }

  /** Copy a page of the running snapshot out, unless it was saved before. Answers whether it was copied. */
  #take(id: number, frame: Uint32Array): boolean {
    if (this.#awaited[id] !== 1) return false;
    this.#awaited[id] = 0;
    fillFrame(frame, id, this.#kinds[id]!, this.#owners[id]!, this.#ordinals[id]!, this.#pages[id]!);
    return true;
  }

  #end(stored: boolean): void {
    const running = this.#running!;
    this.#running = undefined;
    for (const id of running.pages) {
      this.#awaited[id] = 0;
      if (stored) this.#stored[id] = 1;
    }
    if (!stored) return;
    for (const id of running.freed) this.#stored[id] = 0;
    // The epoch went up by one when the snapshot began, and by no more since: only one runs at a time.
    this.#committed = this.#epoch - 1;
    this.#hasBase = true;
  }

  /** Forget everything, before a full snapshot is loaded. */
  #reset(): void {
    this.#pages.length = 1;
    this.#used = 0;
    this.#stored.fill(0);
  }

  #drop(id: number): void {
    if (id === 0 || id >= this.#pages.length || this.#pages[id] === NO_PAGE) {
      throw new CoreError('journal-corrupt', `checkpoint: frees page ${id}, which is not in use`);
    }
    this.#pages[id] = NO_PAGE;
    this.#stored[id] = 0;
    this.#used--;
  }

  /** Make room for a page met in a snapshot and answer the words to fill. */
  #place(frame: Uint32Array): Uint32Array {
    const id = frame[0]!;
    if (id === 0 || id >= PAGE_ID_MAX) throw new CoreError('journal-corrupt', `checkpoint: page id ${id}`);
    while (this.#pages.length <= id) this.#pages.push(NO_PAGE);
    this.#growTo(id);
    let words = this.#pages[id]!;
    if (words === NO_PAGE) {
      words = new Uint32Array(PAGE_WORDS);
      this.#pages[id] = words;
      this.#used++;
    }
    this.#label(id, frame[1]!, frame[2]!, frame[3]!);
    this.#stamps[id] = this.#committed;
    this.#stored[id] = 1;
    return words;
  }

  /** Ids without a page, the lowest on top. */
  #rebuildFreeIds(): void {
    this.#freeIds.length = 0;
    for (let id = this.#pages.length - 1; id > 0; id--) {
      if (this.#pages[id] === NO_PAGE) this.#freeIds.push(id);
    }
  }
}

/** What a snapshot needs of its store. */
interface SnapshotSource {
  take(id: number, frame: Uint32Array): boolean;
  recycle(words: Uint32Array): void;
  end(stored: boolean): void;
}

class Snapshot implements PageSnapshot {
  readonly kind: 'full' | 'delta';
  readonly bytes: number;
  readonly pages: readonly number[];
  readonly freed: readonly number[];
  /** Pages changed before they were pulled. They go out first, so that their memory comes back soon. */
  readonly saved: SavedPage[] = [];
  readonly #source: SnapshotSource;
  #state: 'new' | 'pulling' | 'pulled' | 'ended' = 'new';

  constructor(kind: 'full' | 'delta', pages: readonly number[], freed: readonly number[], source: SnapshotSource) {
    this.kind = kind;
    this.pages = pages;
    this.freed = freed;
    this.#source = source;
    // A full snapshot starts from nothing, so it names no freed pages.
    const freedCount = kind === 'full' ? 0 : freed.length;
    this.bytes = (SNAPSHOT_HEADER_WORDS + freedCount) * 4 + pages.length * FRAME_BYTES;
  }

  *chunks(): Generator<Uint8Array, void, undefined> {
    assert(this.#state === 'new', 'a snapshot is pulled once');
    this.#state = 'pulling';
    yield this.#head();
    const frame = new Uint32Array(FRAME_BYTES / 4);
    const frameBytes = bytesOf(frame);
    for (const id of this.pages) {
      while (this.#takeSaved(frame)) yield this.#checked(frameBytes);
      if (this.#source.take(id, frame)) yield this.#checked(frameBytes);
    }
    while (this.#takeSaved(frame)) yield this.#checked(frameBytes);
    assert(!this.#ended(), 'pulled from an ended snapshot');
    this.#state = 'pulled';
  }

  commit(): void {
    assert(this.#state === 'pulled', 'only a snapshot pulled to its end can be committed');
    this.#finish(true);
  }

  abort(): void {
    if (!this.#ended()) this.#finish(false);
  }

  #ended(): boolean {
    return this.#state === 'ended';
  }

  #finish(stored: boolean): void {
    this.#state = 'ended';
    this.saved.length = 0;
    this.#source.end(stored);
  }

  #head(): Uint8Array {
    const freed = this.kind === 'full' ? [] : this.freed;
    const words = new Uint32Array(SNAPSHOT_HEADER_WORDS + freed.length);
    words[0] = SNAPSHOT_MAGIC;
    words[1] = SNAPSHOT_VERSION;
    words[2] = this.kind === 'full' ? 1 : 2;
    words[3] = freed.length;
    words[4] = this.pages.length;
    words.set(freed, SNAPSHOT_HEADER_WORDS);
    return bytesOf(words);
  }

  #checked(chunk: Uint8Array): Uint8Array {
    assert(!this.#ended(), 'pulled from an ended snapshot');
    return chunk;
  }

  /** Put the newest saved page into `frame`; false when there is none. */
  #takeSaved(frame: Uint32Array): boolean {
    const page = this.saved.pop();
    if (page === undefined) return false;
    fillFrame(frame, page.id, page.kind, page.owner, page.ordinal, page.words);
    this.#source.recycle(page.words);
    return true;
  }
}

function fillFrame(
  frame: Uint32Array,
  id: number,
  kind: number,
  owner: number,
  ordinal: number,
  words: Uint32Array,
): void {
  frame[0] = id;
  frame[1] = kind;
  frame[2] = owner;
  frame[3] = ordinal;
  frame.set(words, FRAME_HEADER_WORDS);
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function grown<T extends Uint32Array | Uint8Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
