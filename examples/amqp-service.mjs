/** A service: takes readings from a durable queue, ten at a time, and acknowledges each when it is done with it. */
import { connect } from 'amqplib';

const connection = await connect(process.env.AMQP_URL ?? 'amqp://guest:guest@127.0.0.1:5672');
const channel = await connection.createChannel();
await channel.assertQueue('readings', { durable: true });
await channel.bindQueue('readings', 'amq.topic', 'sensors.*.temp');
await channel.prefetch(10);
await channel.consume('readings', (message) => {
  // null: the queue was deleted.
  if (message === null) process.exit(1);
  console.log(message.fields.routingKey, message.content.toString());
  channel.ack(message);
});
