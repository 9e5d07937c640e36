/**
 * Delayed messages beside plain ones: a queue is filled without a consumer, the broker is restarted, then all of it is delivered.
 * `random`: delays within an hour; `level`: all the same. Then the clock jumps ahead, and all are due at once. The real journal,
 * fsync included.
 *
 *     node --expose-gc --import=tsx bench/micro/delay.ts [plain | level | random] [--messages 1000000] [--out 1000000]
 *
 * Memory is the growth of RSS by the filling, of a process of its own: run one name at a time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Clock,
  FLAG_DURABLE,
  limitsWith,
  Message,
  RoutingKey,
  SystemClock,
  type Timer,
} from '../../src/core/index.ts';
import { NodeDisk, openJournal } from '../../src/core/journal/index.ts';
import { startBroker } from '../../src/core/start.ts';

const PAYLOAD_BYTES = 100;
const PER_TURN = 500;
const HOUR_MS = 3_600_000;
const LOOK_TURNS = 256;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { messages: { type: 'string', default: '1000000' }, out: { type: 'string' } },
});
const count = Number(values.messages);
/** How many are delivered; by default all. */
const wanted = Math.min(count, Number(values.out ?? count));

/** The system's clock, that many milliseconds ahead. */
class JumpingClock implements Clock {
  readonly #clock = new SystemClock();
  aheadMs = 0;
  now(): number {
    return this.#clock.now() + this.aheadMs;
  }
  monotonic(): number {
    return this.#clock.monotonic();
  }
  after(delayMs: number, task: () => void): Timer {
    // A jump is noticed within 30 s; a bench does not wait so long.
    return this.#clock.after(Math.min(delayMs, 1000), task);
  }
  soon(task: () => void): void {
    this.#clock.soon(task);
  }
}

/** Microseconds of processor time of all threads since then, in the kernel too. */
function cpuSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const perSecond = (messages: number, start: number): string =>
  `${((messages / (performance.now() - start)) * 1e-3).toFixed(2)} M/s`;

function rssMb(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss / 1e6;
}

async function measure(name: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'delay-bench-'));
  const clock = new JumpingClock();
  const options = { disk: new NodeDisk(folder), clock, limits: limitsWith(), log: () => {} };
  let running = await startBroker(options, await openJournal(options));
  const enter = () => running.broker.client('/', { user: '', clientId: '', protocol: 'bench', peer: '' }, {});
  const settings = { durable: true, autoDelete: false, exclusive: false, arguments: {} };
  await running.broker.admin.declareQueue('/', 'q', settings);
  const message = new Message();
  message.format = 1;
  message.flags = FLAG_DURABLE;
  message.bytes = Buffer.alloc(PAYLOAD_BYTES, 'x');
  message.bodyEnd = PAYLOAD_BYTES;
  let goOn = (): void => {};
  const producer = enter().producer({ onDrain: () => goOn() });
  const address = producer.address('', new RoutingKey('q', 0x2e));
  const before = rssMb();
  let start = performance.now();
  let cpu = process.cpuUsage();
  const baseMs = clock.now() + HOUR_MS;
  for (let n = 0; n < count; ) {
    let hasRoom = true;
    for (let left = PER_TURN; left > 0 && hasRoom && n < count; left--, n++) {
      if (name === 'random') message.deliverAtMs = baseMs + Math.floor(Math.random() * HOUR_MS);
      else if (name === 'level') message.deliverAtMs = clock.now() + HOUR_MS;
      hasRoom = producer.publish(address, message, 0);
    }
    if (hasRoom) await turn();
    else await new Promise<void>((resolve) => (goOn = resolve));
  }
  await running.internals.engine.whenDurable();
  const cpuUs = cpuSince(cpu) / count;
  console.log(`in         ${perSecond(count, start)}, ${cpuUs.toFixed(2)} us of CPU each`);
  console.log(`memory     ${(((rssMb() - before) * 1e6) / count).toFixed(0)} B each`);
  await running.internals.checkpointer.run();
  await running.close();

  start = performance.now();
  running = await startBroker(options, await openJournal(options));
  console.log(`restart    ${(performance.now() - start).toFixed(0)} ms`);

  clock.aheadMs = 3 * HOUR_MS;
  let settled = 0;
  start = performance.now();
  cpu = process.cpuUsage();
  const subscription = enter().subscribe(
    'q',
    { credit: 2000 },
    {
      onDeliveries: (batch) => {
        let last = 0;
        while (batch.next()) last = batch.deliveryId;
        if (last === 0) return;
        const done = subscription.settle(1, last, 'complete');
        subscription.credit(done);
        if (settled === 0) start = performance.now();
        settled += done;
      },
    },
  );
  const idle = process.memoryUsage.rss();
  let peak = idle;
  for (let turns = 0; settled < wanted; turns++) {
    await turn();
    if (turns % LOOK_TURNS === 0) peak = Math.max(peak, process.memoryUsage.rss());
  }
  await running.internals.engine.whenDurable();
  const outUs = cpuSince(cpu) / settled;
  console.log(
    `out        ${perSecond(settled, start)}, ${outUs.toFixed(2)} us of CPU each, ${((peak - idle) / 1e6).toFixed(0)} MB more`,
  );
  await running.close();
  rmSync(folder, { recursive: true });
}

for (const name of positionals.length > 0 ? positionals : ['plain', 'level', 'random']) {
  console.log(`${name}: ${count} messages of ${PAYLOAD_BYTES} B`);
  await measure(name);
}
