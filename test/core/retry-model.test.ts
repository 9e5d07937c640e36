/** The model test of counts and retries. A longer run: `node --import=tsx test/core/retry-model.test.ts --seeds 1000 [--seed 7]`. */
import { parseArgs } from 'node:util';
import t from 'tap';
import { RetrySimulation } from '../../src/testing/retry-simulation.ts';

const { values } = parseArgs({
  strict: false,
  options: { seeds: { type: 'string', default: '25' }, seed: { type: 'string', default: '1' } },
});
const first = Number(values.seed);
const count = Number(values.seeds);

t.test(
  'random consumers and crashes: each delivery has its counts, its time and its place',
  { timeout: 30_000 + count * 500 },
  async (t) => {
    for (let seed = first; seed < first + count; seed++) {
      const simulation = new RetrySimulation(seed);
      try {
        await simulation.run(200);
      } catch (error) {
        t.comment(`--seed ${seed} --seeds 1\n${simulation.log.slice(-30).join('\n')}`);
        throw error;
      }
    }
    t.pass(`${count} seeds`);
  },
);

t.test('one seed gives one run', async (t) => {
  const run = async (seed: number): Promise<string[]> => {
    const simulation = new RetrySimulation(seed);
    await simulation.run(100);
    return simulation.log;
  };
  t.same(await run(5), await run(5));
  t.notSame(await run(5), await run(6));
});
