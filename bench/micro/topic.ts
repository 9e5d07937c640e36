/**
 * Topics against the journal below them: `node --import=tsx bench/micro/topic.ts [--dir DIR] [--seconds 2] [--partitions 4]`.
 * Appending is a closed loop with confirms, as in `journal.ts`, with sealing going on beside it; reading is one reader from the first
 * message to the last, out of sealed files, beside `Journal.load` of as many bodies in order.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CONFIRM, limitsWith, Message, RoutingKey, SystemClock } from '../../src/core/index.ts';
import { type BodyRef, type Journal, NodeDisk, openJournal } from '../../src/core/journal/index.ts';
import { startBroker } from '../../src/core/start.ts';

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: '.' },
    seconds: { type: 'string', default: '2' },
    partitions: { type: 'string', default: '4' },
  },
});
const seconds = Number(values.seconds);
const partitions = Number(values.partitions);
const OUTSTANDING = 20_000;
const READ_COUNT = 1_000_000;

async function inScratch<T>(task: (disk: NodeDisk) => Promise<T>): Promise<T> {
  const root = mkdtempSync(join(resolve(values.dir), 'bench-topic-'));
  try {
    return await task(new NodeDisk(root));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const wait = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));
const perSecond = (count: number, since: number): number => (count * 1000) / (performance.now() - since);

/** Records of the same bytes a second, appended by nobody but the loop; then bodies a second, read in order. */
async function journalRates(length: number): Promise<{ append: number; read: number; cpuUs: number }> {
  return inScratch(async (disk) => {
    const payload = Buffer.alloc(length, 7);
    const refs: BodyRef[] = [];
    const batches: { number: number; count: number }[] = [];
    let confirmed = 0;
    let running = true;
    let journal: Journal;
    const append = (): void => {
      const at = journal.append(16, length);
      journal.bytes.set(payload, at);
      if (refs.length < READ_COUNT) refs.push({ segment: journal.segment, offset: journal.offset, length });
      const last = batches.at(-1);
      if (last?.number === journal.openBatch) last.count++;
      else batches.push({ number: journal.openBatch, count: 1 });
    };
    const nothing = (): void => {};
    const onDurable = (upTo: number): void => {
      let count = 0;
      while (batches.length > 0 && (batches[0] as { number: number }).number <= upTo)
        count += batches.shift()?.count ?? 0;
      confirmed += count;
      for (let n = 0; running && n < count; n++) append();
    };
    const recovery = await openJournal({ disk, clock: new SystemClock(), limits: limitsWith() });
    journal = await recovery.open({ onSeal: nothing, onDurable, onRelieved: nothing, onFailed: nothing });
    const start = performance.now();
    const cpu = process.cpuUsage();
    for (let n = 0; n < OUTSTANDING; n++) append();
    await wait(seconds * 1000);
    const rate = perSecond(confirmed, start);
    const cpuUs = process.cpuUsage(cpu).user / confirmed;
    running = false;
    await journal.whenDurable(journal.seal());
    const reading = performance.now();
    for (let from = 0; from < refs.length; from += 4096) await journal.load(refs.slice(from, from + 4096), nothing);
    const read = perSecond(refs.length, reading);
    await journal.close();
    return { append: rate, read, cpuUs };
  });
}

async function topicRates(
  bytes: number,
): Promise<{ append: number; read: number; cpuUs: number; sealed: number; stored: number }> {
  return inScratch(async (disk) => {
    const options = { disk, clock: new SystemClock(), limits: limitsWith(), log: () => {} };
    const { broker, close, internals } = await startBroker(options, await openJournal(options));
    await broker.admin.topics.create('/', 't', { partitions });
    const client = broker.client('/', { user: 'bench', clientId: 'client', protocol: 'bench', peer: '' }, {});
    const message = new Message();
    message.format = 1;
    message.bytes = Buffer.alloc(bytes, 'x');
    message.bodyEnd = bytes;
    let confirmed = 0;
    let running = true;
    const publish = (): void => void producer.publish(address, message, CONFIRM);
    const producer = client.producer({
      onConfirm: (upTo) => {
        const count = upTo - confirmed;
        confirmed = upTo;
        for (let n = 0; running && n < count; n++) publish();
      },
    });
    const address = producer.address('', new RoutingKey('t', 0x2e));
    const start = performance.now();
    const cpu = process.cpuUsage();
    for (let n = 0; n < OUTSTANDING; n++) publish();
    await wait(seconds * 1000);
    const append = perSecond(confirmed, start);
    const cpuUs = process.cpuUsage(cpu).user / confirmed;
    running = false;
    await internals.engine.whenDurable();
    await internals.topology.topics.sealed();
    const details = broker.admin.topics.get('/', 't')?.details ?? [];
    let read = 0;
    let left = 0;
    const reading = performance.now();
    const { rate, stored } = await new Promise<{ rate: number; stored: number }>((done) => {
      let storedBytes = 0;
      for (const [number, { end }] of details.entries()) {
        left += end;
        client.reader('t', number, 0, {
          onRecords: (batch) => {
            while (batch.next()) {
              read++;
              storedBytes = batch.message.bodyEnd - batch.message.exchangeStart + 24;
            }
            if (read === left) done({ rate: perSecond(read, reading), stored: storedBytes });
          },
        });
      }
    });
    const total = details.reduce((sum, { bytes: held }) => sum + held, 0);
    const unsealed = internals.engine.bodies.logged.totalBytes;
    await close();
    return { append, read: rate, cpuUs, sealed: 1 - unsealed / total, stored };
  });
}

// The broker's own timers keep no process alive.
const alive = setInterval(() => {}, 1000);
const rows = [];
for (const bytes of [100, 1024]) {
  // Other work on the machine comes and goes: the journal is measured on both sides.
  const { stored } = await topicRates(bytes);
  const before = await journalRates(stored);
  const topic = await topicRates(bytes);
  const after = await journalRates(stored);
  const append = (before.append + after.append) / 2;
  const read = (before.read + after.read) / 2;
  rows.push({
    'payload B': bytes,
    'journal append k/s': Math.round(append / 1000),
    'topic append k/s': Math.round(topic.append / 1000),
    'append %': Math.round((topic.append / append) * 100),
    'user us': `${before.cpuUs.toFixed(2)} / ${topic.cpuUs.toFixed(2)}`,
    'journal read k/s': Math.round(read / 1000),
    'topic read k/s': Math.round(topic.read / 1000),
    'read %': Math.round((topic.read / read) * 100),
    'sealed %': Math.round(topic.sealed * 100),
  });
}
clearInterval(alive);
console.table(rows);
