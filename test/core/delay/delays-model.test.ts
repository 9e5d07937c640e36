/** The model test of delayed messages. A longer run: `node --import=tsx test/core/delay/delays-model.test.ts --seeds 1000 [--seed 7]`. */
import { parseArgs } from 'node:util';
import t from 'tap';
import { DelaySimulation } from '../../../src/testing/delay-simulation.ts';

const { values } = parseArgs({
  strict: false,
  options: { seeds: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' } },
});
const first = Number(values.seed);
const count = Number(values.seeds);

t.test(
  'random delays, cancels, fires, clock jumps and crashes: each message once, on time, in order',
  { timeout: 30_000 + count * 500 },
  async (t) => {
    for (let seed = first; seed < first + count; seed++) {
      const simulation = new DelaySimulation(seed);
      try {
        await simulation.run(150);
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
    const simulation = new DelaySimulation(seed);
    await simulation.run(60);
    return simulation.log;
  };
  t.same(await run(5), await run(5));
  t.notSame(await run(5), await run(6));
});
