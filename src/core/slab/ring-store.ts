/** The rings of all queues of a store: their rows, their small blocks and their pages. */
import { CoreError } from '../errors.ts';
import { BLOCK_SIZES, EntryRing, RING_ROW_WORDS, type RingTables } from './entry-ring.ts';
import { PAGE_KINDS, type PageStore } from './page-store.ts';
import { RowTable } from './row-table.ts';

const BLOCK_KINDS = [PAGE_KINDS.ringBlocks16, PAGE_KINDS.ringBlocks128, PAGE_KINDS.ringBlocks1024] as const;
const ENTRY_WORDS = 2;

export class RingStore {
  readonly #tables: RingTables;
  /** Pages of rings not opened yet, by row. Between `rebuild` and the last `open`. */
  readonly #unopened = new Map<number, number[]>();

  constructor(store: PageStore) {
    const blocks = BLOCK_SIZES.map((entries, n) => new RowTable(store, BLOCK_KINDS[n]!, entries * ENTRY_WORDS));
    this.#tables = {
      store,
      rows: new RowTable(store, PAGE_KINDS.ringRows, RING_ROW_WORDS),
      blocks: [undefined, ...blocks, undefined],
    };
  }

  /** Rings created and not destroyed. */
  get count(): number {
    return this.#tables.rows.count;
  }

  /** A new, empty ring. Keep its `row` with what it belongs to: it names the ring after a restart. */
  create(): EntryRing {
    const { rows } = this.#tables;
    const row = rows.allocate();
    const at = rows.index(row);
    rows.page(row).fill(0, at, at + RING_ROW_WORDS);
    return new EntryRing(this.#tables, row);
  }

  /** A ring as it was stored, after `rebuild`; each is opened once. Throws CoreError `journal-corrupt` when it does not fit together. */
  open(row: number): EntryRing {
    if (!this.#tables.rows.has(row)) throw new CoreError('journal-corrupt', `checkpoint: there is no ring ${row}`);
    const ring = new EntryRing(this.#tables, row);
    ring.restore(this.#unopened.get(row) ?? []);
    this.#unopened.delete(row);
    return ring;
  }

  /** Find the tables again after the store was loaded. All rings handed out before are void. */
  rebuild(): void {
    const { store, rows, blocks } = this.#tables;
    rows.rebuild();
    for (const table of blocks) table?.rebuild();
    this.#unopened.clear();
    for (const id of store.pagesOf(PAGE_KINDS.ringPages)) {
      const row = store.owner(id);
      const ids = this.#unopened.get(row);
      if (ids === undefined) this.#unopened.set(row, [id]);
      else ids.push(id);
    }
  }
}
