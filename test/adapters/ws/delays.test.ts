/** Delayed messages over WebSocket. */
import t from 'tap';
import { call, type Gateway, openGateway } from '../http/gateway.ts';
import { WsPeer } from './peer.ts';

let gateway: Gateway;
t.before(async () => {
  gateway = await openGateway({ dir: t.testdir() });
  await call(gateway.url, 'PUT', '/v1/queues/q');
});
t.teardown(() => gateway.close());
t.afterEach(() => t.same(gateway.logged, [], 'nothing failed inside'));

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
