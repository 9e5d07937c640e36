/** Strict priorities: what is urgent goes first, whoever published it, also after a kill. */
import assert from 'node:assert/strict';
import { openChannel, send, take } from './amqp.ts';
import type { Feature } from './gateway.ts';
import { step } from './steps.ts';

export const priority: Feature = {
  name: 'priority',
  title: 'strict priorities: the highest level first, in a level the order of arrival',
  async run(gateway) {
    const { channel } = await openChannel(gateway);
    await step('AMQP: the queue jobs is declared with ten levels of priority', async () => {
      await channel.assertQueue('jobs', { durable: true, maxPriority: 9 });
      return 'x-max-priority: 9';
    });
    await step('six jobs arrive, over AMQP and HTTP', async () => {
      await send(channel, 'jobs', 'mow the lawn');
      await send(channel, 'jobs', 'answer mail', { priority: 4 });
      await gateway.post('/v1/batch', [{ queue: 'jobs', payload: 'put out the fire', priority: 9 }]);
      await send(channel, 'jobs', 'call the fire brigade', { priority: 9 });
      await send(channel, 'jobs', 'pay a bill', { priority: 4 });
      await send(channel, 'jobs', 'evacuate', { priority: 255 });
      return 'of priority 0, 4, 9, 9, 4, 255';
    });
    await step('a worker takes one and gives it back: its place is its own again', async () => {
      const message = await channel.get('jobs');
      assert.ok(message !== false);
      channel.nack(message);
      assert.equal(message.content.toString(), 'put out the fire');
      // Answered after what came before it.
      await channel.checkQueue('jobs');
      return 'put out the fire';
    });
    await gateway.restart();
    const after = await openChannel(gateway);
    await step('all of them, in the order of their importance', async () => {
      const jobs = await take(after.channel, 'jobs');
      const wanted = ['put out the fire', 'call the fire brigade', 'evacuate'];
      assert.deepEqual(jobs, [...wanted, 'answer mail', 'pay a bill', 'mow the lawn']);
      return jobs.join(', ');
    });
    await after.connection.close();
  },
};
