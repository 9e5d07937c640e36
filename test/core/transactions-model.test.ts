/** The model test of transactions. A longer run: `node --import=tsx test/core/transactions-model.test.ts --seeds 1000 [--seed 7]`. */
import t from 'tap';
import { TransactionsSimulation } from '../../src/testing/transactions-simulation.ts';
import { runSeeds, seedsOf } from './seeds.ts';

const { seeds, timeout } = seedsOf(25);
const start = (seed: number): TransactionsSimulation => new TransactionsSimulation(seed);

t.test('random transactions with crashes: all or none of each', { timeout }, async (t) => {
  const total = { done: 0, refused: 0, lost: 0 };
  await runSeeds(t, seeds, 250, start, ({ counts }) => {
    for (const what of ['done', 'refused', 'lost'] as const) total[what] += counts[what];
  });
  t.ok(total.done > seeds.length, `${total.done} done, ${total.refused} refused, ${total.lost} lost in crashes`);
});
