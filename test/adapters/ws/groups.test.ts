/** Message groups and filters of consumers over WebSocket and HTTP. */
import t from 'tap';
import { fileGateway } from '../http/gateway.ts';
import { WsPeer } from './peer.ts';

const gateway = await fileGateway();
const { ask } = gateway;

async function queue(name: string, args: object = {}): Promise<void> {
  t.equal((await ask('PUT', `/queues/${name}`, { body: { arguments: args } })).status, 201);
}

t.test('groups over WebSocket and HTTP: published, handed out, listed, released', async (t) => {
  await queue('g', { 'x-group-buckets': 8 });
  const one = await WsPeer.open(gateway.port);
  await one.ask({ op: 'subscribe', id: 'one', queue: 'g' });
  await one.ask({ op: 'publish', id: 1, queue: 'g', payload: 'a:1', properties: { group_id: 'a' } });
  t.match(await one.next({ op: 'message' }), { payload: 'a:1', group_first: true, properties: { group_id: 'a' } });
  const headers = { 'x-group-id': 'a', 'x-group-seq': '2' };
  t.equal((await ask('POST', '/queues/g/messages', { raw: 'a:2', headers })).status, 200);
  const second = await one.next({ op: 'message' });
  t.match(second, { payload: 'a:2', properties: { group_id: 'a', group_sequence: 2 } });
  t.notOk('group_first' in second);
  const { bucket } = (await ask('GET', '/queues/g/groups/a')).json;
  const { json } = await ask('GET', '/queues/g/groups');
  t.match(json, { buckets: 8, pinned: [{ bucket, tag: 'one', unsettled: 2, ending: false }] });
  t.same((await ask('DELETE', '/queues/g/groups/a')).json, { released: true });
  t.match((await ask('GET', '/queues/g/groups')).json, { pinned: [{ bucket, ending: true }] });
  await ask('POST', '/queues/g/messages', { raw: 'a:3', headers: { 'x-group-id': 'a', 'x-group-seq': '-1' } });
  t.match((await ask('POST', '/queues/g/lease')).json, { lease: null }, 'not before a:1 and a:2 are settled');
  await one.ask({ op: 'unsubscribe', id: 2, sub: 'one' });
  const { json: leased } = await ask('POST', '/queues/g/lease?max=10&wait_ms=2000');
  t.match(leased['messages'], [
    { payload: 'a:1', redeliveries: 1, group_first: true },
    { payload: 'a:2' },
    { payload: 'a:3' },
  ]);
  await ask('POST', `/leases/${leased['lease']}/requeue`);
  const accept = { accept: 'application/octet-stream' };
  const raw = await ask('POST', '/queues/g/lease', { headers: accept });
  t.equal(raw.headers.get('x-group-first'), 'true');
  t.equal(raw.headers.get('x-group-id'), 'a');
  t.match((await ask('POST', '/queues/g/lease')).json, { lease: null }, 'a lease holds the group');
  await ask('POST', `/leases/${raw.headers.get('x-lease')}/ack`);
  t.match((await ask('POST', '/queues/g/lease?max=9')).json['messages'], [{ payload: 'a:2' }, { payload: 'a:3' }]);
  await one.close();
});

t.test('filters of subscriptions to queues and of leases', async (t) => {
  await queue('f');
  const page = await WsPeer.open(gateway.port);
  await page.ask({ op: 'subscribe', id: 'large', queue: 'f', filter: 'amount >= 1000' });
  const { json: listed } = await ask('GET', '/queues/f/consumers');
  t.match(listed['items'], [{ tag: 'large', filters: ['amount >= 1000'] }]);
  for (const amount of [10, 5000, 20, 1000]) {
    const body = [{ queue: 'f', payload: String(amount), headers: { amount, TAGS: amount > 15 ? 'paid' : 'open' } }];
    await ask('POST', '/batch', { body });
  }
  t.match(await page.next({ op: 'message' }), { payload: '5000' });
  t.match(await page.next({ op: 'message' }), { payload: '1000' });
  const filter = encodeURIComponent("TAGS <> 'paid'");
  t.match((await ask('POST', `/queues/f/lease?max=5&filter=${filter}`)).json['messages'], [{ payload: '10' }]);
  t.match((await ask('POST', '/queues/f/lease?max=5&tags=paid')).json['messages'], [{ payload: '20' }]);
  t.match((await ask('POST', '/queues/f/lease?max=5')).json, { lease: null });
  await page.close();
});

t.test('what cannot be is refused, and nothing is lost', async (t) => {
  await queue('bad');
  await ask('POST', '/queues/bad/messages', { raw: 'm' });
  const page = await WsPeer.open(gateway.port);
  const wrong = await page.ask({ op: 'subscribe', id: 'w', queue: 'bad', filter: 'amount > ' });
  t.match(wrong, { op: 'error', code: 'invalid-argument', message: /filter, column 10/ });
  const large = 'g'.repeat(60_000);
  const refused = await page.ask({ op: 'publish', id: 1, queue: 'bad', payload: 'x', properties: { group_id: large } });
  t.match(refused, { op: 'error', code: 'invalid-argument', message: /group id/ });
  const huge = { op: 'publish', id: 2, queue: 'bad', payload: 'x', properties: { group_id: 'g'.repeat(1_000_000) } };
  t.match(await page.ask(huge), { op: 'error', code: 'invalid-argument' });
  const sequence = { 'x-group-id': 'a', 'x-group-seq': '-2' };
  t.match((await ask('POST', '/queues/bad/messages', { raw: 'x', headers: sequence })).json, {
    error: 'invalid-argument',
  });
  const bomb = encodeURIComponent(`${'('.repeat(200)}a = 1${')'.repeat(200)}`);
  t.match((await ask('POST', `/queues/bad/lease?filter=${bomb}`)).json, { error: 'limit-exceeded' });
  t.equal((await ask('GET', '/queues/none/groups')).status, 404);
  t.match((await ask('POST', '/queues/bad/lease?max=9')).json['messages'], [{ payload: 'm' }]);
  await page.close();
});
