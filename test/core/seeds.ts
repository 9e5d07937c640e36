/** For tests of random runs, one a seed. `npm test` runs a few; more of them, or one again: `--seeds 1000 [--seed 7]`. */
import { parseArgs } from 'node:util';
import t, { type Test } from 'tap';

interface Simulated {
  /** What happened, line by line. */
  readonly log: readonly string[];
  /** Do `steps` random things. Rejects at the first that is not as it must be. */
  run(steps: number): Promise<void>;
}

const { values } = parseArgs({ strict: false, options: { seeds: { type: 'string' }, seed: { type: 'string' } } });

/**
 * The seeds to run, and a time in milliseconds that is enough for them; the file gets it too.
 * @param usual how many, unless the command line says so
 */
export function seedsOf(usual: number): { readonly seeds: readonly number[]; readonly timeout: number } {
  const first = Number(values.seed ?? 1);
  const count = Number(values.seeds ?? usual);
  const timeout = 30_000 + count * 500;
  t.setTimeout(timeout);
  return { seeds: Array.from({ length: count }, (_, n) => first + n), timeout };
}

/**
 * Run one simulation a seed. Rejects with the error of the first that fails; its seed and the end of its log are told.
 * @param ended called with each that has ended
 */
export async function runSeeds<S extends Simulated>(
  t: Test,
  seeds: readonly number[],
  steps: number,
  start: (seed: number) => S,
  ended: (simulation: S) => void = () => {},
): Promise<void> {
  for (const seed of seeds) {
    const simulation = start(seed);
    try {
      await simulation.run(steps);
    } catch (error) {
      t.comment(`--seed ${seed} --seeds 1\n${simulation.log.slice(-30).join('\n')}`);
      throw error;
    }
    ended(simulation);
  }
}

/** The same seed gives the same log, another one another. */
export async function repeats(t: Test, steps: number, start: (seed: number) => Simulated): Promise<void> {
  const run = async (seed: number): Promise<readonly string[]> => {
    const simulation = start(seed);
    await simulation.run(steps);
    return simulation.log;
  };
  t.same(await run(5), await run(5));
  t.notSame(await run(5), await run(6));
}
