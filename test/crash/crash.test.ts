import t from 'tap';
import { crashRun } from './run.ts';

t.test(
  'kill -9 under load: what was confirmed is there, what was acknowledged for good is not',
  { timeout: 100_000 },
  async (t) => {
    const seed = Date.now() % 1_000_000;
    const ledger = await crashRun({ rounds: 4, seed, report: (line) => t.comment(line) });
    t.strictSame(ledger.violations, [], `seed ${seed}`);
    t.match(ledger.summary(), /confirmed [1-9]/, 'the rounds did confirm something');
  },
);
