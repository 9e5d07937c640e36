import t from 'tap';
import { PageStore } from '../../../src/core/slab/page-store.ts';
import { RowTable } from '../../../src/core/slab/row-table.ts';
import { seeded, seedOf } from './support.ts';

const KIND = 16;

for (const rowWords of [4, 8, 256, 2048, 8192]) {
  t.test(`rows of ${rowWords} words keep what is written to them`, async (t) => {
    const seed = seedOf(rowWords);
    const random = seeded(seed);
    const store = new PageStore({ tracked: true });
    const table = new RowTable(store, KIND, rowWords);
    const model = new Map<number, number>();
    const handles: number[] = [];
    const steps = 30_000;
    for (let n = 0; n < steps; n++) {
      // Grow, then shrink, then grow again.
      const growing = Math.floor(n / 7_000) % 2 === 0;
      if (handles.length === 0 || random(10) < (growing ? 7 : 2)) {
        const handle = table.allocate();
        if (model.has(handle) || handle === 0) t.fail(`handle ${handle} was given twice, seed ${seed}`);
        table.page(handle).fill(n, table.index(handle), table.index(handle) + rowWords);
        model.set(handle, n);
        handles.push(handle);
      } else {
        const at = random(handles.length);
        const handle = handles[at]!;
        handles[at] = handles.at(-1)!;
        handles.pop();
        model.delete(handle);
        table.free(handle);
      }
    }
    const check = (rows: RowTable): void => {
      t.equal(rows.count, model.size);
      const wrong = [...model].filter(([handle, value]) => {
        const at = rows.index(handle);
        return !rows
          .page(handle)
          .subarray(at, at + rowWords)
          .every((word) => word === value);
      });
      t.same(wrong, [], `seed ${seed}`);
    };
    check(table);
    const again = new RowTable(store, KIND, rowWords);
    again.rebuild();
    check(again);
    const fresh = new Set(Array.from({ length: 1000 }, () => again.allocate()));
    t.equal(fresh.size, 1000);
    t.notOk(
      [...fresh].some((handle) => model.has(handle)),
      'a rebuilt table gives out free rows only',
    );
  });
}

t.test('empty pages go back, and pages with much room are used again before new ones are taken', async (t) => {
  const store = new PageStore({ tracked: false });
  const table = new RowTable(store, KIND, 4);
  const rows = 4095 * 10;
  const handles = Array.from({ length: rows }, () => table.allocate());
  t.equal(store.pages, 10);
  for (const [n, handle] of handles.entries()) if (n % 2 === 0) table.free(handle);
  t.equal(store.pages, 10);
  const second = Array.from({ length: rows / 2 }, () => table.allocate());
  t.ok(store.pages <= 10, 'holes are filled');
  for (const handle of second) table.free(handle);
  for (const [n, handle] of handles.entries()) if (n % 2 === 1) table.free(handle);
  t.equal(table.count, 0);
  t.ok(store.pages <= 1, 'a drained table keeps the page it allocates from');
});
