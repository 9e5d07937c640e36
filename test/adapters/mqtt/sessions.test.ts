import t from 'tap';
import { Harness, line } from './harness.ts';

t.test('a session is kept while its client is away [MQTT-3.1.2-4] [MQTT-3.1.2-5]', async (t) => {
  const h = await Harness.start();
  t.teardown(() => h.close());
  const session = { clientId: 'kept', clean: false };
  const first = await h.connect(session);
  t.equal(first.present, false, '[MQTT-3.2.2-3]');
  await first.subscribe(1, ['one/#', 1], ['zero', 0]);
  first.send({ cmd: 'disconnect' });
  await first.closed();

  const publisher = await h.connect();
  await publisher.publishSafely('one/a', '1');
  await publisher.publishSafely('zero', 'missed');
  publisher.publish('one/b', 'queued as well');
  await publisher.all();

  const second = await h.connect(session);
  t.equal(second.present, true, '[MQTT-3.2.2-2]');
  t.strictSame((await second.all()).map(line).sort(), ['one/a 1 qos1', 'one/b queued as well qos0']);
  await publisher.publishSafely('zero', 'seen');
  t.strictSame((await second.all()).map(line), ['zero seen qos0'], 'QoS 0 subscriptions are remembered too');
  second.vanish();

  const third = await h.connect(session);
  t.strictSame((await third.all()).map(line), ['one/a 1 qos1 dup'], 'not acknowledged: again [MQTT-4.4.0-1]');
  third.send({ cmd: 'unsubscribe', messageId: 3, unsubscriptions: ['zero', 'one/#'] });
  await third.expect('unsuback');
  third.vanish();
  t.strictSame(h.broker.admin.bindings('/', { kind: 'queue', name: 'mqtt.session.kept' }), []);
});

t.test('clean session 1 discards what there was [MQTT-3.1.2-6]', async (t) => {
  const h = await Harness.start();
  t.teardown(() => h.close());
  const kept = await h.connect({ clientId: 'c', clean: false });
  await kept.subscribe(1, ['a', 1], ['b', 0]);
  kept.vanish();
  const publisher = await h.connect();
  await publisher.publishSafely('a', 'x');
  const clean = await h.connect({ clientId: 'c', clean: true });
  t.equal(clean.present, false);
  await publisher.publishSafely('b', 'x');
  t.strictSame(await clean.all(), []);
  await clean.subscribe(1, ['a', 1]);
  t.equal(h.broker.admin.queues('/').length, 1);
  clean.vanish();
  t.strictSame(h.broker.admin.queues('/'), [], 'its queue goes with the connection');
  const again = await h.connect({ clientId: 'c', clean: false });
  t.equal(again.present, false);
});

t.test('what is sent again has its packet id and comes first, in order [MQTT-4.6.0-1]', async (t) => {
  const h = await Harness.start();
  t.teardown(() => h.close());
  const session = { clientId: 'ids', clean: false };
  const first = await h.connect(session);
  await first.subscribe(1, ['a', 1]);
  const publisher = await h.connect();
  for (let n = 1; n <= 6; n++) await publisher.publishSafely('a', String(n));
  const sent = await first.all();
  for (const n of [1, 3]) first.send({ cmd: 'puback', messageId: sent[n]?.messageId as number });
  first.vanish();
  await publisher.publishSafely('a', '7');
  const second = await h.connect(session);
  const again = await second.all();
  t.strictSame(again.map(line), ['a 1 qos1 dup', 'a 3 qos1 dup', 'a 5 qos1 dup', 'a 6 qos1 dup', 'a 7 qos1']);
  const ids = again.map((packet) => packet.messageId);
  t.strictSame(
    ids.slice(0, 4),
    [0, 2, 4, 5].map((n) => sent[n]?.messageId),
  );
  t.equal(new Set(ids).size, 5);
});

t.test('sessions, subscriptions, queued and retained messages survive a restart', async (t) => {
  const folder = t.testdir();
  const session = { clientId: 'device', clean: false, username: 'alice', password: 'alice' };
  const one = await Harness.start({ folder });
  const first = await one.connect(session);
  await first.subscribe(1, ['jobs/+', 1], ['state/#', 0]);
  const publisher = await one.connect();
  await publisher.publishSafely('jobs/1', 'unacknowledged');
  t.strictSame((await first.all()).map(line), ['jobs/1 unacknowledged qos1']);
  first.vanish();
  await publisher.publishSafely('jobs/2', 'while away');
  publisher.publish('kept/zero', 'z', { retain: true });
  await publisher.publishSafely('kept/one', 'o', { retain: true });
  await publisher.publishSafely('kept/gone', 'x', { retain: true });
  await publisher.publishSafely('kept/gone', '', { retain: true });
  await one.close();

  const two = await Harness.start({ folder });
  t.teardown(() => two.close());
  t.equal(
    (await two.greet({ ...session, username: 'bob', password: 'bob' }).expect('connack'))['returnCode'],
    2,
    'whose session it is survives as well',
  );
  const second = await two.connect(session);
  t.equal(second.present, true);
  t.equal(line(await second.expect('publish')), 'jobs/1 unacknowledged qos1 dup');
  t.equal(line(await second.expect('publish')), 'jobs/2 while away qos1');
  await second.publishSafely('state/x', 'live');
  t.strictSame((await second.all()).map(line), ['state/x live qos0']);
  const late = await two.connect();
  await late.subscribe(1, ['kept/#', 1]);
  const kept = [line(await late.expect('publish')), line(await late.expect('publish'))];
  t.strictSame(kept.sort(), ['kept/one o qos1 retain', 'kept/zero z qos0 retain']);
  t.strictSame(await late.all(), []);
});

t.test('closing the adapter ends every session and publishes wills', async (t) => {
  const h = await Harness.start();
  const watcher = await h.connect({ clientId: 'w', clean: false });
  await watcher.subscribe(1, ['will', 1]);
  watcher.vanish();
  const peer = await h.connect({ will: { topic: 'will', payload: 'stopping', qos: 1 } });
  const silent = h.open();
  await h.adapter.close();
  t.strictSame(await peer.closed(), []);
  t.equal(silent.connection.closed, true);
  t.equal(h.adapter.connections, 0);
  t.equal(h.broker.admin.queue('/', 'mqtt.session.w')?.ready, 1);
  t.equal(h.open().connection.closed, true, 'no new ones');
  await h.close();
});

t.test(
  'a client that never acknowledges is disconnected after a while, and its session keeps the message',
  async (t) => {
    const h = await Harness.start({ limits: { consumerTimeoutMs: 40 } });
    t.teardown(() => h.close());
    const lazy = await h.connect({ clientId: 'lazy', clean: false });
    await lazy.subscribe(1, ['a', 1]);
    const publisher = await h.connect();
    await publisher.publishSafely('a', 'x');
    await lazy.closed();
    t.match(h.broker.admin.queue('/', 'mqtt.session.lazy'), { ready: 1, unsettled: 0 });
  },
);
