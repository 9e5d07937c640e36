/** The model test of queue rules. A longer run: `node --import=tsx test/core/rules-model.test.ts --seeds 1000 [--seed 7]`. */
import t from 'tap';
import { RulesSimulation } from '../../src/testing/rules-simulation.ts';
import { repeats, runSeeds, seedsOf } from './seeds.ts';

const { seeds, timeout } = seedsOf(25);
const start = (seed: number): RulesSimulation => new RulesSimulation(seed);

t.test('random traffic with crashes: each message is in one place, and in one it may be in', { timeout }, async (t) => {
  await runSeeds(t, seeds, 150, start);
  t.pass(`${seeds.length} seeds`);
});

t.test('one seed gives one run', (t) => repeats(t, 100, start));
