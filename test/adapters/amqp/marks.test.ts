/** Repeats, last values and rings through the client most Node programs use. docs/queue-rules.md */
import amqplib from 'amqplib';
import t from 'tap';
import { drained, startServer } from './_server.ts';

const server = await startServer();
t.teardown(() => server.close());
const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${server.port}`);
t.teardown(() => connection.close());

t.test('x-dedup-window-ms: message-id, and the header before it', async (t) => {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('q', { arguments: { 'x-dedup-window-ms': 60_000, 'x-dedup-count-max': 1000 } });
  const send = (text: string, options: object): void =>
    void channel.sendToQueue('q', Buffer.from(text), { persistent: true, mandatory: true, ...options });
  channel.on('return', () => t.fail('a repeat is not unroutable'));
  send('1', { messageId: 'a' });
  send('again', { messageId: 'a' });
  send('2', { messageId: 'a', headers: { 'x-deduplication-id': 'b' } });
  send('again', { messageId: 'c', headers: { 'x-deduplication-id': 'b' } });
  send('3', {});
  send('4', {});
  await channel.waitForConfirms();
  t.same(await drained(channel, 'q'), ['1', '2', '3', '4']);
  await channel.close();
});

t.test('x-last-value-key and x-ring-size', async (t) => {
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('last', { arguments: { 'x-last-value-key': 'properties.correlation_id' } });
  for (const [text, correlationId] of [
    ['1', 'a'],
    ['2', 'b'],
    ['3', 'a'],
  ] as const) {
    channel.sendToQueue('last', Buffer.from(text), { correlationId });
  }
  await channel.assertQueue('ring', { arguments: { 'x-ring-size': 2 } });
  for (const text of ['1', '2', '3']) channel.sendToQueue('ring', Buffer.from(text));
  await channel.waitForConfirms();
  t.same(await drained(channel, 'last'), ['2', '3']);
  t.same(await drained(channel, 'ring'), ['2', '3']);
  await channel.close();
});

t.test('no mistakes of our own', async (t) => {
  t.same(server.errors, []);
});
