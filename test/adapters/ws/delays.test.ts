/** Delayed messages over WebSocket. */
import t from 'tap';
import { call, fileGateway } from '../http/gateway.ts';
import { WsPeer } from './peer.ts';

const gateway = await fileGateway();
await gateway.ask('PUT', '/queues/q');

t.test('a frame says when; its answer has the handle', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  const nowMs = Date.now();
  const publish = { op: 'publish', queue: 'q' };
  const far = await peer.ask({ ...publish, id: 1, payload: 'far', delay_level: 18 });
  t.match(far, { op: 'ok', routed: true, delayed: [/^[0-9a-z]+-[0-9a-z]+-[0-9a-z]+$/] });
  t.same(await peer.ask({ ...publish, id: 4, payload: 'now' }), { op: 'ok', id: 4, routed: true });
  t.match(await peer.ask({ ...publish, id: 2, payload: 'b', delay_ms: 300 }), { op: 'ok' });
  t.match(await peer.ask({ ...publish, id: 3, payload: 'a', deliver_at_ms: nowMs + 40 }), { op: 'ok' });
  t.match(await peer.ask({ ...publish, id: 5, delay_ms: 0.5 }), {
    op: 'error',
    code: 'invalid-argument',
    message: /not 0.5/,
  });
  await peer.ask({ op: 'subscribe', id: 's', queue: 'q' });
  for (const payload of ['now', 'a', 'b']) t.match(await peer.next({ op: 'message' }), { payload });
  t.ok(Date.now() >= nowMs + 300);
  const [handle] = far['delayed'] as string[];
  t.equal((await call(gateway.url, 'POST', `/v1/queues/q/delayed/${handle}/fire`)).status, 200);
  t.match(await peer.next({ op: 'message' }), { payload: 'far' });
  await peer.close();
});

t.test('handles: listed in pages, cancelled, fired; what is gone is not found', async (t) => {
  await call(gateway.url, 'PUT', '/v1/queues/h');
  const peer = await WsPeer.open(gateway.port);
  const waiting: string[] = [];
  for (const [n, delay_ms] of [600_000, 700_000, 800_000].entries()) {
    const { delayed } = await peer.ask({ op: 'publish', queue: 'h', id: `p${n}`, payload: `m${n}`, delay_ms });
    waiting.push((delayed as string[])[0] as string);
  }
  const list = (rest: object) => peer.ask({ op: 'delayed', id: 'l', queue: 'h', ...rest });
  const all = await list({});
  t.match(all, { op: 'ok', items: waiting.map((handle) => ({ handle, priority: 0, persistent: true })) });
  t.same((await call(gateway.url, 'GET', '/v1/queues/h/delayed')).json['items'], all['items'], 'the same as over HTTP');
  t.match(await list({ limit: 1, after: waiting[0] }), { items: [{ handle: waiting[1] }] });
  t.match(await list({ after: waiting[2] }), { items: [] });
  const end = (op: string, handle: unknown) => peer.ask({ op, id: 'e', queue: 'h', handle });
  t.same(await end('cancel', waiting[0]), { op: 'ok', id: 'e', cancelled: true });
  t.same(await end('fire', waiting[2]), { op: 'ok', id: 'e', fired: true });
  for (const op of ['cancel', 'fire']) {
    for (const gone of [waiting[0], waiting[2]]) t.match(await end(op, gone), { op: 'error', code: 'not-found' });
    t.match(await end(op, 'no handle'), { code: 'invalid-argument' });
    t.match(await end(op, 7), { code: 'invalid-argument' });
    t.match(await peer.ask({ op, id: 'e', queue: 'none', handle: waiting[1] }), { code: 'not-found' });
  }
  t.match(await list({ queue: 'none' }), { code: 'not-found' });
  t.match(await list({ after: 'no handle' }), { code: 'invalid-argument' });
  t.match(await list({ limit: 1_000_000 }), { code: 'invalid-argument', message: /10000/ });
  await peer.ask({ op: 'subscribe', id: 's', queue: 'h' });
  t.match(await peer.next({ op: 'message' }), { payload: 'm2' });
  t.match(await list({}), { items: [{ handle: waiting[1] }] });
  await peer.close();
});
