/** Shares of a queue: consumers of AMQP and WebSocket with weights, and one that is slow. */
import assert from 'node:assert/strict';
import type { Channel } from 'amqplib';
import { openChannel, send } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Page } from './page.ts';
import { step } from './steps.ts';

const MESSAGES = 700;

/** Publish so many messages and wait until they are taken. */
async function feed(channel: Channel, taken: () => number): Promise<void> {
  const before = taken();
  for (let n = 0; n < MESSAGES; n++) channel.sendToQueue('jobs', Buffer.from(String(n)));
  while (taken() - before < MESSAGES) await new Promise((resolve) => setImmediate(resolve));
}

async function shares(gateway: Gateway): Promise<void> {
  const publisher = await openChannel(gateway);
  const { connection, channel } = await openChannel(gateway);
  const page = await Page.open(gateway);
  const counts = { four: 0, two: 0, page: 0, spare: 0 };
  const taken = () => counts.four + counts.two + counts.page + counts.spare;
  const count = (): void => {
    void page.frames.take().then(() => {
      counts.page++;
      count();
    });
  };
  await step('three consumers of weights 4, 2 and 1, over AMQP and WebSocket; one of lower priority', async () => {
    await channel.assertQueue('jobs', { durable: false });
    const consume = (name: 'four' | 'two' | 'spare', args: object): Promise<unknown> =>
      channel.consume('jobs', () => counts[name]++, { noAck: true, consumerTag: name, arguments: args });
    await consume('four', { 'x-weight': 4 });
    await consume('two', { 'x-weight': 2 });
    await consume('spare', { 'x-priority': -1 });
    await page.ask({ op: 'subscribe', id: 'page', queue: 'jobs', weight: 1, credit: 1000 });
    count();
    const { items } = (await gateway.get('/v1/queues/jobs/consumers')) as unknown as { items: { weight: number }[] };
    return `weights in GET /v1/queues/jobs/consumers: ${items.map(({ weight }) => weight).join(', ')}`;
  });
  await step(`${MESSAGES} messages are shared out`, async () => {
    await feed(publisher.channel, taken);
    assert.deepEqual(counts, { four: 400, two: 200, page: 100, spare: 0 });
    return `weight 4: ${counts.four}, weight 2: ${counts.two}, the page: ${counts.page}, lower priority: ${counts.spare}`;
  });
  await step('the page has no credit any more: its share goes to the others, two to one', async () => {
    await page.ask({ op: 'credit', id: 1, sub: 'page', credit: 0 });
    const before = { ...counts };
    await feed(publisher.channel, taken);
    const [four, two] = [counts.four - before.four, counts.two - before.two];
    assert.ok(Math.abs(four - two * 2) <= 3 && four + two === MESSAGES, `${four} and ${two}`);
    return `${four} and ${two}`;
  });
  page.cut();
  await send(publisher.channel, 'jobs', 'the last one');
  for (const client of [connection, publisher.connection]) await client.close();
}

export const fairShare: Feature = {
  name: 'fair-share',
  title: 'consumers get messages by their weights, exactly, and by priority',
  run: shares,
};
