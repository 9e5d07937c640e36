/** Dead letters go back to where they died: all, some, slowly, over a kill. */
import assert from 'node:assert/strict';
import type { Channel, ConfirmChannel, GetMessage } from 'amqplib';
import { openChannel, send, take } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { step } from './steps.ts';

const TRIES_MAX = 500;
const QUEUES = ['mails', 'bills'] as const;

interface Job {
  readonly id: number;
  readonly state: string;
  readonly moved: number;
  readonly skipped: number;
}

/** Ask for a redrive until it has come so far. */
async function until(gateway: Gateway, id: unknown, done: (job: Job) => boolean): Promise<Job> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const job = (await gateway.get(`/v1/redrives/${id}`)) as unknown as Job;
    if (done(job)) return job;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return assert.fail(`redrive ${id} does not come so far`);
}

async function readyIn(gateway: Gateway, queue: string): Promise<unknown> {
  return (await gateway.get(`/v1/queues/${queue}`))['ready'];
}

async function rejectAll(channel: Channel, queue: string): Promise<void> {
  let last: GetMessage | undefined;
  for (;;) {
    const message = await channel.get(queue);
    if (message === false) break;
    last = message;
  }
  assert.ok(last !== undefined);
  channel.nack(last, true, false);
}

async function die(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  await step('AMQP: two queues whose workers reject everything; the queue dead has it all', async () => {
    const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
    await channel.assertQueue('dead', { durable: true });
    for (const queue of QUEUES) {
      await channel.assertQueue(queue, { durable: true, arguments: dead });
      for (let n = 1; n <= 40; n++) {
        const options = { persistent: true, headers: { tries: n % 4 } };
        channel.sendToQueue(queue, Buffer.from(`${queue} ${n}`), options);
      }
      await channel.waitForConfirms();
      await rejectAll(channel, queue);
    }
    // What was settled is there once something that came after it is.
    await send(channel, 'dead', 'from elsewhere');
    assert.equal(await readyIn(gateway, 'dead'), 81);
    return '81 messages in dead';
  });
}

export const redrive: Feature = {
  name: 'redrive',
  title: 'dead letters go back to where they died, all or some, at a rate; a kill loses none of them',
  async run(gateway) {
    const { channel } = await openChannel(gateway);
    await die(gateway, channel);
    await step('HTTP: those that were tried less than once go to a queue of their own', async () => {
      await channel.assertQueue('look-at', { durable: true });
      const body = { to: { queue: 'look-at' }, filter: 'tries < 1' };
      const { id } = await gateway.post('/v1/queues/dead/redrive', body);
      const { moved, skipped } = await until(gateway, id, ({ state }) => state === 'done');
      assert.deepEqual([moved, skipped], [20, 61]);
      return `${moved} moved, ${skipped} left where they are`;
    });
    let job: unknown;
    await step('the others go back, twenty a second; the process is killed on the way', async () => {
      const { id } = await gateway.post('/v1/queues/dead/redrive', { rate_per_second: 20 });
      job = id;
      const { moved } = await until(gateway, id, (now) => now.moved >= 5);
      return `${moved} moved so far`;
    });
    await gateway.restart();
    const after = await openChannel(gateway);
    await step('the redrive goes on by itself; each message is in exactly one place', async () => {
      const { moved, skipped } = await until(gateway, job, ({ state }) => state === 'done');
      assert.equal(skipped, 1);
      const found = [...(await take(after.channel, 'mails')), ...(await take(after.channel, 'bills'))];
      assert.equal(found.length, 60);
      assert.equal(new Set(found).size, 60);
      assert.deepEqual(await take(after.channel, 'dead'), ['from elsewhere']);
      return `${moved} moved in all; mails and bills have 60 of them, look-at 20, and dead what never died`;
    });
    await after.connection.close();
  },
};
