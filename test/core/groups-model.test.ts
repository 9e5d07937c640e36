/** The model test of groups and filters. A longer run: `node --import=tsx test/core/groups-model.test.ts --seeds 1000 [--seed 7]`. */
import t from 'tap';
import { GroupsSimulation } from '../../src/testing/groups-simulation.ts';
import { repeats, runSeeds, seedsOf } from './seeds.ts';

const { seeds, timeout } = seedsOf(25);
const start = (seed: number): GroupsSimulation => new GroupsSimulation(seed);

t.test(
  'random traffic with crashes: each consumer gets the first message it may have, and a group is in one hand',
  { timeout },
  async (t) => {
    await runSeeds(t, seeds, 150, start);
    t.pass(`${seeds.length} seeds`);
  },
);

t.test('one seed gives one run', (t) => repeats(t, 100, start));
