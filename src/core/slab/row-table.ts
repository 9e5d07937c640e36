/**
 * Rows of a fixed size over pages. A handle names a row for as long as it is allocated: the page's number in the table in
 * the upper bits, the row's number in the page in the lower ones. Row 0 of every page is its header, so no handle is 0.
 *
 * Free rows are chained inside their page. Allocation fills one page before it goes to the next, and prefers pages that a
 * quarter of the rows has left; a page that all rows have left goes back to the store. So a table shrinks after a drain.
 */
import assert from 'node:assert';
import { CoreError } from '../errors.ts';
import { PAGE_WORDS, type PageStore } from './page-store.ts';

// Words of the header row.
/** Number of the first free row of the page, 0 = none; a free row holds the next one in its first word. */
const FREE = 0;
/** Rows from this number on were never used. */
const MARK = 1;
/** Rows allocated. */
const USED = 2;

/** Handles stay below 2^30, which keeps them small integers for the engine and leaves two bits to their users. */
const HANDLE_BITS = 30;

/** Stands in where there is no page to allocate from: neither free nor unused rows. */
const FULL_PAGE = new Uint32Array(PAGE_WORDS);
FULL_PAGE[MARK] = PAGE_WORDS;

export class RowTable {
  /** Rows a page has room for, its header included: a handle is `number of the page * rowsPerPage + number of the row`. */
  readonly rowsPerPage: number;
  readonly #store: PageStore;
  readonly #kind: number;
  readonly #rowShift: number;
  readonly #pageShift: number;
  readonly #rowMask: number;
  /** Used rows at which a page is worth allocating from again. */
  readonly #reuseAt: number;
  /** Contents and ids of the pages by their number in the table; `FULL_PAGE` and 0 where there is none. */
  readonly #pages: Uint32Array[] = [];
  readonly #ids: number[] = [];
  /** Numbers without a page. */
  readonly #freeNumbers: number[] = [];
  /** Numbers of pages with room, in no order; may hold some that were freed or filled since. `#listed` tells what is in. */
  readonly #roomy: number[] = [];
  readonly #listed: boolean[] = [];
  #current: Uint32Array = FULL_PAGE;
  #currentNumber = -1;
  #count = 0;

  /** @param rowWords a power of two, 4 to 8192 @param kind of the pages; one table for each kind and store */
  constructor(store: PageStore, kind: number, rowWords: number) {
    assert(rowWords >= 4 && rowWords < PAGE_WORDS && (rowWords & (rowWords - 1)) === 0, 'row size');
    this.#store = store;
    this.#kind = kind;
    this.rowsPerPage = PAGE_WORDS / rowWords;
    this.#rowShift = Math.log2(rowWords);
    this.#pageShift = Math.log2(this.rowsPerPage);
    this.#rowMask = this.rowsPerPage - 1;
    this.#reuseAt = Math.floor(((this.rowsPerPage - 1) * 3) / 4);
  }

  /** Whether a handle read back from disk can be one of this table's: it may still be a free row. */
  has(handle: number): boolean {
    const page = this.#pages[handle >>> this.#pageShift];
    const row = handle & this.#rowMask;
    return page !== undefined && page !== FULL_PAGE && row !== 0 && row < page[MARK]!;
  }

  /** Rows allocated. */
  get count(): number {
    return this.#count;
  }

  /** Pages the table has, or had: `pageAt` takes numbers below this. */
  get pageEnd(): number {
    return this.#pages.length;
  }

  /** Take a row. Its page has been touched; its words hold anything, so write all of them. */
  allocate(): number {
    const page = this.#current;
    let row = page[FREE]!;
    if (row === 0) {
      row = page[MARK]!;
      if (row >= this.rowsPerPage) {
        this.#nextPage();
        return this.allocate();
      }
      this.#store.touch(this.#ids[this.#currentNumber]!);
      page[MARK] = row + 1;
    } else {
      this.#store.touch(this.#ids[this.#currentNumber]!);
      page[FREE] = page[row << this.#rowShift]!;
    }
    page[USED]!++;
    this.#count++;
    return (this.#currentNumber << this.#pageShift) | row;
  }

  /** Give a row back. Its first word is overwritten, the others stay as they are until the row is used again. */
  free(handle: number): void {
    const number = handle >>> this.#pageShift;
    const row = handle & this.#rowMask;
    const page = this.#pages[number]!;
    this.#store.touch(this.#ids[number]!);
    page[row << this.#rowShift] = page[FREE]!;
    page[FREE] = row;
    const used = page[USED]! - 1;
    page[USED] = used;
    this.#count--;
    if (used === 0) this.#emptied(number, page);
    else if (used === this.#reuseAt) this.#list(number);
  }

  /** The words of the page a row is in. */
  page(handle: number): Uint32Array {
    return this.#pages[handle >>> this.#pageShift]!;
  }

  /** Where in its page a row begins, in words. */
  index(handle: number): number {
    return (handle & this.#rowMask) << this.#rowShift;
  }

  /** The store's id of the page a row is in, for keeping with the words. */
  pageId(handle: number): number {
    return this.#ids[handle >>> this.#pageShift]!;
  }

  /** To be called before writing to a row. */
  touch(handle: number): void {
    this.#store.touch(this.#ids[handle >>> this.#pageShift]!);
  }

  /** The words of page `number`, for scans; undefined where there is none. Rows are those from 1 to `rowEnd(page)`. */
  pageAt(number: number): Uint32Array | undefined {
    const page = this.#pages[number];
    return page === FULL_PAGE ? undefined : page;
  }

  /** One more than the highest row of a page that was ever used. Free rows are among those below. */
  rowEnd(page: Uint32Array): number {
    return page[MARK]!;
  }

  /** Find the table's pages in the store after it was loaded. */
  rebuild(): void {
    this.#pages.length = 0;
    this.#ids.length = 0;
    this.#freeNumbers.length = 0;
    this.#roomy.length = 0;
    this.#listed.length = 0;
    this.#current = FULL_PAGE;
    this.#currentNumber = -1;
    this.#count = 0;
    for (const id of this.#store.pagesOf(this.#kind)) this.#adopt(id);
    for (let number = this.#pages.length - 1; number >= 0; number--) {
      const page = this.#pages[number]!;
      if (page === FULL_PAGE) this.#freeNumbers.push(number);
      else if (page[USED]! < this.rowsPerPage - 1) this.#list(number);
    }
  }

  #adopt(id: number): void {
    const number = this.#store.ordinal(id);
    if (number >= 1 << (HANDLE_BITS - this.#pageShift)) {
      throw new CoreError('journal-corrupt', `checkpoint: page ${id} has number ${number} in its table`);
    }
    while (this.#pages.length <= number) this.#addNumber();
    if (this.#ids[number] !== 0) throw new CoreError('journal-corrupt', `checkpoint: page ${id} is there twice`);
    const page = this.#store.words(id);
    if (page[MARK]! > this.rowsPerPage || page[USED]! >= this.rowsPerPage || page[FREE]! >= this.rowsPerPage) {
      throw new CoreError('journal-corrupt', `checkpoint: the header of page ${id} is impossible`);
    }
    this.#pages[number] = page;
    this.#ids[number] = id;
    this.#count += page[USED]!;
  }

  #addNumber(): number {
    const number = this.#pages.push(FULL_PAGE) - 1;
    this.#ids.push(0);
    this.#listed.push(false);
    return number;
  }

  #list(number: number): void {
    if (this.#listed[number] || number === this.#currentNumber) return;
    this.#listed[number] = true;
    this.#roomy.push(number);
  }

  /** The current page is full: go on with one that has room, or a new one. */
  #nextPage(): void {
    for (;;) {
      const number = this.#roomy.pop();
      if (number === undefined) break;
      this.#listed[number] = false;
      const page = this.#pages[number]!;
      if (page[FREE] === 0 && page[MARK]! >= this.rowsPerPage) continue;
      this.#current = page;
      this.#currentNumber = number;
      return;
    }
    const number = this.#freeNumbers.pop() ?? this.#addNumber();
    assert(number < 1 << (HANDLE_BITS - this.#pageShift), 'out of handles');
    const id = this.#store.allocate(this.#kind, 0, number);
    const page = this.#store.words(id);
    page[MARK] = 1;
    this.#ids[number] = id;
    this.#pages[number] = page;
    this.#current = page;
    this.#currentNumber = number;
  }

  /** The last row of a page went. */
  #emptied(number: number, page: Uint32Array): void {
    if (number === this.#currentNumber) {
      // Rows are handed out in ascending order again.
      page[FREE] = 0;
      page[MARK] = 1;
      return;
    }
    this.#store.free(this.#ids[number]!);
    this.#pages[number] = FULL_PAGE;
    this.#ids[number] = 0;
    this.#freeNumbers.push(number);
  }
}
