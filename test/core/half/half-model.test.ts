/** The model test of half messages. A longer run: `node --import=tsx test/core/half/half-model.test.ts --seeds 1000 [--seed 7]`. */
import t from 'tap';
import { HalfSimulation } from '../../../src/testing/half-simulation.ts';
import { repeats, runSeeds, seedsOf } from '../seeds.ts';

const { seeds, timeout } = seedsOf(15);
const start = (seed: number): HalfSimulation => new HalfSimulation(seed);

t.test('each set is there as a whole, once, or not at all', { timeout }, async (t) => {
  await runSeeds(t, seeds, 150, start);
  t.pass(`${seeds.length} seeds`);
});

t.test('one seed gives one run', (t) => repeats(t, 100, start));
