/**
 * What rules cost: the core through its door, publish -> one queue -> deliver -> settle, with a rule in use, and how that
 * compares to a plain queue in the same run (rounds alternate; medians).
 *
 *     node --import=tsx bench/micro/rules.ts [NAME]... [--seconds 1] [--rounds 3] [--transient]
 */
import { parseArgs } from 'node:util';
import {
  type Address,
  type Arguments,
  type Broker,
  CONFIRM,
  type DeliveryBatch,
  FLAG_DURABLE,
  limitsWith,
  Message,
  type Producer,
  RoutingKey,
  type SubscribeOptions,
  SystemClock,
} from '../../src/core/index.ts';
import { startBroker } from '../../src/core/start.ts';
import { memoryRecovery } from '../../src/testing/memory-journal.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';

const PAYLOAD_BYTES = 100;
/** Published in one turn, as if read from a socket in one chunk. */
const PER_TURN = 500;
/** Published and not yet settled. */
const WINDOW = 20_000;

interface Case {
  readonly name: string;
  readonly arguments: Arguments;
  /** Make the n-th message one that the rule is about. */
  vary?(message: Message, n: number): void;
  /** Prepare each message, and commit it, instead of publishing it. */
  readonly half?: boolean;
  /** One consumer unless said otherwise. */
  readonly consumers?: readonly SubscribeOptions[];
  /** Each message fails once, and waits a millisecond. */
  readonly retry?: boolean;
}

const EAGER: SubscribeOptions = { credit: 1000 };

function consumers(count: number, optionsOf: (n: number) => SubscribeOptions): SubscribeOptions[] {
  return Array.from({ length: count }, (_, n) => optionsOf(n));
}

const CASES: readonly Case[] = [
  { name: 'plain', arguments: {} },
  { name: 'ttl', arguments: { 'x-message-ttl': 600_000 } },
  {
    name: 'own-ttl',
    arguments: {},
    vary: (message) => {
      message.expiresAtMs = Date.now() + 600_000;
    },
  },
  { name: 'max-length', arguments: { 'x-max-length': 1_000_000 } },
  { name: 'limit', arguments: { 'x-delivery-limit': 20, 'x-dead-letter-exchange': '' } },
  {
    name: 'priority-10',
    arguments: { 'x-max-priority': 9 },
    vary: (message, n) => {
      message.priority = n % 10;
    },
  },
  {
    name: 'priority-256',
    arguments: { 'x-max-priority': 255 },
    vary: (message, n) => {
      message.priority = (n * 7) & 0xff;
    },
  },
  { name: 'half', arguments: {}, half: true },
  { name: 'single-active', arguments: { 'x-single-active-consumer': true } },
  { name: 'consumers-10', arguments: {}, consumers: consumers(10, () => EAGER) },
  { name: 'weights-10', arguments: {}, consumers: consumers(10, (n) => ({ ...EAGER, weight: n + 1 })) },
  { name: 'weights-1000', arguments: {}, consumers: consumers(1000, (n) => ({ ...EAGER, weight: n + 1 })) },
  {
    name: 'idle-10000',
    arguments: {},
    consumers: consumers(10_000, (n) => (n < 2 ? EAGER : { credit: 0 })),
  },
  { name: 'retry', arguments: {}, retry: true },
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    transient: { type: 'boolean', default: false },
  },
});

/** Ids of half messages are remembered for a while: each producer has a group of its own. */
let producers = 0;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Figures {
  /** Messages a second. */
  readonly rate: number;
  /** CPU time of the process for each, which other work on the machine falsifies less. */
  readonly cpuNs: number;
}

function publishInHalves(producer: Producer, address: Address, message: Message, n: number): void {
  const id = `${n}`;
  producer.prepareHalf([{ address, message }], { group: `bench ${producers}`, id }, 0);
  producer.finishHalf(`bench ${producers}`, id, 'commit', CONFIRM);
}

/** Messages through one queue. */
async function measure(
  broker: Broker,
  { name, arguments: args, vary, half, retry, consumers }: Case,
): Promise<Figures> {
  const client = broker.client('/', { user: 'bench', clientId: 'client', protocol: 'bench', peer: '' }, {});
  const durable = !values.transient;
  await broker.admin.declareQueue('/', name, { durable, autoDelete: false, exclusive: false, arguments: args });
  let settled = 0;
  let confirmed = 0;
  for (const subscribeOptions of consumers ?? [EAGER]) {
    const onDeliveries = (batch: DeliveryBatch): void => {
      let last = 0;
      let failed = 0;
      while (batch.next()) {
        last = batch.deliveryId;
        if (retry !== true || batch.failures > 0) continue;
        failed++;
        subscription.settle(last, last, 'modify', Date.now() + 1);
      }
      if (last === 0) return;
      const count = subscription.settle(1, last, 'complete');
      subscription.credit(count + failed);
      settled += count;
    };
    const subscription = client.subscribe(name, subscribeOptions, { onDeliveries });
  }
  const onConfirm = (upTo: number): void => {
    confirmed = upTo;
  };
  const producer = client.producer({ onConfirm });
  producers++;
  const address = producer.address('', new RoutingKey(name, 0x2e));
  const message = new Message();
  message.format = 1;
  message.flags = durable ? FLAG_DURABLE : 0;
  message.bytes = Buffer.alloc(PAYLOAD_BYTES + 10, 'x');
  message.headEnd = 10;
  message.bodyStart = 10;
  message.bodyEnd = message.bytes.length;
  let published = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const until = start + Number(values.seconds) * 1000;
  while (performance.now() < until) {
    for (let n = 0; n < PER_TURN && published - settled < WINDOW; n++, published++) {
      vary?.(message, published);
      if (half === true) publishInHalves(producer, address, message, published);
      else producer.publish(address, message, CONFIRM);
    }
    await turn();
  }
  while (settled < published || confirmed < published) await turn();
  const rate = (published * 1000) / (performance.now() - start);
  const { user, system } = process.cpuUsage(cpu);
  client.close();
  await broker.admin.deleteQueue('/', name);
  return { rate, cpuNs: ((user + system) * 1000) / published };
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

const clock = new SystemClock();
const options = { disk: new SimDisk({ seed: 1 }), clock, limits: limitsWith(), log: () => {} };
const { broker, close } = await startBroker(options, memoryRecovery(clock));
const cases = CASES.filter(({ name }) => name === 'plain' || positionals.length === 0 || positionals.includes(name));
const rates = new Map(cases.map(({ name }) => [name, [] as Figures[]]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const one of cases) rates.get(one.name)?.push(await measure(broker, one));
}
const plain = median((rates.get('plain') ?? []).map(({ cpuNs }) => cpuNs));
for (const [name, found] of rates) {
  const rate = median(found.map((one) => one.rate));
  const cpuNs = median(found.map((one) => one.cpuNs));
  const share = `${((plain / cpuNs) * 100).toFixed(0)} % of what plain does with the same CPU time`;
  console.log(`${name.padEnd(14)} ${(rate / 1e6).toFixed(2)} M messages/s, ${cpuNs.toFixed(0)} ns each: ${share}`);
}
await close();
process.exit();
