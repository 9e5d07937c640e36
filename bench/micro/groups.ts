/**
 * What choosing costs: message groups and filters of consumers, through the core's door, without sockets and disk.
 *
 *     node --import=tsx bench/micro/groups.ts [row]... [--seconds 2] [--consumers 100]
 *
 * `plain`: no groups; `groups`: a million groups; `stalled`: the same while every tenth consumer takes nothing; `one`: one consumer, with and
 * without groups; `filter`: half of the consumers take one message in two.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Broker,
  CONFIRM,
  type DeliveryBatch,
  type HubProperties,
  limitsWith,
  Message,
  RoutingKey,
  type SubscribeOptions,
  SystemClock,
} from '../../src/core/index.ts';
import { NodeDisk } from '../../src/core/journal/index.ts';
import { startBroker } from '../../src/core/start.ts';
import { memoryRecovery } from '../../src/testing/memory-journal.ts';

interface Row {
  readonly groups: number;
  readonly consumers: number;
  /** Every n-th consumer takes nothing; 0 = all take. */
  readonly stalled?: number;
  /** Every second consumer has one. */
  readonly filter?: string;
}

const PAYLOAD_BYTES = 100;
const PER_TURN = 500;
const WINDOW = 20_000;
const GROUP_BYTES = 8;
const WARM_UP_SECONDS = 1;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '2' }, consumers: { type: 'string', default: '100' } },
});
const consumers = Number(values.consumers);
const ROWS: Readonly<Record<string, Row>> = {
  'one plain': { groups: 0, consumers: 1 },
  'one groups': { groups: 1_000_000, consumers: 1 },
  plain: { groups: 0, consumers },
  groups: { groups: 1_000_000, consumers },
  stalled: { groups: 1_000_000, consumers, stalled: 10 },
  filter: { groups: 0, consumers, filter: 'even' },
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function measure(broker: Broker, { groups, consumers, stalled = 0, filter }: Row): Promise<void> {
  const client = broker.client('/', { user: 'bench', clientId: '', protocol: 'bench', peer: '' }, {});
  await broker.admin.declareQueue('/', 'q', { durable: false, autoDelete: false, exclusive: false, arguments: {} });
  let settled = 0;
  for (let n = 0; n < consumers; n++) {
    const onDeliveries = (batch: DeliveryBatch): void => {
      let last = 0;
      while (batch.next()) last = batch.deliveryId;
      if (last === 0) return;
      const count = subscription.settle(1, last, 'complete');
      subscription.credit(count);
      settled += count;
    };
    const options: SubscribeOptions = { credit: stalled > 0 && n % stalled === 0 ? 0 : 1000 };
    if (filter !== undefined && n % 2 === 0) options.filter = filter;
    const subscription = client.subscribe('q', options, { onDeliveries });
  }
  const producer = client.producer({});
  const address = producer.address('', new RoutingKey('q', 0x2e));
  const message = new Message();
  message.format = 1;
  message.bytes = Buffer.alloc(1 + PAYLOAD_BYTES + GROUP_BYTES, 'x');
  message.headEnd = message.bodyStart = 1;
  message.bodyEnd = message.groupStart = 1 + PAYLOAD_BYTES;
  message.groupEnd = groups === 0 ? message.groupStart : message.bytes.length;
  let published = 0;
  const publish = (): void => {
    message.bytes[0] = published & 1;
    if (groups > 0) message.bytes.writeUInt32LE((published * 7919) % groups, message.groupStart);
    producer.publish(address, message, CONFIRM);
    published++;
  };
  let waiting = 0;
  const work = async (seconds: number): Promise<void> => {
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until || settled + waiting < published) {
      const isOver = performance.now() >= until;
      for (let n = 0; n < PER_TURN && !isOver && published - settled - waiting < WINDOW; n++) publish();
      await turn();
      // What waits for those that take nothing is not in anybody's way.
      if (stalled > 0) waiting = broker.admin.queue('/', 'q')?.ready ?? 0;
    }
  };
  await work(WARM_UP_SECONDS);
  const before = settled;
  const start = performance.now();
  const cpu = process.cpuUsage();
  await work(Number(values.seconds));
  const { user, system } = process.cpuUsage(cpu);
  const rate = ((settled - before) * 1000) / (performance.now() - start);
  const nanos = Math.round(((user + system) * 1000) / (settled - before));
  console.log(
    `  ${(rate / 1e6).toFixed(2)} M deliveries/s, ${nanos} ns of CPU each${waiting > 0 ? `, ${waiting} wait` : ''}`,
  );
  client.close();
}

for (const name of positionals.length > 0 ? positionals : Object.keys(ROWS)) {
  const row = ROWS[name];
  if (row === undefined) throw new Error(`no row ${name}: ${Object.keys(ROWS).join(', ')}`);
  const clock = new SystemClock();
  const folder = mkdtempSync(join(tmpdir(), 'groups-bench-'));
  const options = { disk: new NodeDisk(folder), clock, limits: limitsWith(), log: () => {} };
  const { broker, close } = await startBroker(options, memoryRecovery(clock));
  const toHub = (view: Message): HubProperties => {
    const even = view.bytes[view.headStart] === 0;
    return { durable: false, annotations: new Map(), application: [['even', even]] };
  };
  broker.registerFormat({ id: 1, name: 'bench', toHub });
  process.stdout.write(name.padEnd(12));
  await measure(broker, row);
  await close();
  rmSync(folder, { recursive: true });
}
