/** Topics: messages stay, everybody reads at his own pace, over any protocol, from any place; also after a kill. */
import assert from 'node:assert/strict';
import { connectAsync } from 'mqtt';
import { WebSocket } from 'ws';
import { openChannel } from './amqp.ts';
import type { Feature, Gateway } from './gateway.ts';
import { Inbox, step } from './steps.ts';

interface Page {
  readonly next: number;
  readonly messages: readonly { readonly offset: number; readonly payload: string }[];
}

const READINGS = '/v1/streams/readings';

async function page(gateway: Gateway, partition: number, query: string): Promise<Page> {
  return (await gateway.get(`${READINGS}/partitions/${partition}/messages?${query}`)) as unknown as Page;
}

async function partitions(gateway: Gateway): Promise<{ durable_end: number }[]> {
  return (await gateway.get(READINGS))['partitions'] as { durable_end: number }[];
}

export const topics: Feature = {
  name: 'topics',
  title: 'topics: partitions, offsets, reading again, idempotent producers, groups',
  async run(gateway) {
    await step('HTTP: a topic with three partitions; all of sensors/# goes there', async () => {
      await gateway.put(READINGS, { partitions: 3, retention_ms: 86_400_000 });
      await gateway.post('/v1/bindings', { source: 'amq.topic', stream: 'readings', key: 'sensors.#' });
      return 'retention: a day';
    });
    await step('MQTT: nine devices report five times each; a device stays in its partition', async () => {
      const client = await connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`);
      for (let n = 0; n < 5; n++) {
        for (let device = 0; device < 9; device++) {
          await client.publishAsync(`sensors/${device}`, `${device}:${n}`, { qos: 1 });
        }
      }
      await client.endAsync();
      const pages = await Promise.all([0, 1, 2].map((number) => page(gateway, number, 'from=first&max=100')));
      const order = new Map<string, string>();
      for (const { messages } of pages) {
        for (const { payload } of messages) {
          const [device = '', n = ''] = payload.split(':');
          order.set(device, (order.get(device) ?? '') + n);
        }
      }
      assert.equal(order.size, 9);
      for (const [device, seen] of order) assert.equal(seen, '01234', `device ${device}`);
      return `${pages.map(({ messages }) => messages.length).join(' + ')} messages, each device in order`;
    });
    const origin = await producer(gateway);
    await gateway.restart();
    await step('the producer sends its last batch again: taken once', async () => {
      const before = (await partitions(gateway))[0]?.durable_end;
      const { results } = await gateway.post(`${READINGS}/messages?${origin}`, numbered());
      assert.equal((await partitions(gateway))[0]?.durable_end, before);
      return `answered ${JSON.stringify((results as object[])[0])}, nothing appended`;
    });
    await step('AMQP: a consumer of the stream begins two before the end', async () => {
      const { channel, connection } = await openChannel(gateway);
      await channel.prefetch(10);
      const inbox = new Inbox<string>();
      const args = { 'x-stream-offset': -2, 'x-stream-partition': 0 };
      await channel.consume(
        'readings',
        (message) => inbox.put(`${message?.properties.headers?.['x-stream-offset']}: ${message?.content}`),
        { arguments: args },
      );
      const seen = [await inbox.take(), await inbox.take()];
      await connection.close();
      assert.ok(seen[0]?.endsWith('numbered 1') && seen[1]?.endsWith('numbered 2'));
      return seen.join(', ');
    });
    await live(gateway);
    await shared(gateway);
    await poison(gateway);
    await members(gateway);
    await step('HTTP: a group remembers how far it has come', async () => {
      const offsets = [{ stream: 'readings', partition: 0, offset: 1, metadata: 'first one done' }];
      await gateway.put('/v1/groups/billing/offsets', offsets);
      const { offsets: stored } = await gateway.get('/v1/groups/billing');
      const [{ offset, lag }] = stored as [{ offset: number; lag: number }];
      assert.equal(offset, 1);
      return `partition 0 at ${offset}, ${lag} behind`;
    });
  },
};

const numbered = () => [0, 1, 2].map((sequence) => ({ payload: `numbered ${sequence}`, partition: 0, sequence }));

/** An idempotent producer that has sent three messages. Answers its part of the query. */
async function producer(gateway: Gateway): Promise<string> {
  let origin = '';
  await step('HTTP: an idempotent producer sends three numbered messages', async () => {
    const { id, epoch } = await gateway.post('/v1/producers', { name: 'meter' });
    origin = `producer=${id}&epoch=${epoch}`;
    const { confirmed } = await gateway.post(`${READINGS}/messages?${origin}`, numbered());
    assert.equal(confirmed, 3);
    return `producer ${id}, epoch ${epoch}`;
  });
  return origin;
}

/** Two members of a consumer group, with nothing but requests. */
async function members(gateway: Gateway): Promise<void> {
  await step('HTTP: two members share the partitions out; one is told to give up, commits, and lets go', async () => {
    const group = '/v1/groups/reports/members';
    const first = await gateway.post(group, { streams: ['readings'] });
    const path = `${group}/${first['member']}`;
    const told = gateway.post(`${path}/heartbeat?epoch=${first['epoch']}&wait_ms=20000`);
    const second = await gateway.post(group, { streams: ['readings'] });
    const { epoch, revoked } = await told;
    const [moving] = revoked as [{ stream: string; partition: number }];
    await gateway.put(`${path}/offsets?epoch=${epoch}`, [{ ...moving, offset: 1 }]);
    await gateway.post(`${path}/release`);
    const { assigned } = await gateway.post(`${group}/${second['member']}/heartbeat?wait_ms=20000`);
    assert.deepEqual(assigned, [{ ...moving, offset: 1 }]);
    for (const { member } of [first, second]) await gateway.delete(`${group}/${member}`);
    return `partition ${moving.partition} moved with its offset`;
  });
}

/** Consumers that take messages of all partitions together. */
async function shared(gateway: Gateway): Promise<void> {
  await step('AMQP and HTTP: a share group takes every reading once, whoever asks', async () => {
    const { channel, connection } = await openChannel(gateway);
    await channel.prefetch(20);
    const inbox = new Inbox<string>();
    const args = { 'x-share-group': 'workers', 'x-stream-offset': 'first' };
    await channel.consume('readings', (message) => inbox.put(`${message?.content}`), { arguments: args });
    const taken: string[] = [];
    while (taken.length < 20) taken.push(await inbox.take());
    const { messages } = await gateway.post('/v1/queues/readings/lease?group=workers&max=100');
    taken.push(...(messages as { payload: string }[]).map(({ payload }) => payload));
    await connection.close();
    assert.equal(taken.length, 49);
    assert.equal(new Set(taken).size, 49);
    return '20 over AMQP, 29 leased over HTTP, none twice';
  });
}

/** What a share group cannot do anything with. */
async function poison(gateway: Gateway): Promise<void> {
  await step('HTTP: what a share group rejects goes to its dead letters; the topic keeps it', async () => {
    await gateway.put('/v1/queues/poison', {});
    const dead_letter = { exchange: '', key: 'poison' };
    await gateway.put(`${READINGS}/groups/strict`, { from: 'first', dead_letter });
    const { lease, messages } = await gateway.post('/v1/queues/readings/lease?group=strict&max=3');
    await gateway.post(`/v1/leases/${lease}/extend?lease_ms=60000`);
    await gateway.post(`/v1/leases/${lease}/discard?deliveries=2`);
    const dead = await gateway.post('/v1/queues/poison/lease?wait_ms=5000');
    const [, bad] = messages as { payload: string }[];
    const [letter] = dead['messages'] as { payload: string; headers: { 'x-death': { reason: string }[] } }[];
    assert.equal(letter?.payload, bad?.payload);
    return `${letter?.payload}: ${letter?.headers['x-death'][0]?.reason}`;
  });
}

async function live(gateway: Gateway): Promise<void> {
  await step('WebSocket: history first, then what comes, in one subscription', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.ports.http}/ws`, 'junction.json');
    const inbox = new Inbox<{ op: string; offset: number; payload: string }>();
    socket.on('message', (data) => inbox.put(JSON.parse(String(data))));
    await new Promise((resolve) => socket.on('open', resolve));
    socket.send(JSON.stringify({ op: 'subscribe', id: 1, stream: 'readings', partition: 0, last_n: 1 }));
    const next = async () => {
      for (;;) {
        const frame = await inbox.take();
        if (frame.op === 'message') return frame;
      }
    };
    const old = await next();
    await gateway.post(`${READINGS}/messages`, [{ payload: 'fresh', partition: 0 }]);
    const fresh = await next();
    socket.close();
    assert.deepEqual([old.payload, fresh.payload, fresh.offset - old.offset], ['numbered 2', 'fresh', 1]);
    return `offset ${old.offset} from disk, offset ${fresh.offset} live`;
  });
}
