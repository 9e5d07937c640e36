/** Messages on their way out: sizes, frames, other protocols, consumers that do not read. */
import t from 'tap';
import { decodeProperties } from '../../../src/adapters/amqp/v091/properties.ts';
import { FLAG_DURABLE, Message, RoutingKey } from '../../../src/core/index.ts';
import { CONSUME, open, openChannel, QUEUE } from './_raw.ts';
import { startServer } from './_server.ts';

const server = await startServer();
const { port, broker } = server;
t.teardown(() => server.close());

t.test('bodies of any size arrive as they were, in frames of the agreed size', async (t) => {
  const client = await openChannel(port, { frameMax: 4096 });
  const { queue } = await client.call(1, 'queue.declare', { ...QUEUE, queue: '', exclusive: true }, 'queue.declare-ok');
  await client.call(1, 'basic.consume', { ...CONSUME, queue, noAck: true }, 'basic.consume-ok');
  for (const size of [0, 1, 63, 64, 65, 4087, 4088, 4089, 8176, 70_000, 1_000_000]) {
    const body = Buffer.alloc(size, size % 251);
    client.publish(1, { routingKey: queue, body, cut: 4088 });
    await client.expect('basic.deliver');
    const got = await client.content();
    t.ok(got.body.equals(body), `${size} bytes`);
    t.equal(got.frames, Math.ceil(size / 4088));
  }
  client.end();
});

t.test('a message with a topic of another protocol: dots for slashes, the topic in x-topic', async (t) => {
  const client = await openChannel(port);
  const { queue } = await client.call(1, 'queue.declare', { ...QUEUE, queue: '', exclusive: true }, 'queue.declare-ok');
  const bind = { queue, exchange: 'amq.topic', routingKey: 'sensors.*.temp', noWait: false, arguments: {} };
  await client.call(1, 'queue.bind', bind, 'queue.bind-ok');
  const identity = { user: '', clientId: 'device', protocol: 'mqtt', peer: '' };
  const device = broker.client('/', identity, {});
  const producer = device.producer({});
  const message = new Message();
  message.format = 250;
  message.flags = FLAG_DURABLE;
  message.bytes = Buffer.from('21.5');
  message.bodyEnd = 4;
  producer.publish(producer.address('amq.topic', new RoutingKey('sensors/kitchen/temp', 0x2f)), message, 0);
  await client.call(1, 'basic.consume', { ...CONSUME, queue, noAck: true }, 'basic.consume-ok');
  const { routingKey, exchange } = await client.expect('basic.deliver');
  t.strictSame([exchange, routingKey], ['amq.topic', 'sensors.kitchen.temp']);
  const { head, body } = await client.content();
  t.equal(body.toString(), '21.5');
  t.same(decodeProperties(head, 0, head.length), { deliveryMode: 2, headers: { 'x-topic': 'sensors/kitchen/temp' } });
  device.close();
  client.end();
});

t.test('a consumer that does not read: deliveries pause, others go on, all arrives when it reads', async (t) => {
  const client = await openChannel(port);
  const { queue } = await client.call(1, 'queue.declare', { ...QUEUE, queue: '' }, 'queue.declare-ok');
  const slow = await openChannel(port);
  await slow.call(1, 'basic.consume', { ...CONSUME, queue, noAck: true }, 'basic.consume-ok');
  slow.socket.pause();
  const body = Buffer.alloc(100_000);
  for (let i = 0; i < 300; i++) client.publish(1, { routingKey: queue, body });
  const passive = { ...QUEUE, queue, passive: true };
  const { messageCount: left } = await client.call(1, 'queue.declare', passive, 'queue.declare-ok');
  t.ok(left > 100, `${left} of 300 stay in the queue`);
  slow.socket.resume();
  for (let i = 0; i < 300; i++) {
    await slow.expect('basic.deliver');
    await slow.content();
  }
  const { messageCount } = await client.call(1, 'queue.declare', passive, 'queue.declare-ok');
  t.equal(messageCount, 0);
  const everything = { queue, ifUnused: false, ifEmpty: false, noWait: false };
  await client.call(1, 'queue.delete', everything, 'queue.delete-ok');
  client.end();
  slow.end();
});

t.test('a hundred connections come and go', async (t) => {
  const { port, adapter, close } = await startServer();
  const clients = await Promise.all(Array.from({ length: 100 }, () => open(port)));
  t.equal(adapter.connections, 100);
  const bye = { replyCode: 200, replyText: '', classId: 0, methodId: 0 };
  for (const client of clients) await client.call(0, 'connection.close', bye, 'connection.close-ok');
  for (const client of clients) await client.closed();
  // Resolves when the last one is gone on this side too.
  await close();
  t.equal(adapter.connections, 0);
});

t.test('nothing was logged as our own mistake', (t) => {
  t.strictSame(server.errors, []);
  t.end();
});
