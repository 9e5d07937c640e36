/** The model test of delayed messages. A longer run: `node --import=tsx test/core/delay/delays-model.test.ts --seeds 1000 [--seed 7]`. */
import t from 'tap';
import { DelaySimulation } from '../../../src/testing/delay-simulation.ts';
import { repeats, runSeeds, seedsOf } from '../seeds.ts';

const { seeds, timeout } = seedsOf(20);
const start = (seed: number): DelaySimulation => new DelaySimulation(seed);

t.test(
  'random delays, cancels, fires, clock jumps and crashes: each message once, on time, in order',
  { timeout },
  async (t) => {
    await runSeeds(t, seeds, 150, start);
    t.pass(`${seeds.length} seeds`);
  },
);

t.test('one seed gives one run', (t) => repeats(t, 60, start));
