/** Every kind of client to every kind of client: key, payload and content type arrive as the mapping promises. */
import assert from 'node:assert/strict';
import { type Case, unique } from '../case.ts';
import { PEERS, type PeerKind } from './_peers.ts';

/** All byte values, so that no text conversion goes unnoticed. */
const BYTES = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
const TEXT = Buffer.from('21.5 °C — grüße, 世界');

function pair(from: PeerKind, to: PeerKind): Case[] {
  return [
    {
      name: `${from.name} to ${to.name}: text and bytes arrive unchanged, in order, under the same levels`,
      async run(server) {
        const root = unique('pair');
        const subscriber = await to.subscribe(server, `${root}/+/temp`);
        try {
          await from.publish(server, { topic: `${root}/kitchen/temp`, body: TEXT });
          await from.publish(server, { topic: `${root}/elsewhere/humidity`, body: Buffer.from('not asked for') });
          await from.publish(server, { topic: `${root}/cellar/temp`, body: BYTES });
          await from.publish(server, { topic: `${root}/attic/temp`, body: Buffer.alloc(0) });
          const expected = ['kitchen', 'cellar', 'attic'].map((room) => `${root}/${room}/temp`);
          const bodies = [TEXT, BYTES, Buffer.alloc(0)];
          for (const [index, body] of bodies.entries()) {
            const seen = await subscriber.next();
            const topic = to.name === 'amqp' ? expected[index]?.replaceAll('/', '.') : expected[index];
            assert.equal(seen.topic, topic);
            assert.deepEqual(seen.body, body);
          }
        } finally {
          await subscriber.close();
        }
      },
    },
  ];
}

/** MQTT 3.1.1 has no content type, so only the others are held to it. */
function contentType(from: PeerKind, to: PeerKind): Case {
  return {
    name: `${from.name} to ${to.name}: the content type arrives`,
    async run(server) {
      const topic = `${unique('type')}/x`;
      const subscriber = await to.subscribe(server, topic);
      try {
        await from.publish(server, { topic, body: Buffer.from('{}'), contentType: 'application/json' });
        assert.equal((await subscriber.next()).contentType, 'application/json');
      } finally {
        await subscriber.close();
      }
    },
  };
}

const typed = PEERS.filter(({ name }) => name !== 'mqtt');

export const cases: Case[] = [
  ...PEERS.flatMap((from) => PEERS.flatMap((to) => pair(from, to))),
  ...typed.flatMap((from) => typed.map((to) => contentType(from, to))),
];
