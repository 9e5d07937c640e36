/** Repeats, last values and rings over HTTP and WebSocket. docs/queue-rules.md */
import t from 'tap';
import { WsPeer } from '../ws/peer.ts';
import { fileGateway } from './gateway.ts';

const gateway = await fileGateway();
const { ask } = gateway;
const declare = (queue: string, args: object) => ask('PUT', `/queues/${queue}`, { body: { arguments: args } });

async function payloads(queue: string): Promise<unknown> {
  const { json } = await ask('POST', `/queues/${queue}/lease?max=100`);
  return (json['messages'] as { payload: string }[]).map(({ payload }) => payload);
}

t.test('ids from the header, the message id, and JSON', async (t) => {
  t.equal((await declare('pay', { 'x-dedup-window-ms': 60_000 })).status, 201);
  const send = (raw: string, headers: Record<string, string>) => ask('POST', '/queues/pay/messages', { raw, headers });
  for (const raw of ['1', 'again']) t.same((await send(raw, { 'x-deduplication-id': 'a' })).json, { routed: true });
  for (const raw of ['2', 'again']) await send(raw, { 'x-message-id': 'b' });
  const batch = [
    { queue: 'pay', payload: 'again', headers: { 'x-deduplication-id': 'a' } },
    { queue: 'pay', payload: 'again', properties: { message_id: 'b' } },
    { queue: 'pay', payload: '3', properties: { message_id: 'c' } },
  ];
  t.match((await ask('POST', '/batch', { body: batch })).json, { confirmed: 3 });
  const peer = await WsPeer.open(gateway.port);
  for (const [id, name] of ['c', 'd'].entries()) {
    const frame = { op: 'publish', id, queue: 'pay', payload: name, properties: { message_id: name } };
    t.match(await peer.ask(frame), { op: 'ok', routed: true });
  }
  await peer.close();
  t.same(await payloads('pay'), ['1', '2', '3', 'd']);
  t.same((await ask('GET', '/queues/pay/message-ids')).json, { count: 4 });
  t.same((await ask('GET', '/queues/pay/message-ids?id=c')).json, { count: 4, remembered: true });
  t.same((await ask('GET', '/queues/pay/message-ids?id=x')).json, { count: 4, remembered: false });
  t.equal((await ask('DELETE', '/queues/pay/message-ids', { user: 'bob:b' })).status, 403);
  t.equal((await ask('DELETE', '/queues/pay/message-ids')).status, 204);
  t.same((await ask('GET', '/queues/pay/message-ids?id=c')).json, { count: 0, remembered: false });
  t.equal((await ask('GET', '/queues/none/message-ids')).status, 404);
});

t.test('last values and rings', async (t) => {
  await declare('prices', { 'x-last-value-key': 'symbol' });
  for (const [symbol, price] of [
    ['ACME', '1'],
    ['XYZ', '2'],
    ['ACME', '3'],
  ] as const) {
    await ask('POST', '/queues/prices/messages', { raw: price, headers: { 'x-property-symbol': symbol } });
  }
  t.same(await payloads('prices'), ['2', '3']);
  await declare('ring', { 'x-ring-size': 2 });
  for (const raw of ['1', '2', '3']) await ask('POST', '/queues/ring/messages', { raw });
  t.same(await payloads('ring'), ['2', '3']);
});

t.test('bad arguments', async (t) => {
  for (const args of [{ 'x-dedup-window-ms': 0 }, { 'x-last-value-key': 1 }, { 'x-ring-size': -1 }]) {
    t.match((await declare('bad', args)).json, { error: 'invalid-argument' });
  }
});
