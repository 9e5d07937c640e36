import t from 'tap';
import { RedriveSimulation } from '../../../src/testing/redrive-simulation.ts';

t.test('live rules, policies and redrives under crashes: every message is in exactly one queue', async (t) => {
  const first = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  const seeds = Number(process.env['SEEDS'] ?? 6);
  let moved = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const simulation = new RedriveSimulation(seed);
    try {
      await simulation.run(120);
    } catch (error) {
      t.fail(`seed ${seed}: ${(error as Error).stack}\n${simulation.log.slice(-30).join('\n')}`);
    }
    moved += simulation.moved;
  }
  t.ok(moved > 0, `seeds ${first} to ${first + seeds - 1}: redrives moved ${moved} messages`);
});
