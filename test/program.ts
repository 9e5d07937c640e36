/** The real program as a child process, just as an operator starts it. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The compiled command line. */
export const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url));

/**
 * Start `node dist/cli.js ...args`. Tap makes every child of a test load its hooks by way of NODE_OPTIONS, which triples the
 * start-up time and replaces what signals do; a shell takes that out again and then becomes the program, pid and all.
 * @param prelude shell commands to run before, joined with `&&`: limits, traps
 */
export function spawnProgram(args: readonly string[], options: SpawnOptions, prelude = 'true'): ChildProcess {
  const script = `unset NODE_OPTIONS; ${prelude} && exec "$0" "$@"`;
  return spawn('sh', ['-c', script, process.execPath, CLI, ...args], options);
}
