/** The connection: handshake, framing, bad input, heartbeats, closing. */
import t from 'tap';
import {
  FRAME_BODY,
  FRAME_HEADER,
  FRAME_METHOD,
  HEARTBEAT,
  PROTOCOL_HEADER,
} from '../../../src/adapters/amqp/v091/codec.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { contentHeader, frame, methodFrame, open, openChannel, publishFrames, QUEUE, RawClient } from './_raw.ts';
import { startServer } from './_server.ts';

const SEED = Number(process.env['SEED'] ?? 20264);
const server = await startServer({ messageBytesMax: 1_000_000, channelsPerConnectionMax: 10 });
const { port } = server;

t.teardown(() => server.close());

t.test('the server offers what clients look for', async (t) => {
  const client = new RawClient(port);
  client.send(PROTOCOL_HEADER);
  const { versionMajor, versionMinor, mechanisms, serverProperties } = await client.expect('connection.start');
  t.strictSame([versionMajor, versionMinor], [0, 9]);
  t.equal(mechanisms.toString(), 'PLAIN AMQPLAIN');
  t.match(serverProperties['capabilities'], {
    publisher_confirms: true,
    exchange_exchange_bindings: true,
    'basic.nack': true,
    consumer_cancel_notify: true,
    'connection.blocked': true,
    consumer_priorities: true,
    authentication_failure_close: true,
    per_consumer_qos: true,
  });
  client.end();
});

t.test('another protocol gets our header and is closed', async (t) => {
  for (const other of [
    'AMQP\u0003\u0001\u0000\u0000',
    'AMQP\u0000\u0000\u0009\u0000',
    'GET / HTTP/1.1\r\n',
    '\u0016\u0003\u0001',
    '\u0010\u0025',
  ]) {
    const client = new RawClient(port);
    client.send(Buffer.from(other, 'latin1'));
    t.strictSame(await client.bytes(8), PROTOCOL_HEADER, JSON.stringify(other));
    await client.closed();
  }
});

t.test('half a handshake and silence: closed in time, at every stage', async (t) => {
  const impatient = await startServer({ handshakeMs: 300 });
  const { port } = impatient;
  const clients = [new RawClient(port), new RawClient(port)];
  clients[1]?.send(PROTOCOL_HEADER.subarray(0, 4));
  for (const until of ['start-ok', 'tune-ok', 'open'] as const) clients.push(await open(port, { until }));
  for (const client of clients) await client.closed();
  t.equal(impatient.adapter.connections, 0);
  await impatient.close();
});

t.test('logins', async (t) => {
  const login = async (mechanism: string, response: string | Buffer, capable: boolean) => {
    const client = await open(port, { until: 'start-ok' });
    const clientProperties = { capabilities: { authentication_failure_close: capable } };
    client.method(0, 'connection.start-ok', { clientProperties, mechanism, response, locale: 'en_US' });
    return client;
  };
  t.equal(await (await login('PLAIN', '\0guest\0wrong', true)).refused(), 403);
  await (await login('PLAIN', '\0guest\0wrong', false)).closed();
  t.equal(await (await login('PLAIN', 'guest', true)).refused(), 502);
  t.equal(await (await login('CRAM', 'guest', true)).refused(), 530);
  const table = Buffer.from('\u0005LOGINS\0\0\0\u0005guest\u0008PASSWORDS\0\0\0\u0005guest', 'latin1');
  const amqplain = await login('AMQPLAIN', table, true);
  await amqplain.expect('connection.tune');
  amqplain.end();
});

t.test('tuning', async (t) => {
  const tuned = async (channelMax: number, frameMax: number) => {
    const client = await open(port, { until: 'tune-ok' });
    client.method(0, 'connection.tune-ok', { channelMax, frameMax, heartbeat: 0 });
    client.method(0, 'connection.open', { virtualHost: '/' } as never);
    return client;
  };
  for (const [channelMax, frameMax] of [
    [0, 0],
    [10, 4096],
    [1, 131_072],
  ] as const) {
    const client = await tuned(channelMax, frameMax);
    await client.expect('connection.open-ok');
    client.end();
  }
  for (const [channelMax, frameMax] of [
    [11, 4096],
    [1, 4095],
    [1, 131_073],
  ] as const) {
    t.equal(await (await tuned(channelMax, frameMax)).refused(), 530, `${channelMax} channels, frames of ${frameMax}`);
  }
});

t.test('virtual hosts: unknown and forbidden ones are refused with 530', async (t) => {
  for (const options of [{ vhost: 'missing' }, { vhost: 'private', user: 'other' }]) {
    const client = await open(port, { ...options, until: 'open' });
    client.method(0, 'connection.open', { virtualHost: options.vhost } as never);
    t.equal(await client.refused(), 530);
  }
});

/** A connection with channel 1 open sends `bytes`; answers the code the connection is closed with. */
async function refusedWith(...bytes: Buffer[]): Promise<number> {
  const client = await openChannel(port, { frameMax: 4096 });
  client.send(...bytes);
  return client.refused();
}

t.test('frames out of place close the connection', async (t) => {
  const publish = methodFrame(1, 'basic.publish', {
    exchange: '',
    routingKey: 'q',
    mandatory: false,
    immediate: false,
  });
  const header = frame(FRAME_HEADER, 1, contentHeader(10));
  const badEnd = Buffer.from(HEARTBEAT);
  badEnd[7] = 0;
  const cases: [string, number, Buffer[]][] = [
    ['a frame that does not end with 0xce', 501, [badEnd]],
    ['an unknown frame type', 501, [frame(7, 1, Buffer.alloc(0))]],
    ['a frame above frame_max', 501, [frame(FRAME_BODY, 1, Buffer.alloc(5000))]],
    ['the head alone of a giant frame', 501, [Buffer.from([1, 0, 1, 0xff, 0xff, 0xff, 0xff])]],
    ['a method frame of two bytes', 501, [frame(FRAME_METHOD, 1, Buffer.from([0, 10]))]],
    ['an unknown method', 503, [frame(FRAME_METHOD, 1, Buffer.from([0, 60, 0, 200]))]],
    ['a method cut short', 502, [frame(FRAME_METHOD, 1, Buffer.from([0, 50, 0, 10, 0]))]],
    ['a publish cut short', 502, [frame(FRAME_METHOD, 1, Buffer.from([0, 60, 0, 40, 0, 0, 9]))]],
    ['a server method', 503, [methodFrame(1, 'basic.qos-ok', {})]],
    [
      'a connection method on a channel',
      503,
      [methodFrame(1, 'connection.tune-ok', { channelMax: 0, frameMax: 0, heartbeat: 0 })],
    ],
    [
      'a channel method on channel 0',
      503,
      [methodFrame(0, 'basic.qos', { prefetchSize: 0, prefetchCount: 1, global: false })],
    ],
    [
      'a handshake method twice',
      503,
      [methodFrame(0, 'connection.tune-ok', { channelMax: 0, frameMax: 0, heartbeat: 0 })],
    ],
    ['a heartbeat on a channel', 505, [frame(8, 1, Buffer.alloc(0))]],
    ['a heartbeat with a payload', 501, [frame(8, 0, Buffer.alloc(1))]],
    ['a content header without a publish', 505, [header]],
    ['a content body without a header', 505, [publish, frame(FRAME_BODY, 1, Buffer.alloc(1))]],
    ['a method between publish and content', 505, [publish, methodFrame(1, 'confirm.select', { noWait: false })]],
    ['a publish between publish and content', 505, [publish, publish]],
    ['a publish within a content', 505, [publish, header, publish]],
    ['a second header', 505, [publish, header, header]],
    ['a header of another class', 505, [publish, frame(FRAME_HEADER, 1, contentHeader(1, {}, 50))]],
    ['a header cut short', 501, [publish, frame(FRAME_HEADER, 1, Buffer.alloc(13))]],
    ['a body larger than announced', 501, [publish, header, frame(FRAME_BODY, 1, Buffer.alloc(11))]],
    [
      'bodies larger than announced',
      501,
      [publish, header, frame(FRAME_BODY, 1, Buffer.alloc(6)), frame(FRAME_BODY, 1, Buffer.alloc(6))],
    ],
    [
      'malformed properties',
      502,
      [publish, frame(FRAME_HEADER, 1, Buffer.concat([contentHeader(0), Buffer.from([1])]))],
    ],
    ['a routing key that is no UTF-8', 502, [frame(FRAME_METHOD, 1, Buffer.from([0, 60, 0, 40, 0, 0, 0, 1, 0xff, 0]))]],
    ['immediate', 540, [publishFrames(1, { routingKey: 'q', body: 'x', immediate: true })]],
    [
      'a channel never opened',
      504,
      [methodFrame(2, 'basic.qos', { prefetchSize: 0, prefetchCount: 1, global: false })],
    ],
    [
      'an acknowledgement on a channel never opened',
      504,
      [methodFrame(2, 'basic.ack', { deliveryTag: 1, multiple: false })],
    ],
    ['content on a channel never opened', 504, [frame(FRAME_HEADER, 2, contentHeader(0))]],
    ['a channel opened twice', 504, [methodFrame(1, 'channel.open', {})]],
    ['a channel above channel_max', 504, [methodFrame(11, 'channel.open', {})]],
    ['basic.recover without requeue', 540, [methodFrame(1, 'basic.recover', { requeue: false })]],
    ['prefetch in bytes', 540, [methodFrame(1, 'basic.qos', { prefetchSize: 1, prefetchCount: 1, global: false })]],
  ];
  for (const [name, code, bytes] of cases) t.equal(await refusedWith(...bytes), code, name);
});

t.test('a frame above the limit before login is refused before it is buffered', async (t) => {
  const client = await open(port, { until: 'start-ok' });
  client.send(Buffer.from([1, 0, 0, 0x10, 0, 0, 0]));
  t.equal(await client.refused(), 501);
});

t.test('channel methods before the connection is open', async (t) => {
  const client = await open(port, { until: 'open' });
  client.method(1, 'channel.open', {});
  t.equal(await client.refused(), 503);
});

t.test('a message above the limit closes the channel, and the channel ignores the rest of it', async (t) => {
  const client = await openChannel(port);
  client.publish(1, { routingKey: 'q', body: Buffer.alloc(1_000_001) });
  client.send(HEARTBEAT);
  t.equal((await client.expect('channel.close')).replyCode, 406);
  // Until close-ok everything on the channel is ignored.
  client.method(1, 'queue.declare', { ...QUEUE, queue: 'ignored' });
  client.method(1, 'channel.close-ok', {});
  await client.call(1, 'channel.open', {}, 'channel.open-ok');
  await client.call(1, 'queue.declare', { ...QUEUE, queue: 'after', exclusive: true }, 'queue.declare-ok');
  t.equal(server.broker.admin.queue('/', 'ignored'), undefined);
  client.end();
});

t.test('an announced size costs nothing: 500 channels wait for a body each', async (t) => {
  const clients = await Promise.all(Array.from({ length: 50 }, () => open(port)));
  const before = process.memoryUsage().arrayBuffers;
  for (const client of clients) {
    for (let channel = 1; channel <= 10; channel++) {
      await client.call(channel, 'channel.open', {}, 'channel.open-ok');
      const publish = { exchange: '', routingKey: 'q', mandatory: false, immediate: false };
      client.send(methodFrame(channel, 'basic.publish', publish), frame(FRAME_HEADER, channel, contentHeader(999_000)));
    }
    await client.call(
      1,
      'channel.close',
      { replyCode: 200, replyText: '', classId: 0, methodId: 0 },
      'channel.close-ok',
    );
  }
  const grown = process.memoryUsage().arrayBuffers - before;
  t.ok(grown < 60_000_000, `${grown} bytes for 500 MB announced`);
  for (const client of clients) client.end();
});

t.test('every split point of a session', async (t) => {
  const script = Buffer.concat([
    methodFrame(1, 'channel.open', {}),
    methodFrame(1, 'queue.declare', { ...QUEUE, queue: 'split', exclusive: true }),
    methodFrame(1, 'confirm.select', { noWait: false }),
    publishFrames(1, { routingKey: 'split', body: 'one', properties: { headers: { a: 1 }, messageId: 'm' } }),
    publishFrames(1, { routingKey: 'split', body: 'in pieces', cut: 4 }),
    publishFrames(1, { routingKey: 'split', body: '' }),
    HEARTBEAT,
    methodFrame(1, 'basic.get', { queue: 'split', noAck: true }),
    methodFrame(1, 'basic.get', { queue: 'split', noAck: true }),
    methodFrame(1, 'basic.get', { queue: 'split', noAck: true }),
    methodFrame(1, 'queue.delete', { queue: 'split', ifUnused: false, ifEmpty: false, noWait: false }),
  ]);
  const run = async (chunks: Buffer[]) => {
    const client = await open(port);
    for (const chunk of chunks) {
      client.send(chunk);
      // Let the socket deliver it as a chunk of its own.
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const name of ['channel.open-ok', 'queue.declare-ok', 'confirm.select-ok'] as const) await client.expect(name);
    const bodies: string[] = [];
    for (let confirmed = 0; bodies.length < 3; ) {
      const method = await client.anyMethod();
      if (method.name === 'basic.ack') {
        confirmed = method.args.deliveryTag;
        continue;
      }
      t.equal(method.name, 'basic.get-ok', `${confirmed} confirmed`);
      bodies.push((await client.content()).body.toString());
    }
    for (;;) {
      const method = await client.anyMethod();
      if (method.name === 'queue.delete-ok') break;
      t.equal(method.name, 'basic.ack');
    }
    client.end();
    return bodies;
  };
  const expected = ['one', 'in pieces', ''];
  for (let at = 1; at < script.length; at += 3) {
    const bodies = await run([script.subarray(0, at), script.subarray(at)]);
    if (bodies.join() !== expected.join()) t.strictSame(bodies, expected, `split at ${at}`);
  }
  const single = Array.from(script, (byte) => Buffer.from([byte]));
  t.strictSame(await run(single), expected, 'byte by byte');
});

t.test(`random bytes after login harm nobody else (seed ${SEED})`, async (t) => {
  const prng = new Prng(SEED);
  const witness = await openChannel(port);
  await witness.call(1, 'queue.declare', { ...QUEUE, queue: 'witness', exclusive: true }, 'queue.declare-ok');
  for (let round = 0; round < 60; round++) {
    const client = await openChannel(port, { frameMax: 4096 });
    for (let i = 0; i < 20; i++) {
      const payload = Buffer.from(Array.from({ length: prng.below(80) }, () => prng.below(256)));
      if (payload.length > 4)
        payload.set([0, [10, 20, 40, 50, 60, 85][prng.below(6)] as number, 0, prng.below(12) * 10], 0);
      client.send(frame(1 + prng.below(3), prng.below(3), payload));
    }
    client.send(Buffer.from(Array.from({ length: 100 }, () => prng.below(256))));
    client.socket.end();
    await client.closed();
  }
  const info = await witness.call(
    1,
    'queue.declare',
    { ...QUEUE, queue: 'witness', passive: true },
    'queue.declare-ok',
  );
  t.equal(info.messageCount, 0);
  witness.end();
});

t.test('heartbeats: sent when idle, expected when promised', async (t) => {
  const client = await open(port, { heartbeat: 1 });
  const beat = await client.frame();
  t.strictSame([beat.type, beat.channel, beat.payload.length], [8, 0, 0]);
  // Say nothing: the server gives up after two intervals.
  await client.closed();
  t.pass('closed');
});

t.test('connection.close from the client is answered, and the connection ends', async (t) => {
  const client = await openChannel(port);
  const bye = { replyCode: 200, replyText: 'bye', classId: 0, methodId: 0 };
  await client.call(0, 'connection.close', bye, 'connection.close-ok');
  await client.closed();
  t.pass();
});

t.test('update-secret checks the new secret', async (t) => {
  const client = await open(port);
  await client.call(0, 'connection.update-secret', { newSecret: 'guest', reason: '' }, 'connection.update-secret-ok');
  client.method(0, 'connection.update-secret', { newSecret: 'wrong', reason: '' });
  t.equal(await client.refused(), 403);
});

t.test('operators close connections, and the broker stops: 320', async (t) => {
  const client = await open(port);
  const [info] = server.broker.admin.clients();
  t.match(info, { protocol: 'amqp091', user: 'guest', clientId: 'raw' });
  server.broker.admin.closeClient(info?.id as number, 'maintenance');
  t.equal(await client.refused(), 320);
  const other = await startServer();
  const there = await openChannel(other.port);
  const silent = new RawClient(other.port);
  silent.send(PROTOCOL_HEADER);
  await silent.expect('connection.start');
  const [code] = await Promise.all([there.refused(), silent.refused(), other.close()]);
  t.equal(code, 320);
});

t.test('nothing was logged as our own mistake', (t) => {
  t.strictSame(server.errors, []);
  t.end();
});
