/** The indexes of one kind of state, durable or volatile, over one page store: what the core holds two of. */
import { BodyTable } from './body-table.ts';
import type { ChunkReader } from './chunk-reader.ts';
import { PageStore } from './page-store.ts';
import { RingStore } from './ring-store.ts';

export class IndexSlab {
  readonly pages: PageStore;
  readonly bodies: BodyTable;
  readonly rings: RingStore;

  /** @param options tracked: whether `pages.snapshot` is possible (durable state), see PageStore */
  constructor(options: { tracked: boolean }) {
    this.pages = new PageStore(options);
    this.bodies = new BodyTable(this.pages);
    this.rings = new RingStore(this.pages);
  }

  /** Load stored snapshots, a full one and its deltas, oldest first; each reader stands at the beginning of one. */
  async load(readers: Iterable<ChunkReader>): Promise<void> {
    for (const reader of readers) await this.pages.load(reader);
    this.rebuild();
  }

  /** Make `bodies` and `rings` usable after `pages.load` was called for each stored snapshot. */
  rebuild(): void {
    this.bodies.rebuild();
    this.rings.rebuild();
  }
}
