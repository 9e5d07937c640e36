/** The model test of half messages. A longer run: `node --import=tsx test/core/half/half-model.test.ts --seeds 1000 [--seed 7]`. */
import { parseArgs } from 'node:util';
import t from 'tap';
import { HalfSimulation } from '../../../src/testing/half-simulation.ts';

const { values } = parseArgs({
  strict: false,
  options: { seeds: { type: 'string', default: '15' }, seed: { type: 'string', default: '1' } },
});
const first = Number(values.seed);
const count = Number(values.seeds);

t.setTimeout(30_000 + count * 500);

t.test('each set is there as a whole, once, or not at all', { timeout: 30_000 + count * 500 }, async (t) => {
  for (let seed = first; seed < first + count; seed++) {
    const simulation = new HalfSimulation(seed);
    try {
      await simulation.run(150);
    } catch (error) {
      t.comment(`--seed ${seed} --seeds 1\n${simulation.log.slice(-30).join('\n')}`);
      throw error;
    }
  }
  t.pass(`${count} seeds`);
});

t.test('one seed gives one run', async (t) => {
  const run = async (seed: number): Promise<string[]> => {
    const simulation = new HalfSimulation(seed);
    await simulation.run(100);
    return simulation.log;
  };
  t.same(await run(5), await run(5));
  t.notSame(await run(5), await run(6));
});
