/**
 * Kills the real server under the load of real clients, again and again, and checks that what it promised holds:
 *
 *     npm run test:crash -- --rounds 200 [--seed N] [--dir FOLDER]
 *
 * Ends with exit code 1 and the violations when a promise was broken.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Prng } from '../../src/testing/prng.ts';
import {
  amqpConsumer,
  amqpPublisher,
  Counter,
  httpConsume,
  httpConsumer,
  type LoadClient,
  mqttPublisher,
} from './clients.ts';
import { Ledger } from './ledger.ts';
import { type ServerProcess, startServer } from './server-process.ts';

const SMALL = `limits:
  segmentBytes: 4194304
  checkpointLogBytes: 8388608
  tailCacheBytesMax: 2097152
`;

export interface CrashOptions {
  rounds: number;
  seed: number;
  /** Called once a round. */
  report(line: string): void;
}

export async function crashRun(options: CrashOptions): Promise<Ledger> {
  const random = new Prng(options.seed);
  const folder = await mkdtemp(join(tmpdir(), 'junction-crash-'));
  // Small segments and checkpoint intervals, so that rounds meet checkpoints, deletion and compaction too.
  await writeFile(join(folder, 'config.yaml'), SMALL);
  const data = join(folder, 'data');
  const config = ['--config', join(folder, 'config.yaml')];
  const ledger = new Ledger();
  const numbers = { amqp: new Counter(), mqtt: new Counter() };
  try {
    for (let round = 1; round <= options.rounds && ledger.violations.length === 0; round++) {
      const server = await startServer(data, config);
      const clients = await startClients(server, ledger, numbers, random);
      const lifeMs = 30 + random.below(400);
      await new Promise((resolve) => setTimeout(resolve, lifeMs));
      await server.kill();
      await Promise.all(clients.map((client) => client.stop()));
      options.report(`round ${round}: killed after ${lifeMs} ms; ${ledger.summary()}`);
    }
    if (ledger.violations.length === 0) await drain(data, ledger);
    ledger.finish();
    options.report(`drained: ${ledger.summary()}`);
    return ledger;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function startClients(
  server: ServerProcess,
  ledger: Ledger,
  numbers: { amqp: Counter; mqtt: Counter },
  random: Prng,
): Promise<LoadClient[]> {
  const { ports } = server;
  const clients = [await amqpPublisher(ports, ledger, numbers.amqp, random)];
  clients.push(await mqttPublisher(ports, ledger, numbers.mqtt, random));
  // Sometimes nobody consumes, so that a backlog grows across restarts.
  if (random.below(4) > 0) clients.push(await amqpConsumer(ports, ledger, random));
  if (random.below(2) > 0) clients.push(await httpConsumer(ports, ledger, random));
  return clients;
}

/** Start once more without publishers and take everything that is there. */
async function drain(folder: string, ledger: Ledger): Promise<void> {
  const server = await startServer(folder);
  try {
    const receive = ledger.consumer();
    while ((await httpConsume(server.ports, ledger, receive, 500)) > 0);
  } finally {
    await server.stop();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '20' }, seed: { type: 'string' } } });
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  console.log(`crash test: ${values.rounds} rounds, seed ${seed}`);
  const ledger = await crashRun({ rounds: Number(values.rounds), seed, report: (line) => console.log(line) });
  for (const violation of ledger.violations.slice(0, 20)) console.error(`VIOLATION: ${violation}`);
  console.log(
    ledger.violations.length === 0
      ? 'every promise held'
      : `${ledger.violations.length} promises broken (seed ${seed})`,
  );
  process.exitCode = ledger.violations.length === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
