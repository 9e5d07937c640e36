/** A message that fails again and again: it waits longer and longer, over a kill, and becomes a dead letter in the end. */
import assert from 'node:assert/strict';
import type { Channel, ConsumeMessage } from 'amqplib';
import { openChannel, send } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Inbox, step } from './steps.ts';

const MIN_MS = 150;
const RULES = {
  'x-delivery-limit': 3,
  'x-delayed-retry-type': 'failed',
  'x-delayed-retry-min': MIN_MS,
  'x-dead-letter-exchange': '',
  'x-dead-letter-routing-key': 'broken',
};

/** A consumer that has one message in hand. */
class Worker {
  readonly #channel: Channel;
  readonly #inbox = new Inbox<ConsumeMessage>();
  #message: ConsumeMessage | undefined;
  #failedAt = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  async start(queue: string): Promise<this> {
    await this.#channel.prefetch(1);
    await this.#channel.consume(queue, (message) => message !== null && this.#inbox.put(message));
    return this;
  }

  async next(): Promise<ConsumeMessage> {
    this.#message = await this.#inbox.take();
    return this.#message;
  }

  /** The next attempt, which is not made before `waitMs` after the failure before it. */
  async retry(failures: number, waitMs: number): Promise<string> {
    const { properties } = await this.next();
    const ms = Date.now() - this.#failedAt;
    // The clocks of two processes may be a millisecond apart.
    assert.ok(ms >= waitMs - 1, `it came after ${ms} ms`);
    assert.equal(properties.headers?.['x-delivery-count'], failures);
    return `x-delivery-count ${failures}${this.#failedAt === 0 ? '' : `, after ${ms} ms`}`;
  }

  /** basic.reject with requeue: the attempt has failed. */
  fail(): void {
    this.#channel.reject(this.#message as ConsumeMessage, true);
    this.#failedAt = Date.now();
  }

  done(): void {
    this.#channel.ack(this.#message as ConsumeMessage);
  }
}

async function twoFailures(gateway: Gateway): Promise<void> {
  const { channel } = await openChannel(gateway);
  await step('AMQP: a queue that tries four times, and waits before each new attempt', async () => {
    await channel.assertQueue('broken');
    await channel.assertQueue('work', { arguments: RULES });
    for (const text of ['poison', 'fine']) await send(channel, 'work', text);
    return JSON.stringify(RULES);
  });
  const worker = await new Worker(channel).start('work');
  await step('the first attempt fails: the other message goes on meanwhile', async () => {
    assert.equal((await worker.next()).content.toString(), 'poison');
    worker.fail();
    assert.equal((await worker.next()).content.toString(), 'fine');
    worker.done();
    return 'poison has failed, fine is done';
  });
  await step('the second attempt', () => worker.retry(1, MIN_MS));
  await step('it fails again, and waits twice as long', async () => {
    worker.fail();
    // Answered when what came before it is on disk.
    await channel.assertQueue('last');
    const { ready, deferred } = await gateway.get('/v1/queues/work');
    assert.deepEqual({ ready, deferred }, { ready: 0, deferred: 1 });
    return `GET /v1/queues/work: ready ${ready}, deferred ${deferred}`;
  });
}

async function deadInTheEnd(gateway: Gateway): Promise<void> {
  const { connection, channel } = await openChannel(gateway);
  const worker = await new Worker(channel).start('work');
  await step('after the restart it still waits, and is counted: the third attempt', () => worker.retry(2, 0));
  await step('it fails', async () => {
    worker.fail();
    return worker.retry(3, MIN_MS * 3);
  });
  await step('and a fourth time: that is more than three', async () => {
    worker.fail();
    const { content, properties } = await (await new Worker(channel).start('broken')).next();
    const headers = properties.headers ?? {};
    assert.equal(content.toString(), 'poison');
    const died = { reason: headers['x-first-death-reason'], queue: headers['x-first-death-queue'] };
    assert.deepEqual(died, { reason: 'delivery_limit', queue: 'work' });
    return `in the queue broken; x-first-death-reason: ${died.reason}, x-first-death-queue: ${died.queue}`;
  });
  await connection.close();
}

export const retry: Feature = {
  name: 'retry',
  title: 'failures are counted and tried again after longer and longer waits, up to a limit',
  async run(gateway) {
    await twoFailures(gateway);
    await gateway.restart();
    await deadInTheEnd(gateway);
  },
};
