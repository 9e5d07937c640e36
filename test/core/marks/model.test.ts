/** The model test of ids and last values. A longer run: `node --import=tsx test/core/marks/model.test.ts --seeds 1000 [--seed 7]`. */
import t from 'tap';
import { MarksSimulation } from '../../../src/testing/marks-simulation.ts';
import { runSeeds, seedsOf } from '../seeds.ts';

const { seeds, timeout } = seedsOf(25);
const start = (seed: number): MarksSimulation => new MarksSimulation(seed);

t.test('random traffic with crashes: no repeat comes in, the newest of a value stays', { timeout }, async (t) => {
  const total = { repeats: 0, replaced: 0 };
  await runSeeds(t, seeds, 200, start, ({ counts }) => {
    total.repeats += counts.repeats;
    total.replaced += counts.replaced;
  });
  const came = `${total.repeats} repeats, ${total.replaced} replaced`;
  t.ok(total.repeats > seeds.length && total.replaced > seeds.length, came);
});
