/** The AMQP client of demonstrations: amqplib, and what they do with it again and again. */
import { type Channel, type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import type { Gateway } from './gateway.ts';

/** A connection as guest with one channel in confirm mode. */
export async function openChannel(gateway: Gateway): Promise<{ connection: ChannelModel; channel: ConfirmChannel }> {
  const connection = await connect(`amqp://guest:guest@127.0.0.1:${gateway.ports.amqp}`);
  connection.on('error', () => {});
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  return { connection, channel };
}

/** Everything in a queue, taken and acknowledged. */
export async function take(channel: Channel, queue: string): Promise<string[]> {
  const found: string[] = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (message === false) return found;
    found.push(message.content.toString());
  }
}

/** Publish to a queue, persistent; resolves when the broker has it on disk. */
export async function send(channel: ConfirmChannel, queue: string, text: string, options: object = {}): Promise<void> {
  channel.sendToQueue(queue, Buffer.from(text), { persistent: true, ...options });
  await channel.waitForConfirms();
}
