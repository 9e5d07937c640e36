import { once } from 'node:events';
import { createConnection } from 'node:net';
import t from 'tap';
import { createHttpAdapter } from '../../../src/adapters/http/index.ts';
import { limitsWith, SystemClock } from '../../../src/core/index.ts';
import { call, fileGateway, testAuthenticator } from './gateway.ts';

type Item = Record<string, unknown>;

const gateway = await fileGateway({ allowedOrigins: ['https://app.example.org'] });

const ask = (method: string, path: string, options?: Parameters<typeof call>[3]) =>
  call(gateway.url, method, path, options);

t.test('queues: declare, again, differently, inspect, list, purge, delete', async (t) => {
  const body = { durable: false, auto_delete: true };
  const made = await ask('PUT', '/v1/queues/q1', { body });
  t.match([made.status, made.json], [201, { name: 'q1', durable: false, auto_delete: true, ready: 0 }]);
  t.equal((await ask('PUT', '/v1/queues/q1', { body })).status, 200);
  t.match((await ask('PUT', '/v1/queues/q1')).json, { error: 'already-exists' });
  t.match((await ask('GET', '/v1/queues/q1')).json, { name: 'q1', consumers: 0, arguments: {} });
  await ask('PUT', '/v1/queues/q2');
  await ask('PUT', '/v1/queues/other');
  const list = await ask('GET', '/v1/queues?name=q&limit=1&offset=1');
  t.match(list.json, { total: 2, items: [{ name: 'q2' }] });
  await ask('POST', '/v1/queues/q2/messages', { raw: 'x' });
  t.match((await ask('DELETE', '/v1/queues/q2?if_empty=true')).json, { error: 'not-empty' });
  t.same((await ask('DELETE', '/v1/queues/q2/messages')).json, { messages: 1 });
  t.same((await ask('DELETE', '/v1/queues/q2?if_empty=true&if_unused=true')).json, { messages: 0 });
  t.equal((await ask('GET', '/v1/queues/q2')).status, 404);
  t.equal((await ask('DELETE', '/v1/queues/q2')).status, 404);
  t.match((await ask('PUT', '/v1/queues/amq.mine')).json, { error: 'access-refused' });
  for (const wrong of [{ durable: 'yes' }, { surprise: 1 }, [], 5]) {
    t.equal((await ask('PUT', '/v1/queues/w', { body: wrong })).status, 400, JSON.stringify(wrong));
  }
});

t.test('exchanges and bindings', async (t) => {
  const body = { kind: 'fanout', arguments: { 'x-note': { $int64: '9007199254740993' } } };
  t.equal((await ask('PUT', '/v1/exchanges/ex', { body })).status, 201);
  t.equal((await ask('PUT', '/v1/exchanges/ex', { body })).status, 200);
  t.match((await ask('GET', '/v1/exchanges/ex')).json, { name: 'ex', ...body, durable: true, bindings: 0 });
  t.match((await ask('PUT', '/v1/exchanges/ex', { body: { kind: 'topic' } })).json, { error: 'already-exists' });
  t.equal((await ask('PUT', '/v1/exchanges/ex2', { body: { kind: 'odd' } })).status, 400);
  t.equal((await ask('PUT', '/v1/exchanges/amq.mine', { body: { kind: 'topic' } })).status, 403);
  t.match((await ask('GET', '/v1/exchanges/amq.default')).json, { name: '', kind: 'direct' });
  t.ok(((await ask('GET', '/v1/exchanges')).json['items'] as Item[]).some((item) => item['name'] === 'amq.topic'));
  await ask('PUT', '/v1/queues/bq');
  t.equal((await ask('POST', '/v1/bindings', { body: { source: 'ex', queue: 'bq' } })).status, 204);
  t.equal(
    (await ask('POST', '/v1/bindings', { body: { source: 'amq.topic', exchange: 'ex', key: 'a/+/#', separator: '/' } }))
      .status,
    204,
  );
  t.match((await ask('GET', '/v1/bindings?exchange=ex')).json, {
    items: [{ source: 'amq.topic', target: { kind: 'exchange', name: 'ex' }, key: 'a/+/#', separator: '/' }],
  });
  t.same((await ask('POST', '/v1/topics/a/b/c', { raw: 'through both' })).json, { routed: true });
  t.match((await ask('GET', '/v1/queues/bq')).json, { ready: 1 });
  t.match((await ask('DELETE', '/v1/exchanges/ex?if_unused=true')).json, { error: 'in-use' });
  t.equal((await ask('DELETE', '/v1/exchanges/ex')).status, 204);
  t.same((await ask('GET', '/v1/bindings?queue=bq')).json, { total: 0, items: [] });
  for (const wrong of [{ source: 'amq.topic' }, { source: 'amq.topic', queue: 'bq', exchange: 'x' }, { queue: 'bq' }]) {
    t.equal((await ask('POST', '/v1/bindings', { body: wrong })).status, 400);
  }
  t.equal((await ask('POST', '/v1/bindings', { body: { source: 'nowhere', queue: 'bq' } })).status, 404);
});

t.test('virtual hosts are worlds of their own', async (t) => {
  t.equal((await ask('PUT', '/v1/vhosts/team%2Fa')).status, 204);
  await ask('PUT', '/v1/queues/q1?vhost=team%2Fa');
  await ask('POST', '/v1/queues/q1/messages?vhost=team%2Fa', { raw: 'x' });
  t.match((await ask('GET', '/v1/vhosts?name=team')).json, {
    total: 1,
    items: [{ name: 'team/a', queues: 1, messages: 1 }],
  });
  t.equal((await ask('GET', '/v1/queues?vhost=team%2Fa', { user: 'ann:pass:word' })).status, 403);
  t.equal((await ask('DELETE', '/v1/vhosts/team%2Fa')).status, 204);
  t.equal((await ask('GET', '/v1/queues?vhost=team%2Fa')).status, 404);
});

t.test('connections are listed, and closed by the operator', async (t) => {
  const client = gateway.broker.client('/', { user: 'u', clientId: 'c', protocol: 'test', peer: '10.0.0.1:1' }, {});
  const list = await ask('GET', '/v1/connections?name=c');
  const [mine] = list.json['items'] as Item[];
  t.match(mine, { user: 'u', client_id: 'c', protocol: 'test', peer: '10.0.0.1:1', vhost: '/' });
  t.equal((await ask('DELETE', `/v1/connections/${mine?.['id']}`)).status, 204);
  t.equal((await ask('DELETE', `/v1/connections/${mine?.['id']}`)).status, 404);
  t.equal((await ask('DELETE', '/v1/connections/one')).status, 400);
  client.close();
});

t.test('who may do what', async (t) => {
  const forbidden = [
    ['PUT', '/v1/queues/x'],
    ['DELETE', '/v1/queues/x'],
    ['DELETE', '/v1/queues/x/messages'],
    ['DELETE', '/v1/exchanges/x'],
    ['PUT', '/v1/vhosts/x'],
    ['DELETE', '/v1/vhosts/x'],
    ['GET', '/v1/vhosts'],
    ['GET', '/v1/connections'],
    ['DELETE', '/v1/connections/1'],
  ] as const;
  for (const [method, path] of forbidden) {
    t.match(
      (await ask(method, path, { user: 'ann:pass:word' })).json,
      { error: 'access-refused' },
      `${method} ${path}`,
    );
    t.equal((await ask(method, path, { user: '' })).status, 403);
  }
  t.same((await ask('GET', '/v1/info', { user: 'ann:pass:word' })).json, {
    name: 'JunctionMQ',
    version: '1.2.3',
    user: 'ann',
    vhost: '/',
  });
  t.match((await ask('GET', '/v1/info')).json, { journal: { segments: Number }, blocked_by: null });
  for (const user of ['admin:wrong', 'nobody:x', 'admin:']) {
    const answer = await ask('GET', '/v1/info', { user });
    t.match([answer.status, answer.headers.get('www-authenticate')], [401, /^Basic realm=/]);
  }
  for (const authorization of ['Basic', 'Basic ???', 'Basic bm9jb2xvbg==', 'Bearer abc']) {
    t.equal((await ask('GET', '/v1/info', { user: '', headers: { authorization } })).status, 401, authorization);
  }
});

t.test('pages of other sites', async (t) => {
  const origin = (value: string) => ({ user: '', headers: { origin: value }, raw: 'x' });
  t.equal((await ask('POST', '/v1/topics/a', origin('https://evil.example'))).status, 403);
  t.equal((await ask('POST', '/v1/topics/a', origin('null'))).status, 403);
  t.equal((await ask('POST', '/v1/topics/a', origin(gateway.url))).status, 200);
  const listed = await ask('POST', '/v1/topics/a', origin('https://app.example.org'));
  t.same([listed.status, listed.headers.get('access-control-allow-origin')], [200, 'https://app.example.org']);
  const preflight = await ask('OPTIONS', '/v1/topics/a', {
    user: '',
    headers: { origin: 'https://app.example.org', 'access-control-request-headers': 'authorization' },
  });
  t.equal(preflight.status, 204);
  t.equal(preflight.headers.get('access-control-allow-headers'), 'authorization');
  const foreign = await ask('OPTIONS', '/v1/topics/a', { user: '', headers: { origin: 'https://evil.example' } });
  t.equal(foreign.headers.get('access-control-allow-origin'), null);
  const rebound = 'GET /v1/queues HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n';
  t.match(await exchange(rebound), /^HTTP\/1\.1 401/, 'a name of somebody else needs a password');
});

/** Send bytes, read until the server ends the connection. */
async function exchange(text: string): Promise<string> {
  const socket = createConnection(gateway.port, '127.0.0.1');
  socket.write(text);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

t.test('bytes that are no HTTP, and routes that are none', async (t) => {
  t.match(await exchange('\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n\r\n'), /^HTTP\/1\.1 400/);
  t.match(await exchange('AMQP\x00\x00\x09\x01\r\n\r\n'), /^HTTP\/1\.1 400.*"error":"malformed-frame"/s);
  t.match(
    await exchange(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`),
    /^HTTP\/1\.1 431.*"error":"limit-exceeded"/s,
  );
  t.match((await ask('GET', '/v1/nothing')).json, { error: 'not-found' });
  t.match((await ask('PATCH', '/v1/queues/x')).json, { error: 'not-found' });
  t.equal((await ask('GET', '/v1/queues/%ff')).status, 400);
  t.equal((await ask('GET', '/v1/queues/__proto__')).status, 404);
  t.equal(
    (await ask('PUT', '/v1/exchanges/x', { raw: 'kind=topic', headers: { 'content-type': 'text/csv' } })).status,
    415,
  );
});

t.test('health and the page need no login', async (t) => {
  t.same((await ask('GET', '/health/live', { user: '' })).json, { status: 'live' });
  t.same((await ask('GET', '/health/ready', { user: '' })).json, { status: 'ready' });
  const page = await ask('GET', '/', { user: '' });
  t.match(page.headers.get('content-security-policy'), /default-src 'none'; script-src 'sha256-/);
  t.match(page.text, /JunctionMQ/);
});

t.test('before the broker is there, and after the stop: alive, not ready, no service', async (t) => {
  const http = await createHttpAdapter({
    limits: limitsWith(),
    authenticator: testAuthenticator(),
    clock: new SystemClock(),
    log: () => {},
    version: '0',
    ready: () => false,
    allowedOrigins: [],
  });
  const url = `http://127.0.0.1:${await http.listen('127.0.0.1', 0)}`;
  t.equal((await call(url, 'GET', '/health/live')).status, 200);
  t.equal((await call(url, 'GET', '/health/ready')).status, 503);
  const early = await call(url, 'GET', '/v1/queues');
  t.match([early.status, early.json, early.headers.get('retry-after')], [503, { error: 'stopping' }, '1']);
  await http.close();
  await http.close();
  await t.rejects(call(url, 'GET', '/health/live'));
});

t.test('a port in use is an error to the caller', async (t) => {
  await t.rejects(gateway.http.listen('127.0.0.1', gateway.port));
});
