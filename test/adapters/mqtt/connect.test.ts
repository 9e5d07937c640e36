import t, { type Test } from 'tap';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import { Harness, type HarnessOptions } from './harness.ts';

async function harness(t: Test, options: HarnessOptions = {}): Promise<Harness> {
  const h = await Harness.start(options);
  t.teardown(() => h.close());
  return h;
}

t.test('a clean session is opened, Session Present is 0 [MQTT-3.2.2-1]', async (t) => {
  const h = await harness(t);
  const peer = await h.connect({ clientId: 'one' });
  t.equal(peer.present, false);
  t.match(h.broker.admin.clients(), [{ clientId: 'one', protocol: 'mqtt', user: '' }]);
  peer.send({ cmd: 'disconnect' });
  t.strictSame(await peer.closed(), []);
  t.equal(h.broker.admin.clients().length, 0);
  t.equal(h.adapter.connections, 0);
});

t.test('packets may follow CONNECT before CONNACK; the CONNACK comes first [MQTT-3.2.0-1]', async (t) => {
  const h = await harness(t);
  const peer = h.greet({ username: 'alice', password: 'alice' });
  peer.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] });
  peer.publish('a', 'early', { qos: 1, messageId: 2 });
  peer.send({ cmd: 'pingreq' });
  await peer.expect('connack');
  const kinds: string[] = [];
  for (let n = 0; n < 4; n++) kinds.push((await peer.next())?.cmd ?? 'the end');
  t.strictSame(kinds.sort(), ['pingresp', 'puback', 'publish', 'suback']);
});

t.test('return codes of CONNACK', async (t) => {
  const h = await harness(t, { anonymous: false });
  const refused = async (options: Parameters<Harness['greet']>[0]) => {
    const peer = h.greet(options);
    const answer = await peer.expect('connack');
    t.equal(answer['sessionPresent'], false, '[MQTT-3.2.2-4]');
    t.strictSame(await peer.closed(), [], '[MQTT-3.2.2-5]');
    return answer['returnCode'];
  };
  t.equal(await refused({}), 5, 'anonymous clients are not allowed');
  t.equal(await refused({ username: 'alice', password: 'bob' }), 4);
  t.equal(await refused({ username: 'eve' }), 4);
  const alice = { username: 'alice', password: 'alice' };
  t.equal(await refused({ ...alice, clientId: 'x'.repeat(300) }), 2, 'client id longer than a queue name can be');
  t.equal(h.broker.admin.clients().length, 0);
});

t.test('an empty client id with a persistent session is refused [MQTT-3.1.3-8]', async (t) => {
  const h = await harness(t);
  const peer = h.open();
  peer.send(Buffer.from('100c00044d5154540400003c0000', 'hex'));
  t.match(await peer.next(), { cmd: 'connack', returnCode: 2 });
  t.strictSame(await peer.closed(), []);
});

t.test('an empty client id gets one from the server [MQTT-3.1.3-6]', async (t) => {
  const h = await harness(t);
  await h.connect({ clientId: '' });
  await h.connect({ clientId: '' });
  const ids = h.broker.admin.clients().map((client) => client.clientId);
  t.equal(new Set(ids).size, 2);
  t.ok(ids.every((id) => id.length > 0));
});

t.test('other protocol versions are refused in their own form [MQTT-3.1.2-2]', async (t) => {
  const h = await harness(t);
  const five = h.open();
  five.send(Buffer.from('101000044d5154540502003c00000361626300'.replace('1010', '1011'), 'hex'));
  await five.closed().catch(() => undefined);
  t.equal(Buffer.concat(five.connection.written).toString('hex'), '2003008400', 'MQTT 5: reason code 0x84');
  const odd = h.open();
  odd.send(Buffer.from('100f00044d5154540902003c0003616263', 'hex'));
  t.match(await odd.next(), { cmd: 'connack', returnCode: 1 });
});

t.test('MQTT 3.1 (MQIsdp) is spoken too', async (t) => {
  const h = await harness(t);
  const peer = await h.connect({ protocolVersion: 3, clientId: 'old' });
  await peer.subscribe(1, ['a', 0]);
  peer.publish('a', 'x');
  t.match(await peer.expect('publish'), { topic: 'a', qos: 0 });
});

t.test('peers that do not speak MQTT are closed without an answer', async (t) => {
  const h = await harness(t);
  const bytes: [string, Buffer][] = [
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['AMQP', Buffer.from('AMQP\0\0\u0009\u0001')],
    ['TLS', Buffer.from('16030100a5', 'hex')],
    ['first packet is PUBLISH [MQTT-3.1.0-1]', Buffer.from('300400016161', 'hex')],
    ['reserved packet type', Buffer.from('f000', 'hex')],
    ['CONNECT with wrong flags [MQTT-2.2.2-2]', Buffer.from('1100', 'hex')],
    ['giant CONNECT', Buffer.from('10ffffff7f', 'hex')],
    ['CONNECT above the limit before login', Buffer.from('10818004', 'hex')],
    ['endless length', Buffer.from('10ffffffffff', 'hex')],
    ['bad UTF-8 in the client id', Buffer.from('100d00044d5154540402003c0001ff', 'hex')],
  ];
  for (const [name, garbage] of bytes) {
    const peer = h.open();
    peer.send(garbage);
    t.strictSame(await peer.closed(), [], name);
    t.equal(peer.connection.written.length, 0, name);
  }
  t.equal(h.adapter.connections, 0);
});

t.test('what a client may not send ends the connection', async (t) => {
  const h = await harness(t);
  const cases: [string, string][] = [
    ['second CONNECT [MQTT-3.1.0-2]', '100d00044d5154540402003c000161'],
    ['CONNACK from a client', '20020000'],
    ['SUBACK from a client', '9003000100'],
    ['PINGRESP from a client', 'd000'],
    ['type 0', '0000'],
    ['type 15', 'f000'],
    ['PUBREL with wrong flags [MQTT-3.6.1-1]', '60020001'],
    ['SUBSCRIBE with wrong flags [MQTT-3.8.1-1]', '80060001000161 00'],
    ['UNSUBSCRIBE with wrong flags [MQTT-3.10.1-1]', 'a0050001000161'],
    ['SUBSCRIBE without filters [MQTT-3.8.3-3]', '82020001'],
    ['SUBSCRIBE with id 0 [MQTT-2.3.1-1]', '8206000000016100'],
    ['SUBSCRIBE with QoS 3 [MQTT-3.8.3-4]', '8206000100016103'],
    ['SUBSCRIBE to a misplaced wildcard [MQTT-4.7.1-2]', '82080001000361236200'],
    ['SUBSCRIBE to an empty filter [MQTT-4.7.3-1]', '82050001000000'],
    ['UNSUBSCRIBE without filters [MQTT-3.10.3-2]', 'a2020001'],
    ['PUBLISH with QoS 3 [MQTT-3.3.1-4]', '3606000161000161'],
    ['PUBLISH with DUP and QoS 0 [MQTT-3.3.1-2]', '3804000161 61'],
    ['PUBLISH with a wildcard [MQTT-3.3.2-2]', '3004000161 23'.replace('0161 23', '0123 61')],
    ['PUBLISH with an empty topic [MQTT-4.7.3-1]', '3003000061'],
    ['PUBLISH with invalid UTF-8 [MQTT-1.5.3-1]', '30030001ff'],
    ['PUBLISH with U+0000 [MQTT-1.5.3-2]', '3003000100'],
    ['PUBLISH with packet id 0 [MQTT-2.3.1-1]', '32050001610000'],
    ['PUBLISH that ends inside its topic', '3003000561'],
    ['PUBLISH that ends inside its id', '3204000161 00'],
    ['PUBLISH of one byte', '300100'],
    ['PUBACK too long', '4003000100'],
    ['PUBACK of id 0', '40020000'],
    ['PINGREQ with a body', 'c00100'],
    ['DISCONNECT with a body', 'e00100'],
    ['PUBREC, as we send no QoS 2', '50020001'],
  ];
  for (const [name, hex] of cases) {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    bytes[1] = bytes.length - 2;
    const peer = await h.connect();
    peer.send(bytes);
    t.strictSame(await peer.closed(), [], name);
  }
  const peer = await h.connect();
  peer.send(Buffer.from('30ffffff7f', 'hex'));
  t.strictSame(await peer.closed(), [], 'a packet above messageBytesMax');
});

t.test('the second connection of a client id ends the first [MQTT-3.1.4-2]', async (t) => {
  const h = await harness(t);
  const first = await h.connect({ clientId: 'same', clean: false, will: { topic: 'will', payload: 'gone' } });
  await first.subscribe(1, ['a', 1]);
  const watcher = await h.connect();
  await watcher.subscribe(1, ['will', 0]);
  const second = await h.connect({ clientId: 'same', clean: false });
  t.equal(second.present, true);
  t.strictSame(await first.closed(), []);
  t.match(await watcher.expect('publish'), { topic: 'will' });
  await watcher.publishSafely('a', 'x');
  t.match(await second.expect('publish'), { topic: 'a' }, 'the stale close does not touch the new session');
  t.equal(h.broker.admin.clients().length, 2);
});

t.test('a session belongs to its user', async (t) => {
  const h = await harness(t);
  const alice = { username: 'alice', password: 'alice', clientId: 'device', clean: false };
  const bob = { username: 'bob', password: 'bob', clientId: 'device' };
  const first = await h.connect(alice);
  const refused = async () => (await h.greet(bob).expect('connack'))['returnCode'];
  t.equal(await refused(), 2, 'while it is connected');
  first.send({ cmd: 'disconnect' });
  await first.closed();
  t.equal(await refused(), 2, 'and while it is not');
  t.equal((await h.connect(alice)).present, true);
});

t.test('a queue that is no session is not taken for one', async (t) => {
  const h = await harness(t);
  const settings = { durable: true, autoDelete: false, exclusive: false, arguments: {} };
  await h.broker.admin.declareQueue('/', 'mqtt.session.mine', settings);
  t.equal((await h.greet({ clientId: 'mine' }).expect('connack'))['returnCode'], 2);
});

t.test('times', async (t) => {
  const clock = new SimClock();
  // While something is awaited, no time passes but that of the machine: a timer must not come before an answer.
  const until = async (what: Promise<unknown>) => {
    let open = true;
    const close = () => {
      open = false;
    };
    what.then(close, close);
    for (let turns = 0; open && turns < 100_000; turns++) await clock.advance(0);
  };
  const starting = Harness.start({ clock });
  await until(starting);
  const h = await starting;

  t.test('half a handshake and silence', async (t) => {
    const silent = h.open();
    const half = h.open();
    half.send(Buffer.from('100f0004', 'hex'));
    await clock.advance(h.limits.handshakeMs - 500);
    t.equal(silent.connection.closed, false);
    await clock.advance(1000);
    t.equal(silent.connection.ended, true);
    t.equal(half.connection.ended, true);
  });

  t.test('one and a half times the keep alive [MQTT-3.1.2-24]', async (t) => {
    const connecting = h.connect({ keepalive: 10 });
    await until(connecting);
    const peer = await connecting;
    await clock.advance(14_000);
    t.equal(peer.connection.closed, false);
    peer.send({ cmd: 'pingreq' });
    await clock.advance(14_000);
    t.equal(peer.connection.closed, false);
    await clock.advance(2_000);
    t.equal(peer.connection.ended, true);
  });

  t.test('keep alive 0 is none [MQTT-3.1.2-24]', async (t) => {
    const connecting = h.connect({ keepalive: 0 });
    await until(connecting);
    const peer = await connecting;
    await clock.advance(86_400_000 / 24);
    t.equal(peer.connection.closed, false);
    peer.vanish();
  });

  t.test('a packet that never ends', async (t) => {
    const connecting = h.connect();
    await until(connecting);
    const peer = await connecting;
    peer.send(Buffer.from('30ffff03', 'hex'));
    for (let i = 0; i < 28; i++) {
      await clock.advance(1000);
      peer.send(Buffer.of(0));
    }
    t.equal(peer.connection.closed, false);
    await clock.advance(4000);
    t.equal(peer.connection.ended, true);
  });
  t.teardown(() => clock.drive(h.close()));
});
