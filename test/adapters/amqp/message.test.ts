import t from 'tap';
import { Blocking } from '../../../src/adapters/amqp/v091/blocking.ts';
import { REPLIES, REPLY_OF, shortText, toAmqpError } from '../../../src/adapters/amqp/v091/errors.ts';
import { Writer } from '../../../src/adapters/amqp/v091/fields.ts';
import { AMQP091_FORMAT, Converter, fromHub, patternOf, toHub } from '../../../src/adapters/amqp/v091/message.ts';
import {
  type BasicProperties,
  decodeProperties,
  encodeProperties,
} from '../../../src/adapters/amqp/v091/properties.ts';
import {
  ANY_MANY,
  ANY_ONE,
  type Broker,
  CoreError,
  ERRORS,
  type HubProperties,
  Message,
} from '../../../src/core/index.ts';

t.test('properties survive the way through the hub form', (t) => {
  const properties: BasicProperties = {
    contentType: 'text/plain',
    contentEncoding: 'gzip',
    headers: { a: 1, list: [1, 'x'], 'x-own': true },
    deliveryMode: 2,
    priority: 3,
    correlationId: 'c',
    replyTo: 'r',
    expiration: '1000',
    messageId: 'm',
    timestamp: 1_700_000_000,
    type: 'kind',
    userId: 'guest',
    appId: 'app',
  };
  const hub = toHub(properties, true);
  t.strictSame(
    [...hub.annotations],
    [
      ['x-own', true],
      ['x-basic-type', 'kind'],
      ['x-basic-app-id', 'app'],
    ],
  );
  t.strictSame(hub.application, [
    ['a', 1],
    ['list', [1, 'x']],
  ]);
  t.equal(hub.ttlMs, 1000);
  t.equal(hub.creationTimeMs, 1_700_000_000_000);
  t.same(fromHub(hub), properties);
  t.end();
});

t.test('what has no property of its own becomes a header', (t) => {
  const long = 'x'.repeat(256);
  const hub: HubProperties = {
    durable: false,
    annotations: new Map([['x-a', 1]]),
    application: [
      ['twice', 1],
      ['twice', 2],
      ['twice', 3],
      [long, 'no header can have this name'],
    ],
    messageId: Buffer.from([1]),
    correlationId: long,
    replyTo: long,
    contentType: long,
    subject: 's',
    ttlMs: 1e12,
    priority: 1000,
  };
  t.same(fromHub(hub), {
    deliveryMode: 1,
    priority: 255,
    expiration: '4294967295',
    headers: {
      twice: [1, 2, 3],
      'x-a': 1,
      'x-message-id': Buffer.from([1]),
      'x-correlation-id': long,
      'x-reply-to': long,
      'x-subject': 's',
    },
  });
  t.end();
});

t.test('foreign messages are converted once, with key and topic', (t) => {
  let asked = 0;
  const hub: HubProperties = { durable: true, annotations: new Map(), application: [['a', 'b']] };
  const countedHub = (): HubProperties => {
    asked++;
    return hub;
  };
  const unknown = (): HubProperties => ({ durable: false, annotations: new Map(), application: [] });
  const broker = { hub: (one: Message) => (one.format === 9 ? countedHub() : unknown()) } as unknown as Broker;
  const converter = new Converter(broker);
  const message = (id: number, key: string, separator: number, format = 9): Message => {
    const made = new Message();
    made.id = id;
    made.format = format;
    made.keyBytes = Buffer.from(key);
    made.keyEnd = made.keyBytes.length;
    made.separator = separator;
    return made;
  };
  const slashes = message(1, 'a/b.c/d', 0x2f);
  const converted = converter.convert(slashes);
  t.equal(converted.key.toString(), 'a.b.c.d');
  const headers = (head: Buffer) => decodeProperties(head, 0, head.length).headers;
  t.same(headers(converted.head), { a: 'b', 'x-topic': 'a/b.c/d' });
  t.equal(converter.convert(slashes), converted);
  t.equal(asked, 1);
  t.same(headers(converter.convert(message(2, 'a.b', 0x2e)).head), { a: 'b' }, 'no topic of its own to show');
  t.equal(headers(converter.convert(message(3, 'a', 0x2e, 77)).head), undefined, 'an unknown format has no properties');
  const long = `${'é'.repeat(130)}/z`;
  t.equal(converter.convert(message(4, long, 0x2f)).key.toString(), 'é'.repeat(127), 'cut between characters');
  t.end();
});

t.test('the format decodes head bytes', (t) => {
  const writer = new Writer();
  encodeProperties(writer, { headers: { h: 1 } });
  const message = new Message();
  message.bytes = writer.toBuffer();
  message.headEnd = message.bytes.length;
  t.same(AMQP091_FORMAT.toHub(message).application, [['h', 1]]);
  t.end();
});

t.test('binding keys: wildcards mean something to topic exchanges only', (t) => {
  t.strictSame(patternOf('a.*.#', true).levels, ['a', ANY_ONE, ANY_MANY]);
  t.strictSame(patternOf('a.*.#', false).levels, ['a', '*', '#']);
  t.strictSame(patternOf('a*.##', true).levels, ['a*', '##']);
  t.strictSame(patternOf('', true).levels, []);
  t.end();
});

t.test('errors: every code of the core has a reply, and texts fit a short string', (t) => {
  for (const code of Object.keys(ERRORS) as (keyof typeof ERRORS)[]) {
    const error = toAmqpError(new CoreError(code, 'why'), 7);
    t.equal(error.reply, REPLY_OF[code]);
    t.ok(REPLIES[error.reply], code);
    t.equal(error.methodId, 7);
  }
  t.equal(toAmqpError(new TypeError('secret'), 0).replyText.includes('secret'), false, 'our own mistakes stay ours');
  const long = toAmqpError(new CoreError('not-found', '漢'.repeat(300)), 0).replyText;
  t.ok(Buffer.byteLength(long) <= 255);
  t.equal(shortText('short'), 'short');
  t.end();
});

t.test('alarms: only connections that publish are held, and told if they know how', (t) => {
  const events: string[] = [];
  const session = (capable: boolean) => ({
    capable: () => capable,
    send: (_channel: number, name: string) => void events.push(name),
    hold: () => void events.push('hold'),
    release: () => void events.push('release'),
  });
  const seen = () => events.splice(0);
  const consumer = new Blocking(session(true), undefined);
  consumer.onAlarm('disk');
  t.strictSame(seen(), []);
  consumer.publishing();
  t.strictSame(seen(), ['connection.blocked', 'hold'], 'when it begins to publish');
  consumer.onAlarm('disk');
  t.strictSame(seen(), []);
  consumer.onAlarmOver();
  t.strictSame(seen(), ['connection.unblocked', 'release']);
  consumer.onAlarmOver();
  t.strictSame(seen(), []);
  const old = new Blocking(session(false), 'disk');
  old.publishing();
  old.onAlarmOver();
  t.strictSame(seen(), ['hold', 'release']);
  t.end();
});
