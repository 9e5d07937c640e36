/** Rules that change while queues live: a policy with its dry run, a limit of the operator, live settings, over a kill. */
import assert from 'node:assert/strict';
import type { ConfirmChannel } from 'amqplib';
import { openChannel, send, take } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { step } from './steps.ts';

const QUEUES = ['logs.web', 'logs.db', 'orders'] as const;
const TRIES_MAX = 200;

interface QueueView {
  readonly ready: number;
  readonly rules: object;
  readonly policy?: string;
}

async function view(gateway: Gateway, queue: string): Promise<QueueView> {
  return (await gateway.get(`/v1/queues/${queue}`)) as unknown as QueueView;
}

/** Until a queue has `ready` messages: what a change makes go, goes in the queue's own turns. */
async function until(gateway: Gateway, queue: string, ready: number): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    if ((await view(gateway, queue)).ready === ready) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`${queue} does not come to have ${ready} messages`);
}

async function fill(channel: ConfirmChannel): Promise<void> {
  await step('AMQP: three queues without any rules, 100 messages in each', async () => {
    for (const queue of QUEUES) {
      await channel.assertQueue(queue, { durable: true });
      for (let n = 1; n <= 100; n++) channel.sendToQueue(queue, Buffer.from(`line ${n}`), { persistent: true });
    }
    await channel.waitForConfirms();
    return QUEUES.join(', ');
  });
}

async function setPolicy(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  const policy = { pattern: '^logs\\.', definition: { 'max-length': 10 } };
  await step('HTTP: a dry run of a policy that keeps ten messages in every queue of logs', async () => {
    const { queues, over_length: dropped } = await gateway.put('/v1/policies/short-logs?dry_run=true', policy);
    assert.deepEqual([queues, dropped], [2, 180]);
    assert.equal((await view(gateway, 'logs.web')).ready, 100);
    return `${queues} queues would drop ${dropped} messages; nothing has happened yet`;
  });
  await step('the policy is set: the queues that live already follow it', async () => {
    await gateway.put('/v1/policies/short-logs', policy);
    for (const queue of ['logs.web', 'logs.db']) await until(gateway, queue, 10);
    assert.equal((await view(gateway, 'orders')).ready, 100);
    return 'logs.web 10, logs.db 10, orders 100';
  });
  await step('AMQP: declaring again with the arguments of old is fine, with others it is refused', async () => {
    await channel.assertQueue('logs.web', { durable: true });
    const { connection, channel: another } = await openChannel(gateway);
    const refused = await another
      .assertQueue('logs.web', { durable: true, arguments: { 'x-max-length': 10 } })
      .then(() => assert.fail('it was accepted'))
      .catch((error: Error) => error.message);
    assert.match(refused, /406.*without x-max-length/);
    await connection.close();
    return refused.slice(refused.indexOf('406'));
  });
}

async function afterKill(gateway: Gateway): Promise<void> {
  const { connection, channel } = await openChannel(gateway);
  await step('policy and cap are still in force', async () => {
    const { rules, policy } = await view(gateway, 'logs.db');
    assert.deepEqual([rules, policy], [{ 'max-length': 5 }, 'short-logs']);
    await send(channel, 'logs.db', 'one more');
    await until(gateway, 'logs.db', 5);
    return `logs.db: ${JSON.stringify(rules)}, 5 messages`;
  });
  await step('live settings of one queue: a time to live, and it expires', async () => {
    const rules = { 'message-ttl': 1 };
    const dry = await gateway.put('/v1/queues/orders/rules?dry_run=true', rules);
    assert.deepEqual([dry['expired'], dry['exact']], [100, true]);
    await gateway.put('/v1/queues/orders/rules', rules);
    await until(gateway, 'orders', 0);
    return `the dry run said ${dry['expired']}, and they are gone`;
  });
  await step('{} takes the live settings back', async () => {
    await gateway.put('/v1/queues/orders/rules', {});
    await send(channel, 'orders', 'stays');
    assert.deepEqual(await take(channel, 'orders'), ['stays']);
    return undefined;
  });
  await connection.close();
}

export const policies: Feature = {
  name: 'policies',
  title: 'rules of queues change while they live, for all whose names match, with a dry run',
  async run(gateway) {
    const { channel } = await openChannel(gateway);
    await fill(channel);
    await setPolicy(gateway, channel);
    await step('an operator caps it: of two limits the smaller one holds', async () => {
      await gateway.put('/v1/policies/cap?operator=true', { pattern: '^logs', definition: { 'max-length': 5 } });
      for (const queue of ['logs.web', 'logs.db']) await until(gateway, queue, 5);
      return 'max-length 5';
    });
    await gateway.restart();
    await afterKill(gateway);
  },
};
