/**
 * What changes of rules and redrives cost, and how long they hold up others: the longest time between two turns of the event
 * loop. On a journal in memory: what the core costs.
 *
 *     node --import=tsx bench/micro/policies.ts [queues | trim | redrive]... [--queues 100000] [--messages 1000000]
 */
import { parseArgs } from 'node:util';
import { type Broker, FLAG_DURABLE, limitsWith, Message, RoutingKey, SystemClock } from '../../src/core/index.ts';
import { startBroker } from '../../src/core/start.ts';
import { memoryRecovery } from '../../src/testing/memory-journal.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { queues: { type: 'string', default: '100000' }, messages: { type: 'string', default: '1000000' } },
});
const QUEUES = Number(values.queues);
const MESSAGES = Number(values.messages);
const PAYLOAD_BYTES = 100;
const PER_TURN = 500;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function withBroker(task: (broker: Broker) => Promise<void>): Promise<void> {
  const clock = new SystemClock();
  const options = { disk: new SimDisk({ seed: 1 }), clock, limits: limitsWith({ diskFreeBytesMin: 0 }), log: () => {} };
  const running = await startBroker(options, memoryRecovery(clock));
  await task(running.broker);
  await running.close();
}

/** Do something and watch the event loop until `done`: milliseconds in all, and of the longest turn. */
async function watch(task: () => void, done: () => boolean): Promise<{ ms: number; longestMs: number }> {
  const start = performance.now();
  let longestMs = 0;
  let last = start;
  task();
  while (!done()) {
    await turn();
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last);
    last = now;
  }
  return { ms: performance.now() - start, longestMs };
}

function declare(broker: Broker, name: string): Promise<unknown> {
  return broker.admin.declareQueue('/', name, { durable: true, autoDelete: false, exclusive: false, arguments: {} });
}

async function fill(broker: Broker, queue: string): Promise<void> {
  const client = broker.client('/', { user: 'bench', clientId: 'client', protocol: 'bench', peer: '' }, {});
  const producer = client.producer({});
  const address = producer.address('', new RoutingKey(queue, 0x2e));
  const message = new Message();
  message.format = 1;
  message.flags = FLAG_DURABLE;
  message.bytes = Buffer.alloc(PAYLOAD_BYTES);
  message.bodyEnd = PAYLOAD_BYTES;
  for (let n = 0; n < MESSAGES; n++) {
    producer.publish(address, message, 0);
    if (n % PER_TURN === 0) await turn();
  }
  await turn();
}

const readyIn = (broker: Broker, queue: string): number => broker.admin.queue('/', queue)?.ready ?? 0;

/** A policy for many queues: matched and put in force. */
async function queues(): Promise<void> {
  await withBroker(async (broker) => {
    for (let n = 0; n < QUEUES; n++) await declare(broker, `tenant-${n % 1000}.orders.${n}`);
    for (const [what, definition] of [
      ['set', { 'message-ttl': 60_000 }],
      ['changed', { 'max-length': 1000 }],
    ] as const) {
      const policy = { pattern: '^tenant-[0-9]+\\.orders\\.', priority: 0, definition };
      let isSet = false;
      const set = (): void => {
        void broker.admin.policies.set('/', 'bench', policy).then(() => {
          isSet = true;
        });
      };
      const { ms, longestMs } = await watch(set, () => isSet);
      report(`policy ${what} for ${QUEUES} queues`, ms, QUEUES, longestMs);
    }
  });
}

/** A maximum length for a queue that is full already. */
async function trim(): Promise<void> {
  await withBroker(async (broker) => {
    await declare(broker, 'q');
    await fill(broker, 'q');
    const lower = (): void => void broker.admin.policies.setQueueRules('/', 'q', { 'max-length': 0 });
    const { ms, longestMs } = await watch(lower, () => readyIn(broker, 'q') === 0);
    report(`max-length lowered, ${MESSAGES} messages go`, ms, MESSAGES, longestMs);
  });
}

async function redrive(): Promise<void> {
  await withBroker(async (broker) => {
    for (const name of ['dead', 'work']) await declare(broker, name);
    await fill(broker, 'dead');
    const start = (): void => void broker.admin.redrives.start('/', 'dead', { to: { queue: 'work' } });
    const { ms, longestMs } = await watch(start, () => readyIn(broker, 'work') === MESSAGES);
    report(`redrive of ${MESSAGES} messages`, ms, MESSAGES, longestMs);
  });
}

function report(what: string, ms: number, count: number, longestMs: number): void {
  const each = ((ms * 1000) / count).toFixed(2);
  process.stdout.write(`${what}: ${ms.toFixed(0)} ms, ${each} us each; longest turn ${longestMs.toFixed(1)} ms\n`);
}

const CASES: ReadonlyMap<string, () => Promise<void>> = new Map([
  ['queues', queues],
  ['trim', trim],
  ['redrive', redrive],
]);
for (const name of positionals.length > 0 ? positionals : CASES.keys()) await CASES.get(name)?.();
