/** The model test of live rules and redrives. A longer run: add `--seeds 1000 [--seed 7]`. */
import t from 'tap';
import { RedriveSimulation } from '../../../src/testing/redrive-simulation.ts';
import { runSeeds, seedsOf } from '../seeds.ts';

const { seeds, timeout } = seedsOf(6);
const start = (seed: number): RedriveSimulation => new RedriveSimulation(seed);

t.test(
  'live rules, policies and redrives under crashes: every message is in exactly one queue',
  { timeout },
  async (t) => {
    let moved = 0;
    let resumed = 0;
    await runSeeds(t, seeds, 120, start, (simulation) => {
      moved += simulation.moved;
      resumed += simulation.resumed;
    });
    t.ok(moved > 0, `${seeds.length} seeds: redrives moved ${moved} messages`);
    t.comment(`${resumed} went on after a restart`);
  },
);
