/** The model test of counts and retries. A longer run: `node --import=tsx test/core/retry-model.test.ts --seeds 1000 [--seed 7]`. */
import t from 'tap';
import { RetrySimulation } from '../../src/testing/retry-simulation.ts';
import { repeats, runSeeds, seedsOf } from './seeds.ts';

const { seeds, timeout } = seedsOf(25);
const start = (seed: number): RetrySimulation => new RetrySimulation(seed);

t.test('random consumers and crashes: each delivery has its counts, its time and its place', { timeout }, async (t) => {
  await runSeeds(t, seeds, 200, start);
  t.pass(`${seeds.length} seeds`);
});

t.test('one seed gives one run', (t) => repeats(t, 100, start));
