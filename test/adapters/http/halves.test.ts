import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { checkAddress } from '../../../src/adapters/http/half-caller.ts';
import { fileGateway } from './gateway.ts';

const gateway = await fileGateway({ limits: { httpCheckMs: 100 } });
const { ask } = gateway;

async function bodies(queue: string): Promise<unknown[]> {
  const { json } = await ask('POST', `/queues/${queue}/lease?max=100`);
  return (json['messages'] as { payload: string }[]).map(({ payload }) => payload);
}

t.test('prepare, look, commit; and again, and the other way', async (t) => {
  await ask('PUT', '/queues/orders');
  await ask('PUT', '/queues/mails');
  const messages = [
    { queue: 'orders', payload: 'o1', properties: { message_id: 'm1' } },
    { queue: 'mails', payload: 'm1' },
  ];
  const prepared = await ask('POST', '/half-messages/shop', { body: { half: 'order 1/7', messages } });
  t.same([prepared.status, prepared.json], [201, { group: 'shop', half: 'order 1/7' }]);
  t.same(await bodies('orders'), [], 'nobody sees it');
  const path = '/half-messages/shop/order%201%2F7';
  const { json } = await ask('GET', '/half-messages?group=shop&parked=false');
  t.match(json, { total: 1, items: [{ half: 'order 1/7', messages: 2, checks: 0, checks_max: 15, parked: false }] });
  t.same((await ask('GET', '/half-messages?parked=true')).json['total'], 0);
  t.match((await ask('GET', path)).json, {
    ...{ group: 'shop', half: 'order 1/7' },
    messages: [{ payload: 'o1', properties: { message_id: 'm1' }, key: 'orders' }, { payload: 'm1' }],
  });
  for (const _ of [1, 2]) {
    const committed = await ask('POST', `${path}/commit`);
    t.same([committed.status, committed.json], [200, { ended: 'commit' }]);
  }
  t.match(await ask('POST', `${path}/rollback`), { status: 412, json: { error: 'precondition-failed' } });
  t.equal((await ask('GET', path)).status, 404);
  t.same(await bodies('orders'), ['o1']);
  t.same(await bodies('mails'), ['m1']);
});

t.test('an id is given where none is chosen; rollback deletes', async (t) => {
  const messages = [{ topic: 'a/b', payload: 'x' }];
  const { json } = await ask('POST', '/half-messages/shop', { body: { messages } });
  t.match(json['half'], /^[0-9a-f-]{36}$/);
  t.equal((await ask('POST', `/half-messages/shop/${json['half']}/rollback`)).status, 200);
  t.match(await ask('POST', `/half-messages/shop/${json['half']}/commit`), { status: 412 });
});

t.test('what makes no sense is refused', async (t) => {
  const refused = async (status: number, error: string, path: string, body?: unknown) => {
    const answer = await ask('POST', path, body === undefined ? {} : { body });
    t.same([answer.status, answer.json['error']], [status, error], `${path} ${JSON.stringify(body)}`);
  };
  const messages = [{ queue: 'orders', payload: 'x' }];
  await refused(404, 'not-found', '/half-messages/shop/unknown/commit');
  await refused(404, 'not-found', '/half-messages/foreign/order%201%2F7/rollback');
  await refused(400, 'invalid-argument', '/half-messages/shop', {});
  await refused(400, 'invalid-argument', '/half-messages/shop', { messages: [] });
  await refused(400, 'invalid-argument', '/half-messages/shop', { messages: [{ payload: 'nowhere' }] });
  await refused(400, 'invalid-argument', '/half-messages/shop', { messages, half: 'x'.repeat(300) });
  await refused(400, 'invalid-argument', '/half-messages/shop', { messages, first_check_ms: -5 });
  await refused(400, 'invalid-argument', '/half-messages/shop', { messages, checks_max: 1e9 });
  await refused(400, 'invalid-argument', '/half-messages/shop', { messages: [{ ...messages[0], retain: true }] });
  await refused(404, 'not-found', '/half-messages/shop', { messages: [{ exchange: 'none', key: 'k' }] });
  t.equal((await ask('GET', '/half-messages')).json['total'], 0);
  await refused(201, undefined as never, '/half-messages/shop', { half: 'h', messages: [{ queue: 'none' }] });
  await refused(400, 'invalid-argument', '/half-messages/shop', { half: 'h', messages, checks_max: -1 });
  await refused(404, 'unroutable', '/half-messages/shop/h/commit');
  t.equal((await ask('GET', '/half-messages')).json['total'], 1, 'it stays open');
  await ask('POST', '/half-messages/shop/h/rollback');
});

t.test('addresses that are none are refused, and only an administrator sets one', async (t) => {
  const refused = (url: unknown) => ask('PUT', '/producer-groups/shop/check-url', { body: { url } });
  for (const url of ['', 'nonsense', 'ftp://host/', 'file:///etc/passwd', 'http://user:secret@host/', 7]) {
    t.equal((await refused(url)).status, 400, String(url));
  }
  t.throws(() => checkAddress(`http://host/${'x'.repeat(3000)}`), { code: 'invalid-argument' });
  const path = '/producer-groups/shop/check-url';
  t.equal((await ask('PUT', path, { user: 'ann:pass:word', body: { url: 'http://host/' } })).status, 403);
  t.equal((await ask('DELETE', path, { user: 'ann:pass:word' })).status, 403);
  t.equal((await ask('DELETE', '/producer-groups/none/check-url')).status, 404);
});

/** A server that answers checks; `answer` may leave the answering to the test. */
async function answering(answer: (body: Record<string, unknown>, response: ServerResponse) => void) {
  const server = createServer(async (request: IncomingMessage, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    answer(JSON.parse(text) as Record<string, unknown>, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/check`;
  return { url, close: () => server.close() };
}

/** Wait until a half has ended. */
async function ended(half: string): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if ((await ask('GET', `/half-messages/called/${half}`)).status === 404) return;
  }
  throw new Error(`${half} did not end`);
}

t.test('a check is posted to the address of the group, and its answer ends the half', async (t) => {
  await ask('PUT', '/queues/called');
  const checks: Record<string, unknown>[] = [];
  const answers = ['{"answer":"unknown"}', 'nonsense', 'x'.repeat(10_000), '{"answer":"commit"}'];
  const server = await answering((body, response) => {
    checks.push(body);
    const text = body['half'] === 'h2' ? '{"answer":"rollback"}' : answers.shift();
    if (checks.length === 2) response.writeHead(302, { location: 'http://127.0.0.1:1/' });
    response.end(text);
  });
  t.teardown(server.close);
  t.equal((await ask('PUT', '/producer-groups/called/check-url', { body: { url: server.url } })).status, 204);
  t.match((await ask('GET', '/producer-groups')).json, { items: [{ name: 'shop' }, { check_url: server.url }] });
  const soon = { first_check_ms: 5, check_every_ms: 5, checks_max: 100 };
  const messages = [{ queue: 'called', payload: 'one' }];
  await ask('POST', '/half-messages/called', { body: { ...soon, half: 'h1', messages } });
  await ended('h1');
  t.match(checks[0], {
    vhost: '/',
    group: 'called',
    half: 'h1',
    check: 1,
    checks_max: 100,
    messages: [{ payload: 'one' }],
  });
  t.same(await bodies('called'), ['one']);
  await ask('POST', '/half-messages/called', { body: { ...soon, half: 'h2', messages } });
  await ended('h2');
  t.same(await bodies('called'), []);
  t.equal((await ask('DELETE', '/producer-groups/called/check-url')).status, 204);
});

t.test('an address that does not answer is given up in time, and asked again', async (t) => {
  let silent: ServerResponse | undefined;
  const server = await answering((_body, response) => {
    if (silent === undefined) silent = response;
    else response.end('{"answer":"commit"}');
  });
  t.teardown(server.close);
  await ask('PUT', '/producer-groups/called/check-url', { body: { url: server.url } });
  const body = { half: 'h3', first_check_ms: 1, check_every_ms: 20, checks_max: 1000, messages: [{ queue: 'called' }] };
  await ask('POST', '/half-messages/called', { body });
  await ended('h3');
  t.ok(silent?.destroyed || silent?.closed);
});
