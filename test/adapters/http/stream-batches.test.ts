import { type IncomingHttpHeaders, request } from 'node:http';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import t from 'tap';
import { fillBatch, JSON_BATCHES } from '../../../src/adapters/json-batch.ts';
import { Message } from '../../../src/core/index.ts';
import { fileGateway } from './gateway.ts';

const gateway = await fileGateway({ limits: { batchUnpackedBytesMax: 100_000 } });
const { ask } = gateway;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A request whose answer is left as it comes: `fetch` would unpack it. */
function raw(method: string, path: string, headers: Record<string, string> = {}, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(`${gateway.url}/v1${path}`, { method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const TYPE = { 'content-type': 'application/x-ndjson' };
const GZIP = { ...TYPE, 'content-encoding': 'gzip' };
const lines = (...messages: object[]): Buffer =>
  Buffer.from(messages.map((message) => `${JSON.stringify(message)}\n`).join(''));
const numbered = (from: number, count: number): Buffer =>
  lines(...Array.from({ length: count }, (_, n) => ({ payload: `m${from + n}` })));

async function stream(name: string): Promise<string> {
  t.equal((await ask('PUT', `/streams/${name}`)).status, 201);
  return `/streams/${name}/partitions/0/batches`;
}

const post = async (path: string, headers: Record<string, string>, body: Buffer) => {
  const answer = await raw('POST', path, headers, body);
  return { status: answer.status, json: JSON.parse(answer.body.toString()) as { [name: string]: unknown } };
};

t.test('a batch comes back byte for byte, and is messages for everybody else', async (t) => {
  const path = await stream('s');
  const zipped = gzipSync(
    lines(
      { payload: 'one', group: 'k1', headers: { n: 1 }, properties: { message_id: 'a' } },
      { payload: Buffer.from([0, 255]).toString('base64'), encoding: 'base64', persistent: false, priority: 7 },
      { payload: 'three' },
    ),
  );
  t.same(await post(path, GZIP, zipped), { status: 200, json: { partition: 0, offset: 0, count: 3 } });
  await ask('POST', '/streams/s/messages', { body: [{ payload: 'single', group: 'g' }, { payload: 'another' }] });
  const plain = lines({ payload: 'last' });
  t.same((await post(path, TYPE, plain)).json, { partition: 0, offset: 5, count: 1 });
  for (const place of ['from=first', 'offset=0', 'offset=2', 'time_ms=0', 'last_n=6']) {
    const { status, headers, body } = await raw('GET', `${path}?${place}`);
    t.equal(status, 200);
    t.ok(body.equals(zipped), place);
    t.match(headers, {
      'content-type': 'application/x-ndjson',
      'content-encoding': 'gzip',
      'x-sealed': 'true',
      'x-offset': '0',
      'x-count': '3',
      'x-next-offset': '3',
      'x-content-type-options': 'nosniff',
    });
  }
  const singles = await raw('GET', `${path}?offset=3`);
  t.match(singles.headers, { 'x-sealed': 'false', 'x-offset': '3', 'x-count': '2', 'x-next-offset': '5' });
  t.equal(singles.headers['content-encoding'], undefined);
  t.match(
    singles.body
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [
      { offset: 3, payload: 'single', group: 'g' },
      { offset: 4, payload: 'another' },
    ],
  );
  t.match((await raw('GET', `${path}?offset=3&max=1`)).headers, { 'x-count': '1', 'x-next-offset': '4' });
  t.ok((await raw('GET', `${path}?offset=5`)).body.equals(plain));
  const nothing = await raw('GET', `${path}?from=next`);
  t.match([nothing.status, nothing.headers['x-next-offset']], [204, '6']);
  const { messages, next } = (await ask('GET', '/streams/s/partitions/0/messages')).json;
  t.equal(next, 6);
  t.match(messages, [
    { offset: 0, payload: 'one', group: 'k1', headers: { n: 1 }, properties: { message_id: 'a' }, persistent: true },
    { offset: 1, payload: 'AP8=', encoding: 'base64', persistent: false, priority: 7 },
    { offset: 2, payload: 'three' },
    { offset: 3, payload: 'single' },
    { offset: 4 },
    { offset: 5, payload: 'last' },
  ]);
  const within = (await ask('GET', '/streams/s/partitions/0/messages?offset=1&max=1')).json;
  t.match(within, { next: 2, messages: [{ offset: 1 }] });
});

t.test('a read at the end waits for a batch', async (t) => {
  const path = await stream('tail');
  const reading = raw('GET', `${path}?from=next&wait_ms=30000`);
  for (let n = 0; n < 1000; n++) {
    const { json } = await ask('GET', '/streams/tail');
    if ((json['partitions'] as { readers: number }[])[0]?.readers === 1) break;
  }
  const body = gzipSync(numbered(0, 5));
  await post(path, GZIP, body);
  t.ok((await reading).body.equals(body));
});

t.test('every coding that is understood; blank lines and a missing end of line are nothing', async (t) => {
  const path = await stream('codings');
  const text = Buffer.from('\n{"payload":"a"}\r\n\n{"payload":"b"}');
  const bodies = [text, gzipSync(text), deflateSync(text), brotliCompressSync(text)];
  for (const [n, coding] of ['identity', 'GZIP', 'deflate', 'br'].entries()) {
    const headers = { ...TYPE, 'content-encoding': coding };
    t.same((await post(path, headers, bodies[n] as Buffer)).json, { partition: 0, offset: n * 2, count: 2 });
  }
  for (const [n, body] of bodies.entries()) t.ok((await raw('GET', `${path}?offset=${n * 2}`)).body.equals(body));
  const { messages } = (await ask('GET', '/streams/codings/partitions/0/messages')).json;
  t.same((messages as { payload: string }[]).map(({ payload }) => payload).join(''), 'abababab');
});

t.test('sequences: a batch that is sent again is answered, and not appended', async (t) => {
  const path = await stream('numbered');
  const { id, epoch } = (await ask('POST', '/producers', { body: { name: 'p' } })).json;
  const at = (sequence: number) => `${path}?producer=${id}&epoch=${epoch}&sequence=${sequence}`;
  t.match((await post(at(0), GZIP, gzipSync(numbered(0, 4)))).json, { offset: 0, count: 4 });
  t.match((await post(at(4), GZIP, gzipSync(numbered(4, 2)))).json, { offset: 4, count: 2 });
  t.match((await post(at(0), GZIP, gzipSync(numbered(0, 4)))).json, { offset: 0, count: 4 });
  t.match(await post(at(9), GZIP, gzipSync(numbered(9, 1))), { status: 409, json: { error: 'out-of-order' } });
  t.match(await post(at(5), GZIP, gzipSync(numbered(5, 4))), { status: 409, json: { error: 'out-of-order' } });
  t.match(await post(`${path}?sequence=6`, TYPE, numbered(6, 1)), { status: 400, json: { error: 'invalid-argument' } });
  await ask('POST', '/producers', { body: { name: 'p' } });
  t.match(await post(at(6), TYPE, numbered(6, 1)), { status: 409, json: { error: 'fenced' } });
});

t.test('bad input: a typed error that says where, and nothing is appended', async (t) => {
  const path = await stream('bad');
  const cases: readonly [body: Buffer, headers: Record<string, string>, status: number, error: string, hint: RegExp][] =
    [
      [Buffer.from(''), TYPE, 400, 'invalid-argument', /without messages/],
      [Buffer.from('\n\n'), TYPE, 400, 'invalid-argument', /without messages/],
      [Buffer.from('{"payload":"a"}\nnonsense'), TYPE, 400, 'invalid-argument', /line 2: .*JSON/],
      [lines({ payload: 'a' }, { payload: 1 }), TYPE, 400, 'invalid-argument', /line 2: \/payload must be string/],
      [lines({ payload: 'a', sequence: 1 }), TYPE, 400, 'invalid-argument', /line 1: .*additional/],
      [lines({ payload: '?', encoding: 'base64' }), TYPE, 400, 'invalid-argument', /line 1: .*base64/],
      [lines({ priority: 1000 }), TYPE, 400, 'invalid-argument', /line 1: \/priority/],
      [lines({ group: 'g'.repeat(256) }), TYPE, 400, 'invalid-argument', /255 bytes/],
      [Buffer.from('[]'), TYPE, 400, 'invalid-argument', /line 1: must be object/],
      [Buffer.from([0x22, 0xff, 0x22]), TYPE, 400, 'invalid-argument', /UTF-8/],
      [Buffer.from('not gzip'), GZIP, 400, 'invalid-argument', /not gzip/],
      [gzipSync(numbered(0, 9)).subarray(0, 30), GZIP, 400, 'invalid-argument', /not gzip/],
      [gzipSync(lines({ payload: 'x'.repeat(200_000) })), GZIP, 413, 'message-too-large', /100000/],
      [gzipSync(Buffer.alloc(10_000_000)), GZIP, 413, 'message-too-large', /100000/],
      [Buffer.alloc(200_000, 0x20), TYPE, 413, 'message-too-large', /100000/],
      [gzipSync(Buffer.from('{}\n'.repeat(4000))), GZIP, 413, 'message-too-large', /unpacked/],
      [gzipSync(Buffer.alloc(99_000, '\n')), GZIP, 400, 'invalid-argument', /without messages/],
      [numbered(0, 1), { ...TYPE, 'content-encoding': 'zstd' }, 501, 'not-supported', /zstd; .*gzip/],
      [numbered(0, 1), { ...TYPE, 'content-encoding': 'constructor' }, 501, 'not-supported', /constructor/],
      [numbered(0, 1), { 'content-type': 'text/plain' }, 415, 'not-supported', /./],
    ];
  for (const [body, headers, status, error, hint] of cases) {
    t.match(await post(path, headers, body), { status, json: { error, message: hint } }, `${error} ${hint}`);
  }
  t.match(await post('/streams/nowhere/partitions/0/batches', TYPE, numbered(0, 1)), { status: 404 });
  t.match(await post('/streams/bad/partitions/7/batches', TYPE, numbered(0, 1)), {
    status: 400,
    json: { error: 'invalid-argument', message: /partition 7/ },
  });
  t.match(await raw('GET', `${path}?offset=1`), { status: 416 });
  t.match(await raw('GET', `${path}?offset=0&last_n=1`), { status: 400 });
  t.match((await ask('GET', '/streams/bad')).json, { partitions: [{ end: 0 }] });
});

t.test('lines without messages are counted as well', (t) => {
  const batch = new Message();
  fillBatch(batch, Buffer.alloc(200_000, '\n'), '');
  t.throws(() => JSON_BATCHES.unpack(batch, 1_000_000, () => {}), {
    code: 'message-too-large',
    message: /more than 131072 lines/,
  });
  t.end();
});
