import t from 'tap';
import { type Gateway, openGateway } from '../http/gateway.ts';
import { WsPeer } from './peer.ts';

let gateway: Gateway;
t.before(async () => {
  gateway = await openGateway({ dir: t.testdir() });
  await gateway.broker.admin.declareQueue('/', 'q', {
    ...{ durable: true, autoDelete: false, exclusive: false },
    arguments: {},
  });
});
t.teardown(() => gateway.close());

const ready = () => gateway.broker.admin.queue('/', 'q')?.ready;
const MESSAGES = [
  { queue: 'q', payload: 'one' },
  { queue: 'q', payload: 'two' },
];

t.test('prepare, commit and roll back', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  t.teardown(() => peer.close());
  const prepared = await peer.ask({ op: 'prepare', id: 1, group: 'shop', messages: MESSAGES });
  t.match(prepared, { op: 'ok', half: /^[0-9a-f-]{36}$/ });
  t.equal(ready(), 0);
  const end = { group: 'shop', half: prepared['half'] };
  t.same(await peer.ask({ op: 'commit', id: 2, ...end }), { op: 'ok', id: 2 });
  t.equal(ready(), 2);
  t.same(await peer.ask({ op: 'commit', id: 3, ...end }), { op: 'ok', id: 3 });
  t.match(await peer.ask({ op: 'rollback', id: 4, ...end }), { op: 'error', code: 'precondition-failed' });
  t.match(await peer.ask({ op: 'commit', id: 5, group: 'other', half: 'h' }), { code: 'not-found' });
  peer.send({ op: 'prepare', group: 'shop', half: 'silent', messages: MESSAGES });
  t.same(await peer.ask({ op: 'rollback', id: 6, group: 'shop', half: 'silent' }), { op: 'ok', id: 6 });
  t.equal(ready(), 2);
});

t.test('a check goes to a member of the group that is there', async (t) => {
  const dying = await WsPeer.open(gateway.port);
  const other = await WsPeer.open(gateway.port);
  t.teardown(() => other.close());
  await dying.ask({ op: 'join', id: 1, group: 'shop' });
  await other.ask({ op: 'join', id: 1, group: 'shop' });
  t.same(await other.ask({ op: 'join', id: 2, group: 'shop' }), { op: 'ok', id: 2 });
  const settings = { half: 'h1', first_check_ms: 50, check_every_ms: 50, checks_max: 100 };
  await dying.ask({ op: 'prepare', id: 2, group: 'shop', ...settings, messages: MESSAGES });
  dying.socket.terminate();
  const check = await other.next({ op: 'check' });
  t.match(check, { group: 'shop', half: 'h1', checks_max: 100, messages: [{ payload: 'one' }, { payload: 'two' }] });
  const before = ready() ?? 0;
  t.same(await other.ask({ op: 'commit', id: 3, group: 'shop', half: 'h1' }), { op: 'ok', id: 3 });
  t.equal(ready(), before + 2);
  t.same(await other.ask({ op: 'leave', id: 4, group: 'shop' }), { op: 'ok', id: 4 });
  t.match(await other.ask({ op: 'leave', id: 5, group: 'shop' }), { code: 'not-found' });
});

t.test('what makes no sense is refused', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  t.teardown(() => peer.close());
  await peer.ask({ op: 'ping', id: 1 });
  const refused = async (frame: object) => {
    const answer = await peer.ask({ id: 7, ...frame });
    t.match(answer, { op: 'error', code: 'invalid-argument' }, JSON.stringify(frame).slice(0, 80));
  };
  await refused({ op: 'prepare', group: 'shop', messages: [] });
  await refused({ op: 'prepare', messages: MESSAGES });
  await refused({ op: 'prepare', group: 'shop', messages: MESSAGES, check_every_ms: 0 });
  await refused({ op: 'prepare', group: 'shop', messages: [{ payload: 'nowhere' }] });
  await refused({ op: 'prepare', group: 'shop', half: 'x'.repeat(300), messages: MESSAGES });
  await refused({ op: 'commit', group: 'shop' });
  await refused({ op: 'join', group: '' });
  peer.send({ op: 'prepare', group: 'shop', messages: MESSAGES });
  t.match(await peer.next({ op: 'error' }), { code: 'invalid-argument' }, 'nobody could know its id');
});
