/**
 * `npm test`: all tests under tap, from a built tree (ensure-built has run). Arguments go to tap: `npm test -- test/cli.test.ts`.
 * The exit code is tap's.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tap = fileURLToPath(new URL('../node_modules/tap/dist/esm/run.mjs', import.meta.url));

/** @param {string[]} args */
function run(args) {
  const result = spawnSync(process.execPath, [tap, ...args], { cwd: root, stdio: 'inherit' });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

process.exitCode = run(process.argv.slice(2));
