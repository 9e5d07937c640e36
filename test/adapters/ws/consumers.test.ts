/** Consumers over WebSocket and HTTP: counts, shares, one active at a time, time to settle, listing. */
import t from 'tap';
import { fileGateway } from '../http/gateway.ts';
import { WsPeer } from './peer.ts';

const gateway = await fileGateway();
const { ask } = gateway;

async function queue(name: string, args: object, ...payloads: string[]): Promise<void> {
  t.equal((await ask('PUT', `/queues/${name}`, { body: { arguments: args } })).status, 201);
  for (const raw of payloads) await ask('POST', `/queues/${name}/messages`, { raw });
}

t.test('what was requeued, has failed, or was held by a connection that vanished is counted', async (t) => {
  await queue('counted', {}, 'm');
  const peer = await WsPeer.open(gateway.port);
  await peer.ask({ op: 'subscribe', id: 's', queue: 'counted' });
  t.match(await peer.next({ op: 'message' }), { delivery: 1, redeliveries: 0, failures: 0 });
  await peer.ask({ op: 'requeue', id: 1, sub: 's', delivery: 1 });
  t.match(await peer.next({ op: 'message' }), { delivery: 2, redeliveries: 1, failures: 0 });
  await peer.ask({ op: 'requeue', id: 2, sub: 's', delivery: 2, failed: true });
  t.match(await peer.next({ op: 'message' }), { delivery: 3, redeliveries: 2, failures: 1 });
  t.match(await peer.ask({ op: 'ack', id: 3, sub: 's', delivery: 3, failed: true }), { code: 'invalid-argument' });
  peer.socket.terminate();
  const { json } = await ask('POST', '/queues/counted/lease?wait_ms=2000');
  t.match(json['messages'], [{ redeliveries: 3, failures: 2 }], 'lost');
  await ask('POST', `/leases/${json['lease']}/requeue?failed=true`);
  const accept = { accept: 'application/octet-stream' };
  const { headers } = await ask('POST', '/queues/counted/lease', { headers: accept });
  t.same([headers.get('x-redeliveries'), headers.get('x-failures')], ['4', '3']);
  const wrong = await ask('POST', `/leases/${headers.get('x-lease')}/ack?failed=true`);
  t.match([wrong.status, wrong.json], [400, { error: 'invalid-argument' }]);
  await ask('POST', `/leases/${headers.get('x-lease')}/requeue`);
  const orderly = await WsPeer.open(gateway.port);
  await orderly.ask({ op: 'subscribe', id: 's', queue: 'counted' });
  t.match(await orderly.next({ op: 'message' }), { redeliveries: 5, failures: 3 });
  await orderly.close();
  const again = await ask('POST', '/queues/counted/lease?wait_ms=2000');
  t.match(again.json['messages'], [{ redeliveries: 6, failures: 3 }], 'closed in order');
});

t.test('consumers are listed, with what they asked for; what cannot be is refused', async (t) => {
  await queue('listed', {});
  const peer = await WsPeer.open(gateway.port);
  const subscribe = { op: 'subscribe', queue: 'listed' };
  await peer.ask({ ...subscribe, id: 'a', weight: 5, credit: 7 });
  await peer.ask({ ...subscribe, id: 'b', priority: 3, timeout_ms: -1 });
  const { json } = await ask('GET', '/queues/listed/consumers');
  t.match(json, {
    total: 2,
    items: [
      { tag: 'b', priority: 3, weight: 1, timeout_ms: null, active: true, protocol: 'ws', credit: 100 },
      { tag: 'a', priority: 0, weight: 5, timeout_ms: 1_800_000, credit: 7, unsettled: 0, exclusive: false },
    ],
  });
  t.same((await ask('GET', '/queues/listed/consumers?name=a')).json['total'], 1);
  t.equal((await ask('GET', '/queues/none/consumers')).status, 404);
  const { connection } = (json['items'] as { connection: number }[])[0] as { connection: number };
  const end = `/queues/listed/consumers?connection=${connection}`;
  t.equal((await ask('DELETE', `${end}&tag=b`)).status, 204);
  t.match(await peer.next({ op: 'end' }), { sub: 'b', code: 'closed-by-operator' });
  t.equal((await ask('DELETE', `${end}&tag=b`)).status, 404);
  t.equal((await ask('DELETE', `${end}&tag=a`, { user: 'ann:pass:word' })).status, 403);
  t.equal((await ask('DELETE', '/queues/listed/consumers')).status, 400);
  for (const wrong of [{ weight: 0 }, { weight: 'x' }, { timeout_ms: 0 }, { priority: 0.5 }]) {
    t.match(await peer.ask({ ...subscribe, id: 'c', ...wrong }), { op: 'error', code: 'invalid-argument' });
  }
  t.match(await peer.ask({ op: 'subscribe', id: 'c', topic: 'x', weight: 2 }), { code: 'invalid-argument' });
  await peer.close();
});

t.test('single active: told with a frame, before the first message', async (t) => {
  await queue('single', { 'x-single-active-consumer': true }, 'm');
  const [first, second] = [await WsPeer.open(gateway.port), await WsPeer.open(gateway.port)];
  const subscribe = { op: 'subscribe', id: 's', queue: 'single' };
  await first.ask(subscribe);
  t.same(await first.next({ sub: 's' }), { op: 'active', sub: 's', active: true });
  t.match(await first.next({ sub: 's' }), { op: 'message', delivery: 1 });
  await second.ask({ ...subscribe, priority: 1 });
  t.same(await first.next({ op: 'active' }), { op: 'active', sub: 's', active: false });
  t.same(
    second.waiting.filter(({ op }) => op !== 'hello'),
    [],
  );
  await first.ask({ op: 'requeue', id: 1, sub: 's', delivery: 1 });
  t.same(await second.next({ sub: 's' }), { op: 'active', sub: 's', active: true });
  t.match(await second.next({ op: 'message' }), { redeliveries: 1 });
  t.match((await ask('POST', '/queues/single/lease')).json, { error: 'resource-locked' });
  await Promise.all([first.close(), second.close()]);
});

t.test('a delivery kept for too long ends the subscription, with the reason', async (t) => {
  await queue('slow', {}, 'm');
  const peer = await WsPeer.open(gateway.port);
  await peer.ask({ op: 'subscribe', id: 's', queue: 'slow', timeout_ms: 20 });
  await peer.next({ op: 'message' });
  t.match(await peer.next({ op: 'end' }), { sub: 's', code: 'consumer-timeout' });
  t.match((await ask('GET', '/queues/slow')).json, { ready: 1, unsettled: 0, consumers: 0 });
  await peer.close();
});

t.test(
  'what is given back may wait: for a time that is said, or by the rule of the queue, until it is let go',
  async (t) => {
    await queue('waiting', { 'x-delayed-retry-type': 'failed', 'x-delayed-retry-min': 3_600_000 }, 'a', 'b', 'c', 'd');
    const peer = await WsPeer.open(gateway.port);
    await peer.ask({ op: 'subscribe', id: 's', queue: 'waiting', credit: 3 });
    const requeue = { op: 'requeue', sub: 's' };
    await peer.ask({ ...requeue, id: 1, delivery: 1, failed: true });
    await peer.ask({ ...requeue, id: 2, delivery: 2, delay_ms: 3_600_000 });
    await peer.ask({ ...requeue, id: 3, delivery: 3, deliver_at_ms: Date.now() + 3_600_000 });
    t.match(await peer.ask({ ...requeue, id: 4, delivery: 4, deliver_at_ms: 9e15 }), { code: 'invalid-argument' });
    t.match(await peer.ask({ ...requeue, id: 5, delivery: 4, delay_ms: -1 }), { code: 'invalid-argument' });
    t.match(await peer.ask({ ...requeue, id: 7, delivery: 4, delay_ms: 1, deliver_at_ms: 1 }), {
      message: /only one of delay_ms, deliver_at_ms/,
    });
    await peer.ask({ ...requeue, id: 6, delivery: 4, failed: true, delay_ms: 0 });
    await peer.close();
    t.match((await ask('GET', '/queues/waiting')).json, { ready: 1, deferred: 3 });
    const { json } = await ask('POST', '/queues/waiting/lease');
    t.match(json['messages'], [{ payload: 'd', failures: 1 }], 'at once, as it was said');
    t.equal((await ask('POST', `/leases/${json['lease']}/ack?delay_ms=5`)).status, 400);
    await ask('POST', `/leases/${json['lease']}/requeue?delay_ms=3600000`);
    t.match((await ask('GET', '/queues/waiting')).json, { ready: 0, deferred: 4 });
    const listed = (await ask('GET', '/queues/waiting/deferred?limit=2')).json;
    t.match(listed, { total: 4, items: [{ redeliveries: 1, priority: 0 }, { redeliveries: 1 }] });
    t.equal((listed['items'] as unknown[]).length, 2);
    t.equal((await ask('GET', '/queues/none/deferred')).status, 404);
    t.same((await ask('POST', '/queues/waiting/deferred/release')).json, { messages: 4 });
    t.match((await ask('GET', '/queues/waiting')).json, { ready: 4, deferred: 0 });
  },
);
