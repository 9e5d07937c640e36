import t from 'tap';
import { fileGateway } from './gateway.ts';

const gateway = await fileGateway();
const { ask } = gateway;

t.test('policies: dry run, set, list, show, remove', async (t) => {
  await ask('PUT', '/queues/logs.web');
  for (let n = 0; n < 5; n++) await ask('POST', '/queues/logs.web/messages', { raw: 'x' });
  const body = { pattern: '^logs\\.', definition: { 'max-length': 2 } };
  const dry = await ask('PUT', '/policies/short?dry_run=true', { body });
  const sums = { over_length: 3, over_ring: 0, expired: 0, abandoned: 0, exact: true };
  const changes = [{ rule: 'max-length', before: null, after: 2 }];
  t.match(dry.json, {
    queues: 1,
    ...sums,
    items: [{ queue: 'logs.web', changes, policy: 'short', ready: 5, ...sums, problems: [] }],
  });
  const [item] = dry.json['items'] as { messages: object[] }[];
  t.equal(item?.messages.length, 3);
  t.match(item?.messages[0], { reason: 'maxlen', exchange: '', key: 'logs.web', priority: 0 });
  t.equal((await ask('GET', '/policies/short')).status, 404);
  t.equal((await ask('PUT', '/policies/short', { body })).status, 204);
  t.match((await ask('GET', '/policies/short')).json, { name: 'short', ...body, priority: 0, applies_to: 'queues' });
  t.match((await ask('GET', '/policies')).json, { total: 1, items: [{ name: 'short' }] });
  t.match((await ask('GET', '/policies?operator=true')).json, { total: 0 });
  t.match((await ask('GET', '/queues/logs.web')).json, {
    ready: 2,
    rules: { 'max-length': 2 },
    policy: 'short',
    live_rules: {},
    arguments: {},
  });
  t.equal((await ask('PUT', '/queues/logs.web')).status, 200, 'declaring it again is not disturbed');
  const cap = { pattern: 'logs', priority: 3, definition: { 'message-ttl': 60_000 } };
  t.equal((await ask('PUT', '/policies/cap?operator=true', { body: cap })).status, 204);
  t.match((await ask('GET', '/queues/logs.web')).json, {
    operator_policy: 'cap',
    rules: { 'message-ttl': 60_000, 'max-length': 2 },
  });
  t.match((await ask('DELETE', '/policies/cap?operator=true&dry_run=true')).json, { queues: 1, over_length: 0 });
  t.equal((await ask('DELETE', '/policies/cap?operator=true')).status, 204);
  t.equal((await ask('DELETE', '/policies/short')).status, 204);
  t.equal((await ask('DELETE', '/policies/short')).status, 404);
  t.same((await ask('GET', '/queues/logs.web')).json['rules'], {});
});

t.test('live settings of a queue', async (t) => {
  await ask('PUT', '/queues/work', { body: { arguments: { 'x-max-length': 1 } } });
  const body = { 'max-length': null, 'message-ttl': 60_000 };
  const dry = await ask('PUT', '/queues/work/rules?dry_run=true', { body });
  t.match(dry.json, {
    items: [
      {
        changes: [
          { rule: 'max-length', before: 1, after: null },
          { rule: 'message-ttl', before: null, after: 60_000 },
        ],
      },
    ],
  });
  t.equal((await ask('PUT', '/queues/work/rules', { body })).status, 204);
  t.match((await ask('GET', '/queues/work')).json, {
    live_rules: body,
    rules: { 'message-ttl': 60_000 },
    arguments: { 'x-max-length': 1 },
  });
  t.equal((await ask('PUT', '/queues/work/rules', { body: {} })).status, 204);
  t.same((await ask('GET', '/queues/work')).json['rules'], { 'max-length': 1 });
});

t.test('what is wrong, and who may not', async (t) => {
  const put = (body: object, path = '/policies/p') => ask('PUT', path, { body });
  t.match((await put({ pattern: '(', definition: { expires: 1 } })).json, { error: 'invalid-argument' });
  t.match((await put({ pattern: 'x', definition: {} })).json, { error: 'invalid-argument' });
  for (const body of [
    {},
    { pattern: 'x' },
    { pattern: 1, definition: {} },
    { pattern: 'x', definition: {}, more: 1 },
  ]) {
    t.equal((await put(body)).status, 400, JSON.stringify(body));
  }
  t.match((await put({ nothing: 1 }, '/queues/none/rules')).json, { error: 'not-found' });
  await ask('PUT', '/queues/q');
  t.match((await put({ nothing: 1 }, '/queues/q/rules')).json, { message: /there is no rule 'nothing'; there are/ });
  t.equal((await put([], '/queues/q/rules')).status, 400);
  const definition = { expires: 100_000 };
  for (const [method, path, body] of [
    ['PUT', '/policies/p', { pattern: 'x', definition }],
    ['PUT', '/policies/p?operator=true&dry_run=true', { pattern: 'x', definition }],
    ['DELETE', '/policies/p', undefined],
    ['PUT', '/queues/q/rules', definition],
  ] as const) {
    const options = { user: 'ann:pass:word', ...(body === undefined ? {} : { body }) };
    t.match((await ask(method, path, options)).json, { error: 'access-refused' }, `${method} ${path}`);
  }
});
