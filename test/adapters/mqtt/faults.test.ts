import mqttPacket, { type Packet } from 'mqtt-packet';
import t from 'tap';
import { Prng } from '../../../src/testing/prng.ts';
import { Harness, line } from './harness.ts';

/** Packets of a lively client, one after the other. */
function lively(random: Prng): Buffer {
  const topic = `t/${random.below(3)}`;
  const qos = random.below(3) as 0 | 1 | 2;
  const id = { messageId: 1 + random.below(5) };
  const packets: Packet[] = [
    {
      cmd: 'publish',
      topic,
      payload: 'x'.repeat(random.below(300)),
      qos,
      ...id,
      dup: false,
      retain: random.chance(0.2),
    },
    { cmd: 'subscribe', ...id, subscriptions: [{ topic: random.chance(0.5) ? topic : 't/#', qos }] },
    { cmd: 'unsubscribe', ...id, unsubscriptions: [topic] },
    { cmd: 'puback', ...id },
    { cmd: 'pubrel', ...id },
    { cmd: 'pingreq' },
  ];
  return mqttPacket.generate(packets[random.below(packets.length)] as Packet);
}

t.test('mutated packets end their own connection at most', async (t) => {
  const h = await Harness.start();
  t.teardown(() => h.close());
  const witness = await h.connect();
  await witness.subscribe(1, ['witness', 1]);
  for (let seed = 1; seed <= 150; seed++) {
    const random = new Prng(seed);
    const peer = await h.connect({ clientId: `fuzz-${seed % 7}`, clean: random.chance(0.5) });
    for (let n = 0; n < 40 && !peer.connection.closed; n++) {
      const bytes = lively(random);
      while (random.chance(0.1)) bytes[random.below(bytes.length)] = random.below(256);
      const cut = random.below(bytes.length + 1);
      peer.send(bytes.subarray(0, cut));
      peer.send(bytes.subarray(cut));
      if (random.chance(0.2)) await new Promise((resolve) => setImmediate(resolve));
    }
    peer.vanish();
    if (h.errors.length > 0) t.fail(`seed ${seed}: ${h.errors[0]}`);
  }
  await witness.publishSafely('witness', 'still here');
  t.strictSame((await witness.all()).map(line), ['witness still here qos1']);
  t.equal(h.adapter.connections, 1);
});

t.test('while the disk is full publishers wait, others go on, and nothing is lost', async (t) => {
  let free = 1e12;
  const h = await Harness.start({ folder: t.testdir(), freeBytes: () => free, limits: { diskCheckMs: 5 } });
  t.teardown(() => h.close());
  const until = async (blocked: boolean): Promise<void> => {
    for (let n = 0; n < 1000 && (h.broker.blockedBy !== undefined) !== blocked; n++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    t.equal(h.broker.blockedBy !== undefined, blocked);
  };
  const subscriber = await h.connect();
  await subscriber.subscribe(1, ['a', 1]);
  const publisher = await h.connect();
  await publisher.publishSafely('a', 'before');
  free = 0;
  await until(true);
  t.equal(publisher.connection.paused, true);
  t.equal(subscriber.connection.paused, false);
  const late = await h.connect();
  for (let n = 0; n < 20; n++) {
    publisher.publish('a', `publisher ${n}`, { qos: 1, messageId: n + 1 });
    late.publish('a', `late ${n}`, { qos: 1, messageId: n + 1 });
  }
  const got = await subscriber.all();
  t.strictSame(got.map(line), ['a before qos1']);
  subscriber.send({ cmd: 'puback', messageId: got[0]?.messageId as number });
  free = 1e12;
  await until(false);
  for (let n = 1; n <= 20; n++) {
    t.match(await publisher.expect('puback'), { messageId: n });
    t.match(await late.expect('puback'), { messageId: n });
  }
  t.equal((await subscriber.all()).length, 40);
});

t.test('10,000 connects and disconnects leave nothing behind', async (t) => {
  const h = await Harness.start();
  t.teardown(() => h.close());
  for (let n = 0; n < 10_000; n++) {
    const peer = h.greet({ clientId: `c${n % 100}`, will: { topic: 'w', payload: '' } });
    if (n % 3 === 0) await peer.expect('connack');
    if (n % 2 === 0) peer.vanish();
    else peer.send({ cmd: 'disconnect' });
    if (n % 3 !== 0) await peer.closed();
  }
  for (let n = 0; n < 50 && h.adapter.connections > 0; n++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(h.adapter.connections, 0);
  t.strictSame(h.broker.admin.clients(), []);
  t.strictSame(h.broker.admin.queues('/'), []);
});
