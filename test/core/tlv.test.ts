import t from 'tap';
import { ANY_MANY, ANY_ONE, CoreError } from '../../src/core/index.ts';
import { unzigzag, zigzag } from '../../src/core/records.ts';
import { sameArguments, TlvReader, TlvWriter } from '../../src/core/tlv.ts';

t.test('values come back as they were', async (t) => {
  const table = {
    nothing: null,
    no: false,
    yes: true,
    number: -1.5,
    big: 2n ** 63n - 1n,
    negative: -(2n ** 63n),
    unsigned: 2n ** 64n - 1n,
    text: 'žluťoučký',
    bytes: Buffer.from([0, 255]),
    date: new Date(1234567),
    list: [1, [2, true], 'four'],
  };
  const out = new TlvWriter()
    .table(table)
    .varint(2 ** 50)
    .pattern({
      text: 'a/+/#',
      separator: 0x2f,
      levels: ['a', ANY_ONE, ANY_MANY],
      hidesDollar: true,
    });
  const from = new TlvReader(out.written);
  t.strictSame({ ...from.table() }, table);
  t.equal(from.varint(), 2 ** 50);
  t.strictSame(from.pattern(), { text: 'a/+/#', separator: 0x2f, levels: ['a', ANY_ONE, ANY_MANY], hidesDollar: true });
  t.ok(from.ended);
  t.throws(() => from.u8(), 'nothing is left');
});

t.test('a name that is special in the language is a name like others', async (t) => {
  const hostile = JSON.parse('{"__proto__": {"inner": 1}, "constructor": 2}');
  const table = new TlvReader(new TlvWriter().table(hostile).written).table();
  t.same(Object.keys(table), ['__proto__', 'constructor']);
  t.equal((table as { inner?: number }).inner, undefined);
});

t.test('what cannot be written is refused', async (t) => {
  t.throws(() => new TlvWriter().value(2n ** 64n), CoreError);
  let deep: { [name: string]: never } | object = {};
  for (let n = 0; n < 50; n++) deep = { deep };
  t.throws(() => new TlvWriter().table(deep as never), { code: 'invalid-argument' });
});

t.test('argument tables are compared by content', async (t) => {
  t.ok(sameArguments({ a: 1, b: [true] }, { b: [true], a: 1 }));
  t.notOk(sameArguments({ a: 1 }, { a: '1' }));
  t.notOk(sameArguments({ a: 1 }, {}));
});

t.test('signed numbers as varints', async (t) => {
  for (const value of [0, -1, 1, -2, 2 ** 40, -(2 ** 40)]) t.equal(unzigzag(zigzag(value)), value);
});
