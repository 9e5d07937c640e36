import t from 'tap';
import { type Print, printOf, readPrint, writePrint } from '../../../src/core/marks/print.ts';
import { entriesOf, PrintTable } from '../../../src/core/marks/print-table.ts';
import { Prng } from '../../../src/testing/prng.ts';

const print = (value: number): Print => printOf(value) as Print;
const textOf = ({ a, b, c, d }: Print): string => [a, b, c, d].join();

t.test('as a map does, however it grows', (t) => {
  const prng = new Prng(3);
  const table = new PrintTable();
  const model = new Map<number, number>();
  for (let n = 0; n < 20_000; n++) {
    const id = prng.below(6_000);
    table.set(print(id), n);
    model.set(id, n);
  }
  for (let id = 0; id < 7_000; id++) t.same(table.get(print(id)), model.get(id) ?? Number.NaN);
  t.equal(table.size, model.size);
  t.end();
});

t.test('a moment stays as it was', (t) => {
  const table = new PrintTable();
  for (let id = 0; id < 3_000; id++) table.set(print(id), id);
  const moment = table.moment();
  for (let id = 0; id < 9_000; id++) table.set(print(id), id + 1);
  const found = new Map<string, number>();
  for (const [key, value] of entriesOf(moment)) found.set(textOf(key), value);
  t.equal(found.size, 3_000);
  for (let id = 0; id < 3_000; id++) t.equal(found.get(textOf(print(id))), id);
  t.equal([...entriesOf(table.moment())].length, 9_000);
  t.end();
});

t.test('what is stale is forgotten when room is needed', (t) => {
  const table = new PrintTable((value) => value >= 99_000);
  for (let id = 0; id < 100_000; id++) table.set(print(id), id);
  t.ok(table.size < 4_096, `${table.size} entries`);
  for (let id = 99_000; id < 100_000; id++) t.equal(table.get(print(id)), id);
  t.end();
});

t.test('fingerprints are MurmurHash3, x86, 128 bits', (t) => {
  t.same(printOf('a'), printOf(Buffer.from('a')));
  t.same(printOf(5), printOf('5'));
  t.notSame(printOf('a'), printOf('a', 1));
  t.same(printOf(''), { a: 0, b: 0, c: 0, d: 0 });
  const known = printOf('The quick brown fox jumps over the lazy dog') as Print;
  t.same(known, { a: 0x2f1583c3, b: 0xecee2c67, c: 0x5d7bf66c, d: 0xe5e91d2c });
  const bytes = Buffer.alloc(20);
  writePrint(known, bytes, 3);
  t.same(readPrint(bytes, 3), known);
  t.same(printOf('ü'.repeat(9000)), printOf(Buffer.from('ü'.repeat(9000))), 'long ones');
  for (const none of [undefined, null, ['a'], { a: 1 }]) t.equal(printOf(none), undefined);
  t.end();
});
