import t from 'tap';
import { fileGateway } from './gateway.ts';

const gateway = await fileGateway();
const { ask } = gateway;

async function payloads(path: string): Promise<string[]> {
  const { json } = await ask('GET', path);
  return (json['messages'] as { payload: string }[]).map(({ payload }) => payload);
}

t.test('make, append, read from any place, change, cut, delete', async (t) => {
  const made = await ask('PUT', '/streams/s', { body: { partitions: 2, retention_ms: 60_000 } });
  t.match([made.status, made.json], [201, { name: 's', retention_ms: 60_000, partitions: [{ start: 0 }, { end: 0 }] }]);
  t.equal((await ask('PUT', '/streams/s', { body: { partitions: 2, retention_ms: 60_000 } })).status, 200);
  t.equal((await ask('PUT', '/streams/s', { body: { partitions: 3 } })).status, 409);
  const items = [0, 1, 2, 3].map((n) => ({ payload: `m${n}`, partition: n % 2, headers: { n } }));
  const { json } = await ask('POST', '/streams/s/messages', { body: items });
  t.same(json, {
    confirmed: 4,
    results: [0, 1, 2, 3].map((n) => ({ partition: n % 2, offset: Math.floor(n / 2) })),
  });
  const first = (await ask('GET', '/streams/s/partitions/0/messages')).json;
  t.match(first, {
    next: 2,
    start: 0,
    end: 2,
    messages: [{ offset: 0, payload: 'm0', headers: { n: 0 } }, { offset: 1 }],
  });
  t.same(await payloads('/streams/s/partitions/1/messages?offset=1'), ['m3']);
  t.same(await payloads('/streams/s/partitions/1/messages?from=last'), ['m3']);
  t.same(await payloads('/streams/s/partitions/1/messages?last_n=2&max=1'), ['m1']);
  t.same(await payloads('/streams/s/partitions/1/messages?time_ms=0'), ['m1', 'm3']);
  t.same(await payloads('/streams/s/partitions/1/messages?from=next'), []);
  const grouped = await ask('POST', '/streams/s/messages', { body: [{ payload: 'g', group: 'sensor 1' }] });
  const { partition } = (grouped.json['results'] as { partition: number }[])[0] as { partition: number };
  const last = (await ask('GET', `/streams/s/partitions/${partition}/messages?from=last`)).json;
  t.match(last, { messages: [{ group: 'sensor 1', payload: 'g' }] });
  t.match((await ask('PUT', '/streams/s?alter=true', { body: { partitions: 3 } })).json, { partitions: [{}, {}, {}] });
  t.same((await ask('DELETE', '/streams/s/partitions/0/messages?before=1')).json, { start: 1 });
  t.same((await ask('GET', '/streams?limit=5')).json['total'], 1);
  t.equal((await ask('DELETE', '/streams/s')).status, 204);
  t.equal((await ask('GET', '/streams/s')).status, 404);
});

t.test('a read at the end waits for what comes', async (t) => {
  await ask('PUT', '/streams/tail');
  const reading = ask('GET', '/streams/tail/partitions/0/messages?from=next&wait_ms=30000');
  // The request is in when another one behind it on the same server has been answered and a reader is there.
  for (let n = 0; n < 1000; n++) {
    const { json } = await ask('GET', '/streams/tail');
    if ((json['partitions'] as { readers: number }[])[0]?.readers === 1) break;
  }
  await ask('POST', '/streams/tail/messages', { body: [{ payload: 'late' }] });
  t.match((await reading).json, { next: 1, messages: [{ payload: 'late' }] });
});

t.test('names of the broker are reserved', async (t) => {
  t.match((await ask('PUT', '/streams/amq.log')).json, { error: 'access-refused' });
});

t.test('a reader begins at one place; share groups take no filter', async (t) => {
  await ask('PUT', '/streams/place');
  const where = '/streams/place/partitions/0/messages';
  t.match((await ask('GET', `${where}?from=first&offset=0`)).json, {
    error: 'invalid-argument',
    message: /only one of from, offset/,
  });
  t.equal((await ask('GET', `${where}?time_ms=0&last_n=1`)).status, 400);
  t.match((await ask('POST', '/queues/place/lease?group=g&filter=urgent')).json, { error: 'invalid-argument' });
  t.same((await ask('GET', '/streams/place/groups')).json['items'], []);
});

t.test('numbered messages are taken once; an old instance is refused', async (t) => {
  await ask('PUT', '/streams/once');
  const { json: origin } = await ask('POST', '/producers', { body: { name: 'meter' } });
  const path = `/streams/once/messages?producer=${origin['id']}&epoch=${origin['epoch']}`;
  const body = [0, 1].map((sequence) => ({ payload: `${sequence}`, partition: 0, sequence }));
  t.match((await ask('POST', path, { body })).json, { results: [{ offset: 0 }, { offset: 1 }] });
  t.match((await ask('POST', path, { body })).json, { confirmed: 2, results: [{ offset: 0 }, { offset: 1 }] });
  t.match((await ask('POST', path, { body: [{ partition: 0, sequence: 5 }] })).json, {
    results: [{ error: 'out-of-order' }],
  });
  await ask('POST', '/producers', { body: { name: 'meter' } });
  t.match((await ask('POST', path, { body: [{ partition: 0, sequence: 2 }] })).json, {
    results: [{ error: 'fenced' }],
  });
  t.match((await ask('GET', '/producers')).json, { total: 1, items: [{ name: 'meter', epoch: 1 }] });
  t.equal((await ask('DELETE', '/producers/meter')).status, 204);
  t.same(await payloads('/streams/once/partitions/0/messages'), ['0', '1']);
});

t.test('groups: offsets with notes, lag, the end', async (t) => {
  await ask('PUT', '/streams/work');
  await ask('POST', '/streams/work/messages', { body: [{ payload: 'a' }, { payload: 'b' }] });
  const offsets = [{ stream: 'work', partition: 0, offset: 1, metadata: 'half way' }];
  t.equal((await ask('PUT', '/groups/g/offsets', { body: offsets })).status, 204);
  t.match((await ask('GET', '/groups/g')).json, {
    name: 'g',
    strategy: 'cooperative-sticky',
    offsets: [{ stream: 'work', partition: 0, offset: 1, metadata: 'half way', lag: 1 }],
  });
  const behind = [{ stream: 'work', partition: 0, offset: 3 }];
  t.equal((await ask('PUT', '/groups/g/offsets', { body: behind })).status, 416);
  t.equal((await ask('DELETE', '/groups/g')).status, 204);
  t.equal((await ask('GET', '/groups/g')).status, 404);
});

t.test('messages and offsets in one transaction', async (t) => {
  await ask('PUT', '/streams/in');
  await ask('PUT', '/streams/out');
  await ask('POST', '/streams/in/messages', { body: [{ payload: 'raw' }] });
  const transaction = (offset: number) => ({
    publishes: [{ queue: 'out', payload: 'made of raw' }],
    offsets: [{ group: 'maker', stream: 'in', partition: 0, offset }],
  });
  t.equal((await ask('POST', '/transactions', { body: transaction(2) })).status, 416);
  t.match((await ask('POST', '/transactions', { body: transaction(1) })).json, { published: 1 });
  t.same(await payloads('/streams/out/partitions/0/messages'), ['made of raw']);
  t.match((await ask('GET', '/groups/maker')).json, { offsets: [{ stream: 'in', offset: 1, lag: 0 }] });
});

t.test('an exchange leads to a stream', async (t) => {
  await ask('PUT', '/streams/bound');
  const binding = { source: 'amq.topic', stream: 'bound', key: 'a.#' };
  t.equal((await ask('POST', '/bindings', { body: binding })).status, 204);
  await ask('POST', '/publish/amq.topic/a.b', { raw: 'through' });
  t.same(await payloads('/streams/bound/partitions/0/messages'), ['through']);
  t.match((await ask('GET', '/bindings?stream=bound')).json, {
    total: 1,
    items: [{ target: { kind: 'topic', name: 'bound' } }],
  });
  t.equal((await ask('POST', '/bindings/delete', { body: binding })).status, 204);
});

t.test('share groups: settings, a lease that lasts longer than the lock, dead letters', async (t) => {
  await ask('PUT', '/streams/hard');
  await ask('PUT', '/queues/hard-dead');
  await ask('POST', '/streams/hard/messages', { body: [{ payload: 'a' }, { payload: 'b' }] });
  const dead_letter = { exchange: '', key: 'hard-dead' };
  const set = (body: object) => ask('PUT', '/streams/hard/groups/g', { body });
  t.match((await set({ from: 'first', dead_letter })).json, { name: 'g', dead_letter, partitions: [{ start: 0 }] });
  t.match((await set({ from: 'first', dead_letter: { exchange: 'none' } })).json, { error: 'not-found' });
  t.match((await set({ dead_letter: {} })).json, { error: 'invalid-argument' });
  t.match((await ask('PUT', '/streams/none/groups/g', { body: {} })).json, { error: 'not-found' });
  t.equal((await ask('PUT', '/streams/hard/groups/g', { body: {}, user: 'ann:pass:word' })).status, 403);
  const { json } = await ask('POST', '/queues/hard/lease?group=g&max=2');
  t.match((await ask('POST', `/leases/${json['lease']}/extend?lease_ms=600000`)).json, { remaining: 2 });
  t.match((await ask('POST', `/leases/${json['lease']}/discard?deliveries=2`)).json, { settled: 1, remaining: 1 });
  const dead = await ask('POST', '/queues/hard-dead/lease?wait_ms=5000');
  t.match(dead.json, { messages: [{ payload: 'b', headers: { 'x-death': [{ queue: 'hard', reason: 'rejected' }] } }] });
  t.match((await ask('GET', '/streams/hard/groups')).json, {
    items: [{ dead_letter, dead_lettered: 1, partitions: [{ held: 1, leaving: 0 }] }],
  });
  t.match((await set({})).json, { dead_letter: null });
});

t.test('bad requests get typed errors', async (t) => {
  await ask('PUT', '/streams/bad');
  const cases: [string, string, unknown, number][] = [
    ['GET', '/streams/none', undefined, 404],
    ['PUT', '/streams/x', { partitions: 0 }, 400],
    ['PUT', '/streams/x', { partitions: 1_000_000_000 }, 429],
    ['PUT', '/streams/x', { unknown: 1 }, 400],
    ['POST', '/streams/none/messages', [{ payload: 'x' }], 404],
    ['GET', '/streams/bad/partitions/0/messages?offset=1', undefined, 416],
    ['GET', '/streams/bad/partitions/7/messages', undefined, 400],
    ['GET', '/streams/none/partitions/0/messages', undefined, 404],
    ['DELETE', '/streams/bad/partitions/0/messages?before=9', undefined, 416],
  ];
  for (const [method, path, body, status] of cases) {
    t.equal((await ask(method, path, body === undefined ? {} : { body })).status, status, `${method} ${path}`);
  }
  const { json } = await ask('POST', '/streams/bad/messages', { body: [{ partition: 9 }, { payload: 'fine' }] });
  t.match(json, { confirmed: 1, results: [{ error: 'invalid-argument' }, { offset: 0 }] });
});
