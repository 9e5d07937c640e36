/** Last values and rings: queues that hold the present state, or the newest so many, however much was published. */
import assert from 'node:assert/strict';
import { connectAsync as connectMqtt } from 'mqtt';
import { openChannel, send, take } from './amqp.ts';
import type { Feature } from './gateway.ts';
import { step } from './steps.ts';

export const lastValue: Feature = {
  name: 'last-value',
  title: 'queues that keep the newest message of each value, or the newest so many',
  async run(gateway) {
    const { channel } = await openChannel(gateway);
    await step('three queues: prices by symbol, the state of each topic, and the last three log lines', async () => {
      await channel.assertQueue('prices', { durable: true, arguments: { 'x-last-value-key': 'symbol' } });
      await channel.assertQueue('state', { durable: true, arguments: { 'x-last-value-key': 'message.key' } });
      await channel.bindQueue('state', 'amq.topic', 'home.#');
      await channel.assertQueue('log', { durable: true, arguments: { 'x-ring-size': 3 } });
      return 'x-last-value-key: symbol, message.key; x-ring-size: 3';
    });
    await step('AMQP and HTTP: five prices of two symbols', async () => {
      await send(channel, 'prices', 'ACME 10.10', { headers: { symbol: 'ACME' } });
      await send(channel, 'prices', 'XYZ 5.00', { headers: { symbol: 'XYZ' } });
      await send(channel, 'prices', 'ACME 10.20', { headers: { symbol: 'ACME' } });
      await gateway.post('/v1/batch', [{ queue: 'prices', payload: 'XYZ 5.10', headers: { symbol: 'XYZ' } }]);
      await send(channel, 'prices', 'ACME 10.30', { headers: { symbol: 'ACME' } });
      const { messageCount } = await channel.checkQueue('prices');
      assert.equal(messageCount, 2);
      return `${messageCount} messages in the queue`;
    });
    await step('MQTT: a hundred readings of two rooms', async () => {
      const device = await connectMqtt(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, { clientId: 'device' });
      for (let n = 1; n <= 50; n++) {
        await device.publishAsync('home/kitchen', `kitchen ${n}`, { qos: 1 });
        await device.publishAsync('home/bath', `bath ${n}`, { qos: 1 });
      }
      await device.endAsync();
      const { messageCount } = await channel.checkQueue('state');
      assert.equal(messageCount, 2);
      return `${messageCount} messages in the queue`;
    });
    await step('ten log lines', async () => {
      for (let n = 1; n <= 10; n++) await send(channel, 'log', `line ${n}`);
      const { messageCount } = await channel.checkQueue('log');
      assert.equal(messageCount, 3);
      return `${messageCount} messages in the queue`;
    });
    await gateway.restart();
    const after = await openChannel(gateway);
    await step('after the kill a new price still takes the place of the older one', async () => {
      await send(after.channel, 'prices', 'XYZ 5.20', { headers: { symbol: 'XYZ' } });
      const prices = await take(after.channel, 'prices');
      const state = await take(after.channel, 'state');
      const log = await take(after.channel, 'log');
      assert.deepEqual(prices, ['ACME 10.30', 'XYZ 5.20']);
      assert.deepEqual(state, ['kitchen 50', 'bath 50']);
      assert.deepEqual(log, ['line 8', 'line 9', 'line 10']);
      return [prices, state, log].map((found) => found.join(', ')).join('; ');
    });
    await after.connection.close();
  },
};
