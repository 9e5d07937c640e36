/** One consumer at a time: who it is, and how it hands over to the next one. */
import assert from 'node:assert/strict';
import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import { openChannel, send } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Page } from './page.ts';
import { Inbox, step } from './steps.ts';

interface Listed {
  readonly tag: string;
  readonly active: boolean;
}

async function activeOf(gateway: Gateway): Promise<string[]> {
  const { items } = (await gateway.get('/v1/queues/ledger/consumers')) as unknown as { items: Listed[] };
  return items.filter(({ active }) => active).map(({ tag }) => tag);
}

async function takeOver(gateway: Gateway, channel: ConfirmChannel, page: Page): Promise<void> {
  const inbox = new Inbox<ConsumeMessage>();
  await step('AMQP: the first consumer is the active one', async () => {
    await channel.assertQueue('ledger', { arguments: { 'x-single-active-consumer': true } });
    await channel.consume('ledger', (message) => message !== null && inbox.put(message), { consumerTag: 'first' });
    for (const text of ['1', '2']) await send(channel, 'ledger', text);
    assert.deepEqual(await activeOf(gateway), ['first']);
    return 'GET /v1/queues/ledger/consumers: first is active';
  });
  const held = [await inbox.take(), await inbox.take()];
  await step('WebSocket: one of higher priority comes, and waits until nothing is in flight', async () => {
    await page.ask({ op: 'subscribe', id: 'second', queue: 'ledger', priority: 1 });
    await send(channel, 'ledger', '3');
    assert.deepEqual(await activeOf(gateway), [], 'the first gets nothing new, the second nothing yet');
    return 'first still holds 1 and 2, and 3 waits in the queue';
  });
  await step('the first one settles what it has: the second takes over', async () => {
    for (const message of held) channel.ack(message);
    assert.deepEqual(await page.frames.take(), { op: 'active', sub: 'second', active: true });
    const { payload } = await page.frames.take();
    assert.equal(payload, '3');
    return `{"op":"active"}, then ${payload}`;
  });
  await step('the page vanishes: the first one goes on with what it held, counted as failed', async () => {
    page.cut();
    const message = await inbox.take();
    assert.equal(message.content.toString(), '3');
    assert.equal(message.properties.headers?.['x-delivery-count'], 1);
    channel.ack(message);
    return '3 again, x-delivery-count 1';
  });
}

export const singleActive: Feature = {
  name: 'single-active',
  title: 'one consumer at a time, with a hand-over when nothing is in flight',
  async run(gateway) {
    const { connection, channel } = await openChannel(gateway);
    await takeOver(gateway, channel, await Page.open(gateway));
    await step('basic.get would be a second consumer: refused', async () => {
      const text = await channel.get('ledger').then(
        () => 'taken',
        (error: Error) => error.message,
      );
      assert.match(text, /RESOURCE_LOCKED/);
      return '405 RESOURCE_LOCKED';
    });
    await connection.close();
  },
};
