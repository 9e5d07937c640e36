/** What a queue gives up, and why: rejected, expired, too many. All of it arrives somewhere, also over a kill. */
import assert from 'node:assert/strict';
import type { Channel, ConfirmChannel } from 'amqplib';
import { openChannel, send, take } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { step } from './steps.ts';

interface Death {
  readonly queue: string;
  readonly reason: string;
}

const TRIES_MAX = 200;

/** The next message of a queue that may not be there yet. */
async function next(channel: Channel, queue: string): Promise<{ text: string; deaths: readonly Death[] }> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const message = await channel.get(queue, { noAck: true });
    if (message !== false) {
      const deaths = (message.properties.headers?.['x-death'] ?? []) as Death[];
      return { text: message.content.toString(), deaths };
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`nothing arrived in ${queue}`);
}

function reasons(deaths: readonly Death[]): string {
  return deaths.map(({ queue, reason }) => `${reason} in ${queue}`).join(', before that ');
}

async function declareAll(channel: ConfirmChannel): Promise<void> {
  await step('AMQP: three queues, each hands what it gives up on to the queue dead', async () => {
    const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
    await channel.assertQueue('dead', { durable: true });
    await channel.assertQueue('work', { durable: true, arguments: dead });
    await channel.assertQueue('brief', { durable: true, arguments: { ...dead, 'x-message-ttl': 50 } });
    await channel.assertQueue('short', { durable: true, arguments: { ...dead, 'x-max-length': 2 } });
    return 'work; brief: x-message-ttl 50; short: x-max-length 2';
  });
}

async function giveUp(gateway: Gateway, channel: ConfirmChannel): Promise<void> {
  await step('a worker rejects a message', async () => {
    await send(channel, 'work', 'nonsense');
    const message = await channel.get('work');
    assert.ok(message !== false);
    channel.reject(message, false);
    const { text, deaths } = await next(channel, 'dead');
    assert.deepEqual([text, deaths[0]?.reason], ['nonsense', 'rejected']);
    return `${text}: ${reasons(deaths)}`;
  });
  await step('nobody takes a message in time', async () => {
    await gateway.post('/v1/batch', [{ queue: 'brief', payload: 'yesterday' }]);
    const { text, deaths } = await next(channel, 'dead');
    assert.deepEqual([text, deaths[0]?.reason], ['yesterday', 'expired']);
    return `${text}: ${reasons(deaths)}`;
  });
  await step('a third message comes to a queue for two: the oldest goes', async () => {
    for (const text of ['one', 'two', 'three']) await send(channel, 'short', text);
    const { text, deaths } = await next(channel, 'dead');
    assert.deepEqual([text, deaths[0]?.reason], ['one', 'maxlen']);
    assert.deepEqual(await take(channel, 'short'), ['two', 'three']);
    return `${text}: ${reasons(deaths)}`;
  });
}

export const deadLetters: Feature = {
  name: 'dead-letters',
  title: 'what a queue gives up (rejected, expired, too many) goes where it can be looked at',
  async run(gateway) {
    const { channel } = await openChannel(gateway);
    await declareAll(channel);
    await giveUp(gateway, channel);
    await step('five messages are rejected; the process is killed as soon as that is confirmed', async () => {
      for (let n = 1; n <= 5; n++) await send(channel, 'work', `bad ${n}`);
      for (let n = 1; n <= 5; n++) {
        const message = await channel.get('work');
        assert.ok(message !== false);
        channel.reject(message, false);
      }
      // What was settled is on disk once something that came after it is.
      await send(channel, 'brief', 'after that');
      return undefined;
    });
    await gateway.restart();
    const after = await openChannel(gateway);
    await step('each of them is in exactly one place', async () => {
      const found = new Set<string>();
      for (let n = 1; n <= 6; n++) found.add((await next(after.channel, 'dead')).text);
      assert.deepEqual([...found].sort(), ['after that', 'bad 1', 'bad 2', 'bad 3', 'bad 4', 'bad 5']);
      assert.deepEqual(await take(after.channel, 'work'), []);
      return 'dead: bad 1 to bad 5, and what expired meanwhile; work: empty';
    });
    await after.connection.close();
  },
};
