/** Delayed messages over HTTP: publish, list, cancel, fire. */
import t from 'tap';
import { call, fileGateway } from './gateway.ts';

const HOUR_MS = 3_600_000;

const gateway = await fileGateway();
await gateway.ask('PUT', '/queues/q');

type Handles = { delayed?: string[] };

async function publish(headers: Record<string, string>, raw: string, queue = 'q'): Promise<string> {
  const { status, json } = await call(gateway.url, 'POST', `/v1/queues/${queue}/messages`, { raw, headers });
  t.equal(status, 200);
  t.equal(json['routed'], true);
  return (json as Handles).delayed?.[0] ?? '';
}

async function listed(query = ''): Promise<{ handle: string; due_ms: number }[]> {
  const { status, json } = await call(gateway.url, 'GET', `/v1/queues/q/delayed${query}`);
  t.equal(status, 200);
  return json['items'] as { handle: string; due_ms: number }[];
}

async function leased(max = 10): Promise<{ payload: string; deliver_at_ms?: number }[]> {
  const { json } = await call(gateway.url, 'POST', `/v1/queues/q/lease?max=${max}&wait_ms=5000`);
  await call(gateway.url, 'POST', `/v1/leases/${json['lease']}/ack`);
  return json['messages'] as { payload: string; deliver_at_ms?: number }[];
}

t.test('a delayed message has a handle; it is listed, cancelled, fired', async (t) => {
  const nowMs = Date.now();
  const later = await publish({ 'x-delay': String(2 * HOUR_MS) }, 'later');
  const soon = await publish({ 'x-deliver-at': String(nowMs + HOUR_MS) }, 'soon');
  const last = await publish({ 'x-delay-level': '99' }, 'as long as level 18');
  t.equal(await publish({}, 'now'), '', 'what does not wait has none');
  t.equal(await publish({ 'x-deliver-at': '1' }, 'long ago'), '');
  const items = await listed();
  t.same(
    items.map(({ handle }) => handle),
    [soon, later, last],
  );
  t.match(items[0], { due_ms: nowMs + HOUR_MS, priority: 0, persistent: true });
  t.ok((items[2]?.due_ms ?? 0) >= nowMs + 2 * HOUR_MS, 'two hours');
  t.match((await call(gateway.url, 'GET', '/v1/queues/q')).json, { ready: 2, delayed: 3 });
  t.same(
    (await leased()).map(({ payload }) => payload),
    ['now', 'long ago'],
  );
  t.same(
    (await listed(`?limit=1&after=${soon}`)).map(({ handle }) => handle),
    [later],
  );
  t.match((await call(gateway.url, 'DELETE', `/v1/queues/q/delayed/${later}`)).json, { cancelled: true });
  t.match((await call(gateway.url, 'POST', `/v1/queues/q/delayed/${soon}/fire`)).json, { fired: true });
  t.match(await leased(), [{ payload: 'soon', deliver_at_ms: nowMs + HOUR_MS }]);
  for (const [method, path] of [
    ['DELETE', `/v1/queues/q/delayed/${later}`],
    ['POST', `/v1/queues/q/delayed/${soon}/fire`],
    ['DELETE', `/v1/queues/nowhere/delayed/${last}`],
  ] as const) {
    const { status, json } = await call(gateway.url, method, path);
    t.match([status, json['error']], [404, 'not-found'], path);
  }
  t.equal((await call(gateway.url, 'DELETE', '/v1/queues/q/messages')).json['messages'], 1, 'a purge takes them too');
});

t.test('in a batch and in a transaction, and what is due comes', async (t) => {
  const batch = [
    { queue: 'q', payload: 'c', delay_ms: 120 },
    { queue: 'q', payload: 'a' },
    { queue: 'q', payload: 'b', delay_ms: 40, properties: { ttl_ms: 60_000 } },
    { queue: 'q', payload: 'bad', delay_ms: -1 },
  ];
  const { json } = await call(gateway.url, 'POST', '/v1/batch', { body: batch });
  const results = json['results'] as (Handles & { error?: string; message?: string })[];
  t.match(
    results.map(({ delayed }) => delayed?.length),
    [1, undefined, 1, undefined],
  );
  t.match(results[3], { error: 'invalid-argument', message: /delay_ms must be a whole number from 0 to \d+, not -1/ });
  const publishes = [{ queue: 'q', payload: 'd', delay_ms: 200 }];
  t.equal((await call(gateway.url, 'POST', '/v1/transactions', { body: { publishes } })).status, 200);
  const payloads: string[] = [];
  while (payloads.length < 4) payloads.push(...(await leased()).map(({ payload }) => payload));
  t.same(payloads, ['a', 'b', 'c', 'd']);
});

t.test('what makes no sense is refused', async (t) => {
  const refusals: [Record<string, string>, RegExp][] = [
    [{ 'x-delay': '-5' }, /x-delay must be a whole number from 0 to \d+, not -5/],
    [{ 'x-delay': 'soon' }, /x-delay must be a whole number/],
    [{ 'x-delay': '315360000001' }, /x-delay must be a whole number from 0 to 315360000000/],
    [{ 'x-deliver-at': String(Date.now() + 4e11) }, /at most 315360000000 \(ten years\)/],
    [{ 'x-delay': '1', 'x-delay-level': '1' }, /only one of x-delay, x-delay-level can be given/],
  ];
  for (const [headers, reason] of refusals) {
    const { status, json } = await call(gateway.url, 'POST', '/v1/queues/q/messages', { raw: 'x', headers });
    t.match([status, json['error']], [400, 'invalid-argument']);
    t.match(json['message'], reason);
  }
  t.equal((await call(gateway.url, 'DELETE', '/v1/queues/q/delayed/nonsense')).status, 400);
  t.equal((await call(gateway.url, 'GET', '/v1/queues/q/delayed?after=nonsense')).status, 400);
  t.match((await call(gateway.url, 'GET', '/v1/queues/q')).json, { ready: 0, delayed: 0 });
});
