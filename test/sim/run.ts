/**
 * The simulations, as long as you like: `node --import=tsx test/sim/run.ts --seeds 10000 [--seed 42] [--commands 200]
 * [--model basic | combined]`; without `--model` both have their turn. A failing seed is run again with a shorter and shorter
 * script; what is left of it is printed, with the command that runs it.
 */
import { parseArgs } from 'node:util';
import { combinedScript } from '../../src/testing/combined/commands.ts';
import { CombinedSimulation } from '../../src/testing/combined/simulation.ts';
import { scriptOf } from '../../src/testing/script.ts';
import { Simulation } from '../../src/testing/simulation.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    seeds: { type: 'string' },
    seed: { type: 'string' },
    commands: { type: 'string', default: '200' },
    script: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});

interface Run<Command> {
  readonly log: string[];
  run(script: readonly Command[]): Promise<void>;
}

interface Kind<Command> {
  script(seed: number, length: number): Command[];
  start(seed: number): Run<Command>;
}

const BASIC: Kind<Parameters<Simulation['run']>[0][number]> = {
  script: (seed, length) => scriptOf(seed, length, seed % 4 === 0),
  start: (seed) => new Simulation(seed),
};
const COMBINED: Kind<Parameters<CombinedSimulation['run']>[0][number]> = {
  script: combinedScript,
  start: (seed) => new CombinedSimulation(seed),
};

async function attempt<C>(
  kind: Kind<C>,
  seed: number,
  script: readonly C[],
): Promise<{ error?: Error; log: string[] }> {
  const run = kind.start(seed);
  try {
    await run.run(script);
    return { log: run.log };
  } catch (error) {
    return { error: error as Error, log: run.log };
  }
}

/** Leave out whatever is not needed for a failure. */
async function shorten<C>(kind: Kind<C>, seed: number, script: readonly C[]): Promise<readonly C[]> {
  for (let size = Math.floor(script.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at + size <= script.length; ) {
      const less = [...script.slice(0, at), ...script.slice(at + size)];
      if ((await attempt(kind, seed, less)).error === undefined) at += size;
      else script = less;
    }
  }
  return script;
}

/** Answers whether all is well. */
async function runSeed<C>(name: string, kind: Kind<C>, seed: number): Promise<boolean> {
  const given = values.script === undefined ? undefined : (JSON.parse(values.script) as C[]);
  const script = given ?? kind.script(seed, Number(values.commands));
  const { error, log } = await attempt(kind, seed, script);
  if (values.verbose) console.log(log.join('\n'));
  if (error === undefined) return true;
  console.error(`seed ${seed} of ${name} fails: ${error.message}`);
  const short = given ?? (await shorten(kind, seed, script));
  const again = await attempt(kind, seed, short);
  console.error(`${short.length} commands are enough:`);
  console.error(`  --model ${name} --seed ${seed} --script '${JSON.stringify(short)}'`);
  console.error(again.error?.stack);
  return false;
}

const first = Number(values.seed ?? 1);
const count = Number(values.seeds ?? (values.seed === undefined ? 100 : 1));
const { model } = values;
if (model !== undefined && model !== 'basic' && model !== 'combined') throw new Error(`there is no model '${model}'`);
let failed = 0;
let seed = first;
for (; seed < first + count && failed < 3; seed++) {
  if (model !== 'combined' && !(await runSeed('basic', BASIC, seed))) failed++;
  if (model !== 'basic' && !(await runSeed('combined', COMBINED, seed))) failed++;
}
console.log(`${seed - first} seeds, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
