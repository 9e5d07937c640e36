/**
 * Rules that look at each message, and transactions, beside a plain queue: persistent messages on a journal in memory.
 *
 *     node --import=tsx bench/micro/marks.ts [plain | ids | last-value | ring | transactions | memory]... [--seconds 1]
 *
 * `ids`: each message has an id of its own in its head, as AMQP's message-id stands there, and the queue remembers 100,000.
 * `transactions`: ten publishes and ten settlements each. `memory`: bytes that a remembered id costs.
 */
import { parseArgs } from 'node:util';
import {
  type Arguments,
  type Client,
  CONFIRM,
  type DeliveryBatch,
  FLAG_DURABLE,
  limitsWith,
  Message,
  RoutingKey,
  SystemClock,
} from '../../src/core/index.ts';
import { DedupWindow } from '../../src/core/marks/dedup-window.ts';
import { type Print, printOf } from '../../src/core/marks/print.ts';
import type { Queue } from '../../src/core/queue/queue.ts';
import { startBroker } from '../../src/core/start.ts';
import { memoryRecovery } from '../../src/testing/memory-journal.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';

const PAYLOAD_BYTES = 100;
const PER_TURN = 500;
const WINDOW = 20_000;
const PER_TRANSACTION = 10;
const KEY = new RoutingKey('q', 0x2e);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '1' } },
});
const names = positionals.length > 0 ? positionals : ['plain', 'ids', 'last-value', 'ring', 'transactions', 'memory'];
const ARGUMENTS: { readonly [name: string]: Arguments } = {
  ids: { 'x-dedup-count-max': 100_000 },
  'last-value': { 'x-last-value-key': 'id' },
  ring: { 'x-ring-size': 2 * WINDOW },
};
const runMs = Number(values.seconds) * 1000;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Eight bytes of id, then the payload. */
function makeMessage(): Message {
  const message = new Message();
  message.format = 9;
  message.flags = FLAG_DURABLE;
  message.bytes = Buffer.alloc(8 + PAYLOAD_BYTES);
  message.headEnd = message.bodyStart = 8;
  message.bodyEnd = message.bytes.length;
  return message;
}

/** Publish, deliver, settle; answers the number of messages. */
async function singly(client: Client): Promise<number> {
  let settled = 0;
  const onDeliveries = (batch: DeliveryBatch): void => {
    let first = 0;
    while (batch.next()) if (first === 0) first = batch.deliveryId;
    if (first === 0) return;
    subscription.settle(first, batch.deliveryId, 'complete');
    settled += batch.deliveryId - first + 1;
  };
  const subscription = client.subscribe('q', { credit: Number.POSITIVE_INFINITY }, { onDeliveries });
  let confirmed = 0;
  const producer = client.producer({
    onConfirm: (upTo) => {
      confirmed = upTo;
    },
  });
  const address = producer.address('', KEY);
  const message = makeMessage();
  let published = 0;
  const start = performance.now();
  while (performance.now() - start < runMs) {
    for (let n = 0; n < PER_TURN && published - confirmed < WINDOW; n++) {
      message.bytes.writeUInt32LE(++published, 0);
      producer.publish(address, message, CONFIRM);
    }
    await turn();
  }
  while (confirmed < published) await turn();
  subscription.close();
  return Math.max(settled, published);
}

/** The same, ten messages and ten settlements at a time. */
async function together(client: Client): Promise<number> {
  const held: number[] = [];
  const onDeliveries = (batch: DeliveryBatch): void => {
    while (batch.next()) held.push(batch.deliveryId);
  };
  const subscription = client.subscribe('q', { credit: Number.POSITIVE_INFINITY }, { onDeliveries });
  const producer = client.producer({});
  const address = producer.address('', KEY);
  const transaction = producer.transaction();
  const message = makeMessage();
  let published = 0;
  let under = 0;
  const start = performance.now();
  while (performance.now() - start < runMs) {
    while (under < 50) {
      for (let n = 0; n < PER_TRANSACTION; n++) transaction.publish(address, message, 0);
      const some = held.splice(0, PER_TRANSACTION);
      for (const id of some) transaction.settle(subscription, id, id, 'complete');
      under++;
      transaction.commit(() => {
        under--;
      });
      published += PER_TRANSACTION;
    }
    await turn();
  }
  subscription.close();
  return published;
}

function memory(): string {
  const count = 1_000_000;
  const rules = { dedupWindowMs: Number.POSITIVE_INFINITY, dedupCountMax: count };
  const before = process.memoryUsage().arrayBuffers;
  const window = new DedupWindow({ rules, engine: { limits: limitsWith() } } as unknown as Queue);
  const start = performance.now();
  for (let n = 1; n <= count * 2; n++) window.add(printOf(n) as Print, n, true);
  const ns = ((performance.now() - start) * 1e6) / (count * 2);
  const bytes = (process.memoryUsage().arrayBuffers - before) / window.size;
  return `${window.size} ids, ${bytes.toFixed(0)} B and ${ns.toFixed(0)} ns each, of which one fingerprint`;
}

for (const name of names) {
  if (name === 'memory') {
    console.log(`${name.padEnd(12)} ${memory()}`);
    continue;
  }
  const clock = new SystemClock();
  const options = { disk: new SimDisk({ seed: 1 }), clock, limits: limitsWith(), log: () => {} };
  const { broker, close } = await startBroker(options, memoryRecovery(clock));
  broker.registerFormat({
    id: 9,
    name: 'bench',
    toHub(message) {
      const id = message.bytes.readUInt32LE(message.headStart);
      return { durable: true, annotations: new Map(), application: [['id', id % 1000]], messageId: id };
    },
  });
  const settings = { durable: true, autoDelete: false, exclusive: false, arguments: ARGUMENTS[name] ?? {} };
  await broker.admin.declareQueue('/', 'q', settings);
  const client = broker.client('/', { user: 'bench', clientId: 'client', protocol: 'bench', peer: '' }, {});
  const run = name === 'transactions' ? together : singly;
  await run(client);
  const cpu = process.cpuUsage();
  const start = performance.now();
  const count = await run(client);
  const { user, system } = process.cpuUsage(cpu);
  const rate = count / 1000 / (performance.now() - start);
  const cpuNs = ((user + system) * 1000) / count;
  console.log(
    `${name.padEnd(12)} ${rate.toFixed(3)} M messages/s of ${PAYLOAD_BYTES} B, ${cpuNs.toFixed(0)} ns of CPU each`,
  );
  client.close();
  await close();
}
