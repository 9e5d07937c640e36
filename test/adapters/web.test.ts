import type { IncomingMessage } from 'node:http';
import t from 'tap';
import { HTTP_STATUS, httpError } from '../../src/adapters/http/errors.ts';
import { readHeaders, writeHeaders } from '../../src/adapters/http/properties.ts';
import { parseRanges } from '../../src/adapters/http/routes/leases.ts';
import { basicCredentials, OriginPolicy } from '../../src/adapters/web.ts';
import { CLOSE_CODE } from '../../src/adapters/ws/errors.ts';
import { textFrame } from '../../src/adapters/ws/output.ts';
import { CoreError, ERRORS, type ErrorCode } from '../../src/core/index.ts';

function request(headers: Record<string, string>): IncomingMessage {
  return { headers } as unknown as IncomingMessage;
}

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;

t.test('basic credentials: colons and other characters in the password, any case of the scheme', async (t) => {
  t.equal(basicCredentials(undefined), undefined);
  t.same(basicCredentials(basic('ann:a:b')), { user: 'ann', password: 'a:b' });
  t.same(basicCredentials(basic('änn:ü').replace('Basic', 'bAsIc')), { user: 'änn', password: 'ü' });
  t.same(basicCredentials(basic(':')), { user: '', password: '' });
  for (const wrong of ['', 'Basic', 'Basic ', 'Bearer x', basic('nocolon'), 'Basic a b']) {
    t.throws(() => basicCredentials(wrong), { code: 'authentication-failed' }, wrong);
  }
});

t.test('origins: our own and listed ones may call, others may not', async (t) => {
  const policy = new OriginPolicy(['https://App.example.org']);
  const host = 'broker.example:15672';
  const allowed: [Record<string, string>, boolean][] = [
    [{ host }, true],
    [{ host, origin: 'http://broker.example:15672' }, true],
    [{ host, origin: 'https://app.example.org' }, true],
    [{ host, origin: 'http://broker.example' }, false],
    [{ host, origin: 'http://broker.example:15672.evil.example' }, false],
    [{ host, origin: 'null' }, false],
    [{ host, 'sec-fetch-site': 'cross-site' }, false],
    [{ host, 'sec-fetch-site': 'same-origin' }, true],
    [{ origin: 'http://broker.example' }, false],
  ];
  for (const [headers, answer] of allowed) t.equal(policy.allows(request(headers)), answer, JSON.stringify(headers));
  for (const name of ['localhost', 'localhost:1', '127.0.0.1:15672', '127.9.9.9', '[::1]:80', 'app.example.org']) {
    t.ok(policy.allowsAnonymous(request({ host: name })), name);
  }
  for (const name of [
    'rebound.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'xlocalhost',
    '10.0.0.1',
  ]) {
    t.notOk(policy.allowsAnonymous(request({ host: name })), name);
  }
});

t.test('delivery ranges', async (t) => {
  t.same(parseRanges('1-3, 7'), [
    [1, 3],
    [7, 7],
  ]);
  for (const wrong of ['', 'a', '1-', '-', '1;2', '1e3', ' '])
    t.throws(() => parseRanges(wrong), { code: 'invalid-argument' });
});

t.test('headers: read and written alike; what no header can hold is left out', async (t) => {
  const headers = {
    'content-type': 'a/b',
    'x-message-id': 'm',
    'x-ttl-ms': '5',
    'x-priority': '9',
    'x-property-a': 'b',
  };
  t.same(readHeaders({ ...headers, other: 'x' }), {
    priority: 9,
    properties: { content_type: 'a/b', message_id: 'm', ttl_ms: 5 },
    headers: { a: 'b' },
  });
  const hub = { durable: true, annotations: new Map(), contentType: 'a/b', messageId: 'm', ttlMs: 5, priority: 9 };
  const application: [string, string | Buffer | null][] = [
    ['A', 'b'],
    ['line', 'a\r\nx: y'],
    ['bytes', Buffer.from('x')],
    ['na me', 'x'],
    ['long', 'x'.repeat(2000)],
    ['none', null],
  ];
  t.same(Object.fromEntries(writeHeaders({ ...hub, application })), headers);
});

t.test('every error code has a status and a close code, and our own mistakes tell nothing', async (t) => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    t.ok(HTTP_STATUS[code] >= 400 && CLOSE_CODE[code] >= 1001, code);
    t.same(httpError(new CoreError(code, 'why')).status, HTTP_STATUS[code]);
  }
  t.match(httpError(new Error('secret')), { status: 500, body: { error: 'internal-error', message: /^(?!.*secret)/ } });
  t.match(httpError('thrown text'), { status: 500 });
});

t.test('text frames of every length form [RFC 6455 section 5.2]', async (t) => {
  for (const [length, header] of [
    [0, '8100'],
    [125, '817d'],
    [126, '817e007e'],
    [65_535, '817effff'],
    [65_536, '817f0000000000010000'],
  ] as const) {
    const frame = textFrame('x'.repeat(length));
    t.equal(frame.toString('hex', 0, header.length / 2), header);
    t.equal(frame.length, header.length / 2 + length);
  }
  t.equal(textFrame('ü').toString('hex'), '8102c3bc', 'lengths count bytes');
});
