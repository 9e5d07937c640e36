import t from 'tap';
import { fileGateway } from './gateway.ts';

const gateway = await fileGateway();
const { ask } = gateway;

/** Ask for a redrive until it has ended. */
async function ended(id: unknown): Promise<Record<string, unknown>> {
  for (let tries = 0; tries < 500; tries++) {
    const { json } = await ask('GET', `/redrives/${id}`);
    if (json['ended_at_ms'] !== undefined) return json;
  }
  throw new Error('it does not end');
}

t.test('redrive: to a queue, with a filter; listed, ended', async (t) => {
  for (const name of ['dead', 'there']) await ask('PUT', `/queues/${name}`);
  for (const tries of [1, 5, 2]) {
    const headers = { 'x-header-tries': String(tries) };
    await ask('POST', '/queues/dead/messages', { raw: `${tries}`, headers });
  }
  const body = { to: { queue: 'there' }, filter: "message.key = 'dead'", rate_per_second: 1e6, max: 2 };
  const started = await ask('POST', '/queues/dead/redrive', { body });
  t.match([started.status, started.json], [202, { queue: 'dead', ...body, left: 3 }]);
  const done = await ended(started.json['id']);
  t.match(done, { state: 'done', moved: 2, skipped: 0, left: 1, ...body });
  t.match((await ask('GET', '/queues/there')).json, { ready: 2 });
  const back = await ask('POST', '/queues/there/redrive', {
    body: { to: { exchange: 'amq.default', key: 'dead' } },
  });
  t.match(await ended(back.json['id']), { state: 'done', moved: 2, to: { exchange: '', key: 'dead' } });
  const none = await ask('POST', '/queues/dead/redrive');
  t.match(await ended(none.json['id']), { moved: 0, skipped: 3 }, 'they never died');
  t.match((await ask('GET', '/redrives?limit=2')).json, { total: 3, items: [{ id: 3 }, { id: 2 }] });
  const slow = await ask('POST', '/queues/dead/redrive', { body: { to: { queue: 'there' }, rate_per_second: 0.1 } });
  const path = `/redrives/${slow.json['id']}`;
  t.match((await ask('POST', '/queues/dead/redrive')).json, { error: 'in-use' });
  t.match((await ask('DELETE', path)).json, { state: 'cancelled' });
});

t.test('what is wrong, and who may not', async (t) => {
  const post = (body: unknown, queue = 'dead') => ask('POST', `/queues/${queue}/redrive`, { body });
  t.equal((await post({}, 'none')).status, 404);
  t.equal((await post({ to: { queue: 'none' } })).status, 404);
  t.equal((await post({ to: { exchange: 'none' } })).status, 404);
  t.equal((await ask('GET', '/redrives/99')).status, 404);
  t.equal((await ask('GET', '/redrives/x')).status, 400);
  t.equal((await ask('DELETE', '/redrives/99')).status, 404);
  for (const wrong of [{ to: {} }, { to: { queue: 'a', exchange: 'b' } }, { max: 0.5 }, { max: 0 }, { more: 1 }, []]) {
    t.equal((await post(wrong)).status, 400, JSON.stringify(wrong));
  }
  t.match((await post({ rate_per_second: 0 })).json, { error: 'invalid-argument' });
  t.match((await post({ filter: 'a >' })).json, { error: 'invalid-argument' });
  const user = 'ann:pass:word';
  t.match((await ask('POST', '/queues/dead/redrive', { user })).json, { error: 'access-refused' });
  t.match((await ask('DELETE', '/redrives/1', { user })).json, { error: 'access-refused' });
});
