/** The model test of transactions. A longer run: `node --import=tsx test/core/transactions-model.test.ts --seeds 1000 [--seed 7]`. */
import { parseArgs } from 'node:util';
import t from 'tap';
import { TransactionsSimulation } from '../../src/testing/transactions-simulation.ts';

const { values } = parseArgs({
  strict: false,
  options: { seeds: { type: 'string', default: '25' }, seed: { type: 'string', default: '1' } },
});
const first = Number(values.seed);
const count = Number(values.seeds);

t.test('random transactions with crashes: all or none of each', { timeout: 30_000 + count * 500 }, async (t) => {
  const total = { done: 0, refused: 0, lost: 0, waited: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const simulation = new TransactionsSimulation(seed);
    try {
      await simulation.run(250);
    } catch (error) {
      t.comment(`--seed ${seed} --seeds 1\n${simulation.log.slice(-30).join('\n')}`);
      throw error;
    }
    for (const what of ['done', 'refused', 'lost', 'waited'] as const) total[what] += simulation.counts[what];
  }
  t.ok(total.done > count, `${total.done} done, ${total.refused} refused, ${total.lost} lost in crashes`);
  t.ok(total.waited > 0, `${total.waited} deliveries had to wait after one, and did`);
});
