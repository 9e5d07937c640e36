/** Topics over WebSocket: from a place on, with credit, and on again behind the last message seen. */
import t from 'tap';
import { fileGateway } from '../http/gateway.ts';
import { WsPeer } from './peer.ts';

const gateway = await fileGateway();
const { ask } = gateway;

t.test('read from a place on, with credit; go on after a break', async (t) => {
  await ask('PUT', '/streams/s');
  await ask('POST', '/streams/s/messages', { body: ['a', 'b', 'c'].map((payload) => ({ payload })) });
  const peer = await WsPeer.open(gateway.port);
  t.match(await peer.ask({ op: 'subscribe', id: 1, stream: 's', from: 'first', credit: 2 }), { op: 'ok', offset: 0 });
  t.match(await peer.next({ op: 'message' }), { sub: 1, offset: 0, payload: 'a' });
  t.match(await peer.next({ op: 'message' }), { offset: 1, payload: 'b' });
  await peer.ask({ op: 'credit', id: 2, sub: 1, credit: 10 });
  t.match(await peer.next({ op: 'message' }), { offset: 2, payload: 'c' });
  await ask('POST', '/streams/s/messages', { body: [{ payload: 'd' }] });
  t.match(await peer.next({ op: 'message' }), { offset: 3, payload: 'd' }, 'what comes later');
  await peer.close();
  const again = await WsPeer.open(gateway.port);
  await again.ask({ op: 'subscribe', id: 1, stream: 's', offset: 2 });
  t.match(await again.next({ op: 'message' }), { offset: 2, payload: 'c' });
  t.match(await again.ask({ op: 'subscribe', id: 2, stream: 's', last_n: 1, time_ms: 0 }), {
    message: /only one of time_ms, last_n/,
  });
  t.match(await again.ask({ op: 'subscribe', id: 2, stream: 's', last_n: 1 }), { offset: 3 });
  t.match(await again.ask({ op: 'subscribe', id: 3, stream: 's', time_ms: 0 }), { offset: 0 });
  t.match(await again.ask({ op: 'subscribe', id: 4, stream: 's' }), { offset: 4 }, 'the next one');
  await ask('DELETE', '/streams/s');
  t.match(await again.next({ op: 'end', sub: 4 }), { code: 'not-found' });
  await again.close();
});

t.test('a share group over WebSocket and HTTP: one message, one consumer', async (t) => {
  await ask('PUT', '/streams/shared');
  await ask('POST', '/streams/shared/messages', { body: ['a', 'b', 'c'].map((payload) => ({ payload })) });
  const peer = await WsPeer.open(gateway.port);
  const subscribe = { op: 'subscribe', stream: 'shared', group: 'workers', from: 'first' };
  t.match(await peer.ask({ op: 'ping', id: 0 }), { op: 'pong' });
  for (const place of [{ partition: 0 }, { offset: 0 }, { last_n: 1 }, { from: 'last' }]) {
    t.match(await peer.ask({ ...subscribe, id: 'no', ...place }), { code: 'invalid-argument' }, JSON.stringify(place));
  }
  await peer.ask({ ...subscribe, id: 's', credit: 2 });
  t.match(await peer.next({ op: 'message' }), { sub: 's', delivery: 1, payload: 'a', redeliveries: 0 });
  t.match(await peer.next({ op: 'message' }), { delivery: 2, payload: 'b' });
  const lease = await ask('POST', '/queues/shared/lease?group=workers&max=5');
  t.match(lease.json, { messages: [{ payload: 'c' }] });
  t.match((await ask('GET', '/streams/shared/groups')).json, {
    total: 1,
    items: [{ name: 'workers', consumers: 2, partitions: [{ start: 0, next: 3, held: 3, lag: 3 }] }],
  });
  await ask('POST', `/leases/${lease.json['lease']}/ack`);
  await peer.ask({ op: 'ack', id: 1, sub: 's', delivery: 1 });
  await peer.ask({ op: 'requeue', id: 2, sub: 's', delivery: 2 });
  t.match(await peer.next({ op: 'message' }), { delivery: 3, payload: 'b', redeliveries: 1 });
  await peer.ask({ op: 'ack', id: 3, sub: 's', delivery: 3 });
  await peer.close();
  t.match((await ask('GET', '/streams/shared/groups')).json, { items: [{ partitions: [{ start: 3, lag: 0 }] }] });
  t.equal((await ask('DELETE', '/streams/shared/groups/workers')).status, 204);
});

t.test('a share group: deliveries are renewed, what is rejected goes to the dead letters', async (t) => {
  await ask('PUT', '/streams/tough');
  await ask('PUT', '/queues/tough-dead');
  await ask('POST', '/streams/tough/messages', { body: [{ payload: 'a' }, { payload: 'b' }] });
  const peer = await WsPeer.open(gateway.port);
  const dead_letter = { exchange: '', key: 'tough-dead' };
  const join = { op: 'subscribe', id: 's', stream: 'tough', group: 'workers', from: 'first', dead_letter };
  t.match(await peer.ask({ ...join, group: 'other', dead_letter: { exchange: 'none' } }), { code: 'not-found' });
  t.match(await peer.ask({ ...join, dead_letter: { key: 'x' } }), { code: 'invalid-argument' });
  t.match(await peer.ask({ op: 'subscribe', id: 'r', stream: 'tough', dead_letter }), { code: 'invalid-argument' });
  t.match(await peer.ask(join), { op: 'ok' });
  for (let n = 0; n < 2; n++) await peer.next({ op: 'message' });
  t.match(await peer.ask({ op: 'renew', id: 1, sub: 's', deliveries: [[1, 2]] }), { op: 'ok', renewed: 2 });
  t.match(await peer.ask({ op: 'renew', id: 2, sub: 's', delivery: 3 }), { code: 'unknown-delivery' });
  t.match(await peer.ask({ op: 'renew', id: 3, sub: 'none', delivery: 1 }), { code: 'not-found' });
  t.match(await peer.ask({ op: 'discard', id: 4, sub: 's', delivery: 1 }), { op: 'ok', settled: 1 });
  t.match(await peer.ask({ op: 'renew', id: 5, sub: 's', deliveries: [[1, 2]] }), { op: 'ok', renewed: 1 });
  await peer.ask({ op: 'subscribe', id: 'd', queue: 'tough-dead' });
  t.match(await peer.next({ op: 'message', sub: 'd' }), {
    payload: 'a',
    headers: { 'x-death': [{ queue: 'tough', reason: 'rejected', count: 1 }] },
  });
  t.match(await peer.ask({ op: 'renew', id: 6, sub: 'd', delivery: 1 }), { code: 'precondition-failed' });
  t.match((await ask('GET', '/streams/tough/groups')).json, { items: [{ dead_letter, dead_lettered: 1 }] });
  await peer.close();
});

t.test('members of a consumer group are told what is theirs, give it up, and commit', async (t) => {
  await ask('PUT', '/streams/parted', { body: { partitions: 2 } });
  const body = [0, 1].map((partition) => ({ payload: 'x', partition }));
  await ask('POST', '/streams/parted/messages', { body });
  const join = { op: 'member', id: 'm', group: 'readers', streams: ['parted'] };
  const [one, two] = [await WsPeer.open(gateway.port), await WsPeer.open(gateway.port)];
  await one.ask(join);
  const all = [0, 1].map((partition) => ({ stream: 'parted', partition }));
  t.match(await one.next({ op: 'assigned' }), { sub: 'm', epoch: 1, partitions: all });
  const offsets = [{ stream: 'parted', partition: 1, offset: 1, metadata: 'note' }];
  t.match(await one.ask({ op: 'offsets', id: 1, sub: 'm', offsets }), { op: 'ok' });
  await two.ask(join);
  const revoked = await one.next({ op: 'revoked' });
  t.equal((revoked['partitions'] as object[]).length, 1);
  await one.ask({ op: 'release', id: 2, sub: 'm' });
  const assigned = await two.next({ op: 'assigned' });
  t.same(
    (assigned['partitions'] as { partition: number }[])[0]?.partition,
    (revoked['partitions'] as { partition: number }[])[0]?.partition,
  );
  t.match(await one.ask({ op: 'offsets', id: 3, sub: 'm', offsets: revoked['partitions'] }), {
    code: 'invalid-argument',
  });
  const gone = [{ ...(revoked['partitions'] as object[])[0], offset: 0 }];
  t.match(await one.ask({ op: 'offsets', id: 4, sub: 'm', offsets: gone }), { code: 'fenced' });
  t.match((await ask('GET', '/groups/readers')).json, { members: [String, String], strategy: 'cooperative-sticky' });
  await two.close();
  t.match(await one.next({ op: 'assigned' }), { sub: 'm' }, 'what the other had');
  t.match(await one.ask({ ...join, id: 'm' }), { code: 'already-exists' });
  t.match(await one.ask({ ...join, id: 'n', streams: ['none'] }), { code: 'not-found' });
  t.match(await one.ask({ op: 'release', id: 5, sub: 'none' }), { code: 'not-found' });
  t.match(await one.ask({ op: 'unsubscribe', id: 6, sub: 'm' }), { op: 'ok' });
  t.match((await ask('GET', '/groups/readers')).json, { members: [], offsets: [{ metadata: 'note' }] });
  await one.close();
});

t.test('what cannot be read is refused, and the name is free again', async (t) => {
  await ask('PUT', '/streams/few');
  const peer = await WsPeer.open(gateway.port);
  const refusals: [object, string][] = [
    [{ stream: 'none' }, 'not-found'],
    [{ stream: 'few', offset: 5 }, 'offset-out-of-range'],
    [{ stream: 'few', partition: 3 }, 'invalid-argument'],
    [{ stream: 'few', priority: 3 }, 'invalid-argument'],
    [{ queue: 'few', offset: 3 }, 'invalid-argument'],
  ];
  for (const [members, code] of refusals) {
    t.match(await peer.ask({ op: 'subscribe', id: 'x', ...members }), { code }, JSON.stringify(members));
  }
  t.match(await peer.ask({ op: 'subscribe', id: 'x', stream: 'few' }), { op: 'ok' });
  t.match(await peer.ask({ op: 'ack', id: 'y', sub: 'x', delivery: 1 }), { code: 'precondition-failed' });
  await peer.close();
});
