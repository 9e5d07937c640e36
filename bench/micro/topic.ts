/**
 * Topics against the journal below them: `node --import=tsx bench/micro/topic.ts [--dir DIR] [--seconds 1] [--rounds 5] [--partitions 4]`.
 *
 * Appending: closed loops with as many messages outstanding, confirmed when durable; the journal alone appends records of the
 * stored length of the topic's messages. Journal, topic, and topic without sealing take turns, and medians count, because other work on
 * the machine comes and goes. Nanoseconds are CPU of the whole process, user and system, for each message: they bear company better
 * than rates do. What the topic takes longer than without sealing is the share of the sealing that went on meanwhile.
 *
 * Reading: one reader a partition from the first message to the last, out of sealed files, beside `Journal.load` of as many bodies in order.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CONFIRM, type Limits, limitsWith, Message, RoutingKey, SystemClock } from '../../src/core/index.ts';
import { type BodyRef, type Journal, NodeDisk, openJournal } from '../../src/core/journal/index.ts';
import { startBroker } from '../../src/core/start.ts';

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: '.' },
    seconds: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    partitions: { type: 'string', default: '4' },
  },
});
const partitions = Number(values.partitions);
const OUTSTANDING = 20_000;
/** What is read back. */
const READ_BYTES = 128 * 1024 * 1024;
/** Bytes a stored message has besides its payload, from this publisher. */
const HEAD_BYTES = 36;

/** Messages a second, and CPU of the process in ns for each. */
interface Rate {
  readonly perSecond: number;
  readonly cpuNs: number;
}

/** A loop of appends; `goOn` for each confirmed message until it says no. */
interface Subject {
  append(): void;
  /** Resolves when everything is durable, and in its place for readers. */
  settled(): Promise<void>;
  /** Read everything back; answers how many messages that were. */
  read(): Promise<number>;
  close(): Promise<void>;
}

type Start = (disk: NodeDisk, bytes: number, confirmed: (count: number) => void) => Promise<Subject>;

const nothing = (): void => {};

const startJournal: Start = async (disk, bytes, confirmed) => {
  const length = HEAD_BYTES + bytes;
  const payload = Buffer.alloc(length, 7);
  const refs: BodyRef[] = [];
  const batches: { readonly number: number; count: number }[] = [];
  let journal: Journal;
  const onDurable = (upTo: number): void => {
    let count = 0;
    while (batches[0] !== undefined && batches[0].number <= upTo) count += batches.shift()?.count ?? 0;
    confirmed(count);
  };
  const recovery = await openJournal({ disk, clock: new SystemClock(), limits: limitsWith() });
  journal = await recovery.open({ onSeal: nothing, onDurable, onRelieved: nothing, onFailed: nothing });
  return {
    append: () => {
      const at = journal.append(16, length);
      journal.bytes.set(payload, at);
      if (refs.length * length < READ_BYTES) refs.push({ segment: journal.segment, offset: journal.offset, length });
      const last = batches.at(-1);
      if (last?.number === journal.openBatch) last.count++;
      else batches.push({ number: journal.openBatch, count: 1 });
    },
    settled: () => journal.whenDurable(journal.seal()),
    read: async () => {
      for (let from = 0; from < refs.length; from += 4096) await journal.load(refs.slice(from, from + 4096), nothing);
      return refs.length;
    },
    close: () => journal.close(),
  };
};

const startTopic =
  (limits: Partial<Limits>): Start =>
  async (disk, bytes, confirmed) => {
    const options = { disk, clock: new SystemClock(), limits: limitsWith(limits), log: nothing };
    const { broker, close, internals } = await startBroker(options, await openJournal(options));
    await broker.admin.topics.create('/', 't', { partitions });
    const client = broker.client('/', { user: 'bench', clientId: 'client', protocol: 'bench', peer: '' }, {});
    const message = new Message();
    message.format = 1;
    message.bytes = Buffer.alloc(bytes, 'x');
    message.bodyEnd = bytes;
    let upTo = 0;
    const producer = client.producer({
      onConfirm: (last) => {
        const count = last - upTo;
        upTo = last;
        confirmed(count);
      },
    });
    const address = producer.address('', new RoutingKey('t', 0x2e));
    const read = (number: number, end: number): Promise<number> =>
      new Promise((done) => {
        let count = 0;
        const onRecords = (batch: { next(): boolean }): void => {
          while (batch.next()) count++;
          if (count === end) done(count);
        };
        client.reader('t', number, 0, { onRecords });
      });
    return {
      append: () => void producer.publish(address, message, CONFIRM),
      settled: async () => {
        await internals.engine.whenDurable();
        await internals.topology.topics.sealed();
      },
      read: async () => {
        const details = broker.admin.topics.get('/', 't')?.details ?? [];
        const counts = await Promise.all(details.map(({ end }, number) => read(number, end)));
        return counts.reduce((sum, count) => sum + count, 0);
      },
      close,
    };
  };

async function inScratch<T>(task: (disk: NodeDisk) => Promise<T>): Promise<T> {
  const root = mkdtempSync(join(resolve(values.dir), 'bench-topic-'));
  try {
    return await task(new NodeDisk(root));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function measure(count: () => number | Promise<number>): Promise<Rate> {
  const start = performance.now();
  const before = process.cpuUsage();
  const messages = await count();
  const { user, system } = process.cpuUsage(before);
  return { perSecond: (messages * 1000) / (performance.now() - start), cpuNs: ((user + system) * 1000) / messages };
}

const appended = (start: Start, bytes: number): Promise<Rate> =>
  inScratch(async (disk) => {
    let done = 0;
    let running = true;
    const subject = await start(disk, bytes, (count) => {
      done += count;
      for (let n = 0; running && n < count; n++) subject.append();
    });
    const rate = await measure(async () => {
      for (let n = 0; n < OUTSTANDING; n++) subject.append();
      await new Promise((wake) => setTimeout(wake, Number(values.seconds) * 1000));
      return done;
    });
    running = false;
    await subject.close();
    return rate;
  });

const readBack = (start: Start, bytes: number): Promise<{ append: Rate; read: Rate }> =>
  inScratch(async (disk) => {
    let left = Math.floor(READ_BYTES / (HEAD_BYTES + bytes));
    const total = left;
    const subject = await start(disk, bytes, (count) => {
      for (let n = 0; n < count && left > 0; n++, left--) subject.append();
    });
    // With what it takes to seal everything; the rate is of no use, since sealing rests.
    const append = await measure(async () => {
      for (let n = 0; n < OUTSTANDING; n++, left--) subject.append();
      while (left > 0) await new Promise((wake) => setTimeout(wake, 10));
      await subject.settled();
      return total;
    });
    const read = await measure(() => subject.read());
    await subject.close();
    return { append, read };
  });

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

const figures = (rates: readonly Rate[]) => ({
  perSecond: median(rates.map((rate) => rate.perSecond)),
  cpuNs: median(rates.map((rate) => rate.cpuNs)),
});

// The broker's own timers keep no process alive.
const alive = setInterval(nothing, 1000);
const sealing = startTopic({});
const unsealed = startTopic({ topicSealBytes: 2 ** 40 });
const rows = [];
for (const bytes of [100, 1024]) {
  await appended(sealing, bytes);
  const rates: Rate[][] = [[], [], []];
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [n, start] of [startJournal, sealing, unsealed].entries()) rates[n]?.push(await appended(start, bytes));
  }
  const [journal, topic, bare] = rates.map(figures) as [Rate, Rate, Rate];
  const [ofJournal, ofTopic] = [await readBack(startJournal, bytes), await readBack(sealing, bytes)];
  rows.push({
    'payload B': bytes,
    'append k/s: journal': Math.round(journal.perSecond / 1000),
    topic: Math.round(topic.perSecond / 1000),
    '%': Math.round((topic.perSecond / journal.perSecond) * 100),
    'append ns: journal': Math.round(journal.cpuNs),
    ' topic': Math.round(topic.cpuNs),
    'without sealing': Math.round(bare.cpuNs),
    'sealed to the end': Math.round(ofTopic.append.cpuNs),
    'read k/s: journal': Math.round(ofJournal.read.perSecond / 1000),
    '  topic': Math.round(ofTopic.read.perSecond / 1000),
    'read %': Math.round((ofTopic.read.perSecond / ofJournal.read.perSecond) * 100),
  });
}
clearInterval(alive);
console.table(rows);
