import assert from 'node:assert/strict';
import { type Case, unique } from '../case.ts';
import { Client, Command } from './_clients.ts';

const MOSQUITTO = ['mosquitto_pub', 'mosquitto_sub'];

export const cases: Case[] = [
  {
    name: 'mqtt.js: QoS 0, 1 and 2 publishes arrive, in order, at the granted QoS',
    async run(server) {
      const topic = unique('levels');
      const subscriber = await Client.open(server);
      const publisher = await Client.open(server);
      try {
        const granted = await subscriber.mqtt.subscribeAsync({ [`${topic}/#`]: { qos: 2 } });
        assert.equal(granted[0]?.qos, 1);
        for (const qos of [0, 1, 2] as const) await publisher.mqtt.publishAsync(`${topic}/${qos}`, `q${qos}`, { qos });
        const got = await subscriber.take(3);
        assert.deepEqual(
          got.map(({ text, qos }) => `${text} ${qos}`),
          ['q0 0', 'q1 1', 'q2 1'],
        );
      } finally {
        await publisher.close();
        await subscriber.close();
      }
    },
  },
  {
    name: 'mqtt.js: 2,000 QoS 1 messages of many sizes arrive unchanged [MQTT-4.6.0-6]',
    async run(server) {
      const topic = unique('many');
      const subscriber = await Client.open(server);
      const publisher = await Client.open(server);
      try {
        await subscriber.mqtt.subscribeAsync(topic, { qos: 1 });
        const sent = Array.from({ length: 2_000 }, (_, n) => `${n}:${'é'.repeat((n * 7919) % 3_000)}`);
        const published = sent.map((text) => publisher.mqtt.publishAsync(topic, text, { qos: 1 }));
        const got = await subscriber.take(sent.length);
        await Promise.all(published);
        assert.deepEqual(
          got.map(({ text }) => text),
          sent,
        );
      } finally {
        await publisher.close();
        await subscriber.close();
      }
    },
  },
  {
    name: 'mqtt.js: a payload of 5 MB passes',
    async run(server) {
      const topic = unique('large');
      const client = await Client.open(server);
      try {
        await client.mqtt.subscribeAsync(topic, { qos: 1 });
        await client.mqtt.publishAsync(topic, Buffer.alloc(5_000_000, 'x'), { qos: 1 });
        assert.equal((await client.next()).text.length, 5_000_000);
      } finally {
        await client.close();
      }
    },
  },
  {
    name: 'mqtt.js: the will of a cut connection is published, that of an ended one is not [MQTT-3.1.2-8] [MQTT-3.1.2-10]',
    async run(server) {
      const topic = unique('will');
      const watcher = await Client.open(server);
      try {
        await watcher.mqtt.subscribeAsync(topic, { qos: 1 });
        const will = (payload: string) => ({ will: { topic, payload: Buffer.from(payload), qos: 1 as const } });
        await (await Client.open(server, will('ended'))).close();
        await (await Client.open(server, will('cut'))).cut();
        assert.equal((await watcher.next()).text, 'cut');
      } finally {
        await watcher.close();
      }
    },
  },
  {
    name: 'mqtt.js: a second connection with the same client id ends the first [MQTT-3.1.4-2]',
    async run(server) {
      const clientId = unique('same');
      const first = await Client.open(server, { clientId });
      const closed = new Promise<void>((resolve) => first.mqtt.once('close', () => resolve()));
      const second = await Client.open(server, { clientId });
      await closed;
      await first.mqtt.endAsync(true);
      await second.close();
    },
  },
  {
    name: 'mqtt.js with MQTT 5 is told that the version is not spoken (reason code 0x84)',
    async run(server) {
      await assert.rejects(
        async () => (await Client.open(server, { protocolVersion: 5 })).close(),
        (error: { code?: number }) => error.code === 0x84,
      );
    },
  },
  {
    name: 'mqtt.js: a wrong password is refused with return code 4',
    async run(server) {
      await assert.rejects(
        async () => (await Client.open(server, { username: 'guest', password: 'wrong' })).close(),
        (error: { code?: number }) => error.code === 4,
      );
    },
  },
  {
    name: 'mosquitto_pub to mosquitto_sub: retained, then live, with MQTT 3.1 and 3.1.1 [MQTT-3.3.1-6]',
    needs: MOSQUITTO,
    async run(server) {
      for (const version of ['mqttv31', 'mqttv311']) {
        const topic = unique('cli');
        const publish = async (...args: string[]) => {
          assert.equal(await new Command(server, 'mosquitto_pub', '-V', version, '-t', topic, ...args).done, 0);
        };
        await publish('-q', '1', '-r', '-m', 'retained');
        const sub = new Command(
          server,
          'mosquitto_sub',
          '-V',
          version,
          '-t',
          topic,
          '-q',
          '1',
          '-C',
          '3',
          '-v',
          '-W',
          '10',
        );
        const cleaner = await Client.open(server);
        try {
          await publish('-q', '0', '-m', 'zero');
          await publish('-q', '2', '-m', 'two');
          // The subscriber may have come after either of them: send on until it has its three.
          const ended = sub.done;
          for (let n = 0; n < 50 && (await Promise.race([ended, publish('-q', '1', '-m', 'more')])) === undefined; n++);
          assert.equal(await ended, 0);
          assert.equal(sub.lines.length, 3);
          assert.equal(sub.lines[0], `${topic} retained`);
        } finally {
          sub.stop();
          await cleaner.mqtt.publishAsync(topic, '', { retain: true, qos: 1 });
          await cleaner.close();
        }
      }
    },
  },
];
