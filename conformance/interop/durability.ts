/** What was confirmed to one kind of client is there for another after `kill -9`. */
import assert from 'node:assert/strict';
import { connect as connectAmqp } from 'amqplib';
import { connectAsync as connectMqtt } from 'mqtt';
import { type Case, unique } from '../case.ts';
import { call, PEERS } from './_peers.ts';

const killed: Case[] = PEERS.map((from) => ({
  name: `${from.name}: what was confirmed before kill -9 is in the AMQP queue after it, in order`,
  async run(server) {
    const root = unique('killed');
    const queue = `${root}-queue`;
    const url = `amqp://guest:guest@${server.host}:${server.amqpPort}`;
    const before = await connectAmqp(url);
    before.on('error', () => {});
    const channel = await before.createChannel();
    channel.on('error', () => {});
    await channel.assertQueue(queue, { durable: true });
    await channel.bindQueue(queue, 'amq.topic', `${root}.#`);
    for (let n = 0; n < 5; n++) await from.publish(server, { topic: `${root}/n`, body: Buffer.from(`${n}`) });
    await server.restart('SIGKILL');
    const after = await connectAmqp(url);
    try {
      const check = await after.createChannel();
      for (let n = 0; n < 5; n++) {
        const message = await check.get(queue, { noAck: true });
        assert.equal(message === false ? undefined : message.content.toString(), `${n}`);
      }
      assert.equal(await check.get(queue, { noAck: true }), false);
      await check.deleteQueue(queue);
    } finally {
      await after.close();
    }
  },
}));

export const cases: Case[] = [
  ...killed,
  {
    name: 'an MQTT session and its QoS 1 subscription outlive kill -9: an AMQP message sent meanwhile arrives',
    async run(server) {
      const topic = `${unique('session')}/x`;
      const options = { clientId: unique('sleeper'), clean: false };
      const url = `mqtt://${server.host}:${server.mqttPort}`;
      const first = await connectMqtt(url, options);
      await first.subscribeAsync(topic, { qos: 1 });
      await first.endAsync();
      await PEERS[1]?.publish(server, { topic, body: Buffer.from('while you slept') });
      await server.restart('SIGKILL');
      const { connect } = await import('mqtt');
      const second = connect(url, options);
      try {
        const text = await new Promise<string>((resolve, reject) => {
          second.on('message', (_topic, body) => resolve(body.toString()));
          second.on('error', reject);
        });
        assert.equal(text, 'while you slept');
      } finally {
        await second.endAsync();
        // A clean session deletes what the broker keeps for this client.
        const last = await connectMqtt(url, { ...options, clean: true });
        await last.endAsync();
      }
    },
  },
  {
    name: 'a retained MQTT message is the value HTTP reads, and outlives an orderly restart',
    async run(server) {
      const topic = `${unique('retained')}/x`;
      const url = `mqtt://${server.host}:${server.mqttPort}`;
      const client = await connectMqtt(url, { clientId: unique('retainer'), reconnectPeriod: 0 });
      await client.publishAsync(topic, 'kept', { qos: 1, retain: true });
      await client.endAsync();
      await server.restart('SIGTERM');
      const response = await call(server, 'GET', `/v1/topics/${topic}`);
      assert.equal(await response.text(), 'kept');
      const eraser = await connectMqtt(url, { clientId: unique('eraser') });
      await eraser.publishAsync(topic, '', { qos: 1, retain: true });
      await eraser.endAsync();
    },
  },
];
