/** The model test of ids and last values. A longer run: `node --import=tsx test/core/marks/model.test.ts --seeds 1000 [--seed 7]`. */
import { parseArgs } from 'node:util';
import t from 'tap';
import { MarksSimulation } from '../../../src/testing/marks-simulation.ts';

const { values } = parseArgs({
  strict: false,
  options: { seeds: { type: 'string', default: '25' }, seed: { type: 'string', default: '1' } },
});
const first = Number(values.seed);
const count = Number(values.seeds);

t.test(
  'random traffic with crashes: no repeat comes in, the newest of a value stays',
  { timeout: 30_000 + count * 500 },
  async (t) => {
    const total = { repeats: 0, replaced: 0 };
    for (let seed = first; seed < first + count; seed++) {
      const simulation = new MarksSimulation(seed);
      try {
        await simulation.run(200);
      } catch (error) {
        t.comment(`--seed ${seed} --seeds 1\n${simulation.log.slice(-30).join('\n')}`);
        throw error;
      }
      total.repeats += simulation.counts.repeats;
      total.replaced += simulation.counts.replaced;
    }
    t.ok(total.repeats > count && total.replaced > count, `${total.repeats} repeats, ${total.replaced} replaced`);
  },
);
