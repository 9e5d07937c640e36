/** The model test, a short run of it: `npm run test:sim` is the long one. */
import t from 'tap';
import { scriptOf } from '../../src/testing/script.ts';
import { Simulation } from '../../src/testing/simulation.ts';

const SEEDS = 60;

t.test('random commands with crashes and faults, beside a model', async (t) => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const simulation = new Simulation(seed);
    try {
      await simulation.run(scriptOf(seed, 150, seed % 4 === 0));
    } catch (error) {
      t.comment(`node --import=tsx test/sim/run.ts --seed ${seed} --commands 150`);
      throw error;
    }
  }
  t.pass(`${SEEDS} seeds`);
});

t.test('one seed gives one log', async (t) => {
  const run = async (seed: number): Promise<string[]> => {
    const simulation = new Simulation(seed);
    await simulation.run(scriptOf(seed, 200, true));
    return simulation.log;
  };
  for (const seed of [101, 102, 103]) t.same(await run(seed), await run(seed), `seed ${seed}`);
  t.notSame(await run(101), await run(102));
});
