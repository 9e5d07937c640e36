/** A process that takes a data directory, says so, and holds it until it is killed or told to let go (a line on its input). */
import { SystemClock } from '../../../src/core/clock.ts';
import { NodeDisk, openJournal } from '../../../src/core/journal/index.ts';
import { limitsWith } from '../../../src/core/limits.ts';

const disk = new NodeDisk(process.argv[2]!);
const nothing = () => {};
const handlers = { onSeal: nothing, onDurable: nothing, onFailed: nothing, onRelieved: nothing };
try {
  const recovery = await openJournal({ disk, clock: new SystemClock(), limits: limitsWith() });
  const journal = await recovery.open(handlers);
  process.stdout.write('locked\n');
  await new Promise((resolve) => process.stdin.once('data', resolve));
  await journal.close();
  process.stdin.pause();
} catch (error) {
  process.stdout.write(`${(error as { code: string }).code}\n`);
  process.exitCode = 1;
  process.stdin.pause();
}
