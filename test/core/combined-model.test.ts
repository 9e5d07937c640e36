/** All rules of queues together, beside a model: a short run. `npm run test:sim -- --model combined --seeds 10000` is the long one. */
import t from 'tap';
import { combinedScript } from '../../src/testing/combined/commands.ts';
import { CombinedSimulation } from '../../src/testing/combined/simulation.ts';

const SEEDS = 20;
const COMMANDS = 120;

t.test(
  'random queues, rules, traffic and crashes: every delivery is one that the order rule allows',
  { timeout: 120_000 },
  async (t) => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const simulation = new CombinedSimulation(seed);
      try {
        await simulation.run(combinedScript(seed, COMMANDS));
      } catch (error) {
        t.comment(`node --import=tsx test/sim/run.ts --model combined --seed ${seed} --commands ${COMMANDS}`);
        throw error;
      }
    }
    t.pass(`${SEEDS} seeds`);
  },
);

t.test('one seed gives one log', async (t) => {
  const run = async (seed: number): Promise<string[]> => {
    const simulation = new CombinedSimulation(seed);
    await simulation.run(combinedScript(seed, COMMANDS));
    return simulation.log;
  };
  t.same(await run(101), await run(101));
  t.notSame(await run(101), await run(102));
});
