import t from 'tap';
import { InternTable } from '../../src/adapters/intern.ts';

t.test('finds a value by bytes inside a larger buffer, whatever surrounds them', async (t) => {
  const table = new InternTable<string>(100);
  const first = Buffer.from('xxsensors/kitchenyy');
  table.add(first, 2, 17, 'kitchen');
  const other = Buffer.from('sensors/kitchen');
  t.equal(table.find(other, 0, other.length), 'kitchen');
  t.equal(table.find(other, 0, other.length - 1), undefined, 'a prefix is another key');
  first.fill(0);
  t.equal(table.find(other, 0, other.length), 'kitchen', 'the table owns its keys');
});

t.test('keeps every entry while it grows, and the empty key', async (t) => {
  const table = new InternTable<number>(5_000);
  const keyOf = (n: number): Buffer => Buffer.from(n === 0 ? '' : `level/${n}/${n % 7}`);
  for (let n = 0; n < 5_000; n++) table.add(keyOf(n), 0, keyOf(n).length, n);
  t.equal(table.size, 5_000);
  for (let n = 0; n < 5_000; n++) {
    const key = keyOf(n);
    if (table.find(key, 0, key.length) !== n) t.fail(`lost key ${n}`);
  }
  t.equal(table.find(Buffer.from('level/5000/2'), 0, 12), undefined);
});

t.test('never holds more than its bound', async (t) => {
  const table = new InternTable<number>(10);
  for (let n = 0; n < 1_000; n++) {
    const key = Buffer.from(`k${n}`);
    table.add(key, 0, key.length, n);
    t.ok(table.size <= 10);
    t.equal(table.find(key, 0, key.length), n, 'the newest is always there');
  }
});
