import mqttPacket from 'mqtt-packet';
import t, { type Test } from 'tap';
import { CONFIRM, FLAG_DURABLE, Message, RoutingKey } from '../../../src/core/index.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { Harness, type HarnessOptions, line } from './harness.ts';

async function harness(t: Test, options: HarnessOptions = {}): Promise<Harness> {
  const h = await Harness.start(options);
  t.teardown(() => h.close());
  return h;
}

function add(lists: Map<string, string[]>, name: string, item: string): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [item]);
  else list.push(item);
}

t.test('QoS 0 arrives as it was sent, at whom it matches', async (t) => {
  const h = await harness(t);
  const [one, two, publisher] = [await h.connect(), await h.connect(), await h.connect()];
  await one.subscribe(1, ['sensors/+/temp', 0]);
  await two.subscribe(1, ['sensors/#', 0], ['other', 0]);
  publisher.publish('sensors/kitchen/temp', '21');
  publisher.publish('sensors/kitchen', '');
  publisher.publish('sensors.kitchen/temp', 'no');
  t.strictSame((await one.all()).map(line), ['sensors/kitchen/temp 21 qos0']);
  t.strictSame((await two.all()).map(line), ['sensors/kitchen/temp 21 qos0', 'sensors/kitchen  qos0']);
});

t.test('SUBACK grants QoS 1 at most, in the order of the filters [MQTT-3.9.3-1]', async (t) => {
  const h = await harness(t);
  const peer = await h.connect();
  t.match(await peer.subscribe(77, ['a', 0], ['b', 1], ['c', 2], ['$share/g/d', 1]), {
    messageId: 77,
    granted: [0, 1, 1, 128],
  });
});

t.test('the QoS of a delivery is the lower of both [MQTT-3.8.4-6]', async (t) => {
  const h = await harness(t);
  const [zero, one, publisher] = [await h.connect(), await h.connect(), await h.connect()];
  await zero.subscribe(1, ['t', 0]);
  await one.subscribe(1, ['t', 1]);
  publisher.publish('t', 'a');
  await publisher.publishSafely('t', 'b');
  t.strictSame((await zero.all()).map(line), ['t a qos0', 't b qos0']);
  const got = await one.all();
  t.strictSame(got.map(line), ['t a qos0', 't b qos1']);
  t.ok((got[1]?.messageId ?? 0) > 0, '[MQTT-2.3.1-1]');
});

t.test('overlapping subscriptions deliver once, at the highest QoS [MQTT-3.3.5-1]', async (t) => {
  const h = await harness(t);
  const [peer, publisher] = [await h.connect(), await h.connect()];
  await peer.subscribe(1, ['a/#', 0], ['a/b', 1], ['a/+', 1], ['#', 0]);
  await publisher.publishSafely('a/b', '1');
  await publisher.publishSafely('a/c/d', '2');
  const got = (await peer.all()).map(line);
  t.strictSame(got.sort(), ['a/b 1 qos1', 'a/c/d 2 qos0']);
});

t.test('subscribing again replaces the subscription [MQTT-3.8.4-3]', async (t) => {
  const h = await harness(t);
  for (const clean of [true, false]) {
    const peer = await h.connect({ clean, clientId: `again-${clean}` });
    for (const [id, qos] of [0, 1, 1, 0, 0, 1].entries()) {
      t.match(await peer.subscribe(id + 1, ['a', qos as 0 | 1]), { granted: [qos] });
      await peer.publishSafely('a', 'x');
      const got = await peer.all();
      t.strictSame(got.map(line), [`a x qos${qos}`]);
      if (qos === 1) peer.send({ cmd: 'puback', messageId: got[0]?.messageId as number });
    }
    peer.send({ cmd: 'disconnect' });
    await peer.closed();
  }
});

t.test('UNSUBSCRIBE is always answered and compares filters as text [MQTT-3.10.4-1]', async (t) => {
  const h = await harness(t);
  const peer = await h.connect();
  await peer.subscribe(1, ['a/+', 0], ['a/b', 1]);
  peer.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['a/b', 'never/was'] });
  t.match(await peer.expect('unsuback'), { messageId: 5 }, '[MQTT-3.10.4-5]');
  await peer.publishSafely('a/b', '1');
  t.strictSame((await peer.all()).map(line), ['a/b 1 qos0']);
  peer.send({ cmd: 'unsubscribe', messageId: 6, unsubscriptions: ['a/+'] });
  await peer.expect('unsuback');
  await peer.publishSafely('a/b', '2');
  t.strictSame(await peer.all(), [], '[MQTT-3.10.4-2]');
});

t.test('wildcards do not see topics that begin with $ [MQTT-4.7.2-1]', async (t) => {
  const h = await harness(t);
  for (const qos of [0, 1] as const) {
    const peer = await h.connect();
    await peer.subscribe(1, ['#', qos], ['+/x', qos]);
    await peer.publishSafely('$own/x', '1');
    t.strictSame(await peer.all(), []);
    await peer.subscribe(2, ['$own/#', qos]);
    await peer.publishSafely('$own/x', '2');
    t.strictSame((await peer.all()).map(line), [`$own/x 2 qos${qos}`]);
    peer.vanish();
  }
});

t.test('order is kept per topic and QoS, and between runs of shared frames and others [MQTT-4.6.0-6]', async (t) => {
  const h = await harness(t);
  const random = new Prng(7);
  const [peer, publisher] = [await h.connect(), await h.connect()];
  await peer.subscribe(1, ['m/#', 0], ['q/#', 1]);
  const frames: Buffer[] = [];
  const sent = new Map<string, string[]>();
  for (let n = 0; n < 3000; n++) {
    const topic = random.chance(0.7) ? `m/${random.below(3)}` : `q/${random.below(3)}`;
    const qos = random.below(2) as 0 | 1;
    const delivered = topic.startsWith('m') ? 0 : qos;
    const payload = `${n}${'x'.repeat(random.below(random.chance(0.02) ? 30_000 : 200))}`;
    add(sent, `${topic} ${delivered}`, payload);
    frames.push(
      mqttPacket.generate({ cmd: 'publish', topic, payload, qos, messageId: n + 1, dup: false, retain: false }),
    );
  }
  const stream = Buffer.concat(frames);
  for (let at = 0; at < stream.length; ) {
    const size = 1 + random.below(65_536);
    publisher.send(stream.subarray(at, at + size));
    at += size;
    if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
  }
  const got = new Map<string, string[]>();
  for (let n = 0; n < 3000; n++) {
    const packet = await peer.expect('publish');
    add(got, `${packet['topic']} ${packet.qos}`, String(packet['payload']));
    if (packet.qos === 1) peer.send({ cmd: 'puback', messageId: packet.messageId as number });
  }
  t.strictSame([...got].sort(), [...sent].sort());
});

t.test('PUBACK only after the core confirmed, in order; PUBLISH with DUP is published', async (t) => {
  const h = await harness(t);
  const [peer, publisher] = [await h.connect(), await h.connect()];
  await peer.subscribe(1, ['a', 1]);
  for (const messageId of [5, 3, 9]) publisher.publish('a', String(messageId), { qos: 1, messageId });
  publisher.publish('a', 'dup', { qos: 1, messageId: 65_535, dup: true });
  const acks = (await publisher.all()).map((packet) => [packet.cmd, packet.messageId]);
  t.strictSame(acks, [
    ['puback', 5],
    ['puback', 3],
    ['puback', 9],
    ['puback', 65_535],
  ]);
  t.strictSame((await peer.all()).map(line), ['a 5 qos1', 'a 3 qos1', 'a 9 qos1', 'a dup qos1'], '[MQTT-3.3.1-3]');
});

t.test('QoS 2 publishes are taken exactly once [MQTT-4.3.3-2]', async (t) => {
  const h = await harness(t);
  const [peer, publisher] = [await h.connect(), await h.connect({ clientId: 'two', clean: false })];
  await peer.subscribe(1, ['a', 2]);
  publisher.publish('a', 'once', { qos: 2, messageId: 7 });
  t.match(await publisher.expect('pubrec'), { messageId: 7 });
  publisher.publish('a', 'once', { qos: 2, messageId: 7, dup: true });
  t.match(await publisher.expect('pubrec'), { messageId: 7 });
  publisher.vanish();
  const again = await h.connect({ clientId: 'two', clean: false });
  again.publish('a', 'once', { qos: 2, messageId: 7, dup: true });
  t.match(await again.expect('pubrec'), { messageId: 7 }, 'the session remembers [MQTT-3.1.2-4]');
  again.send({ cmd: 'pubrel', messageId: 7 });
  t.match(await again.expect('pubcomp'), { messageId: 7 });
  again.publish('a', 'next', { qos: 2, messageId: 7 });
  await again.expect('pubrec');
  again.send({ cmd: 'pubrel', messageId: 7 });
  await again.expect('pubcomp');
  again.send({ cmd: 'pubrel', messageId: 8 });
  t.match(await again.expect('pubcomp'), { messageId: 8 }, 'a PUBREL of an unknown id is answered');
  t.strictSame((await peer.all()).map(line), ['a once qos1', 'a next qos1']);
});

t.test('retained messages', async (t) => {
  const h = await harness(t);
  const publisher = await h.connect();

  t.test('come after SUBACK with RETAIN, at the lower QoS [MQTT-3.3.1-6] [MQTT-3.3.1-8]', async (t) => {
    const live = await h.connect();
    await live.subscribe(1, ['r/#', 1]);
    await publisher.publishSafely('r/1', 'one', { retain: true });
    publisher.publish('r/0', 'zero', { retain: true });
    t.strictSame((await live.all()).map(line).sort(), ['r/0 zero qos0', 'r/1 one qos1'], 'RETAIN 0 [MQTT-3.3.1-9]');
    for (const [granted, expected] of [
      [0, ['r/0 zero qos0 retain', 'r/1 one qos0 retain']],
      [1, ['r/0 zero qos0 retain', 'r/1 one qos1 retain']],
    ] as const) {
      const late = await h.connect();
      await late.subscribe(1, ['r/+', granted]);
      t.strictSame((await late.all()).map(line).sort(), expected);
      await late.subscribe(2, ['r/+', granted]);
      t.equal((await late.all()).length, 2, 'again on a repeated SUBSCRIBE [MQTT-3.8.4-3]');
      late.vanish();
    }
    live.vanish();
  });

  t.test('the newest replaces the one before, an empty one clears [MQTT-3.3.1-5] [MQTT-3.3.1-10]', async (t) => {
    await publisher.publishSafely('c', 'old', { retain: true });
    await publisher.publishSafely('c', 'new', { retain: true });
    const live = await h.connect();
    await live.subscribe(1, ['c', 0]);
    t.strictSame((await live.all()).map(line), ['c new qos0 retain']);
    await publisher.publishSafely('c', '', { retain: true });
    t.strictSame((await live.all()).map(line), ['c  qos0'], 'an empty one is delivered as usual');
    const late = await h.connect();
    await late.subscribe(1, ['c', 1]);
    t.strictSame(await late.all(), [], '[MQTT-3.3.1-11]');
  });

  t.test('# does not bring retained $ topics', async (t) => {
    await publisher.publishSafely('$hidden/r', 'x', { retain: true });
    const peer = await h.connect();
    await peer.subscribe(1, ['#', 0]);
    t.notOk((await peer.all()).some((packet) => String(packet['topic']).startsWith('$')));
  });

  t.test('one sent with QoS 1 is acknowledged, and sent again to the session if not [MQTT-4.4.0-1]', async (t) => {
    await publisher.publishSafely('again/r', 'x', { retain: true });
    const peer = await h.connect({ clientId: 'retained', clean: false });
    await peer.subscribe(1, ['again/#', 1]);
    const first = await peer.expect('publish');
    t.equal(line(first), 'again/r x qos1 retain');
    peer.vanish();
    const back = await h.connect({ clientId: 'retained', clean: false });
    const second = await back.expect('publish');
    t.equal(line(second), 'again/r x qos1 retain dup');
    t.equal(second.messageId, first.messageId);
    back.send({ cmd: 'puback', messageId: second.messageId as number });
    t.strictSame(await back.all(), [], 'none on resuming without SUBSCRIBE');
  });
});

t.test('wills', async (t) => {
  const h = await harness(t);
  const watcher = await h.connect();
  await watcher.subscribe(1, ['will/#', 1]);
  const will = { topic: 'will/x', payload: 'gone' };

  t.test('published when the connection breaks [MQTT-3.1.2-8]', async (t) => {
    for (const qos of [0, 1, 2] as const) {
      (await h.connect({ will: { ...will, qos } })).vanish();
      t.strictSame((await watcher.all()).map(line), [`will/x gone qos${Math.min(qos, 1)}`]);
    }
  });

  t.test('published when the client breaks the rules', async (t) => {
    const peer = await h.connect({ will });
    peer.send(Buffer.from('d000', 'hex'));
    await peer.closed();
    t.equal((await watcher.all()).length, 1);
  });

  t.test('not published after DISCONNECT [MQTT-3.1.2-10]', async (t) => {
    const peer = await h.connect({ will });
    peer.send({ cmd: 'disconnect' });
    await peer.closed();
    t.strictSame(await watcher.all(), []);
  });

  t.test('retained when it says so [MQTT-3.1.2-17]', async (t) => {
    (await h.connect({ will: { ...will, retain: true } })).vanish();
    await watcher.all();
    const late = await h.connect();
    await late.subscribe(1, ['will/x', 0]);
    t.strictSame((await late.all()).map(line), ['will/x gone qos0 retain']);
  });

  t.test('a will to a wildcard is no CONNECT', async (t) => {
    const peer = h.greet({ will: { topic: 'will/#', payload: '' } });
    t.strictSame(await peer.closed(), []);
  });
});

t.test('messages of other protocols arrive with levels joined by slashes', async (t) => {
  const h = await harness(t);
  const [zero, one] = [await h.connect(), await h.connect()];
  await zero.subscribe(1, ['sensors/#', 0]);
  await one.subscribe(1, ['#', 1]);
  const client = h.broker.client('/', { user: 'u', clientId: '', protocol: 'test', peer: '' }, {});
  const producer = client.producer({});
  const message = new Message();
  const publish = (key: string, flags: number): void => {
    message.format = 200;
    message.flags = flags;
    message.bytes = Buffer.from('headbody');
    message.headEnd = 4;
    message.bodyStart = 4;
    message.bodyEnd = 8;
    producer.publish(producer.address('amq.topic', new RoutingKey(key, 0x2e)), message, CONFIRM);
  };
  publish('sensors.kitchen.temp', 0);
  publish('sensors.kitchen.temp', FLAG_DURABLE);
  publish('', FLAG_DURABLE);
  publish('with.a.+', 0);
  publish('sensors.end', 0);
  t.strictSame((await zero.all()).map(line), [
    'sensors/kitchen/temp body qos0',
    'sensors/kitchen/temp body qos0',
    'sensors/end body qos0',
  ]);
  t.strictSame((await one.all()).map(line).sort(), [
    'sensors/end body qos0',
    'sensors/kitchen/temp body qos0',
    'sensors/kitchen/temp body qos1',
  ]);
  client.close();
});

t.test('a subscriber that does not read', async (t) => {
  const h = await harness(t, { limits: { tapOutBytesMax: 100_000, connectionOutBytesHigh: 50_000 } });
  const publisher = await h.connect();
  const payload = 'x'.repeat(1000);

  t.test('QoS 0 messages are dropped and counted', async (t) => {
    const slow = await h.connect();
    await slow.subscribe(1, ['a', 0]);
    slow.connection.reading = false;
    for (let n = 0; n < 500; n++) publisher.publish('a', payload);
    await publisher.all();
    t.ok(slow.connection.queuedBytes <= 100_000);
    slow.connection.read();
    const got = await slow.all();
    t.ok(got.length > 50 && got.length < 100);
    t.equal(h.broker.admin.vhosts()[0]?.dropped, 500 - got.length);
    publisher.publish('a', 'after');
    t.match((await slow.all()).map(line), ['a after qos0'], 'and it goes on when it reads again');
    slow.vanish();
  });

  t.test('QoS 1 messages wait in the queue', async (t) => {
    const slow = await h.connect();
    await slow.subscribe(1, ['b', 1]);
    slow.connection.reading = false;
    for (let n = 0; n < 500; n++) publisher.publish('b', payload, { qos: 1, messageId: n + 1 });
    t.equal((await publisher.all()).length, 500);
    t.ok(slow.connection.queuedBytes < 60_000);
    slow.connection.read();
    for (let n = 0; n < 500; n++) {
      const { messageId } = await slow.expect('publish');
      slow.send({ cmd: 'puback', messageId: messageId as number });
    }
    t.strictSame(await slow.all(), []);
    t.match(h.broker.admin.queues('/'), [{ ready: 0, unsettled: 0 }]);
    slow.vanish();
  });

  t.test('a client that reads no acknowledgements is closed', async (t) => {
    const h = await harness(t, { limits: { connectionOutBytesMax: 20_000 } });
    const deaf = await h.connect();
    deaf.connection.reading = false;
    const pings = Buffer.alloc(2 * 20_000);
    for (let at = 0; at < pings.length; at += 2) pings[at] = 0xc0;
    deaf.send(pings);
    t.equal(deaf.connection.closed, true);
  });
});

t.test('window: no more unacknowledged QoS 1 messages than inflightMessagesMax', async (t) => {
  const h = await harness(t, { limits: { inflightMessagesMax: 10 } });
  const [peer, publisher] = [await h.connect(), await h.connect()];
  await peer.subscribe(1, ['a', 1]);
  for (let n = 1; n <= 30; n++) publisher.publish('a', String(n), { qos: 1, messageId: n });
  const first = await peer.all();
  t.equal(first.length, 10);
  for (const { messageId } of first.reverse()) peer.send({ cmd: 'puback', messageId: messageId as number });
  const second = await peer.all();
  t.strictSame(
    second.map((packet) => String(packet['payload'])),
    Array.from({ length: 10 }, (_, n) => String(n + 11)),
  );
  peer.send({ cmd: 'puback', messageId: 60_000 });
  t.strictSame(await peer.all(), [], 'an unknown id changes nothing');
});
