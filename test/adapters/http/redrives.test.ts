import t from 'tap';
import { call, type Gateway, openGateway } from './gateway.ts';

let gateway: Gateway;
t.before(async () => {
  gateway = await openGateway({ dir: t.testdir() });
});
t.teardown(() => gateway.close());
t.afterEach(() => t.same(gateway.logged, [], 'nothing failed inside'));

const ask = (method: string, path: string, options?: Parameters<typeof call>[3]) =>
  call(gateway.url, method, path, options);

/** Ask for a redrive until it has ended. */
async function ended(id: unknown): Promise<Record<string, unknown>> {
  for (let tries = 0; tries < 500; tries++) {
    const { json } = await ask('GET', `/v1/redrives/${id}`);
    if (json['ended_at_ms'] !== undefined) return json;
  }
  throw new Error('it does not end');
}

t.test('redrive: to a queue, with a filter; listed, ended', async (t) => {
  for (const name of ['dead', 'there']) await ask('PUT', `/v1/queues/${name}`);
  for (const tries of [1, 5, 2]) {
    const headers = { 'x-header-tries': String(tries) };
    await ask('POST', '/v1/queues/dead/messages', { raw: `${tries}`, headers });
  }
  const body = { to: { queue: 'there' }, filter: "message.key = 'dead'", rate_per_second: 1e6, max: 2 };
  const started = await ask('POST', '/v1/queues/dead/redrive', { body });
  t.match([started.status, started.json], [202, { queue: 'dead', ...body, left: 3 }]);
  const done = await ended(started.json['id']);
  t.match(done, { state: 'done', moved: 2, skipped: 0, left: 1, ...body });
  t.match((await ask('GET', '/v1/queues/there')).json, { ready: 2 });
  const back = await ask('POST', '/v1/queues/there/redrive', {
    body: { to: { exchange: 'amq.default', key: 'dead' } },
  });
  t.match(await ended(back.json['id']), { state: 'done', moved: 2, to: { exchange: '', key: 'dead' } });
  const none = await ask('POST', '/v1/queues/dead/redrive');
  t.match(await ended(none.json['id']), { moved: 0, skipped: 3 }, 'they never died');
  t.match((await ask('GET', '/v1/redrives?limit=2')).json, { total: 3, items: [{ id: 3 }, { id: 2 }] });
  const slow = await ask('POST', '/v1/queues/dead/redrive', { body: { to: { queue: 'there' }, rate_per_second: 0.1 } });
  const path = `/v1/redrives/${slow.json['id']}`;
  t.match((await ask('POST', '/v1/queues/dead/redrive')).json, { error: 'in-use' });
  t.match((await ask('DELETE', path)).json, { state: 'cancelled' });
});

t.test('what is wrong, and who may not', async (t) => {
  const post = (body: unknown, queue = 'dead') => ask('POST', `/v1/queues/${queue}/redrive`, { body });
  t.equal((await post({}, 'none')).status, 404);
  t.equal((await post({ to: { queue: 'none' } })).status, 404);
  t.equal((await post({ to: { exchange: 'none' } })).status, 404);
  t.equal((await ask('GET', '/v1/redrives/99')).status, 404);
  t.equal((await ask('GET', '/v1/redrives/x')).status, 400);
  t.equal((await ask('DELETE', '/v1/redrives/99')).status, 404);
  for (const wrong of [{ to: {} }, { to: { queue: 'a', exchange: 'b' } }, { max: 0.5 }, { max: 0 }, { more: 1 }, []]) {
    t.equal((await post(wrong)).status, 400, JSON.stringify(wrong));
  }
  t.match((await post({ rate_per_second: 0 })).json, { error: 'invalid-argument' });
  t.match((await post({ filter: 'a >' })).json, { error: 'invalid-argument' });
  const user = 'ann:pass:word';
  t.match((await ask('POST', '/v1/queues/dead/redrive', { user })).json, { error: 'access-refused' });
  t.match((await ask('DELETE', '/v1/redrives/1', { user })).json, { error: 'access-refused' });
});
