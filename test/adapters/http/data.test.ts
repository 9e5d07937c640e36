import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { createConnection } from 'node:net';
import t from 'tap';
import { limitsWith } from '../../../src/core/index.ts';
import { call, type Gateway, openGateway, TestClock } from './gateway.ts';

type Item = Record<string, unknown>;

let gateway: Gateway;
const clock = new TestClock();
t.before(async () => {
  gateway = await openGateway({
    dir: t.testdir(),
    clock,
    limits: { httpBodyBytesMax: 200_000, leaseBytesMax: 30_000 },
  });
});
t.teardown(() => gateway.close());
t.afterEach(() => t.same(gateway.logged, [], 'nothing failed inside'));

const ask = (method: string, path: string, options?: Parameters<typeof call>[3]) =>
  call(gateway.url, method, `/v1${path}`, options);

async function filledQueue(name: string, ...payloads: string[]): Promise<void> {
  await ask('PUT', `/queues/${name}`);
  for (const raw of payloads) await ask('POST', `/queues/${name}/messages`, { raw });
}

async function counts(queue: string): Promise<unknown> {
  const { ready, unsettled } = (await ask('GET', `/queues/${queue}`)).json;
  return { ready, unsettled };
}

const messagesOf = (json: Item): Item[] => json['messages'] as Item[];

t.test('a topic published with curl reaches a queue bound with the AMQP pattern', async (t) => {
  await ask('PUT', '/queues/temps');
  const binding = { source: 'amq.topic', queue: 'temps', key: 'sensors.*.temp' };
  t.equal((await ask('POST', '/bindings', { body: binding })).status, 204);
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    'x-property-room': 'küche',
    'x-priority': '3',
  };
  const sent = await ask('POST', '/topics/sensors/kitchen/temp', { raw: '21.5', user: '', headers: latin(headers) });
  t.same([sent.status, sent.json], [200, { routed: true }]);
  const { json } = await ask('POST', '/queues/temps/lease?max=5');
  t.match(messagesOf(json), [
    {
      delivery: 1,
      redeliveries: 0,
      exchange: 'amq.topic',
      key: 'sensors/kitchen/temp',
      topic: 'sensors/kitchen/temp',
      payload: '21.5',
      encoding: 'utf8',
      persistent: true,
      priority: 3,
      headers: { room: 'küche' },
    },
  ]);
  t.notOk(messagesOf(json)[0]?.['properties'], "curl's own content type is no property");
  t.same((await ask('POST', `/leases/${json['lease']}/ack`)).json, { settled: 1, remaining: 0 });
  t.same(await counts('temps'), { ready: 0, unsettled: 0 });
  t.equal((await ask('POST', '/bindings/delete', { body: binding })).status, 204);
  t.same((await ask('POST', '/topics/sensors/kitchen/temp', { raw: 'x' })).json, { routed: false });
});

/** fetch takes header values as Latin-1: UTF-8 bytes, one character each. */
function latin(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, Buffer.from(v).toString('latin1')]));
}

t.test('paths: escaped characters, an exchange with a key, the query form', async (t) => {
  await ask('PUT', '/queues/a%2Fb%20c');
  t.same((await ask('POST', '/queues/a%2Fb%20c/messages', { raw: '1' })).json, { routed: true });
  t.same((await ask('POST', '/publish/amq.default/a%2Fb%20c', { raw: '2' })).json, { routed: true });
  t.same((await ask('POST', '/publish?exchange=amq.default&key=a%2Fb%20c', { raw: '3' })).json, { routed: true });
  const { json } = await ask('POST', '/queues/a%2Fb%20c/lease?max=10');
  t.same(
    messagesOf(json).map((message) => message['payload']),
    ['1', '2', '3'],
  );
  t.equal((await ask('DELETE', '/queues/a%2Fb%20c')).status, 200);
});

t.test('what is refused when publishing', async (t) => {
  const cases: [path: string, status: number, code: string, headers?: Record<string, string>][] = [
    ['/topics/a/%23', 400, 'invalid-argument'],
    ['/topics/a%00b', 400, 'invalid-argument'],
    ['/topics/', 400, 'invalid-argument'],
    ['/topics/nobody?mandatory=true', 404, 'unroutable'],
    ['/queues/nowhere/messages', 404, 'unroutable'],
    ['/publish/nowhere/key', 404, 'not-found'],
    ['/publish', 400, 'invalid-argument'],
    ['/topics/a?persistent=perhaps', 400, 'invalid-argument'],
    ['/topics/a?unknown=1', 400, 'invalid-argument'],
    ['/topics/a?vhost=nowhere', 404, 'not-found'],
    ['/topics/a', 400, 'invalid-argument', { 'x-priority': '256' }],
    ['/topics/a', 400, 'invalid-argument', { 'x-ttl-ms': '-1' }],
    [`/topics/${'a/'.repeat(200)}`, 429, 'limit-exceeded'],
  ];
  for (const [path, status, code, headers = {}] of cases) {
    const answer = await ask('POST', path, { raw: 'x', headers });
    t.match([answer.status, answer.json], [status, { error: code, message: String }], path.slice(0, 60));
  }
});

t.test('a body larger than the limit is refused, announced or not, and the next request is served', async (t) => {
  t.equal((await ask('POST', '/topics/big', { raw: Buffer.alloc(200_000) })).status, 200);
  const announced = await ask('POST', '/topics/big', { raw: Buffer.alloc(200_001) });
  t.match([announced.status, announced.json], [413, { error: 'message-too-large' }]);
  const chunked = httpRequest(`${gateway.url}/v1/topics/big`, { method: 'POST' });
  chunked.on('error', () => {});
  chunked.write(Buffer.alloc(150_000));
  chunked.write(Buffer.alloc(150_000));
  const [response] = await once(chunked, 'response');
  t.equal(response.statusCode, 413);
  chunked.destroy();
  t.equal((await ask('POST', '/topics/big', { raw: 'x' })).status, 200);
});

t.test('batch: a result for each item', async (t) => {
  await ask('PUT', '/queues/batched');
  const items = [
    { queue: 'batched', payload: 'one' },
    { queue: 'nowhere', payload: 'two' },
    { topic: 'a/#' },
    { topic: 'nobody/listens' },
    { exchange: 'nowhere', key: 'k' },
    { queue: 'batched', payload: 'AP8=', encoding: 'base64', properties: { content_type: 'x/y' } },
    { queue: 'batched', payload: '!', encoding: 'base64' },
  ];
  const { status, json } = await ask('POST', '/batch', { body: items });
  t.equal(status, 200);
  t.match(json, {
    confirmed: 3,
    results: [
      { routed: true },
      { error: 'unroutable' },
      { error: 'invalid-argument' },
      { routed: false },
      { error: 'not-found' },
      { routed: true },
      { error: 'invalid-argument' },
    ],
  });
  const leased = messagesOf((await ask('POST', '/queues/batched/lease?max=10')).json);
  t.match(leased, [{ payload: 'one' }, { payload: 'AP8=', encoding: 'base64', properties: { content_type: 'x/y' } }]);
  for (const [body, status] of [
    [[{ payload: 'x' }], 400],
    [[{ topic: 'a', queue: 'b' }], 400],
    [[{ topic: 'a', surprise: 1 }], 400],
    [{ topic: 'a' }, 400],
  ] as const) {
    t.equal((await ask('POST', '/batch', { body })).status, status, JSON.stringify(body));
  }
  const text = { 'content-type': 'application/json' };
  t.match((await ask('POST', '/batch', { raw: '[{', headers: text })).json, { error: 'invalid-argument' });
  const poisoned = await ask('POST', '/batch', { raw: '[{"topic":"a","__proto__":{"x":1}}]', headers: text });
  t.equal(poisoned.status, 400);
});

t.test('one message as it is: bytes in, the same bytes and properties out', async (t) => {
  await ask('PUT', '/queues/raw');
  const bytes = Buffer.from([0, 1, 255, 254, 10]);
  const headers = {
    'content-type': 'image/x-tiny',
    'x-message-id': 'm-1',
    'x-correlation-id': 'c',
    'x-property-size': '5',
  };
  await ask('POST', '/queues/raw/messages', { raw: bytes, headers });
  const accept = { accept: 'application/octet-stream' };
  const response = await fetch(`${gateway.url}/v1/queues/raw/lease`, { method: 'POST', headers: accept });
  t.same(Buffer.from(await response.arrayBuffer()), bytes);
  t.match(Object.fromEntries(response.headers), headers);
  t.match(response.headers.get('content-security-policy'), /sandbox/, 'a browser runs nothing of it');
  const lease = response.headers.get('x-lease');
  t.equal((await ask('POST', `/leases/${lease}/ack`)).status, 404, 'the lease is not of this user');
  t.same((await ask('POST', `/leases/${lease}/ack`, { user: '' })).json, { settled: 1, remaining: 0 });
  const none = await fetch(`${gateway.url}/v1/queues/raw/lease`, { method: 'POST', headers: accept });
  t.equal(none.status, 204);
});

t.test('settling: some of them, again, by range, unknown ones', async (t) => {
  await filledQueue('settle', '1', '2', '3', '4', '5');
  const { json } = await ask('POST', '/queues/settle/lease?max=5');
  const path = `/leases/${json['lease']}`;
  t.same((await ask('POST', `${path}/ack?deliveries=1,3-4`)).json, { settled: 3, remaining: 2 });
  t.same((await ask('POST', `${path}/ack?deliveries=1-4`)).json, { settled: 1, remaining: 1 });
  t.match((await ask('POST', `${path}/ack?deliveries=5-6`)).json, { error: 'unknown-delivery' });
  for (const wrong of ['x', '0', '2-1', '1--2', '1,,2', '-1', '9999999999']) {
    t.ok((await ask('POST', `${path}/ack?deliveries=${wrong}`)).status >= 400, wrong);
  }
  t.same((await ask('POST', `${path}/requeue`)).json, { settled: 1, remaining: 0 });
  t.match((await ask('POST', `${path}/ack`)).json, { error: 'not-found' }, 'an empty lease is gone');
  const again = await ask('POST', '/queues/settle/lease?max=5');
  t.match(messagesOf(again.json), [{ payload: '5', redeliveries: 1 }]);
  t.same((await ask('POST', `/leases/${again.json['lease']}/discard`)).json, { settled: 1, remaining: 0 });
  t.same(await counts('settle'), { ready: 0, unsettled: 0 });
});

t.test('a lease that expires gives its messages back; one that is extended does not', async (t) => {
  await filledQueue('expiring', '1', '2');
  const first = (await ask('POST', '/queues/expiring/lease?lease_ms=1000')).json;
  const second = (await ask('POST', '/queues/expiring/lease?lease_ms=1000')).json;
  t.match([messagesOf(first), messagesOf(second)], [[{ payload: '1' }], [{ payload: '2' }]]);
  t.equal(first['expires_at_ms'], clock.now() + 1000);
  t.match((await ask('POST', `/leases/${second['lease']}/extend?lease_ms=5000`)).json, {
    expires_at_ms: clock.now() + 5000,
    remaining: 1,
  });
  clock.advance(1000);
  t.same(await counts('expiring'), { ready: 1, unsettled: 1 });
  t.equal((await ask('POST', `/leases/${first['lease']}/ack`)).status, 404);
  t.same((await ask('POST', `/leases/${second['lease']}/ack`)).json, { settled: 1, remaining: 0 });
  t.match(messagesOf((await ask('POST', '/queues/expiring/lease')).json), [{ payload: '1', redeliveries: 1 }]);
});

t.test('leases: ids cannot be guessed, belong to a user, and are bounded in what they take', async (t) => {
  await filledQueue('bounded', 'x'.repeat(20_000), 'x'.repeat(20_000), 'x'.repeat(20_000));
  const { json } = await ask('POST', '/queues/bounded/lease?max=1000', { user: 'ann:pass:word' });
  t.equal(messagesOf(json).length, 2, 'the message that goes over the byte limit is the last');
  t.match(json['lease'], /^[\w-]{24}$/);
  for (const user of ['', 'bob:b', 'admin:secret']) {
    t.equal((await ask('POST', `/leases/${json['lease']}/ack`, { user })).status, 404, user);
  }
  t.equal((await ask('POST', `/leases/${json['lease']}/ack`, { user: 'ann:pass:word' })).status, 200);
  const { leaseMessagesMax, leaseMsMax, leaseWaitMsMax } = limitsWith();
  for (const query of [
    `max=${leaseMessagesMax + 1}`,
    'max=0',
    `lease_ms=${leaseMsMax + 1}`,
    `wait_ms=${leaseWaitMsMax + 1}`,
  ]) {
    t.equal((await ask('POST', `/queues/bounded/lease?${query}`)).status, 400, query);
  }
  t.equal((await ask('POST', '/queues/nowhere/lease')).status, 404);
});

t.test('a long poll is answered by a message, by time, or by the end of its queue', async (t) => {
  await filledQueue('polled');
  t.same((await ask('POST', '/queues/polled/lease')).json, { lease: null, messages: [] });
  const before = subscriptions();
  const waiting = ask('POST', '/queues/polled/lease?wait_ms=10000&max=10');
  await untilSubscriptions(before + 1);
  await ask('POST', '/queues/polled/messages', { raw: 'late' });
  const { json } = await waiting;
  t.match(messagesOf(json), [{ payload: 'late' }]);
  await ask('POST', `/leases/${json['lease']}/ack`);
  t.equal(subscriptions(), before);

  const timed = ask('POST', '/queues/polled/lease?wait_ms=10000');
  await untilSubscriptions(before + 1);
  clock.advance(10_000);
  t.same((await timed).json, { lease: null, messages: [] });
  await untilSubscriptions(before);

  const orphaned = ask('POST', '/queues/polled/lease?wait_ms=10000');
  await untilSubscriptions(before + 1);
  await ask('DELETE', '/queues/polled');
  t.match((await orphaned).json, { error: 'not-found' });
});

/** Subscriptions of all HTTP users: leases are no consumers of their queue, but counted here. */
function subscriptions(): number {
  return gateway.broker.admin.clients().reduce((sum, client) => sum + client.subscriptions, 0);
}

/** Give the server turns until the count of subscriptions is as wanted. */
async function untilSubscriptions(wanted: number): Promise<void> {
  for (let turn = 0; turn < 100_000; turn++) {
    if (subscriptions() === wanted) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`${subscriptions()} subscriptions instead of ${wanted}`);
}

t.test('a requester that goes away gets nothing, and nothing is lost', async (t) => {
  await filledQueue('left');
  const before = subscriptions();
  const socket = createConnection(gateway.port, '127.0.0.1');
  socket.write('POST /v1/queues/left/lease?wait_ms=20000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n');
  await untilSubscriptions(before + 1);
  socket.destroy();
  await untilSubscriptions(before);
  await ask('POST', '/queues/left/messages', { raw: 'kept' });
  t.same(await counts('left'), { ready: 1, unsettled: 0 });
});

t.test('retained values: last one wins, listed by filter, removed by an empty one', async (t) => {
  t.equal((await ask('GET', '/topics/rooms/a/temp')).status, 404);
  await ask('POST', '/topics/rooms/a/temp?retain=true', { raw: '1' });
  await ask('POST', '/topics/rooms/a/temp?retain=true', { raw: '2', headers: { 'content-type': 'text/html' } });
  await ask('POST', '/topics/rooms/b/temp?retain=true', { raw: '3' });
  await ask('POST', '/topics/rooms/a/temp', { raw: 'not retained' });
  const last = await ask('GET', '/topics/rooms/a/temp');
  t.same([last.text, last.headers.get('content-type')], ['2', 'text/html']);
  t.match(last.headers.get('content-security-policy'), /sandbox/);
  const asJson = await ask('GET', '/topics/rooms/a/temp', { headers: { accept: 'application/json' } });
  t.match(asJson.json, { payload: '2', retained: true, properties: { content_type: 'text/html' } });
  const list = await ask('GET', '/retained?pattern=rooms/%2B/temp');
  t.same((list.json['items'] as Item[]).map((item) => item['payload']).sort(), ['2', '3']);
  t.equal((await ask('GET', '/retained?pattern=rooms/%23/temp')).status, 400);
  await ask('POST', '/topics/rooms/a/temp?retain=true', { raw: '' });
  t.equal((await ask('GET', '/topics/rooms/a/temp')).status, 404);
});

t.test('stopping ends long polls, and what was confirmed or leased is there after a restart', async (t) => {
  const dir = t.testdir();
  const first = await openGateway({ dir });
  await call(first.url, 'PUT', '/v1/queues/kept');
  for (const raw of ['1', '2', '3']) await call(first.url, 'POST', '/v1/queues/kept/messages', { raw });
  await call(first.url, 'POST', '/v1/queues/kept/messages?persistent=false', { raw: 'transient' });
  const leased = (await call(first.url, 'POST', '/v1/queues/kept/lease?max=2')).json;
  t.same((await call(first.url, 'POST', `/v1/leases/${leased['lease']}/ack?deliveries=1`)).json, {
    settled: 1,
    remaining: 1,
  });
  await call(first.url, 'PUT', '/v1/queues/idle');
  const waiting = call(first.url, 'POST', '/v1/queues/idle/lease?wait_ms=20000');
  for (let turn = 0; turn < 10_000 && (first.broker.admin.clients()[0]?.subscriptions ?? 0) < 2; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await first.close();
  t.match([(await waiting).status, (await waiting).json], [200, { lease: null, messages: [] }]);
  const second = await openGateway({ dir });
  t.teardown(() => second.close());
  const { json } = await call(second.url, 'POST', '/v1/queues/kept/lease?max=10');
  t.same(
    messagesOf(json).map((message) => message['payload']),
    ['2', '3'],
  );
});
