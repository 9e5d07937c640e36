/** amqplib, the client of most Node programs, across restarts of the server. */
import assert from 'node:assert/strict';
import amqplib, { type ChannelModel } from 'amqplib';
import { type Case, type ServerUnderTest, unique } from '../case.ts';

function connect(server: ServerUnderTest): Promise<ChannelModel> {
  return amqplib.connect(`amqp://guest:guest@${server.host}:${server.amqpPort}`);
}

/** A restart of the server ends connections with an error nobody waits for. */
async function connectToLose(server: ServerUnderTest): Promise<ChannelModel> {
  const connection = await connect(server);
  connection.on('error', () => undefined);
  return connection;
}

export const cases: Case[] = [
  {
    name: 'what was confirmed and not acknowledged is there after a kill; what was acknowledged is not',
    async run(server) {
      const queue = unique('kill');
      const before = await connectToLose(server);
      const channel = await before.createConfirmChannel();
      channel.on('error', () => undefined);
      await channel.assertQueue(queue, { durable: true });
      for (let i = 0; i < 20; i++) channel.sendToQueue(queue, Buffer.from(`${i}`), { persistent: true });
      await channel.waitForConfirms();
      for (let i = 0; i < 5; i++) {
        const message = await channel.get(queue);
        assert.ok(message);
        channel.ack(message);
      }
      const held = await channel.get(queue);
      assert.ok(held);
      // The count shows that the acknowledgements have been processed; a moment later they are on disk.
      assert.equal((await channel.checkQueue(queue)).messageCount, 14);
      await server.restart('SIGTERM');
      const between = await connectToLose(server);
      assert.equal((await (await between.createChannel()).checkQueue(queue)).messageCount, 15, 'after SIGTERM');
      await server.restart('SIGKILL');
      const after = await connect(server);
      const reader = await after.createChannel();
      const bodies: string[] = [];
      for (;;) {
        const message = await reader.get(queue, { noAck: true });
        if (message === false) break;
        bodies.push(message.content.toString());
      }
      assert.deepEqual(
        bodies,
        Array.from({ length: 15 }, (_, i) => `${i + 5}`),
      );
      await reader.deleteQueue(queue);
      await after.close();
    },
  },
  {
    name: 'durable exchanges, queues and bindings are there after a kill; transient ones are not',
    async run(server) {
      const [queue, exchange, transient] = [unique('queue'), unique('exchange'), unique('transient')];
      const before = await connectToLose(server);
      const channel = await before.createChannel();
      channel.on('error', () => undefined);
      await channel.assertExchange(exchange, 'topic', { durable: true });
      await channel.assertQueue(queue, { durable: true });
      await channel.bindQueue(queue, exchange, 'a.#');
      await channel.assertQueue(transient, { durable: false });
      await server.restart('SIGKILL');
      const after = await connect(server);
      const confirming = await after.createConfirmChannel();
      confirming.publish(exchange, 'a.b', Buffer.from('x'), { persistent: true });
      await confirming.waitForConfirms();
      assert.equal((await confirming.checkQueue(queue)).messageCount, 1);
      await confirming.deleteQueue(queue);
      await confirming.deleteExchange(exchange);
      confirming.on('error', () => undefined);
      await assert.rejects(confirming.checkQueue(transient), /404/);
      await after.close();
    },
  },
];
