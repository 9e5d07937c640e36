/**
 * `npm test`: all tests under tap, from a built tree (ensure-built has run). Arguments go to tap: `npm test -- test/cli.test.ts`.
 * The exit code is tap's.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tap = fileURLToPath(new URL('../node_modules/tap/dist/esm/run.mjs', import.meta.url));

/** @param {string[]} args */
function run(args) {
  const result = spawnSync(process.execPath, [tap, ...args], { cwd: root, stdio: 'inherit' });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

/**
 * tap compiles its test class from the plugins of `.taprc`. We leave its TypeScript plugin out (it needs a compiler API that
 * TypeScript 7 does not have; tsx loads the tests), and the class tap is installed with has it, so it is compiled once per
 * installation. Tap would notice by itself, but only after the first run has failed.
 */
function isTapBuilt() {
  const testClass = join(root, 'node_modules/@tapjs/test/test-built/dist/esm/index.js');
  const plugins = join(root, '.tap/plugins/package.json');
  return existsSync(plugins) && existsSync(testClass) && !readFileSync(testClass, 'utf8').includes('@tapjs/typescript');
}

const status = isTapBuilt() ? 0 : run(['build']);
process.exitCode = status === 0 ? run(process.argv.slice(2)) : status;
