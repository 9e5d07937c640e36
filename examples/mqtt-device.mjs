/** A device: publishes a temperature every second with QoS 1, and leaves a will in case it dies. */
import { connectAsync } from 'mqtt';

const client = await connectAsync(process.env.MQTT_URL ?? 'mqtt://127.0.0.1:1883', {
  clientId: 'kitchen',
  will: { topic: 'sensors/kitchen/state', payload: Buffer.from('lost'), qos: 1, retain: true },
});
await client.publishAsync('sensors/kitchen/state', 'alive', { qos: 1, retain: true });

for (;;) {
  const celsius = (20 + Math.random() * 5).toFixed(1);
  // Resolves with the PUBACK: the reading is on disk in every durable queue that wants it.
  await client.publishAsync('sensors/kitchen/temp', celsius, { qos: 1 });
  console.log('published', celsius);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
}
