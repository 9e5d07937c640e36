import fc from 'fast-check';
import t from 'tap';
import { JSON_FORMAT } from '../../src/adapters/json-format.ts';
import { checkText, encodeHead, fillMessage, messageJson, topicOf } from '../../src/adapters/json-message.ts';
import { hubToJson, type Json, jsonToHub, VALUE_DEPTH_MAX } from '../../src/adapters/json-value.ts';
import { hubOf } from '../../src/core/hub.ts';
import {
  type Broker,
  FLAG_DURABLE,
  FLAG_RETAIN,
  type Format,
  type HubProperties,
  type HubValue,
  Message,
} from '../../src/core/index.ts';

/** A broker that knows formats and nothing else: all that messages in JSON need. */
function brokerWith(...formats: Format[]): Broker {
  const byId: Format[] = [];
  for (const format of formats) byId[format.id] = format;
  return { hub: (message: Message) => hubOf(byId, message) } as unknown as Broker;
}

const hubValues = fc.letrec<{ value: HubValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.double(),
    fc.string({ unit: 'binary' }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.string().filter((name) => !name.startsWith('$')),
      tie('value'),
      { maxKeys: 4, noNullPrototype: false },
    ),
  ),
}));

t.test('hub values survive JSON text', async (t) => {
  fc.assert(
    fc.property(hubValues.value, (value) => {
      const back = jsonToHub(JSON.parse(JSON.stringify(hubToJson(value))) as Json);
      return same(value, back);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

/** Equal, with negative zero as zero: JSON has only one. */
function same(a: HubValue, b: HubValue): boolean {
  if (typeof a === 'number' && typeof b === 'number') return Object.is(a, b) || a === b;
  if (Buffer.isBuffer(a)) return Buffer.isBuffer(b) && a.equals(b);
  if (a instanceof Date) return b instanceof Date && a.getTime() === b.getTime();
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((x, n) => same(x, b[n] as HubValue));
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a === b;
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  const [left, right] = [a, b] as { [name: string]: HubValue }[];
  return names.every((name) => same(left?.[name] as HubValue, right?.[name] as HubValue));
}

t.test('broken tags and too deep values are refused, and unknown tags are maps', async (t) => {
  for (const value of [
    { $base64: 'a' },
    { $date: 'x' },
    { $int64: '1.5' },
    { $int64: '18446744073709551616' },
    { $double: '1' },
  ]) {
    t.throws(() => jsonToHub(value), { code: 'invalid-argument' }, JSON.stringify(value));
  }
  t.same({ ...(jsonToHub({ $other: 'x' }) as object) }, { $other: 'x' });
  t.same({ ...(jsonToHub({ $date: 'x', b: 1 }) as object) }, { $date: 'x', b: 1 });
  let deep: Json = 1;
  for (let n = 0; n < VALUE_DEPTH_MAX; n++) deep = [deep];
  jsonToHub(deep);
  t.throws(() => jsonToHub([deep]), { code: 'invalid-argument' });
});

t.test('what is published in JSON is read back from the head bytes', async (t) => {
  const view = new Message();
  const headers: [string, Json][] = [
    ['a', 1],
    ['a', 2],
    ['x-note', { $base64: 'AQI=' }],
  ];
  const properties = { content_type: 'text/plain', message_id: { $int64: '5' }, ttl_ms: 1000, subject: 's' };
  fillMessage(
    brokerWith(JSON_FORMAT),
    view,
    { properties, headers, priority: 4, retain: true },
    Buffer.from('body'),
    10_000,
  );
  t.equal(view.flags, FLAG_DURABLE | FLAG_RETAIN);
  t.equal(view.expiresAtMs, 11_000);
  t.equal(view.bytes.toString('utf8', view.bodyStart, view.bodyEnd), 'body');
  const hub = JSON_FORMAT.toHub(view);
  t.match(hub, { durable: true, priority: 4, contentType: 'text/plain', messageId: 5n, ttlMs: 1000, subject: 's' });
  t.same(hub.application, [
    ['a', 1],
    ['a', 2],
  ]);
  t.same([...hub.annotations], [['x-note', Buffer.from([1, 2])]]);
  view.keyBytes = Buffer.from('a.b');
  view.keyEnd = 3;
  t.equal(topicOf(view), 'a/b');
  t.match(JSON.parse(messageJson(brokerWith(JSON_FORMAT), view)), {
    topic: 'a/b',
    key: 'a.b',
    payload: 'body',
    properties,
    headers,
  });
});

t.test('without properties the head is empty, and the body is not copied', async (t) => {
  t.equal(encodeHead({}, {}).length, 0);
  t.equal(encodeHead(undefined, []).length, 0);
  const view = new Message();
  const body = Buffer.from('x');
  fillMessage(brokerWith(JSON_FORMAT), view, { persistent: false }, body, 0);
  t.equal(view.bytes, body);
  t.equal(view.flags, 0);
  t.same(JSON_FORMAT.toHub(view), { durable: false, annotations: new Map(), application: [] });
});

t.test('messages of other formats are shown through the hub form; of unknown ones without properties', async (t) => {
  const hub: HubProperties = {
    durable: false,
    annotations: new Map([['x-a', 1n]]),
    correlationId: Buffer.from('c'),
    creationTimeMs: 5,
    application: [['b', new Date(0)]],
  };
  const view = new Message();
  view.format = 9;
  view.bytes = Buffer.from([0xff, 0xfe]);
  view.headEnd = 1;
  view.bodyStart = 1;
  view.bodyEnd = 2;
  const shown = JSON.parse(messageJson(brokerWith({ id: 9, name: 'other', toHub: () => hub }), view));
  t.match(shown, {
    payload: '/g==',
    encoding: 'base64',
    properties: { correlation_id: { $base64: 'Yw==' }, created_at_ms: 5 },
    headers: { b: { $date: '1970-01-01T00:00:00.000Z' }, 'x-a': { $int64: '1' } },
  });
  t.notOk('properties' in JSON.parse(messageJson(brokerWith(), view)));
});

t.test('text that would not survive UTF-8 is refused', async (t) => {
  checkText('ünïcode 🚀', 'x');
  for (const text of ['a\u0000', '\ud800', 'x\udc00y'])
    t.throws(() => checkText(text, 'x'), { code: 'invalid-argument' });
});
