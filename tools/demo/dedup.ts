/** Repeats: a publisher that does not know whether its message has arrived sends it again, and it is there once. */
import assert from 'node:assert/strict';
import { openChannel, take } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { step } from './steps.ts';

async function post(gateway: Gateway, body: string, id: string): Promise<number> {
  const { status } = await fetch(`http://127.0.0.1:${gateway.ports.http}/v1/queues/payments/messages`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('guest:guest')}`, 'x-deduplication-id': id },
    body,
  });
  return status;
}

export const dedup: Feature = {
  name: 'dedup',
  title: 'a queue that remembers message ids: what is published again is confirmed, and comes in once',
  async run(gateway) {
    const { channel } = await openChannel(gateway);
    await step('AMQP: the queue payments remembers ids for ten minutes', async () => {
      await channel.assertQueue('payments', { durable: true, arguments: { 'x-dedup-window-ms': 600_000 } });
      return 'x-dedup-window-ms: 600000';
    });
    await step('AMQP: a payment is published twice, and confirmed twice', async () => {
      for (const text of ['17.50', '17.50 again']) {
        channel.sendToQueue('payments', Buffer.from(text), { persistent: true, messageId: 'invoice-1' });
      }
      await channel.waitForConfirms();
      const { messageCount } = await channel.checkQueue('payments');
      assert.equal(messageCount, 1);
      return 'message-id invoice-1: one message in the queue';
    });
    await step('HTTP: the same id from elsewhere is a repeat too, another one is not', async () => {
      const statuses = [await post(gateway, '17.50 once more', 'invoice-1'), await post(gateway, '99.00', 'invoice-2')];
      assert.deepEqual(statuses, [200, 200]);
      assert.equal((await channel.checkQueue('payments')).messageCount, 2);
      return `answers ${statuses.join(', ')}; two messages in the queue`;
    });
    await step('both are consumed', async () => {
      const payments = await take(channel, 'payments');
      assert.deepEqual(payments, ['17.50', '99.00']);
      return payments.join(', ');
    });
    // What was taken is gone for good once something that came after it is on disk.
    await channel.assertQueue('last', { durable: true });
    await gateway.restart();
    const after = await openChannel(gateway);
    await step('the ids are still known, though the messages are gone', async () => {
      const again = { persistent: true, messageId: 'invoice-1' };
      after.channel.sendToQueue('payments', Buffer.from('17.50 after the kill'), again);
      after.channel.sendToQueue('payments', Buffer.from('5.00'), { persistent: true, messageId: 'invoice-3' });
      await after.channel.waitForConfirms();
      const payments = await take(after.channel, 'payments');
      assert.deepEqual(payments, ['5.00']);
      return `only invoice-3 came in: ${payments.join(', ')}`;
    });
    await after.connection.close();
  },
};
