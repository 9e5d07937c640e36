/** Members of consumer groups over HTTP: they hold partitions as long as they call. */
import t from 'tap';
import { call, fileGateway, openGateway, TestClock } from './gateway.ts';

const clock = new TestClock();
const gateway = await fileGateway({ clock });
const { ask } = gateway;
for (const stream of ['s', 'four']) {
  await ask('PUT', `/streams/${stream}`, { body: { partitions: stream === 's' ? 2 : 4 } });
  for (const partition of [0, 1]) {
    const body = [0, 1, 2].map((n) => ({ payload: `${n}`, partition }));
    await ask('POST', `/streams/${stream}/messages`, { body });
  }
}

interface State {
  member: string;
  epoch: number;
  session_ms: number;
  assigned: { stream: string; partition: number; offset?: number }[];
  revoked: { stream: string; partition: number }[];
}

async function join(group: string, body: object = {}): Promise<State> {
  const { status, json } = await ask('POST', `/groups/${group}/members`, { body: { streams: ['s'], ...body } });
  t.equal(status, 201);
  return json as unknown as State;
}

const member = (group: string, id: string) => `/groups/${group}/members/${encodeURIComponent(id)}`;

async function beat(group: string, { member: id, epoch }: State, waitMs = 0): Promise<State> {
  const { json } = await ask('POST', `${member(group, id)}/heartbeat?epoch=${epoch}&wait_ms=${waitMs}`);
  return json as unknown as State;
}

const commit = (group: string, id: string, epoch: number, ...offsets: object[]) =>
  ask('PUT', `${member(group, id)}/offsets?epoch=${epoch}`, { body: offsets });
const at = (partition: number, offset: number, stream = 's') => ({ stream, partition, offset });
const numbers = (places: State['assigned']) => places.map(({ partition }) => partition).sort();

t.test('a partition moves: asked back, committed, released, assigned with its offset', async (t) => {
  const a = await join('g');
  t.match(a, { epoch: 1, session_ms: 45_000, revoked: [] });
  t.same(numbers(a.assigned), [0, 1], 'the answer to the join tells what it holds');
  const hears = beat('g', a, 30_000);
  const b = await join('g', { name: 'second' });
  t.match(b, { member: /^second-/, assigned: [] });
  const asked = await hears;
  t.match(asked, { epoch: 2, assigned: [{}], revoked: [{ stream: 's' }] }, 'the waiting request is answered');
  const moving = asked.revoked[0]?.partition as number;
  t.equal((await commit('g', a.member, asked.epoch, at(moving, 2))).status, 204, 'it may commit until it releases');
  const waits = beat('g', b, 30_000);
  const released = await ask('POST', `${member('g', a.member)}/release`);
  t.match(released.json, { revoked: [], assigned: [{ partition: 1 - moving }] });
  const given = await waits;
  t.same(given.assigned, [{ stream: 's', partition: moving, offset: 2 }]);
  t.match((await commit('g', a.member, asked.epoch, at(moving, 3))).json, { error: 'fenced' });
  t.equal((await commit('g', b.member, given.epoch, at(moving, 3))).status, 204);
  t.match((await ask('GET', '/groups/g')).json, { members: [a.member, b.member] });
  t.equal((await ask('DELETE', member('g', b.member))).status, 204);
  const back = await beat('g', asked);
  t.same(numbers(back.assigned), [0, 1]);
  t.equal(back.assigned.find(({ partition }) => partition === moving)?.offset, 3);
  t.match((await commit('g', a.member, asked.epoch, at(moving, 2))).json, { error: 'fenced' }, 'of an earlier time');
  t.equal((await commit('g', a.member, asked.epoch, at(1 - moving, 2))).status, 204, 'held all the time');
  t.match((await commit('g', a.member, back.epoch + 1, at(0, 2))).json, { error: 'fenced' }, 'of the future');
  await ask('DELETE', member('g', a.member));
});

t.test('who is silent for its session is put out; who waits is not silent', async (t) => {
  const quiet = await join('h', { session_ms: 1_000 });
  const other = await join('h', { session_ms: 3_000, streams: ['s'] });
  const hears = beat('h', other, 2_500);
  // The request that waits is in when one behind it on the same server has been answered, twice.
  for (let n = 0; n < 20; n++) await ask('GET', '/groups/h');
  clock.advance(900);
  t.equal((await commit('h', other.member, 0)).status, 204, 'another call meanwhile');
  clock.advance(99);
  clock.advance(2);
  const gone = await ask('POST', `${member('h', quiet.member)}/heartbeat`);
  t.match([gone.status, gone.json], [409, { error: 'fenced', message: /is no member of group 'h'/ }]);
  const heir = await hears;
  t.same(numbers(heir.assigned), [0, 1]);
  const again = beat('h', heir, 2_500);
  for (let n = 0; n < 20; n++) await ask('GET', '/groups/h');
  clock.advance(2_500);
  t.match(await again, { epoch: heir.epoch }, 'nothing new: the same');
  clock.advance(2_999);
  t.match((await ask('GET', '/groups/h')).json, { members: [other.member] });
  clock.advance(1);
  t.match((await ask('GET', '/groups/h')).status, 404, 'a group without offsets and members is no more');
});

t.test('who does not give up in time is put out, also while it waits', async (t) => {
  const hasty = await openGateway({ dir: t.testdir(), limits: { groupReleaseMs: 50 } });
  const post = async (path: string, body?: object) =>
    (await call(hasty.url, 'POST', `/v1/groups/r/members${path}`, body === undefined ? {} : { body })).json;
  await call(hasty.url, 'PUT', '/v1/streams/s', { body: { partitions: 2 } });
  const { member: slow } = await post('', { streams: ['s'] });
  const { member: next } = await post('', { streams: ['s'] });
  const beatOf = (id: unknown, epoch: number) => post(`/${id}/heartbeat?epoch=${epoch}&wait_ms=30000`);
  t.match(await beatOf(slow, 1), { epoch: 2, revoked: [{ stream: 's' }] });
  t.match(await beatOf(slow, 2), { error: 'fenced' });
  t.match(await beatOf(next, 0), { assigned: [{}, {}] });
  await hasty.close();
});

t.test('a transaction of a member: fenced when its partition is not its own any more', async (t) => {
  const a = await join('tx', { streams: ['four'], strategy: 'range' });
  const b = await join('tx', { streams: ['four'] });
  const { revoked, epoch } = await beat('tx', a, 30_000);
  const moving = revoked[0]?.partition as number;
  const offset = { group: 'tx', ...at(moving, 0, 'four'), member: a.member, epoch };
  const transaction = (item: object) => ask('POST', '/transactions', { body: { offsets: [item] } });
  t.equal((await transaction(offset)).status, 200, 'until it has released');
  await ask('POST', `${member('tx', a.member)}/release`);
  const given = await beat('tx', b, 30_000);
  t.equal(given.assigned.length, 2);
  t.match((await transaction(offset)).json, { error: 'fenced' });
  t.match((await transaction({ ...offset, member: b.member, epoch: 0 })).json, { error: 'fenced' });
  t.equal((await transaction({ ...offset, member: b.member, epoch: given.epoch })).status, 200);
  t.match((await transaction({ ...offset, member: 'nobody' })).json, { error: 'fenced' });
  const { epoch: _, ...bare } = offset;
  t.match((await transaction(bare)).json, { error: 'invalid-argument' });
});

t.test('members are their users own; bad requests get typed errors', async (t) => {
  const mine = await join('own');
  const path = member('own', mine.member);
  const cases: [string, string, unknown, string | undefined, string][] = [
    ['POST', `${path}/heartbeat`, undefined, 'ann:pass:word', 'fenced'],
    ['DELETE', path, undefined, 'ann:pass:word', 'fenced'],
    ['POST', `${member('g', mine.member)}/heartbeat`, undefined, undefined, 'fenced'],
    ['POST', `${path}/heartbeat?wait_ms=999999999`, undefined, undefined, 'invalid-argument'],
    ['PUT', `${path}/offsets`, [at(0, 0)], undefined, 'invalid-argument'],
    ['PUT', `${path}/offsets?epoch=1`, [at(0, 99)], undefined, 'offset-out-of-range'],
    ['PUT', `${path}/offsets?epoch=1`, [at(9, 0)], undefined, 'fenced'],
    ['PUT', `${path}/offsets?epoch=1`, [at(0, 1), at(0, 0, 'four')], undefined, 'fenced'],
    ['PUT', `${path}/offsets?epoch=1`, [{ ...at(0, 0), metadata: 'x'.repeat(5000) }], undefined, 'invalid-argument'],
    ['PUT', '/groups/own/offsets', [at(0, 0)], undefined, 'in-use'],
    ['DELETE', '/groups/own', undefined, undefined, 'in-use'],
    ['POST', '/groups/own/members', { streams: ['none'] }, undefined, 'not-found'],
    ['POST', '/groups/own/members', { streams: [] }, undefined, 'invalid-argument'],
    ['POST', '/groups/own/members', { streams: ['s'], strategy: 'luck' }, undefined, 'invalid-argument'],
    ['POST', '/groups/own/members', { streams: ['s'], strategy: 'range' }, undefined, 'invalid-argument'],
    ['POST', '/groups/own/members', { streams: ['s'], session_ms: 0 }, undefined, 'invalid-argument'],
    ['POST', '/groups/own/members', { streams: ['s'], session_ms: 1e12 }, undefined, 'invalid-argument'],
  ];
  for (const [method, where, body, user, error] of cases) {
    const options = { ...(body === undefined ? {} : { body }), ...(user === undefined ? {} : { user }) };
    t.match((await ask(method, where, options)).json, { error }, `${method} ${where} ${JSON.stringify(body)}`);
  }
  t.match((await ask('GET', '/groups/own')).json, { members: [mine.member] });
  t.match(await beat('own', mine), { epoch: 1, assigned: [{}, {}] }, 'nothing was harmed');
});

t.test('members are bounded, and answered when the server stops', async (t) => {
  const small = await openGateway({ dir: t.testdir(), clock, limits: { httpMembersMax: 1 } });
  await call(small.url, 'PUT', '/v1/streams/s');
  const body = { streams: ['s'] };
  const one = await call(small.url, 'POST', '/v1/groups/g/members', { body });
  const two = await call(small.url, 'POST', '/v1/groups/g/members', { body });
  t.match([two.status, two.json], [429, { error: 'limit-exceeded' }]);
  const waits = call(
    small.url,
    'POST',
    `/v1${member('g', one.json['member'] as string)}/heartbeat?epoch=1&wait_ms=30000`,
  );
  for (let n = 0; n < 20; n++) await call(small.url, 'GET', '/v1/groups/g');
  await small.close();
  t.match((await waits).json, { error: 'stopping' });
});
