import t from 'tap';
import { decodeMethod, encodeMethod, readU32, readU64, writeU64 } from '../../../src/adapters/amqp/v091/codec.ts';
import { AmqpError } from '../../../src/adapters/amqp/v091/errors.ts';
import { Reader, scanTable, Writer } from '../../../src/adapters/amqp/v091/fields.ts';
import { METHODS, type MethodName, methodFields } from '../../../src/adapters/amqp/v091/methods.ts';
import { PropertyScan } from '../../../src/adapters/amqp/v091/properties.ts';
import type { HubValue } from '../../../src/core/index.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { refusal } from './_raw.ts';

/** amqplib's own codec: its package hides it, its files do not. */
interface AmqplibCodec {
  encodeTable(buffer: Buffer, table: object, offset: number): number;
  decodeFields(bytes: Buffer): { [name: string]: unknown };
}
const { default: amqplib } = (await import(
  new URL('../../../node_modules/amqplib/lib/codec.js', import.meta.url).href
)) as { default: AmqplibCodec };

const SEED = Number(process.env['SEED'] ?? 20261);

function text(prng: Prng, max: number): string {
  return Array.from({ length: prng.below(max + 1) }, () => 'aZ.é漢#*/'[prng.below(8)]).join('');
}

function value(prng: Prng, depth: number): HubValue {
  switch (prng.below(depth > 3 ? 8 : 10)) {
    case 0:
      return null;
    case 1:
      return prng.below(2) === 1;
    case 2:
      return prng.below(2 ** 31) - 2 ** 30;
    case 3:
      return prng.below(2 ** 31) * 2 ** 20;
    case 4:
      return (prng.below(1000) + 0.5) / 7;
    case 5:
      return new Date(prng.below(2 ** 31) * 1000);
    case 6:
      return Buffer.from([0xff, prng.below(256)]);
    case 7:
      return text(prng, 12);
    case 8:
      return Array.from({ length: prng.below(4) }, () => value(prng, depth + 1));
    default:
      return table(prng, depth + 1);
  }
}

function table(prng: Prng, depth = 0): { [name: string]: HubValue } {
  const made: { [name: string]: HubValue } = {};
  for (let i = prng.below(5); i > 0; i--) made[`k${i}${text(prng, 3)}`] = value(prng, depth);
  return made;
}

/** A table with a null prototype, all the way down, as the reader makes them. */
function asRead(given: HubValue): HubValue {
  if (Array.isArray(given)) return given.map(asRead);
  if (typeof given !== 'object' || given === null || Buffer.isBuffer(given) || given instanceof Date) return given;
  const made = Object.create(null) as { [name: string]: HubValue };
  for (const [name, inner] of Object.entries(given)) made[name] = asRead(inner);
  return made;
}

function encoded(given: { [name: string]: HubValue }): Buffer {
  const writer = new Writer();
  writer.table(given);
  return writer.toBuffer();
}

t.test(`field tables survive a round trip, and amqplib reads them alike (seed ${SEED})`, (t) => {
  const prng = new Prng(SEED);
  for (let round = 0; round < 300; round++) {
    const given = table(prng);
    const bytes = encoded(given);
    const reader = new Reader(bytes, 0, bytes.length);
    t.strictSame(reader.table(), asRead(given), `round ${round}`);
    t.equal(reader.at, bytes.length);
    const found = new PropertyScan();
    t.equal(scanTable(bytes, 0, bytes.length, found), bytes.length, 'the scan ends where the reader does');
    const theirs = amqplib.decodeFields(bytes.subarray(4));
    t.strictSame(Object.keys(theirs), Object.keys(given), 'amqplib finds the same names');
  }
  t.end();
});

t.test('what amqplib writes is read', (t) => {
  const given = { s: 'text', n: 5, big: 2 ** 40, f: 1.5, b: true, nothing: null, list: [1, 'x'], inner: { a: 1 } };
  const buffer = Buffer.alloc(4096);
  const length = amqplib.encodeTable(buffer, given, 0);
  t.strictSame(new Reader(buffer, 0, length).table(), asRead(given));
  t.end();
});

t.test('every type of the errata', (t) => {
  const types: [string, Buffer, HubValue][] = [
    ['t', Buffer.from([1]), true],
    ['b', Buffer.from([0xff]), -1],
    ['B', Buffer.from([0xff]), 255],
    ['s', Buffer.from([0xff, 0xfe]), -2],
    ['u', Buffer.from([0xff, 0xfe]), 65534],
    ['I', Buffer.from([0xff, 0xff, 0xff, 0xff]), -1],
    ['i', Buffer.from([0xff, 0xff, 0xff, 0xff]), 4294967295],
    ['l', Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), -1],
    ['L', Buffer.from([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 9223372036854775807n],
    ['f', Buffer.from([0x3f, 0xc0, 0, 0]), 1.5],
    ['d', Buffer.from([0x3f, 0xf8, 0, 0, 0, 0, 0, 0]), 1.5],
    ['D', Buffer.from([2, 0, 0, 0, 150]), 1.5],
    ['S', Buffer.from([0, 0, 0, 1, 0x61]), 'a'],
    ['S', Buffer.from([0, 0, 0, 1, 0xff]), Buffer.from([0xff])],
    ['x', Buffer.from([0, 0, 0, 1, 0x61]), Buffer.from('a')],
    ['T', Buffer.from([0, 0, 0, 0, 0, 0, 0, 2]), new Date(2000)],
    ['T', Buffer.alloc(8, 0xff), 2 ** 64],
    ['V', Buffer.alloc(0), null],
    ['A', Buffer.from([0, 0, 0, 2, 0x74, 0]), [false]],
  ];
  for (const [type, bytes, expected] of types) {
    const body = Buffer.concat([Buffer.from([1, 0x6b]), Buffer.from(type), bytes]);
    const whole = Buffer.alloc(4 + body.length);
    whole.writeUInt32BE(body.length);
    body.copy(whole, 4);
    t.strictSame(new Reader(whole, 0, whole.length).table()['k'], expected, type);
    t.equal(scanTable(whole, 0, whole.length, new PropertyScan()), whole.length, `scan ${type}`);
  }
  t.end();
});

t.test('names such as __proto__ are names and nothing else', (t) => {
  const reader = (bytes: Buffer) => new Reader(bytes, 0, bytes.length).table();
  const given = Object.assign(Object.create(null), { ['__proto__']: 'x', constructor: 1 }) as { [n: string]: HubValue };
  const bytes = encoded(given);
  const read = reader(bytes);
  t.equal(Object.getPrototypeOf(read), null);
  t.strictSame(Object.keys(read), ['__proto__', 'constructor']);
  t.end();
});

t.test('nesting is bounded, in the reader and in the scan', (t) => {
  let bytes = Buffer.from([0, 0, 0, 0]);
  for (let i = 0; i < 100; i++) {
    const wrapped = Buffer.alloc(4 + 3 + bytes.length);
    wrapped.writeUInt32BE(3 + bytes.length);
    wrapped.set([1, 0x6b, 0x46], 4);
    bytes.copy(wrapped, 7);
    bytes = wrapped;
  }
  t.equal(
    refusal(() => new Reader(bytes, 0, bytes.length).table()),
    'syntax-error',
  );
  t.equal(
    refusal(() => scanTable(bytes, 0, bytes.length, new PropertyScan())),
    'syntax-error',
  );
  t.end();
});

t.test(`damaged tables: the scan accepts exactly what the reader accepts (seed ${SEED})`, (t) => {
  const prng = new Prng(SEED + 1);
  let refused = 0;
  for (let round = 0; round < 3000; round++) {
    const bytes = encoded(table(prng));
    for (let i = 0; i <= prng.below(3); i++) bytes[prng.below(bytes.length)] = prng.below(256);
    const outcomes = [
      () => new Reader(bytes, 0, bytes.length).table(),
      () => scanTable(bytes, 0, bytes.length, new PropertyScan()),
    ].map((attempt) => {
      try {
        attempt();
        return undefined;
      } catch (error) {
        if (!(error instanceof AmqpError)) t.fail(`round ${round}: ${String(error)}`);
        return error as AmqpError;
      }
    });
    const [read, scanned] = outcomes;
    // Only the reader looks into texts.
    if (read?.message.includes('UTF-8')) continue;
    if ((read === undefined) !== (scanned === undefined)) t.fail(`round ${round}: ${bytes.toString('hex')}`);
    if (read !== undefined) refused++;
  }
  t.ok(refused > 300, `${refused} tables were refused`);
  t.end();
});

function argumentsFor(prng: Prng, name: MethodName): { [field: string]: unknown } {
  const args: { [field: string]: unknown } = {};
  for (const [field, type] of methodFields(name)) {
    if (type === 'bit') args[field] = prng.below(2) === 1;
    else if (type === 'table') args[field] = asRead(table(prng));
    else if (type === 'shortstr') args[field] = text(prng, 20);
    else if (type === 'longstr') args[field] = Buffer.from(text(prng, 20));
    else args[field] = prng.below({ octet: 256, short: 65536, long: 2 ** 31, longlong: 2 ** 31 }[type]);
  }
  return args;
}

t.test(`every method survives a round trip (seed ${SEED})`, (t) => {
  const prng = new Prng(SEED + 2);
  const writer = new Writer();
  for (let round = 0; round < 20; round++) {
    for (const name of Object.keys(METHODS) as MethodName[]) {
      const args = argumentsFor(prng, name);
      encodeMethod(writer.reset(), 3, name, args as never);
      const bytes = writer.toBuffer();
      t.equal(readU32(bytes, 3), bytes.length - 8, 'the size of the frame');
      const decoded = decodeMethod(bytes, 7, bytes.length - 1);
      t.strictSame(decoded, { name, args }, name);
      const cut = prng.below(bytes.length - 8);
      t.throws(() => decodeMethod(bytes, 7, 7 + cut), AmqpError, `${name} cut to ${cut}`);
    }
  }
  t.end();
});

t.test(`random bytes as methods give protocol errors only (seed ${SEED})`, (t) => {
  const prng = new Prng(SEED + 3);
  const ids = Object.values(METHODS).map(({ id }) => id);
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.from(Array.from({ length: prng.below(60) }, () => prng.below(256)));
    if (bytes.length >= 4 && prng.below(4) > 0) bytes.writeUInt32BE(ids[prng.below(ids.length)] as number);
    try {
      decodeMethod(bytes, 0, bytes.length);
    } catch (error) {
      if (!(error instanceof AmqpError)) t.fail(`${bytes.toString('hex')}: ${String(error)}`);
    }
  }
  t.end();
});

t.test('64-bit numbers', (t) => {
  const bytes = Buffer.alloc(8);
  for (const number of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]) {
    writeU64(bytes, 0, number);
    t.equal(readU64(bytes, 0), number);
    t.equal(bytes.readBigUInt64BE(), BigInt(number));
  }
  t.end();
});
