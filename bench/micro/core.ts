/**
 * The core through its door, without sockets: publish -> one queue -> deliver -> settle, one producer and one consumer.
 *
 *     node --import=tsx bench/micro/core.ts [transient | persistent | disk | fanout | tap | filter]... [--seconds 2]
 *
 * `persistent` runs on a journal in memory (what the core costs), `disk` on the real one. `filter` is `transient` through a
 * binding with a filter that lets every message pass; decoding the properties costs nothing there.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Arguments,
  type Broker,
  CONFIRM,
  type DeliveryBatch,
  FLAG_DURABLE,
  type HubProperties,
  limitsWith,
  Message,
  RoutingKey,
  SystemClock,
} from '../../src/core/index.ts';
import { NodeDisk, openJournal } from '../../src/core/journal/index.ts';
import { startBroker } from '../../src/core/start.ts';
import { memoryRecovery } from '../../src/testing/memory-journal.ts';

const PAYLOAD_BYTES = 100;
/** Published in one turn, as if read from a socket in one chunk. */
const PER_TURN = 500;
/** Published and not yet settled. */
const WINDOW = 20_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '2' } },
});
const names = positionals.length > 0 ? positionals : ['transient', 'persistent', 'disk', 'fanout', 'tap', 'filter'];

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Messages per second, and CPU of the process in ns for each, through `queues` queues each bound to one exchange. */
async function measure(
  broker: Broker,
  durable: boolean,
  queues: number,
  taps: number,
  args: Arguments,
): Promise<{ rate: number; cpuNs: number }> {
  const client = broker.client('/', { user: 'bench', clientId: 'client', protocol: 'bench', peer: '' }, {});
  let settled = 0;
  let confirmed = 0;
  const key = new RoutingKey('sensors.kitchen.temperature', 0x2e);
  const pattern = { text: key.text, separator: 0x2e, levels: key.levels, hidesDollar: false };
  for (let n = 0; n < queues; n++) {
    const name = `q${n}`;
    await broker.admin.declareQueue('/', name, { durable, autoDelete: false, exclusive: false, arguments: {} });
    await broker.admin.bind('/', 'amq.topic', { kind: 'queue', name }, pattern, args);
    const onDeliveries = (batch: DeliveryBatch): void => {
      let last = 0;
      while (batch.next()) last = batch.deliveryId;
      if (last === 0) return;
      const count = subscription.settle(1, last, 'complete');
      subscription.credit(count);
      settled += count;
    };
    const subscription = client.subscribe(name, { credit: 1000 }, { onDeliveries });
  }
  for (let n = 0; n < taps; n++) {
    const tap = client.tap({
      onMessage: () => {
        settled++;
        return true;
      },
    });
    tap.bind('amq.topic', pattern);
  }
  const producer = client.producer({
    onConfirm: (upTo) => {
      confirmed = upTo;
    },
  });
  const address = producer.address('amq.topic', key);
  const message = new Message();
  message.format = 1;
  message.flags = durable ? FLAG_DURABLE : 0;
  message.bytes = Buffer.alloc(PAYLOAD_BYTES + 10, 'x');
  message.headEnd = 10;
  message.bodyStart = 10;
  message.bodyEnd = message.bytes.length;
  const fan = queues + taps;
  let published = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const until = start + Number(values.seconds) * 1000;
  while (performance.now() < until) {
    for (let n = 0; n < PER_TURN && published * fan - settled < WINDOW * fan; n++, published++) {
      producer.publish(address, message, CONFIRM);
    }
    await turn();
  }
  while (settled < published * fan || confirmed < published) await turn();
  const rate = (published * fan * 1000) / (performance.now() - start);
  const { user, system } = process.cpuUsage(cpu);
  client.close();
  return { rate, cpuNs: ((user + system) * 1000) / (published * fan) };
}

for (const name of names) {
  const clock = new SystemClock();
  const folder = mkdtempSync(join(tmpdir(), 'core-bench-'));
  const options = { disk: new NodeDisk(folder), clock, limits: limitsWith(), log: () => {} };
  const recovery = name === 'disk' ? await openJournal(options) : memoryRecovery(clock);
  const { broker, close } = await startBroker(options, recovery);
  const durable = name === 'persistent' || name === 'disk';
  const hub: HubProperties = { durable, annotations: new Map(), application: [['weight', 2600]] };
  broker.registerFormat({ id: 1, name: 'bench', toHub: () => hub });
  const queues = name === 'fanout' ? 50 : name === 'tap' ? 0 : 1;
  const args: Arguments = name === 'filter' ? { 'x-filter': 'weight > 2500' } : {};
  const { rate, cpuNs } = await measure(broker, durable, queues, name === 'tap' ? 50 : 0, args);
  const figures = `${(rate / 1e6).toFixed(2)} M deliveries/s of ${PAYLOAD_BYTES} B, ${cpuNs.toFixed(0)} ns of CPU each`;
  console.log(`${name.padEnd(12)} ${figures}`);
  await close();
  rmSync(folder, { recursive: true });
}
