import t from 'tap';
import { AmqpError } from '../../../src/adapters/amqp/v091/errors.ts';
import { Writer } from '../../../src/adapters/amqp/v091/fields.ts';
import {
  type BasicProperties,
  carbonCopies,
  decodeProperties,
  encodeProperties,
  PropertyScan,
  scanProperties,
} from '../../../src/adapters/amqp/v091/properties.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { refusal } from './_raw.ts';

const SEED = Number(process.env['SEED'] ?? 20262);

function encoded(properties: BasicProperties): Buffer {
  const writer = new Writer();
  encodeProperties(writer, properties);
  return writer.toBuffer();
}

function scanned(properties: BasicProperties): PropertyScan {
  const bytes = encoded(properties);
  const scan = new PropertyScan();
  scanProperties(bytes, 0, bytes.length, scan);
  return scan;
}

/** All properties, every second one present by the bits of `mask`. */
function some(mask: number): BasicProperties {
  const all: [keyof BasicProperties, unknown][] = [
    ['contentType', 'text/plain'],
    ['contentEncoding', 'utf-8'],
    ['headers', { a: 1, b: { c: 'd' } }],
    ['deliveryMode', 2],
    ['priority', 7],
    ['correlationId', 'c'],
    ['replyTo', 'r'],
    ['expiration', '60000'],
    ['messageId', ''],
    ['timestamp', 1_700_000_000],
    ['type', 't'],
    ['userId', 'guest'],
    ['appId', 'app'],
    ['clusterId', 'cl'],
  ];
  return Object.fromEntries(all.filter((_, at) => (mask & (1 << at)) !== 0)) as BasicProperties;
}

t.test('what was taken can be decoded, whatever its texts hold', (t) => {
  const bytes = encoded({ messageId: 'mmm', headers: { name: 'v', inner: { deep: 'w' } } });
  for (const text of ['mmm', 'name', 'deep']) bytes[bytes.indexOf(text)] = 0xff;
  scanProperties(bytes, 0, bytes.length, new PropertyScan());
  const { messageId, headers } = decodeProperties(bytes, 0, bytes.length);
  t.equal(messageId, '?mm');
  t.same(headers, { '?ame': 'v', inner: { '?eep': 'w' } });
  const random = new Prng(SEED);
  let taken = 0;
  for (let n = 0; n < 20_000; n++) {
    const broken = encoded(some(random.below(2 ** 14)));
    for (let hits = random.between(1, 3); hits > 0; hits--) broken[random.below(broken.length)] = random.below(256);
    try {
      scanProperties(broken, 0, broken.length, new PropertyScan());
    } catch {
      continue;
    }
    taken++;
    try {
      encoded(decodeProperties(broken, 0, broken.length));
    } catch (error) {
      t.fail(`seed ${SEED}, ${broken.toString('hex')}: ${error}`);
      break;
    }
  }
  t.ok(taken > 1000, `${taken} were taken`);
  t.end();
});

t.test('every combination of properties is decoded and scanned alike', (t) => {
  const scan = new PropertyScan();
  for (let mask = 0; mask < 2 ** 14; mask++) {
    const given = some(mask);
    const bytes = encoded(given);
    scanProperties(bytes, 0, bytes.length, scan);
    const user = bytes.toString('utf8', scan.userStart, scan.userEnd);
    const seen = [scan.persistent, scan.priority, scan.expirationMs, user];
    const expected = [
      given.deliveryMode === 2,
      given.priority ?? 0,
      given.expiration === undefined ? -1 : 60000,
      given.userId ?? '',
    ];
    if (JSON.stringify(seen) !== JSON.stringify(expected)) t.strictSame(seen, expected, `mask ${mask}`);
    if (mask % 97 === 0) t.same(decodeProperties(bytes, 0, bytes.length), given, `mask ${mask}`);
  }
  t.end();
});

t.test('expiration: decimal milliseconds up to 2^32 - 1, anything else is 406', (t) => {
  t.equal(scanned({ expiration: '0' }).expirationMs, 0);
  t.equal(scanned({ expiration: '4294967295' }).expirationMs, 4294967295);
  for (const expiration of ['', '-1', '1.5', 'soon', '4294967296', '99999999999999', ' 1', '1 ']) {
    t.equal(
      refusal(() => scanned({ expiration })),
      'precondition-failed',
      expiration,
    );
  }
  t.end();
});

t.test('CC and BCC are noticed, at the top level only', (t) => {
  t.equal(scanned({ headers: { CC: ['a'] } }).carbonCopy, true);
  t.equal(scanned({ headers: { x: 1, BCC: ['a'] } }).carbonCopy, true);
  t.equal(scanned({ headers: { inner: { CC: ['a'] }, cc: 1, CCC: 2 } }).carbonCopy, false);
  const bytes = encoded({ headers: { CC: ['a', 'b'], BCC: ['c'], x: 1 }, deliveryMode: 2 });
  const copies = carbonCopies(bytes, 0, bytes.length);
  t.strictSame(copies.keys, ['a', 'b', 'c']);
  const head = copies.head as Buffer;
  t.same(decodeProperties(head, 0, head.length), { headers: { CC: ['a', 'b'], x: 1 }, deliveryMode: 2 }, 'BCC is gone');
  const wrong = encoded({ headers: { CC: 'a' } });
  t.equal(
    refusal(() => carbonCopies(wrong, 0, wrong.length)),
    'precondition-failed',
  );
  t.end();
});

t.test('a list that does not end with its frame is refused', (t) => {
  const scan = new PropertyScan();
  for (const given of [some(0), some(8), some(2 ** 14 - 1), some(0b101)]) {
    const bytes = encoded(given);
    const longer = Buffer.concat([bytes, Buffer.from([0])]);
    t.equal(
      refusal(() => scanProperties(longer, 0, longer.length, scan)),
      'syntax-error',
      'a byte too many',
    );
    for (let cut = 0; cut < bytes.length; cut++) {
      t.throws(() => scanProperties(bytes, 0, cut, scan), AmqpError, `cut to ${cut}`);
    }
  }
  const unknownFlags = Buffer.from([0, 1, 0, 0]);
  t.equal(
    refusal(() => scanProperties(unknownFlags, 0, 4, scan)),
    'syntax-error',
    'a second word of flags',
  );
  t.end();
});

t.test(`random bytes give protocol errors only (seed ${SEED})`, (t) => {
  const prng = new Prng(SEED);
  const scan = new PropertyScan();
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(Array.from({ length: prng.below(40) }, () => prng.below(256)));
    for (const attempt of [scanProperties, decodeProperties]) {
      try {
        attempt(bytes, 0, bytes.length, scan);
      } catch (error) {
        if (!(error instanceof AmqpError)) t.fail(`${bytes.toString('hex')}: ${String(error)}`);
      }
    }
  }
  t.end();
});
