/** docs/order.md says what the order is; here each of its examples is run, so that it says what is so. */
import { readFile } from 'node:fs/promises';
import t from 'tap';
import { OrderExample } from './order-example.ts';

const page = await readFile(new URL('../../docs/order.md', import.meta.url), 'utf8');
/** Rows of its tables: `| with | what holds | `example` |`. */
const rows = page.matchAll(/^\| (.+?) \| .+ \| `([^`]+;[^`]+)` \|$/gm);

let count = 0;
for (const [, title = '', example = ''] of rows) {
  count++;
  t.test(`${count}. ${title}: ${example}`, async () => new OrderExample().run(example));
}

t.test('the page has examples', async (t) => {
  t.ok(count >= 60, `${count} examples`);
});
