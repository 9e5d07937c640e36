import assert from 'node:assert/strict';
import { type Case, unique } from '../case.ts';
import { Client } from './_clients.ts';

export const cases: Case[] = [
  {
    name: 'a persistent session keeps QoS 1 messages while its client is away [MQTT-3.1.2-5]',
    async run(server) {
      const topic = unique('away');
      const session = { clientId: unique('session'), clean: false };
      const first = await Client.open(server, session);
      await first.mqtt.subscribeAsync(topic, { qos: 1 });
      await first.close();
      const publisher = await Client.open(server);
      for (const text of ['a', 'b', 'c']) await publisher.mqtt.publishAsync(topic, text, { qos: 1 });
      await publisher.close();
      const second = await Client.open(server, session);
      assert.equal(second.sessionPresent, true);
      assert.deepEqual(
        (await second.take(3)).map(({ text }) => text),
        ['a', 'b', 'c'],
      );
      await second.close();
      const last = await Client.open(server, { ...session, clean: true });
      assert.equal(last.sessionPresent, false);
      await last.close();
    },
  },
  {
    name: 'kill -9: acknowledged publishes, subscriptions of both QoS and retained messages are there afterwards',
    timeoutMs: 60_000,
    async run(server) {
      const topic = unique('killed');
      const session = { clientId: unique('session'), clean: false };
      const first = await Client.open(server, session);
      await first.mqtt.subscribeAsync({ [`${topic}/one/#`]: { qos: 1 }, [`${topic}/zero`]: { qos: 0 } });
      await first.close();
      const publisher = await Client.open(server);
      const texts = Array.from({ length: 500 }, (_, n) => `message ${n}`);
      await Promise.all(texts.map((text) => publisher.mqtt.publishAsync(`${topic}/one/x`, text, { qos: 1 })));
      await publisher.mqtt.publishAsync(`${topic}/state`, 'kept', { qos: 0, retain: true });
      await publisher.mqtt.publishAsync(`${topic}/flush`, '', { qos: 1 });
      publisher.mqtt.on('error', () => undefined);
      await server.restart('SIGKILL');
      await publisher.mqtt.endAsync(true);

      const second = await Client.open(server, session);
      try {
        assert.equal(second.sessionPresent, true);
        assert.deepEqual(
          (await second.take(500)).map(({ text }) => text),
          texts,
        );
        await second.mqtt.publishAsync(`${topic}/zero`, 'live', { qos: 1 });
        assert.deepEqual((await second.next()).text, 'live');
        await second.mqtt.subscribeAsync(`${topic}/state`, { qos: 1 });
        const { text, retain, qos } = await second.next();
        assert.deepEqual({ text, retain, qos }, { text: 'kept', retain: true, qos: 0 });
        await second.mqtt.publishAsync(`${topic}/state`, '', { qos: 1, retain: true });
      } finally {
        await second.close();
        await (await Client.open(server, { ...session, clean: true })).close();
      }
    },
  },
];
