/**
 * Where bodies are: one row of 16 bytes each, with the segment and offset a body is found at, its length, how many queue
 * entries refer to it, and flags of the owner's. Rows are freed with the last reference.
 */
import assert from 'node:assert';
import type { BodyRef } from '../journal/journal.ts';
import { BodySort } from './body-sort.ts';
import { PAGE_KINDS, type PageStore } from './page-store.ts';
import { RowTable } from './row-table.ts';
import { SegmentBytes } from './segment-bytes.ts';

const ROW_WORDS = 4;
// Words of a row. A live row has at least one reference, so the last word of a free one is 0 and of a live one is not.
const SEGMENT = 0;
const OFFSET = 1;
const LENGTH = 2;
/** References in the lower half, flags in the upper one. */
const REFS = 3;
/** This count in a row means: the real one is in the table of large counts. */
const MANY_REFS = 0xffff;
/** A large count that falls to this goes back into the row; well below `MANY_REFS`, so that it does not flap. */
const FEW_REFS = 0x8000;

// Words of a row of the table of large counts.
const COUNT_HANDLE = 1;
const COUNT_REFS = 2;
const COUNT_USED = 3;

/** Rows looked at between two yields of a scan: some tens of microseconds. */
const SCAN_ROWS = 4096;

export class BodyTable {
  readonly #rows: RowTable;
  readonly #counts: RowTable;
  /** Rows of the table of large counts by body handle. */
  readonly #countRows = new Map<number, number>();
  readonly #bytes = new SegmentBytes();

  constructor(store: PageStore) {
    this.#rows = new RowTable(store, PAGE_KINDS.bodyRows, ROW_WORDS);
    this.#counts = new RowTable(store, PAGE_KINDS.bodyCounts, ROW_WORDS);
  }

  /** Bodies in the table. */
  get count(): number {
    return this.#rows.count;
  }

  /** Bytes of all bodies. */
  get totalBytes(): number {
    return this.#bytes.total;
  }

  /** Enter a body. @param refs 1 or more @param flags 16 bits @returns its handle, 1 to 2^30 - 1 */
  add(segment: number, offset: number, length: number, refs: number, flags: number): number {
    const handle = this.#rows.allocate();
    const page = this.#rows.page(handle);
    const row = this.#rows.index(handle);
    page[row + SEGMENT] = segment;
    page[row + OFFSET] = offset;
    page[row + LENGTH] = length;
    page[row + REFS] = (flags << 16) | Math.min(refs, MANY_REFS);
    if (refs >= MANY_REFS) this.#setRefs(handle, refs);
    this.#bytes.add(segment, length);
    return handle;
  }

  /** Where a body is, all at once. */
  find(handle: number, into: BodyRef): void {
    const page = this.#rows.page(handle);
    const row = this.#rows.index(handle);
    into.segment = page[row + SEGMENT]!;
    into.offset = page[row + OFFSET]!;
    into.length = page[row + LENGTH]!;
  }

  segment(handle: number): number {
    return this.#rows.page(handle)[this.#rows.index(handle) + SEGMENT]!;
  }

  offset(handle: number): number {
    return this.#rows.page(handle)[this.#rows.index(handle) + OFFSET]!;
  }

  length(handle: number): number {
    return this.#rows.page(handle)[this.#rows.index(handle) + LENGTH]!;
  }

  flags(handle: number): number {
    return this.#rows.page(handle)[this.#rows.index(handle) + REFS]! >>> 16;
  }

  /** Replace the flags. */
  setFlags(handle: number, flags: number): void {
    this.#rows.touch(handle);
    const page = this.#rows.page(handle);
    const at = this.#rows.index(handle) + REFS;
    page[at] = (flags << 16) | (page[at]! & 0xffff);
  }

  /** Queue entries that refer to the body. */
  refs(handle: number): number {
    const refs = this.#rows.page(handle)[this.#rows.index(handle) + REFS]! & 0xffff;
    return refs === MANY_REFS ? this.#manyRefs(handle) : refs;
  }

  /** Count `n` more references. */
  addRef(handle: number, n: number): void {
    this.#rows.touch(handle);
    const page = this.#rows.page(handle);
    const at = this.#rows.index(handle) + REFS;
    const refs = page[at]! & 0xffff;
    if (refs + n < MANY_REFS) page[at]! += n;
    else this.#setRefs(handle, this.refs(handle) + n);
  }

  /** Count one reference less. Answers true when it was the last one: the handle is no longer valid then.
   *  @param was is told where the body is */
  release(handle: number, was: BodyRef): boolean {
    const page = this.#rows.page(handle);
    const row = this.#rows.index(handle);
    was.segment = page[row + SEGMENT]!;
    was.offset = page[row + OFFSET]!;
    was.length = page[row + LENGTH]!;
    const refs = page[row + REFS]! & 0xffff;
    // Calls of assert cost more than all the rest of this.
    if (refs === 0) assert.fail('released a body that is not in the table');
    if (refs === 1) {
      this.#remove(handle, page, row);
      return true;
    }
    this.#rows.touch(handle);
    if (refs === MANY_REFS) this.#setRefs(handle, this.#manyRefs(handle) - 1);
    else page[row + REFS]!--;
    return false;
  }

  /** Bodies in a segment. */
  bodiesIn(segment: number): number {
    return this.#bytes.bodiesOf(segment);
  }

  /** Bytes of the bodies in a segment. */
  liveBytes(segment: number): number {
    return this.#bytes.of(segment);
  }

  /** Segments with bodies, and the bytes of these. */
  liveSegments(): IterableIterator<[segment: number, bytes: number]> {
    return this.#bytes.entries();
  }

  /**
   * Find the bodies in some segments, sorted by segment and offset. A generator, so that the work can be spread over turns: it
   * yields about every tenth of a millisecond. Bodies that go meanwhile may be among those found, bodies that come may not.
   */
  *refsIn(segments: ReadonlySet<number>): Generator<undefined, BodyRef[], undefined> {
    let most = 0;
    for (const segment of segments) most += this.#bytes.bodiesOf(segment);
    const found = new BodySort(segments, most);
    for (let number = 0; number < this.#rows.pageEnd; number++) {
      const page = this.#rows.pageAt(number);
      if (page === undefined) continue;
      const end = this.#rows.rowEnd(page) * ROW_WORDS;
      for (let row = ROW_WORDS; row < end; row += ROW_WORDS) {
        if (page[row + REFS] !== 0) found.push(page[row + SEGMENT]!, page[row + OFFSET]!, page[row + LENGTH]!);
      }
      yield;
    }
    return yield* found.sorted(SCAN_ROWS);
  }

  /** Find the table again after the store was loaded. */
  rebuild(): void {
    this.#rows.rebuild();
    this.#counts.rebuild();
    this.#bytes.clear();
    this.#countRows.clear();
    for (let number = 0; number < this.#rows.pageEnd; number++) {
      const page = this.#rows.pageAt(number);
      if (page === undefined) continue;
      const end = this.#rows.rowEnd(page) * ROW_WORDS;
      for (let row = ROW_WORDS; row < end; row += ROW_WORDS) {
        if (page[row + REFS] !== 0) this.#bytes.add(page[row + SEGMENT]!, page[row + LENGTH]!);
      }
    }
    for (let number = 0; number < this.#counts.pageEnd; number++) {
      const page = this.#counts.pageAt(number);
      if (page === undefined) continue;
      const end = this.#counts.rowEnd(page);
      for (let row = 1; row < end; row++) {
        const at = row * ROW_WORDS;
        if (page[at + COUNT_USED] === 0) continue;
        this.#countRows.set(page[at + COUNT_HANDLE]!, number * this.#counts.rowsPerPage + row);
      }
    }
  }

  #remove(handle: number, page: Uint32Array, row: number): void {
    this.#bytes.remove(page[row + SEGMENT]!, page[row + LENGTH]!);
    this.#rows.touch(handle);
    page[row + REFS] = 0;
    this.#rows.free(handle);
  }

  #manyRefs(handle: number): number {
    const count = this.#countRows.get(handle)!;
    return this.#counts.page(count)[this.#counts.index(count) + COUNT_REFS]!;
  }

  /** Write a count that is, or was, a large one. The body's row has been touched. */
  #setRefs(handle: number, refs: number): void {
    const page = this.#rows.page(handle);
    const at = this.#rows.index(handle) + REFS;
    const flags = page[at]! & 0xffff_0000;
    let count = this.#countRows.get(handle);
    if (refs <= FEW_REFS) {
      page[at] = flags | refs;
      this.#countRows.delete(handle);
      this.#counts.touch(count!);
      this.#counts.page(count!)[this.#counts.index(count!) + COUNT_USED] = 0;
      this.#counts.free(count!);
      return;
    }
    if (count === undefined) {
      count = this.#counts.allocate();
      this.#countRows.set(handle, count);
      page[at] = flags | MANY_REFS;
    }
    this.#counts.touch(count);
    const counts = this.#counts.page(count);
    const row = this.#counts.index(count);
    counts[row + COUNT_HANDLE] = handle;
    counts[row + COUNT_REFS] = refs;
    counts[row + COUNT_USED] = 1;
  }
}
