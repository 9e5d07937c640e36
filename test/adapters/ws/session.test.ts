import { once } from 'node:events';
import { createConnection } from 'node:net';
import t from 'tap';
import { call, fileGateway, openGateway, TestClock, testAuthenticator } from '../http/gateway.ts';
import { type Frame, WsPeer } from './peer.ts';

const AS_ANN = { headers: { authorization: `Basic ${Buffer.from('ann:pass:word').toString('base64')}` } };

const gateway = await fileGateway();

async function declareQueue(name: string): Promise<void> {
  await call(gateway.url, 'PUT', `/v1/queues/${name}`);
}

t.test('a topic subscription sees what is published, once each, in order', async (t) => {
  const [subscriber, publisher] = [await WsPeer.open(gateway.port), await WsPeer.open(gateway.port, AS_ANN)];
  t.same(await subscriber.ask({ op: 'subscribe', id: 's', topic: 'order/#' }), { op: 'ok', id: 's' });
  t.match(await subscriber.next({ op: 'hello' }), { user: '', vhost: '/', version: '1.2.3' });
  t.match(await publisher.next({ op: 'hello' }), { user: 'ann' });
  for (let n = 0; n < 100; n++) publisher.send({ op: 'publish', topic: `order/${n}`, payload: `${n}` });
  for (let n = 0; n < 100; n++) {
    t.match(await subscriber.next({ op: 'message' }), {
      sub: 's',
      exchange: 'amq.topic',
      key: `order/${n}`,
      topic: `order/${n}`,
      payload: `${n}`,
      encoding: 'utf8',
      user: 'ann',
      persistent: true,
    });
  }
  t.same(await subscriber.ask({ op: 'unsubscribe', id: 'u', sub: 's' }), { op: 'ok', id: 'u' });
  t.match(await publisher.ask({ op: 'publish', id: 1, topic: 'order/x' }), { op: 'ok', routed: false });
  t.same(subscriber.waiting, []);
  await Promise.all([subscriber.close(), publisher.close()]);
});

t.test('properties, headers and bytes arrive as they were sent', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  await peer.ask({ op: 'subscribe', id: 1, topic: 'full' });
  const sent: Frame = {
    payload: Buffer.from([0, 255, 10]).toString('base64'),
    encoding: 'base64',
    priority: 7,
    persistent: false,
    properties: {
      content_type: 'x/y',
      message_id: 'm1',
      correlation_id: { $base64: 'AQI=' },
      reply_to: 'r',
      ttl_ms: 60_000,
    },
    headers: { n: 1, deep: { list: [true, null, 1.5] }, when: { $date: '2020-01-01T00:00:00.000Z' }, __proto__x: 'y' },
  };
  await peer.ask({ op: 'publish', id: 2, topic: 'full', ...sent });
  t.match(await peer.next({ op: 'message' }), sent);
  await peer.close();
});

t.test('an empty payload, an empty level and characters beyond the first plane', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  await peer.ask({ op: 'subscribe', id: 1, topic: 'a//+' });
  await peer.ask({ op: 'publish', id: 2, topic: 'a//🚀', payload: '' });
  t.match(await peer.next({ op: 'message' }), { topic: 'a//🚀', payload: '' });
  await peer.close();
});

t.test('a retained value comes first, marked as such, unless it is not wanted', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  t.match(await peer.ask({ op: 'publish', id: 1, topic: 'last/a', payload: '1', retain: true }), { op: 'ok' });
  await peer.ask({ op: 'subscribe', id: 2, topic: 'last/+' });
  t.match(await peer.next({ op: 'message' }), { sub: 2, payload: '1', retained: true });
  await peer.ask({ op: 'subscribe', id: 3, topic: 'last/+', retained: false });
  await peer.ask({ op: 'publish', id: 4, topic: 'last/b', payload: '2' });
  t.notMatch(await peer.next({ op: 'message', sub: 3 }), { retained: true });
  await peer.ask({ op: 'publish', id: 5, topic: 'last/a', payload: '', retain: true });
  await peer.close();
});

t.test('queue deliveries: window, settling in ranges, redelivery, durable answer', async (t) => {
  await declareQueue('wjobs');
  const peer = await WsPeer.open(gateway.port);
  for (let n = 1; n <= 6; n++) await peer.ask({ op: 'publish', id: `p${n}`, queue: 'wjobs', payload: `${n}` });
  await peer.ask({ op: 'subscribe', id: 'j', queue: 'wjobs', credit: 4 });
  for (let n = 1; n <= 4; n++) {
    t.match(await peer.next({ op: 'message' }), { sub: 'j', delivery: n, redeliveries: 0, payload: `${n}` });
  }
  t.match(await peer.ask({ op: 'ping', id: 'p' }), { op: 'pong', id: 'p' });
  t.same(
    peer.waiting.filter(({ op }) => op === 'message'),
    [],
    'no more than the window',
  );
  t.same(await peer.ask({ op: 'ack', id: 'a', sub: 'j', deliveries: [1, [2, 3]] }), { op: 'ok', id: 'a', settled: 3 });
  t.match(await peer.next({ op: 'message' }), { delivery: 5, payload: '5' });
  t.match(await peer.next({ op: 'message' }), { delivery: 6, payload: '6' });
  t.match(await peer.ask({ op: 'ack', id: 'b', sub: 'j', deliveries: [4, 99] }), {
    op: 'error',
    code: 'unknown-delivery',
  });
  await peer.ask({ op: 'requeue', id: 'c', sub: 'j', delivery: 4 });
  t.match(await peer.next({ op: 'message' }), { delivery: 7, redeliveries: 1, payload: '4' });
  t.same(await peer.ask({ op: 'discard', id: 'd', sub: 'j', deliveries: [[5, 5]] }), { op: 'ok', id: 'd', settled: 1 });
  await peer.close();

  const second = await WsPeer.open(gateway.port);
  await second.ask({ op: 'subscribe', id: 1, queue: 'wjobs' });
  t.match(await second.next({ op: 'message' }), { payload: '4', redeliveries: 2 }, 'unsettled comes back in its place');
  t.match(await second.next({ op: 'message' }), { payload: '6', redeliveries: 1 });
  await second.ask({ op: 'ack', id: 2, sub: 1, deliveries: [[1, 2]] });
  await second.close();
  t.match((await call(gateway.url, 'GET', '/v1/queues/wjobs')).json, { ready: 0, unsettled: 0, consumers: 0 });
});

t.test('credit 0 pauses a queue subscription and more resumes it', async (t) => {
  await declareQueue('wpaused');
  const peer = await WsPeer.open(gateway.port);
  await peer.ask({ op: 'subscribe', id: 1, queue: 'wpaused', credit: 0 });
  await peer.ask({ op: 'publish', id: 2, queue: 'wpaused', payload: 'x' });
  t.match((await call(gateway.url, 'GET', '/v1/queues/wpaused')).json, { ready: 1, unsettled: 0 });
  await peer.ask({ op: 'credit', id: 3, sub: 1, credit: 1 });
  t.match(await peer.next({ op: 'message' }), { delivery: 1 });
  await peer.ask({ op: 'ack', id: 4, sub: 1, delivery: 1 });
  await peer.close();
});

t.test('a deleted queue ends its subscription', async (t) => {
  await declareQueue('wgone');
  const peer = await WsPeer.open(gateway.port);
  await peer.ask({ op: 'subscribe', id: 1, queue: 'wgone' });
  await call(gateway.url, 'DELETE', '/v1/queues/wgone');
  t.match(await peer.next({ op: 'end' }), { sub: 1, code: 'not-found' });
  t.match(await peer.ask({ op: 'unsubscribe', id: 2, sub: 1 }), { op: 'error', code: 'not-found' });
  await peer.close();
});

t.test('unroutable: an error when mandatory or to a queue, a word otherwise', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  t.same(await peer.ask({ op: 'publish', id: 1, topic: 'no/one' }), { op: 'ok', id: 1, routed: false });
  t.match(await peer.ask({ op: 'publish', id: 2, topic: 'no/one', mandatory: true }), {
    op: 'error',
    code: 'unroutable',
  });
  t.match(await peer.ask({ op: 'publish', id: 3, queue: 'nowhere' }), { op: 'error', code: 'unroutable' });
  t.match(await peer.ask({ op: 'publish', id: 4, exchange: 'nowhere' }), { op: 'error', code: 'not-found' });
  t.match(await peer.ask({ op: 'publish', id: 5, exchange: 'amq.topic', key: 'a.b' }), { op: 'ok' });
  await peer.close();
});

t.test('wrong frames are answered with their id, and the connection goes on', async (t) => {
  const peer = await WsPeer.open(gateway.port, AS_ANN);
  const wrong: [Frame, string][] = [
    [{ op: 'fly' }, 'not-supported'],
    [{}, 'not-supported'],
    [{ op: 'subscribe', topic: 'a', queue: 'b' }, 'invalid-argument'],
    [{ op: 'subscribe', topic: 'a', credit: 3 }, 'invalid-argument'],
    [{ op: 'subscribe' }, 'invalid-argument'],
    [{ op: 'subscribe', topic: 'a/#/b' }, 'invalid-argument'],
    [{ op: 'subscribe', topic: 'a\u0000b' }, 'invalid-argument'],
    [{ op: 'subscribe', topic: 'a', extra: 1 }, 'invalid-argument'],
    [{ op: 'subscribe', queue: 'nowhere' }, 'not-found'],
    [{ op: 'publish', topic: 'a/#' }, 'invalid-argument'],
    [{ op: 'publish', topic: '' }, 'invalid-argument'],
    [{ op: 'publish' }, 'invalid-argument'],
    [{ op: 'publish', topic: 'a', payload: 5 }, 'invalid-argument'],
    [{ op: 'publish', topic: 'a', payload: '***', encoding: 'base64' }, 'invalid-argument'],
    [{ op: 'publish', topic: 'a', priority: 256 }, 'invalid-argument'],
    [{ op: 'publish', topic: 'a', headers: { x: { $date: 'never' } } }, 'invalid-argument'],
    [{ op: 'publish', topic: 'a', properties: { user_id: 'root' } }, 'invalid-argument'],
    [{ op: 'publish', topic: 'a\ud800' }, 'invalid-argument'],
    [{ op: 'ack', sub: 1, delivery: 1 }, 'not-found'],
    [{ op: 'ack', sub: 1 }, 'invalid-argument'],
    [{ op: 'credit', sub: 1, credit: -1 }, 'invalid-argument'],
  ];
  for (const [at, [frame, code]] of wrong.entries()) {
    t.match(await peer.ask({ id: `w${at}`, ...frame }), { op: 'error', code }, JSON.stringify(frame));
  }
  await peer.ask({ op: 'subscribe', id: 't', topic: 'tt' });
  t.match(await peer.ask({ op: 'subscribe', id: 't', topic: 'tt' }), { op: 'error', code: 'already-exists' });
  t.match(await peer.ask({ op: 'ack', id: 9, sub: 't', delivery: 1 }), { op: 'error', code: 'precondition-failed' });
  t.match(await peer.ask({ op: 'ping', id: 'alive' }), { op: 'pong' });
  await peer.close();
});

t.test('names of prototype members are names like others', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  t.match(await peer.ask({ op: 'subscribe', id: '__proto__', topic: 'constructor' }), { op: 'ok' });
  peer.socket.send('{"op":"publish","id":1,"topic":"constructor","headers":{"__proto__":"p","toString":"s"}}');
  const message = await peer.next({ op: 'message' });
  t.equal(message['sub'], '__proto__');
  t.same(Object.entries(message['headers'] as object), [
    ['__proto__', 'p'],
    ['toString', 's'],
  ]);
  peer.socket.send('{"op":"ping","id":2,"__proto__":{"admin":true}}');
  t.match(await peer.next({ id: 2 }), { op: 'error', code: 'invalid-argument' });
  await peer.close();
});

t.test('text that is no frame, and bytes, end the connection', async (t) => {
  for (const [data, code] of [
    ['{', 1007],
    ['[]', 1007],
    ['null', 1007],
    [Buffer.from([1, 2]), 1003],
  ] as const) {
    const peer = await WsPeer.open(gateway.port, AS_ANN);
    peer.socket.send(data);
    t.equal((await peer.whenClosed()).code, code);
  }
});

t.test('login frames: what waits behind one is done after it', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  peer.send({ op: 'login', id: 1, user: 'ann', password: 'pass:word' });
  peer.send({ op: 'subscribe', id: 2, topic: 'x' });
  t.match(await peer.next(), { op: 'hello', user: 'ann' });
  t.match(await peer.next(), { op: 'ok', id: 1 });
  t.match(await peer.next(), { op: 'ok', id: 2 });
  t.match(await peer.ask({ op: 'login', id: 3, user: 'ann', password: 'pass:word' }), { code: 'protocol-violation' });
  t.equal((await peer.whenClosed()).code, 1008);
});

t.test('a wrong password, or a virtual host one may not enter', async (t) => {
  for (const [frame, code] of [
    [{ user: 'ann', password: 'no' }, 'authentication-failed'],
    [{ user: 'nobody', password: 'no' }, 'authentication-failed'],
    [{ user: 'ann', password: 'pass:word', vhost: 'other' }, 'access-refused'],
    [{ user: 'admin', password: 'secret', vhost: 'other' }, 'not-found'],
  ] as const) {
    const peer = await WsPeer.open(gateway.port);
    t.match(await peer.ask({ op: 'login', id: 1, ...frame }), { op: 'error', code });
    t.equal((await peer.whenClosed()).code, 1008);
  }
});

t.test('the operator closes a connection', async (t) => {
  const peer = await WsPeer.open(gateway.port, AS_ANN);
  await peer.next({ op: 'hello' });
  const { json } = await call(gateway.url, 'GET', '/v1/connections');
  const mine = (json['items'] as Frame[]).find((item) => item['user'] === 'ann' && item['protocol'] === 'ws');
  t.equal((await call(gateway.url, 'DELETE', `/v1/connections/${mine?.['id']}`)).status, 204);
  t.match(await peer.next({ op: 'error' }), { op: 'error' });
  await peer.whenClosed();
});

t.test('refused upgrades', async (t) => {
  const refused = async (options: Parameters<typeof WsPeer.open>[1], status: number): Promise<void> => {
    await t.rejects(WsPeer.open(gateway.port, options), { message: `Unexpected server response: ${status}` });
  };
  await refused({ path: '/elsewhere' }, 404);
  await refused({ path: '//' }, 404);
  await refused({ protocols: ['stomp'] }, 400);
  await refused({ headers: { authorization: 'Basic bm86bm8=' } }, 401);
  await refused({ headers: { authorization: 'Bearer x' } }, 401);
  await refused({ origin: 'https://evil.example' }, 403);
  const own = await WsPeer.open(gateway.port, { origin: gateway.url, protocols: ['mqtt', 'junction.json'] });
  t.equal(own.socket.protocol, 'junction.json');
  await own.close();
  const plain = await WsPeer.open(gateway.port, { protocols: [] });
  t.match(await plain.ask({ op: 'ping', id: 1 }), { op: 'pong' });
  await plain.close();
});

t.test('a page that points a name of its own at us is not let in without a password', async (t) => {
  const headers = { host: 'rebound.example', origin: 'http://rebound.example' };
  const peer = await WsPeer.open(gateway.port, { headers });
  t.match(await peer.ask({ op: 'ping', id: 1 }), { op: 'error', code: 'authentication-failed' });
  await peer.whenClosed();
});

t.test('garbage after the upgrade, a garbage upgrade, half an upgrade and silence', async (t) => {
  const peer = await WsPeer.open(gateway.port);
  (peer.socket as unknown as { _socket: NodeJS.WritableStream })._socket.write(Buffer.alloc(200, 0xff));
  await peer.whenClosed();
  const raw = createConnection(gateway.port, '127.0.0.1');
  raw.write(
    'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: no\r\n\r\n',
  );
  const [answer] = (await once(raw, 'data')) as [Buffer];
  t.match(answer.toString(), /^HTTP\/1\.1 400/);
  raw.destroy();
  const half = createConnection(gateway.port, '127.0.0.1');
  half.write('GET /ws HTTP/1.1\r\nHost: x\r\n');
  await once(half, 'connect');
  const other = await WsPeer.open(gateway.port);
  t.match(await other.ask({ op: 'ping', id: 1 }), { op: 'pong' }, 'others are not affected');
  await other.close();
  half.destroy();
});

t.test('limits and time, on a gateway of its own', async (t) => {
  const clock = new TestClock();
  const limits = { wsFrameBytesMax: 100_000, frameBytesBeforeLoginMax: 2_000, subscriptionsPerConnectionMax: 2 };
  const own = await openGateway({ dir: t.testdir(), clock, limits, authenticator: testAuthenticator(false) });
  t.teardown(() => own.close());
  const silent = await WsPeer.open(own.port);
  clock.advance(10_000);
  t.match(await silent.next(), { op: 'error', code: 'handshake-timeout' });
  t.equal((await silent.whenClosed()).code, 1008);

  const stranger = await WsPeer.open(own.port);
  t.match(await stranger.ask({ op: 'ping', id: 1 }), { op: 'error', code: 'authentication-failed' });
  await stranger.whenClosed();

  const large = await WsPeer.open(own.port);
  large.socket.send(`{"op":"login","user":"${'x'.repeat(50_000)}`);
  t.match(await large.next(), { code: 'frame-too-large' });
  t.equal((await large.whenClosed()).code, 1009);

  const ann = await WsPeer.open(own.port, AS_ANN);
  t.match(await ann.ask({ op: 'publish', id: 1, topic: 'big', payload: 'x'.repeat(90_000) }), { op: 'ok' });
  await ann.ask({ op: 'subscribe', id: 'a', topic: 'a' });
  await ann.ask({ op: 'subscribe', id: 'b', topic: 'b' });
  t.match(await ann.ask({ op: 'subscribe', id: 'c', topic: 'c' }), { code: 'limit-exceeded' });
  clock.advance(30_000);
  await once(ann.socket, 'ping');
  t.match(await ann.ask({ op: 'ping', id: 3 }), { op: 'pong' }, 'who answers pings stays');
  ann.socket.send('x'.repeat(200_000));
  t.equal((await ann.whenClosed()).code, 1009);

  const dead = await WsPeer.open(own.port, { ...AS_ANN, autoPong: false });
  await dead.next({ op: 'hello' });
  clock.advance(30_000);
  await once(dead.socket, 'ping');
  clock.advance(30_000);
  t.equal((await dead.whenClosed()).code, 1006, 'who does not is cut off');
});

t.test('a subscriber that does not read loses messages, is told how many, and costs bounded memory', async (t) => {
  const limits = { connectionOutBytesHigh: 64 * 1024, tapOutBytesMax: 256 * 1024 };
  const own = await openGateway({ dir: t.testdir(), limits });
  t.teardown(() => own.close());
  const [slow, publisher] = [await WsPeer.open(own.port), await WsPeer.open(own.port)];
  await slow.ask({ op: 'subscribe', id: 's', topic: 'flood' });
  slow.socket.pause();
  const payload = 'x'.repeat(50_000);
  const count = 400;
  for (let n = 0; n < count; n++)
    await publisher.ask({ op: 'publish', id: n, topic: 'flood', payload, persistent: false });
  slow.socket.resume();
  const dropped = Number((await slow.next({ op: 'dropped' }))['count']);
  const received = slow.waiting.filter(({ op }) => op === 'message').length;
  t.ok(dropped > 0);
  t.equal(received + dropped, count, 'every message arrived or was counted');
  await publisher.ask({ op: 'publish', id: 'last', topic: 'flood', payload: 'last' });
  t.match(await slow.next({ payload: 'last' }), { op: 'message' }, 'it goes on afterwards');
  await Promise.all([slow.close(), publisher.close()]);
});

t.test('closing the adapter tells every peer', async (t) => {
  const own = await openGateway({ dir: t.testdir() });
  const peer = await WsPeer.open(own.port);
  await peer.ask({ op: 'ping', id: 1 });
  await Promise.all([own.close(), peer.whenClosed()]);
  t.equal(peer.closed?.code, 1001);
  t.equal(own.ws.connections, 0);
});
