/**
 * The simulation, as long as you like: `node --import=tsx test/sim/run.ts --seeds 10000 [--seed 42] [--commands 200]`.
 * A failing seed is run again with a shorter and shorter script; what is left of it is printed.
 */
import { parseArgs } from 'node:util';
import { type Command, scriptOf } from '../../src/testing/script.ts';
import { Simulation } from '../../src/testing/simulation.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    commands: { type: 'string', default: '200' },
    script: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});

async function attempt(seed: number, script: readonly Command[]): Promise<{ error?: Error; log: string[] }> {
  const simulation = new Simulation(seed);
  try {
    await simulation.run(script);
    return { log: simulation.log };
  } catch (error) {
    return { error: error as Error, log: simulation.log };
  }
}

/** Leave out whatever is not needed for a failure. */
async function shorten(seed: number, script: Command[]): Promise<Command[]> {
  for (let size = Math.floor(script.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at + size <= script.length; ) {
      const less = [...script.slice(0, at), ...script.slice(at + size)];
      if ((await attempt(seed, less)).error === undefined) at += size;
      else script = less;
    }
  }
  return script;
}

const first = Number(values.seed ?? 1);
const count = Number(values.seeds ?? (values.seed === undefined ? 100 : 1));
let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  const given = values.script === undefined ? undefined : (JSON.parse(values.script) as Command[]);
  const script = given ?? scriptOf(seed, Number(values.commands), seed % 4 === 0);
  const { error, log } = await attempt(seed, script);
  if (values.verbose) console.log(log.join('\n'));
  if (error === undefined) continue;
  failed++;
  console.error(`seed ${seed} fails: ${error.message}`);
  const short = given ?? (await shorten(seed, script));
  const again = await attempt(seed, short);
  console.error(`${short.length} commands are enough:\n  --seed ${seed} --script '${JSON.stringify(short)}'`);
  console.error(again.error?.stack);
  if (failed >= 3) break;
}
console.log(`${count} seeds, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
