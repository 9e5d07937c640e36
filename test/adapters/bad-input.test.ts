/**
 * What a peer can get wrong with the rules of queues, half messages and topics, through a real client of each protocol: each a
 * typed error, and nothing and nobody else comes to harm.
 */
import amqplib, { type ChannelModel, type ConfirmChannel } from 'amqplib';
import t, { type Test } from 'tap';
import { createAmqpAdapter } from '../../src/adapters/amqp/adapter.ts';
import { listen } from '../../src/adapters/listener.ts';
import { limitsWith, SystemClock } from '../../src/core/index.ts';
import { AUTHENTICATOR } from './amqp/_server.ts';
import { call, type Gateway, openGateway } from './http/gateway.ts';
import { type Frame, WsPeer } from './ws/peer.ts';

const LONG = 'g'.repeat(1024 * 1024);
/** More parentheses than any filter may have. */
const DEEP = `${'('.repeat(500)}a = 1${')'.repeat(500)}`;
/** More terms than any filter may have, in few bytes. */
const WIDE = Array.from({ length: 500 }, () => 'a=1').join(' OR ');

let gateway: Gateway;
let amqp: ChannelModel;
let peer: WsPeer;
t.before(async () => {
  gateway = await openGateway({ dir: t.testdir() });
  const { broker } = gateway;
  const limits = limitsWith();
  const clock = new SystemClock();
  const log = (level: string, msg: string): void => {
    if (level === 'error') gateway.logged.push(msg);
  };
  const product = { product: 'JunctionMQ', version: '0.0.0' };
  const adapter = createAmqpAdapter({ broker, limits, clock, log, authenticator: AUTHENTICATOR, ...product });
  const onConnection = adapter.accept.bind(adapter);
  const listener = await listen({ host: '127.0.0.1', port: 0, limits, onConnection });
  t.teardown(async () => {
    await amqp.close();
    await peer.close();
    await Promise.all([listener.close(), adapter.close()]);
    await gateway.close();
  });
  amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${listener.port}`);
  peer = await WsPeer.open(gateway.port);
  await ask('PUT', '/queues/work');
  await ask('PUT', '/streams/log');
  await ask('POST', '/queues/work/messages', { raw: 'untouched' });
});
/** Whatever happened: the message of somebody else is there, and the same connections go on. */
t.afterEach(async () => {
  t.same(gateway.logged, [], 'nothing failed inside');
  t.match(gateway.broker.admin.queue('/', 'work'), { ready: 1, unsettled: 0, delayed: 0 });
  const channel = await amqp.createConfirmChannel();
  channel.sendToQueue('work', Buffer.from('more'));
  await channel.waitForConfirms();
  await channel.close();
  t.match(await peer.ask({ op: 'publish', id: `fine ${++asked}`, queue: 'work', payload: 'more' }), { op: 'ok' });
  t.equal(gateway.broker.admin.queue('/', 'work')?.ready, 3);
  await gateway.broker.admin.purgeQueue('/', 'work');
  await ask('POST', '/queues/work/messages', { raw: 'untouched' });
});
let asked = 0;

const ask = (method: string, path: string, options?: Parameters<typeof call>[3]) =>
  call(gateway.url, method, `/v1${path}`, options);

/** HTTP answers this error. */
async function http(
  t: Test,
  error: string,
  method: string,
  path: string,
  options?: Parameters<typeof call>[3],
): Promise<void> {
  const { status, json } = await ask(method, path, options);
  const where = `${method} ${path.split('?')[0]}`;
  t.ok(status >= 400 && status < 500, `${where} answers ${status}`);
  t.equal(json['error'], error, `${where}: ${json['message']}`);
}

/** WebSocket answers this error, and the connection stays. */
async function ws(t: Test, code: string, frame: Frame): Promise<void> {
  const answer = await peer.ask({ ...frame, id: ++asked });
  t.match(answer, { op: 'error', code }, `${frame['op']}: ${answer['message']}`);
}

/** AMQP closes the channel with this reply code, and the connection stays. */
async function channelEnds(t: Test, code: number, act: (channel: ConfirmChannel) => unknown): Promise<void> {
  const channel = await amqp.createConfirmChannel();
  const ended = new Promise<Error & { code?: number }>((resolve) => channel.once('error', resolve));
  const acted = Promise.resolve(act(channel)).catch(() => {});
  const error = await ended;
  await acted;
  t.equal(error.code, code, error.message);
}

const publish = (t: Test, error: string, headers: Record<string, string>): Promise<void> =>
  http(t, error, 'POST', '/queues/work/messages', { raw: 'x', headers });
const frame = (more: Frame): Frame => ({ op: 'publish', queue: 'work', payload: 'x', ...more });
const send =
  (headers: object, options: object = {}) =>
  (channel: ConfirmChannel) =>
    channel.sendToQueue('work', Buffer.from('x'), { persistent: true, headers, ...options });

const sendEmpty = (headers: object) => (channel: ConfirmChannel) =>
  channel.publish('', '', Buffer.alloc(0), { persistent: true, headers });

t.test('a delay below zero, too far, of half a millisecond', async (t) => {
  for (const delay of [-1, 400 * 365 * 24 * 3_600_000, 0.5]) {
    await publish(t, 'invalid-argument', { 'x-delay': String(delay) });
    await ws(t, 'invalid-argument', frame({ delay_ms: delay }));
    await channelEnds(t, 406, send({ 'x-delay': delay }));
  }
});

t.test('a time in the past is no mistake: it is due', async (t) => {
  await ask('PUT', '/queues/due');
  t.equal((await ask('POST', '/queues/due/messages', { raw: 'x', headers: { 'x-deliver-at': '1000' } })).status, 200);
  t.match(await peer.ask({ op: 'publish', id: ++asked, queue: 'due', deliver_at_ms: 1000 }), { op: 'ok' });
  t.match(gateway.broker.admin.queue('/', 'due'), { ready: 2, delayed: 0 });
});

t.test('a time to live below zero', async (t) => {
  await publish(t, 'invalid-argument', { 'x-ttl-ms': '-1' });
  await ws(t, 'invalid-argument', frame({ ttl_ms: -1 }));
  await channelEnds(t, 406, send({}, { expiration: '-1' }));
  await http(t, 'invalid-argument', 'PUT', '/queues/bad', { body: { arguments: { 'x-message-ttl': -1 } } });
  await channelEnds(t, 406, (channel) => channel.assertQueue('bad', { arguments: { 'x-message-ttl': -1 } }));
  await http(t, 'invalid-argument', 'PUT', '/policies/bad', {
    body: { pattern: 'x', definition: { 'message-ttl': -1 } },
  });
  t.equal(gateway.broker.admin.queue('/', 'bad'), undefined);
});

t.test('priority 1000', async (t) => {
  await publish(t, 'invalid-argument', { 'x-priority': '1000' });
  await ws(t, 'invalid-argument', frame({ priority: 1000 }));
  await http(t, 'invalid-argument', 'PUT', '/queues/bad', { body: { arguments: { 'x-max-priority': 1000 } } });
  // A message's priority is one octet there: only a queue can ask for it.
  await channelEnds(t, 406, (channel) => channel.assertQueue('bad', { arguments: { 'x-max-priority': 1000 } }));
});

t.test('a group id of a megabyte, or a byte too long', async (t) => {
  await publish(t, 'invalid-argument', { 'x-group-id': 'g'.repeat(256) });
  for (const group of [LONG, 'g'.repeat(256)]) {
    await ws(t, 'invalid-argument', frame({ properties: { group_id: group } }));
  }
  await channelEnds(t, 406, send({ 'x-group-id': 'g'.repeat(256) }));
});

t.test('a selector bomb', async (t) => {
  for (const filter of [DEEP, WIDE, `a LIKE '${'%a'.repeat(500)}'`]) {
    await ws(t, 'limit-exceeded', { op: 'subscribe', queue: 'work', filter });
    await http(t, 'limit-exceeded', 'POST', `/queues/work/lease?filter=${encodeURIComponent(filter)}`);
    await channelEnds(t, 406, (channel) => channel.consume('work', () => {}, { arguments: { 'x-filter': filter } }));
  }
  const binding = { source: 'amq.topic', queue: 'work', key: '#', arguments: { 'x-filter': WIDE } };
  await http(t, 'limit-exceeded', 'POST', '/bindings', { body: binding });
});

t.test('commit of a half that never was, and of one of another group', async (t) => {
  const half = { half: 'h1', messages: [{ queue: 'work', payload: 'x' }] };
  t.equal((await ask('POST', '/half-messages/shop', { body: half })).status, 201);
  for (const path of ['/half-messages/shop/none/commit', '/half-messages/other/h1/commit']) {
    await http(t, 'not-found', 'POST', path);
  }
  await ws(t, 'not-found', { op: 'commit', group: 'shop', half: 'none' });
  await ws(t, 'not-found', { op: 'commit', group: 'other', half: 'h1' });
  const commit = (group: string, id: string) => ({ 'x-half': 'commit', 'x-half-group': group, 'x-half-id': id });
  await channelEnds(t, 404, sendEmpty(commit('shop', 'none')));
  await channelEnds(t, 404, sendEmpty(commit('other', 'h1')));
  t.equal((await ask('POST', '/half-messages/shop/h1/rollback')).status, 200);
  await http(t, 'precondition-failed', 'POST', '/half-messages/shop/h1/commit');
  await ws(t, 'precondition-failed', { op: 'commit', group: 'shop', half: 'h1' });
  await channelEnds(t, 406, sendEmpty(commit('shop', 'h1')));
});

t.test('an offset out of range', async (t) => {
  const messages = '/streams/log/partitions/0/messages';
  for (const offset of ['-5', 'x']) await http(t, 'invalid-argument', 'GET', `${messages}?offset=${offset}`);
  await http(t, 'offset-out-of-range', 'GET', `${messages}?offset=1000000`);
  await http(t, 'offset-out-of-range', 'DELETE', `${messages}?before=1000000`);
  const offsets = [{ stream: 'log', partition: 0, offset: 1_000_000 }];
  await http(t, 'offset-out-of-range', 'PUT', '/groups/g/offsets', { body: offsets });
  await http(t, 'invalid-argument', 'GET', '/streams/log/partitions/7/messages');
});

t.test('an out-of-order sequence, and one of nobody', async (t) => {
  const { json: origin } = await ask('POST', '/producers', { body: { name: 'meter' } });
  const path = `/streams/log/messages?producer=${origin['id']}&epoch=${origin['epoch']}`;
  const one = (sequence: number) => [{ payload: 'x', partition: 0, sequence }];
  t.match((await ask('POST', path, { body: one(3) })).json, { results: [{ error: 'out-of-order' }] });
  t.match((await ask('POST', path, { body: one(0) })).json, { results: [{ offset: 0 }] });
  t.match((await ask('POST', path, { body: one(2) })).json, { results: [{ error: 'out-of-order' }] });
  await ask('POST', '/producers', { body: { name: 'meter' } });
  t.match((await ask('POST', path, { body: one(1) })).json, { results: [{ error: 'fenced' }] });
});
