import { join } from 'node:path';
import t from 'tap';
import { NodeDisk } from '../../../src/core/journal/index.ts';
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
