/**
 * Sealed batches: `node --import=tsx bench/micro/batches.ts [--dir DIR] [--count 500] [--messages 200]`. So many batches of so many messages of
 * 100 bytes, gzip, appended with confirms and read from the first to the last, out of sealed files: as they are, and as single
 * messages. `lines` is the format of HTTP, which is unpacked to be checked; `counted` says how many messages are in it. CPU time of the
 * process, so that other work on the machine counts less.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { fillBatch, JSON_BATCHES } from '../../src/adapters/json-batch.ts';
import { JSON_FORMAT } from '../../src/adapters/json-format.ts';
import { CONFIRM, type Format, limitsWith, Message, RoutingKey, SystemClock } from '../../src/core/index.ts';
import { NodeDisk, openJournal } from '../../src/core/journal/index.ts';
import { startBroker } from '../../src/core/start.ts';

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: '.' },
    count: { type: 'string', default: '500' },
    messages: { type: 'string', default: '200' },
  },
});
const count = Number(values.count);
const messages = Number(values.messages);
const total = count * messages;

const COUNTED: Format = {
  ...JSON_FORMAT,
  id: 200,
  name: 'counted',
  batches: { ...JSON_BATCHES, count: () => messages },
};

/** Seconds, and microseconds of CPU a message. */
async function measured(task: () => Promise<void>): Promise<[rate: string, cpuUs: string]> {
  const start = performance.now();
  const cpu = process.cpuUsage();
  await task();
  const { user, system } = process.cpuUsage(cpu);
  return [`${Math.round(total / (performance.now() - start))}`, ((user + system) / total).toFixed(3)];
}

async function rates(format: Format): Promise<object> {
  const root = mkdtempSync(join(resolve(values.dir), 'bench-batches-'));
  try {
    const options = { disk: new NodeDisk(root), clock: new SystemClock(), limits: limitsWith(), log: () => {} };
    const { broker, close, internals } = await startBroker(options, await openJournal(options));
    broker.registerFormat(JSON_FORMAT);
    broker.registerFormat(COUNTED);
    await broker.admin.topics.create('/', 't', { partitions: 1 });
    const client = broker.client('/', { user: 'bench', clientId: 'client', protocol: 'bench', peer: '' }, {});
    const line = (n: number): string => `${JSON.stringify({ payload: `${n}`.padStart(100, `${n * 7919}`) })}\n`;
    const zipped = gzipSync(Array.from({ length: messages }, (_, n) => line(n)).join(''));
    const batch = new Message();
    fillBatch(batch, zipped, 'gzip');
    batch.format = format.id;
    batch.partition = 0;
    const append = await measured(
      () =>
        new Promise<void>((done) => {
          const producer = client.producer({ onConfirm: (upTo) => upTo === count && done() });
          const address = producer.address('', new RoutingKey('t', 0x2e));
          for (let n = 0; n < count; n++) producer.appendBatch(address, batch, CONFIRM);
        }),
    );
    await internals.topology.topics.sealed();
    const read = (sealed: number): Promise<[string, string]> =>
      measured(
        () =>
          new Promise<void>((done) => {
            const onRecords: Parameters<typeof client.reader>[3]['onRecords'] = (records) => {
              while (records.next());
              if (reader.position === total) done();
            };
            const reader = client.reader('t', 0, 0, { onRecords }, { sealed });
          }),
      );
    const whole = await read(format.id);
    const single = await read(0);
    await close();
    return {
      format: format.name,
      'bytes / zipped': `${messages * 115} / ${zipped.length}`,
      'append k/s, CPU us': append.join(', '),
      'read whole': whole.join(', '),
      'read single': single.join(', '),
    };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

// The broker's own timers keep no process alive.
const alive = setInterval(() => {}, 1000);
console.table([await rates(JSON_FORMAT), await rates(COUNTED), await rates(JSON_FORMAT), await rates(COUNTED)]);
clearInterval(alive);
