import { join } from 'node:path';
import t from 'tap';
import { SystemClock } from '../../../src/core/clock.ts';
import { NodeDisk, openJournal } from '../../../src/core/journal/index.ts';
import { limitsWith } from '../../../src/core/limits.ts';
import { SimDisk } from '../../../src/testing/sim-disk.ts';
import { journalContract } from './journal-contract.ts';

t.test('the contract of Journal on the real disk', async (t) => {
  let count = 0;
  journalContract(t as never, () => {
    const root = join(t.testdir({}), `journal-${count++}`);
    return { disk: new NodeDisk(root), again: () => new NodeDisk(root) };
  });
});

t.test('the contract of Journal on the simulated disk', async (t) => {
  journalContract(t as never, () => {
    const disk = new SimDisk({ seed: 1 });
    return { disk, again: () => disk };
  });
});

t.test(
  'with much to write the disk is at the next batch when those are told whose batch it was; with little, they go first',
  async (t) => {
    const events: string[] = [];
    const disk = new SimDisk({ seed: 1 });
    // The disk, telling of writes to the log.
    const open = disk.open.bind(disk);
    disk.open = async (path, mode) => {
      const file = await open(path, mode);
      const write = file.write.bind(file);
      file.write = (...args) => {
        if (path.startsWith('journal')) events.push('write');
        return write(...args);
      };
      return file;
    };
    const recovery = await openJournal({ disk, clock: new SystemClock(), limits: limitsWith({ batchBytesMax: 1024 }) });
    const told = () => void events.push('told');
    const journal = await recovery.open({ onSeal() {}, onDurable: told, onRelieved() {}, onFailed() {} });
    const append = (length: number) => {
      const at = journal.append(16, length);
      journal.bytes.fill(0, at, at + length);
    };
    append(100);
    await journal.whenDurable(journal.openBatch);
    events.length = 0;
    // Batches of one, two and one.
    for (let n = 0; n < 4; n++) append(400);
    await journal.whenDurable(journal.openBatch);
    t.same(events, ['write', 'write', 'told', 'told', 'write', 'told']);
    await journal.close();
  },
);
