import t from 'tap';
import {
  CONFIRM,
  clientId,
  exchangeName,
  FLAG_DURABLE,
  FLAG_RETAIN,
  FLAG_RETAINED,
  keyText,
  MANDATORY,
  userName,
} from '../../src/core/index.ts';
import { bodyOf, collect, connect, DURABLE, durably, key, pattern, SLASH, start, TRANSIENT, text } from './fixture.ts';

t.test('a message reaches a queue through the default exchange, with all facts of it', async (t) => {
  const fixture = await start();
  const client = connect(fixture);
  await fixture.broker.admin.declareQueue('/', 'jobs', TRANSIENT);
  const producer = client.producer({});
  const seen: unknown[] = [];
  client.subscribe(
    'jobs',
    { credit: 1 },
    {
      onDeliveries: (batch) => {
        while (batch.next()) {
          const { message } = batch;
          seen.push(bodyOf(message), keyText(message), exchangeName(message), userName(message), clientId(message));
          seen.push(message.priority, message.format, message.expiresAtMs, batch.deliveryId, batch.redeliveries);
        }
      },
    },
  );
  const message = text('hello');
  message.priority = 7;
  message.expiresAtMs = fixture.clock.now() + 60_000;
  t.equal(producer.publish(producer.address('', key('jobs')), message, 0), true);
  t.same(seen, [], 'nothing is delivered inside publish');
  await fixture.settle();
  t.same(seen, ['hello', 'jobs', '', 'alice', 'c-1', 7, 1, message.expiresAtMs, 1, 0]);
});

t.test('an expired message is dropped, not delivered', async (t) => {
  const fixture = await start();
  const client = connect(fixture);
  await fixture.broker.admin.declareQueue('/', 'q', TRANSIENT);
  const producer = client.producer({});
  const late = text('late');
  late.expiresAtMs = fixture.clock.now() - 1;
  producer.publish(producer.address('', key('q')), late, 0);
  producer.publish(producer.address('', key('q')), text('fresh'), 0);
  const { bodies } = collect(client, 'q');
  await fixture.settle();
  t.same(bodies, ['fresh']);
  t.equal(fixture.broker.admin.vhosts()[0]?.dropped, 1);
});

t.test('an unroutable mandatory message comes back before its confirm', async (t) => {
  const fixture = await start();
  const events: string[] = [];
  const producer = connect(fixture).producer({
    onReturn: (message, code) => events.push(`returned ${bodyOf(message)} ${keyText(message)} ${code}`),
    onConfirm: (upTo) => events.push(`confirmed ${upTo}`),
  });
  producer.publish(producer.address('', key('nowhere')), text('x'), MANDATORY | CONFIRM);
  producer.publish(producer.address('', key('nowhere')), text('silent'), CONFIRM);
  await fixture.settle();
  t.same(events, ['returned x nowhere unroutable', 'confirmed 2'], 'one confirm a turn');
  t.equal(fixture.broker.admin.vhosts()[0]?.unroutable, 2);
});

t.test('a transient message is not confirmed before a persistent one published earlier', async (t) => {
  const fixture = await start();
  const { admin } = fixture.broker;
  await admin.declareQueue('/', 't', TRANSIENT);
  await fixture.clock.drive(admin.declareQueue('/', 'd', DURABLE));
  const confirms: number[] = [];
  const producer = connect(fixture).producer({ onConfirm: (upTo) => confirms.push(upTo) });
  producer.publish(producer.address('', key('t')), text('1'), CONFIRM);
  producer.publish(producer.address('', key('d')), durably('2'), CONFIRM);
  producer.publish(producer.address('', key('t')), text('3'), CONFIRM);
  await fixture.settle();
  t.equal(confirms.at(-1), 3);
  t.same([...confirms].sort(), confirms, 'ascending');
});

t.test('topics: levels, not characters; taps see messages inside publish', async (t) => {
  const fixture = await start();
  const { admin } = fixture.broker;
  const client = connect(fixture);
  await admin.declareQueue('/', 'all', TRANSIENT);
  await admin.bind('/', 'amq.topic', { kind: 'queue', name: 'all' }, pattern('sensors.*.temp'), {});
  const seen: string[] = [];
  const tap = client.tap({
    onMessage: (message) => {
      seen.push(`${keyText(message)} ${bodyOf(message)}`);
      return seen.length < 3;
    },
  });
  tap.bind('amq.topic', pattern('sensors/#', SLASH));
  tap.bind('amq.topic', pattern('sensors/#', SLASH));
  tap.bind('amq.topic', pattern('+/kitchen/+', SLASH));
  const producer = client.producer({});
  producer.publish(producer.address('amq.topic', key('sensors/kitchen/temp', SLASH)), text('21'), 0);
  t.same(seen, ['sensors/kitchen/temp 21'], 'once, though two patterns match');
  producer.publish(producer.address('amq.topic', key('sensors.hall.temp')), text('19'), 0);
  producer.publish(producer.address('amq.topic', key('sensors.a.b.c')), text('-'), 0);
  t.equal(tap.dropped, 1, 'the third had no room');
  const { bodies } = collect(client, 'all');
  await fixture.settle();
  t.same(bodies, ['21', '19']);
  tap.unbind('amq.topic', pattern('sensors/#', SLASH));
  producer.publish(producer.address('amq.topic', key('sensors.hall.temp')), text('18'), 0);
  t.equal(seen.length, 3, 'unbound');
  tap.close();
});

t.test('retained last values: kept, replaced, cleared, shown oldest first', async (t) => {
  const fixture = await start();
  const client = connect(fixture);
  const producer = client.producer({});
  const put = (name: string, body: string, flags = 0): void => {
    producer.publish(producer.address('amq.topic', key(name, SLASH)), text(body, FLAG_RETAIN | flags), 0);
  };
  put('a/1', 'old');
  put('a/2', 'two', FLAG_DURABLE);
  put('a/1', 'one');
  put('b/1', 'other');
  put('a/3', 'gone');
  put('a/3', '');
  t.same(fixture.broker.admin.retainedKeys('/', 'amq.topic'), ['a/2', 'a/1', 'b/1']);
  const shown: string[] = [];
  const tap = client.tap({ onMessage: () => true });
  let done = false;
  tap.retained(
    'amq.topic',
    pattern('a/+', SLASH),
    (message) => shown.push(`${keyText(message)}=${bodyOf(message)} ${(message.flags & FLAG_RETAINED) !== 0}`),
    () => {
      done = true;
    },
  );
  await fixture.clock.run(() => done);
  t.same(shown, ['a/2=two true', 'a/1=one true']);
});

t.test('a publish to an exchange that was deleted, is internal, or never was', async (t) => {
  const fixture = await start();
  const { admin } = fixture.broker;
  const producer = connect(fixture).producer({});
  t.throws(() => producer.address('none', key('x')), { code: 'not-found' });
  const settings = { kind: 'topic', durable: false, autoDelete: false, internal: false, arguments: {} } as const;
  await admin.declareExchange('/', 'mine', settings);
  const address = producer.address('mine', key('x'));
  producer.publish(address, text('1'), 0);
  await admin.deleteExchange('/', 'mine');
  t.throws(() => producer.publish(address, text('2'), 0), { code: 'not-found' });
  await admin.declareExchange('/', 'inner', { ...settings, internal: true });
  t.throws(() => producer.address('inner', key('x')), { code: 'access-refused' });
});

t.test('declaring: same again is fine, otherwise refused', async (t) => {
  const fixture = await start();
  const { admin } = fixture.broker;
  const topic = { kind: 'topic', durable: true, autoDelete: false, internal: false, arguments: {} } as const;
  await admin.declareExchange('/', 'amq.topic', topic);
  await t.rejects(admin.declareExchange('/', 'amq.new', topic), { code: 'access-refused' });
  await t.rejects(admin.declareExchange('/', 'amq.topic', { ...topic, kind: 'fanout' }), { code: 'already-exists' });
  await t.rejects(admin.deleteExchange('/', 'amq.topic'), { code: 'access-refused' });
  await t.rejects(admin.deleteExchange('/', ''), { code: 'access-refused' });
  const args = { 'x-max': 5, nested: { list: [1n, 'two', Buffer.from('3'), new Date(4), null, true] } };
  await fixture.clock.drive(admin.declareQueue('/', 'q', { ...DURABLE, arguments: args }));
  await fixture.clock.drive(admin.declareQueue('/', 'q', { ...DURABLE, arguments: { ...args } }));
  await t.rejects(admin.declareQueue('/', 'q', DURABLE), { code: 'already-exists' });
  await t.rejects(admin.declareQueue('/', 'q', { ...TRANSIENT, arguments: args }), { code: 'already-exists' });
  await t.rejects(admin.declareQueue('/', '', TRANSIENT), { code: 'invalid-argument' });
  await t.rejects(admin.declareQueue('/', 'n'.repeat(256), TRANSIENT), { code: 'invalid-argument' });
  await t.rejects(admin.declareQueue('none', 'q', TRANSIENT), { code: 'not-found' });
  await t.rejects(admin.deleteQueue('/', 'none'), { code: 'not-found' });
  await t.rejects(admin.bind('/', '', { kind: 'queue', name: 'q' }, pattern('x'), {}), { code: 'access-refused' });
});

t.test('exclusive queues belong to one client and go with it', async (t) => {
  const fixture = await start();
  const { admin } = fixture.broker;
  const owner = connect(fixture);
  const other = connect(fixture);
  await admin.declareQueue('/', 'mine', { ...TRANSIENT, exclusive: true }, owner);
  await t.rejects(admin.declareQueue('/', 'mine', { ...TRANSIENT, exclusive: true }, other), {
    code: 'resource-locked',
  });
  await t.rejects(admin.purgeQueue('/', 'mine', other), { code: 'resource-locked' });
  await t.rejects(admin.bind('/', 'amq.fanout', { kind: 'queue', name: 'mine' }, pattern(''), {}), {
    code: 'resource-locked',
  });
  t.throws(() => other.subscribe('mine', { credit: 1 }, { onDeliveries: () => {} }), { code: 'resource-locked' });
  await admin.declareQueue('/', 'mine', { ...TRANSIENT, exclusive: true }, owner);
  owner.close();
  owner.close();
  t.equal(admin.queue('/', 'mine'), undefined);
  t.equal(admin.clients().length, 1);
  t.throws(() => owner.producer({}), { code: 'stopping' });
});

t.test('auto-delete: queues with their last consumer, exchanges with their last binding', async (t) => {
  const fixture = await start();
  const { admin } = fixture.broker;
  const client = connect(fixture);
  await admin.declareQueue('/', 'q', { ...TRANSIENT, autoDelete: true });
  const settings = { kind: 'fanout', durable: false, autoDelete: true, internal: false, arguments: {} } as const;
  await admin.declareExchange('/', 'x', settings);
  await admin.declareExchange('/', 'up', settings);
  await admin.bind('/', 'x', { kind: 'queue', name: 'q' }, pattern(''), {});
  await admin.bind('/', 'up', { kind: 'exchange', name: 'x' }, pattern(''), {});
  t.equal(admin.bindings('/').length, 2);
  const first = collect(client, 'q');
  const second = collect(client, 'q');
  first.subscription.close();
  t.ok(admin.queue('/', 'q'), 'one consumer is left');
  second.subscription.close();
  t.equal(admin.queue('/', 'q'), undefined);
  t.equal(admin.exchange('/', 'x'), undefined, 'its last binding went with the queue');
  t.equal(admin.exchange('/', 'up'), undefined, 'and the one that led to it');
  t.same(admin.bindings('/'), []);
});

t.test('the operator closes a client; the broker stops', async (t) => {
  const fixture = await start();
  const closed: string[] = [];
  const client = connect(fixture, { onClose: (reason, detail) => closed.push(`${reason} ${detail}`) });
  const [info] = fixture.broker.admin.clients('/');
  t.match(info, { user: 'alice', clientId: 'c-1', vhost: '/', subscriptions: 0 });
  fixture.broker.admin.closeClient(info?.id ?? 0, 'enough');
  t.same(closed, ['closed-by-operator enough']);
  t.throws(() => fixture.broker.admin.closeClient(99, ''), { code: 'not-found' });
  t.throws(() => client.tap({ onMessage: () => true }), { code: 'stopping' });
  await fixture.clock.drive(fixture.close());
  t.throws(() => connect(fixture), { code: 'stopping' });
});

t.test('connections and subscriptions are bounded', async (t) => {
  const fixture = await start({ connectionsMax: 1, subscriptionsPerConnectionMax: 1, messageBytesMax: 200 });
  const client = connect(fixture);
  t.throws(() => connect(fixture), { code: 'connection-limit' });
  t.throws(() => fixture.broker.client('none', client.identity, {}), { code: 'not-found' });
  await fixture.broker.admin.declareQueue('/', 'q', TRANSIENT);
  collect(client, 'q');
  t.throws(() => collect(client, 'q'), { code: 'limit-exceeded' });
  const producer = client.producer({});
  t.throws(() => producer.publish(producer.address('', key('q')), text('x'.repeat(200)), 0), {
    code: 'message-too-large',
  });
});

t.test('formats are known by number', async (t) => {
  const { broker } = await start();
  const format = { id: 3, name: 'three', toHub: () => ({ durable: false, annotations: new Map(), application: [] }) };
  broker.registerFormat(format);
  broker.registerFormat(format);
  t.equal(broker.format(3), format);
  t.equal(broker.format(4), undefined);
  t.throws(() => broker.registerFormat({ ...format }), { code: 'already-exists' });
  t.throws(() => broker.registerFormat({ ...format, id: 256 }), { code: 'invalid-argument' });
});

t.test('a headers exchange asks the format for the properties', async (t) => {
  const fixture = await start();
  const { admin } = fixture.broker;
  const client = connect(fixture);
  fixture.broker.registerFormat({
    id: 1,
    name: 'test',
    toHub: (message) => ({ durable: false, annotations: new Map(), application: [['color', bodyOf(message)]] }),
  });
  await admin.declareQueue('/', 'red', TRANSIENT);
  await admin.bind('/', 'amq.headers', { kind: 'queue', name: 'red' }, pattern(''), { 'x-match': 'all', color: 'red' });
  const producer = client.producer({});
  const address = producer.address('amq.headers', key(''));
  for (const color of ['red', 'blue', 'red']) producer.publish(address, text(color), 0);
  const { bodies } = collect(client, 'red');
  await fixture.settle();
  t.same(bodies, ['red', 'red']);
});
