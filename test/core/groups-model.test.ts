/** The model test of groups and filters. A longer run: `node --import=tsx test/core/groups-model.test.ts --seeds 1000 [--seed 7]`. */
import { parseArgs } from 'node:util';
import t from 'tap';
import { GroupsSimulation } from '../../src/testing/groups-simulation.ts';

const { values } = parseArgs({
  strict: false,
  options: { seeds: { type: 'string', default: '25' }, seed: { type: 'string', default: '1' } },
});
const first = Number(values.seed);
const count = Number(values.seeds);

t.test(
  'random traffic with crashes: each consumer gets the first message it may have, and a group is in one hand',
  { timeout: 30_000 + count * 500 },
  async (t) => {
    for (let seed = first; seed < first + count; seed++) {
      const simulation = new GroupsSimulation(seed);
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
    const simulation = new GroupsSimulation(seed);
    await simulation.run(100);
    return simulation.log;
  };
  t.same(await run(5), await run(5));
  t.notSame(await run(5), await run(6));
});
