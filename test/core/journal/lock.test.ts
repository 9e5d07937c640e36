import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { NodeDisk } from '../../../src/core/journal/index.ts';

const HOLDER = fileURLToPath(new URL('lock-holder.ts', import.meta.url));
const children: ChildProcess[] = [];

t.teardown(() => {
  for (const child of children) child.kill('SIGKILL');
});

/** Start a process on the directory; its first line is `locked` or the code of an error. */
async function holder(root: string): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, ['--import=tsx', HOLDER, root], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string];
  return { child, said: line };
}

t.test('two processes never share a data directory; a killed one leaves it free', async (t) => {
  // Deeper than a socket path may be long.
  const root = join(t.testdir({}), 'a'.repeat(60), 'b'.repeat(60));
  const first = await holder(root);
  t.equal(first.said, 'locked');
  const second = await holder(root);
  t.equal(second.said, 'data-dir-locked');
  await t.rejects(new NodeDisk(root).lock(), { code: 'data-dir-locked' });
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  t.equal(readdirSync(join(root, 'lock')).length, 1, 'its sign is still there');
  const third = await holder(root);
  t.equal(third.said, 'locked', 'and is known to be dead');
  third.child.stdin!.write('stop\n');
  await once(third.child, 'exit');
  t.equal(third.child.exitCode, 0);
  t.strictSame(readdirSync(join(root, 'lock')), []);
});

t.test('of many at once at most one gets it, and one does in the end', async (t) => {
  const root = t.testdir({});
  for (let round = 0; round < 10; round++) {
    const disks = Array.from({ length: 6 }, () => new NodeDisk(root));
    const outcomes = await Promise.allSettled(disks.map((disk) => disk.lock()));
    const winners = outcomes.filter((outcome) => outcome.status === 'fulfilled').length;
    t.ok(winners <= 1, `${winners} winners`);
    await Promise.all(disks.map((disk) => disk.unlock()));
    const last = new NodeDisk(root);
    await last.lock();
    await t.rejects(last.lock(), { code: 'data-dir-locked' });
    await last.unlock();
  }
});

t.test('a data directory that cannot be one', async (t) => {
  const root = t.testdir({ file: 'x' });
  await t.rejects(new NodeDisk(join(root, 'file')).lock(), { code: 'data-dir-unusable' });
});
