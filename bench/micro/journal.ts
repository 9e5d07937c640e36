/**
 * The journal alone against the bare disk: `node --import=tsx bench/micro/journal.ts [--dir DIR] [--seconds 3] [--json]`.
 * Closed loops: as many records are outstanding as the row says, the next is appended when one is confirmed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SystemClock } from '../../src/core/clock.ts';
import {
  type BodyRef,
  type Journal,
  type JournalHandlers,
  NodeDisk,
  openJournal,
} from '../../src/core/journal/index.ts';
import { limitsWith } from '../../src/core/limits.ts';

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: '.' },
    seconds: { type: 'string', default: '3' },
    json: { type: 'boolean' },
  },
});
const seconds = Number(values.seconds);
const MIB = 1024 * 1024;

type Row = Record<string, number | string>;

async function inScratch<T>(task: (disk: NodeDisk) => Promise<T>): Promise<T> {
  const root = mkdtempSync(join(resolve(values.dir), 'bench-journal-'));
  try {
    return await task(new NodeDisk(root));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Bytes a second of write + fdatasync, one after the other, 1 MiB each, in files of a segment's size. */
async function rawBandwidth(): Promise<number> {
  return inScratch(async (disk) => {
    const bytes = Buffer.alloc(MIB, 7);
    const end = performance.now() + seconds * 1000;
    const start = performance.now();
    let written = 0;
    for (let file = 0; performance.now() < end; file++) {
      await disk.makeFolder('');
      const target = await disk.open(`raw-${file}`, 'create');
      for (let at = 0; at < 64 * MIB && performance.now() < end; at += MIB) {
        await target.write(bytes, 0, MIB, at);
        await target.sync();
        written += MIB;
      }
      await target.close();
    }
    return (written / (performance.now() - start)) * 1000;
  });
}

async function open(disk: NodeDisk, handlers: Partial<JournalHandlers>): Promise<Journal> {
  const nothing = () => {};
  const onFailed = (error: Error) => {
    throw error;
  };
  const recovery = await openJournal({ disk, clock: new SystemClock(), limits: limitsWith() });
  return recovery.open({ onSeal: nothing, onDurable: nothing, onRelieved: nothing, onFailed, ...handlers });
}

/** Append and confirm in a closed loop. */
async function closedLoop(length: number, outstanding: number): Promise<Row> {
  return inScratch(async (disk) => {
    const payload = Buffer.alloc(length, 7);
    // Records of each batch that is not confirmed yet.
    const batches: { number: number; count: number }[] = [];
    let confirmed = 0;
    let commits = 0;
    let running = true;
    let journal: Journal;
    const publish = () => {
      const at = journal.append(16, length);
      const { bytes } = journal;
      if (length < 200) for (let i = 0; i < length; i++) bytes[at + i] = payload[i]!;
      else bytes.set(payload, at);
      const last = batches.at(-1);
      if (last?.number === journal.openBatch) last.count++;
      else batches.push({ number: journal.openBatch, count: 1 });
    };
    journal = await open(disk, {
      onDurable: (upTo) => {
        commits++;
        let count = 0;
        while (batches.length > 0 && batches[0]!.number <= upTo) count += batches.shift()!.count;
        confirmed += count;
        if (running) for (let i = 0; i < count; i++) publish();
      },
    });
    const start = performance.now();
    const cpu = process.cpuUsage();
    for (let i = 0; i < outstanding; i++) publish();
    await new Promise((wake) => setTimeout(wake, seconds * 1000));
    const took = performance.now() - start;
    const used = process.cpuUsage(cpu);
    const total = confirmed;
    running = false;
    await journal.close();
    const perSecond = (total / took) * 1000;
    return {
      record: length,
      outstanding,
      'records/s': Math.round(perSecond),
      'MB/s': Math.round((perSecond * length) / 1e6),
      'commits/s': Math.round((commits / took) * 1000),
      'user us/record': Number((used.user / total).toFixed(3)),
    };
  });
}

/** Write a backlog, restart, replay it, read all of it back. */
async function backlog(count: number, length: number): Promise<Row> {
  return inScratch(async (disk) => {
    const refs: BodyRef[] = [];
    let journal = await open(disk, {});
    const writing = performance.now();
    for (let i = 0; i < count; i++) {
      const at = journal.append(16, length);
      journal.bytes.fill(i, at, at + length);
      refs.push({ segment: journal.segment, offset: journal.offset, length });
      while (journal.pressed) await journal.whenDurable(journal.durableBatch + 1);
    }
    await journal.close();
    const bytes = count * length;
    const rate = (start: number) => Math.round(bytes / (performance.now() - start) / 1000);
    const written = rate(writing);
    const replaying = performance.now();
    const recovery = await openJournal({ disk, clock: new SystemClock(), limits: limitsWith() });
    let replayed = 0;
    await recovery.replay(() => replayed++);
    const replayRate = rate(replaying);
    if (replayed !== count) throw new Error(`${replayed} of ${count} records came back`);
    const nothing = () => {};
    journal = await recovery.open({ onSeal: nothing, onDurable: nothing, onRelieved: nothing, onFailed: nothing });
    const loading = performance.now();
    for (let from = 0; from < count; from += 4096) await journal.load(refs.slice(from, from + 4096), nothing);
    const loadRate = rate(loading);
    await journal.close();
    return { record: length, records: count, 'write MB/s': written, 'replay MB/s': replayRate, 'load MB/s': loadRate };
  });
}

const before = (await rawBandwidth()) / 1e6;
const loops: Row[] = [await closedLoop(16_384, 500)];
// Other work on the machine comes and goes: the bare disk is measured on both sides of the row it is compared with.
const raw = (before + (await rawBandwidth()) / 1e6) / 2;
for (const [length, outstanding] of [
  [100, 1],
  [100, 1000],
  [100, 20_000],
  [1024, 8000],
] as const) {
  loops.push(await closedLoop(length, outstanding));
}
const parked = await backlog(400_000, 1024);
const share = Math.round((Number(loops[0]!['MB/s']) / raw) * 100);
if (values.json)
  process.stdout.write(`${JSON.stringify({ rawMBs: Math.round(raw), loops, parked, sharePercent: share })}\n`);
else {
  console.log(`write + fdatasync of 1 MiB, bare disk: ${Math.round(raw)} MB/s`);
  console.table(loops);
  console.table([parked]);
  console.log(`16 KiB records in batches of 1 MiB: ${share} % of the bare disk`);
}
