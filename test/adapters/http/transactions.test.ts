/** Transactions over HTTP and WebSocket. docs/transactions.md */
import t from 'tap';
import { WsPeer } from '../ws/peer.ts';
import { call, type Gateway, openGateway, TestClock } from './gateway.ts';

let gateway: Gateway;
const clock = new TestClock();
t.before(async () => {
  gateway = await openGateway({ dir: t.testdir(), clock, limits: { transactionItemsMax: 8 } });
  for (const queue of ['in', 'out', 'audit']) await ask('PUT', `/queues/${queue}`);
  const args = { 'x-max-length': 1, 'x-overflow': 'reject-publish' };
  await ask('PUT', '/queues/full', { body: { arguments: args } });
});
t.teardown(() => gateway.close());
t.afterEach(async () => {
  t.same(gateway.logged, [], 'nothing failed inside');
  for (const queue of ['in', 'out', 'audit', 'full']) await gateway.broker.admin.purgeQueue('/', queue);
});

const ask = (method: string, path: string, options?: Parameters<typeof call>[3]) =>
  call(gateway.url, method, `/v1${path}`, options);
const transact = (body: object) => ask('POST', '/transactions', { body });
const ready = (queue: string): number => gateway.broker.admin.queue('/', queue)?.ready ?? -1;

async function lease(count: number): Promise<string> {
  for (let n = 1; n <= count; n++) await ask('POST', '/queues/in/messages', { raw: `${n}` });
  return (await ask('POST', `/queues/in/lease?max=${count}`)).json['lease'] as string;
}

t.test('publishes and settlements of leases in one request', async (t) => {
  const id = await lease(3);
  const { status, json } = await transact({
    publishes: [
      { queue: 'out', payload: 'result' },
      { topic: 'nobody/listens', payload: 'x' },
      { exchange: '', key: 'audit', payload: 'done', persistent: false },
    ],
    settlements: [
      { lease: id, op: 'ack', deliveries: '1-2' },
      { lease: id, op: 'requeue', deliveries: '3' },
    ],
  });
  t.same([status, json], [200, { published: 3, settled: 3 }]);
  t.same([ready('in'), ready('out'), ready('audit')], [1, 1, 1]);
  t.equal((await ask('POST', `/leases/${id}/ack`)).status, 404, 'a lease with nothing left is over');
});

t.test('one part that cannot be done: none is, and the lease is as it was', async (t) => {
  const id = await lease(2);
  const good = { queue: 'out', payload: 'result' };
  const ack = { lease: id, op: 'ack' };
  const cases: [name: string, status: number, error: string, body: object][] = [
    ['a queue that is not there', 404, 'unroutable', { publishes: [good, { queue: 'none', payload: '' }] }],
    ['an exchange that is not there', 404, 'not-found', { publishes: [good, { exchange: 'none', payload: '' }] }],
    ['nobody takes a mandatory one', 404, 'unroutable', { publishes: [good, { topic: 'a', mandatory: true }] }],
    ['a full queue', 429, 'limit-exceeded', { publishes: [good, { queue: 'full' }, { queue: 'full' }] }],
    ['a lease that is not there', 404, 'not-found', { publishes: [good], settlements: [ack, { ...ack, lease: 'x' }] }],
    ['deliveries it does not hold', 404, 'unknown-delivery', { settlements: [{ ...ack, deliveries: '2-3' }] }],
    ['a delivery twice', 400, 'invalid-argument', { publishes: [good], settlements: [ack, ack] }],
    ['bad base64', 400, 'invalid-argument', { publishes: [good, { queue: 'out', payload: '%', encoding: 'base64' }] }],
    ['too much', 429, 'limit-exceeded', { publishes: Array.from({ length: 9 }, () => good) }],
    ['two targets', 400, 'invalid-argument', { publishes: [good, { queue: 'out', topic: 'x' }] }],
    ['a member it does not know', 400, 'invalid-argument', { publishes: [good], commit: true }],
    ['an operation it does not know', 400, 'invalid-argument', { settlements: [{ ...ack, op: 'eat' }] }],
  ];
  for (const [name, status, error, body] of cases) {
    const answer = await transact(body);
    t.match([answer.status, answer.json], [status, { error }], name);
  }
  t.same([ready('in'), ready('out'), ready('full')], [0, 0, 0]);
  t.match((await ask('POST', `/leases/${id}/ack`)).json, { settled: 2 });
});

t.test('a lease that has expired', async (t) => {
  const id = await lease(1);
  clock.advance(40_000);
  const body = { publishes: [{ queue: 'out', payload: 'late' }], settlements: [{ lease: id, op: 'ack' }] };
  t.match((await transact(body)).json, { error: 'not-found' });
  t.same([ready('in'), ready('out')], [1, 0]);
});

t.test('administrators list and roll back open transactions', async (t) => {
  const identity = { user: 'bob', clientId: '', protocol: 'test', peer: '' };
  const client = gateway.broker.client('/', identity, {});
  const producer = client.producer({});
  const transaction = producer.transaction();
  t.same((await ask('GET', '/transactions')).json, { total: 0, items: [] });
  await lease(1);
  const subscription = client.subscribe('in', { credit: 0 }, { onDeliveries: () => {} });
  t.throws(() => transaction.settle(subscription, 1, 1, 'complete'), { code: 'unknown-delivery' });
  const { Message, RoutingKey } = await import('../../../src/core/index.ts');
  transaction.publish(producer.address('', new RoutingKey('out', 0x2e)), new Message(), 0);
  const listed = (await ask('GET', '/transactions?limit=1')).json['items'] as { id: number }[];
  t.match(listed, [{ id: Number, connection: Number, user: 'bob', vhost: '/', publishes: 1, settlements: 0 }]);
  t.equal((await ask('GET', '/transactions', { user: 'ann:pass:word' })).status, 403);
  t.equal((await ask('DELETE', `/transactions/${listed[0]?.id}`)).status, 204);
  t.equal((await ask('DELETE', `/transactions/${listed[0]?.id}`)).status, 404);
  t.throws(() => transaction.commit(() => {}), { code: 'precondition-failed' });
  client.close();
});

t.test('WebSocket: one frame', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  for (const raw of ['1', '2', '3']) await ask('POST', '/queues/in/messages', { raw });
  await peer.ask({ op: 'subscribe', id: 's', queue: 'in', credit: 2 });
  t.match(await peer.next({ op: 'message' }), { delivery: 1 });
  t.match(await peer.next({ op: 'message' }), { delivery: 2 });
  const settlements = [{ sub: 's', op: 'ack', deliveries: [[1, 2]] }];
  const publishes = [{ queue: 'out', payload: 'result' }];
  const failing = { op: 'transaction', settlements, publishes: [...publishes, { queue: 'none' }] };
  t.match(await peer.ask({ ...failing, id: 1 }), { op: 'error', code: 'unroutable', message: /publish 2/ });
  t.same(ready('out'), 0);
  t.match(await peer.ask({ op: 'transaction', id: 2, settlements: [{ sub: 's', op: 'ack', delivery: 3 }] }), {
    code: 'unknown-delivery',
  });
  t.match(await peer.ask({ op: 'transaction', id: 3, settlements: [{ sub: 'x', op: 'ack', delivery: 1 }] }), {
    code: 'not-found',
  });
  t.match(await peer.ask({ op: 'transaction', id: 4, settlements: [{ sub: 's', op: 'ack' }] }), {
    code: 'invalid-argument',
  });
  t.same(await peer.ask({ op: 'transaction', id: 5, settlements, publishes }), {
    ...{ op: 'ok', id: 5, published: 1, settled: 2 },
  });
  t.match(await peer.next({ op: 'message' }), { delivery: 3, payload: '3' }, 'there is room for the next one');
  t.equal(ready('out'), 1);
  await peer.close();
});

t.test('given back with a time, over HTTP and WebSocket', async (t) => {
  const deferred = async () =>
    ((await ask('GET', '/queues/in/deferred')).json['items'] as { due_ms: number; failures: number }[]).map(
      ({ due_ms, failures }) => [due_ms, failures],
    );
  const id = await lease(2);
  const farMs = Date.now() + 600_000;
  const back = { lease: id, op: 'requeue', failed: true };
  t.match((await transact({ settlements: [{ ...back, op: 'ack', deliver_at_ms: farMs }] })).json, {
    error: 'invalid-argument',
  });
  t.match((await transact({ settlements: [{ ...back, delay_ms: -1 }] })).json, { error: 'invalid-argument' });
  const settlements = [
    { ...back, deliveries: '1', deliver_at_ms: farMs },
    { ...back, deliveries: '2', failed: false, deliver_at_ms: farMs + 1 },
  ];
  t.match((await transact({ settlements, publishes: [{ queue: 'out', payload: 'x' }] })).json, { settled: 2 });
  t.same(await deferred(), [
    [farMs, 1],
    [farMs + 1, 0],
  ]);
  await ask('POST', '/queues/in/deferred/release');
  const peer = await WsPeer.open(gateway.port);
  await peer.ask({ op: 'subscribe', id: 's', queue: 'in' });
  for (let n = 0; n < 2; n++) await peer.next({ op: 'message' });
  const settle = { sub: 's', op: 'requeue', deliver_at_ms: farMs };
  const all = [
    { ...settle, delivery: 1, failed: true },
    { sub: 's', op: 'ack', delivery: 2 },
  ];
  t.match(await peer.ask({ op: 'transaction', id: 1, settlements: [{ ...settle, delivery: 1, op: 'ack' }] }), {
    op: 'error',
    code: 'invalid-argument',
  });
  t.match(await peer.ask({ op: 'transaction', id: 2, settlements: all }), { op: 'ok', settled: 2 });
  t.same(await deferred(), [[farMs, 2]]);
  await peer.close();
});
