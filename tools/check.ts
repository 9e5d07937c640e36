/**
 * `npm run check`: everything about the project a machine can see without running it: the compiler, Biome, and the
 * rules of docs/STYLE.md that neither knows. Exits non-zero when anything is wrong.
 *
 *   npm run check -- --only NAME     one check (may be repeated): tsc, biome, import-direction, core-words, ...
 *   npm run check -- --write         first bring the generated tables of the documents up to date
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Check, Tree } from './checks/check.ts';
import { errorMaps, errorTable, links, optionTables, titles, withTables } from './checks/docs.ts';
import { deadExports, deadFiles, importDirection, outsideWorld } from './checks/imports.ts';
import { coreWords, fileLength, leftovers } from './checks/text.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const CHECKS: readonly Check[] = [
  importDirection,
  outsideWorld,
  deadFiles,
  deadExports,
  fileLength,
  coreWords,
  leftovers,
  optionTables,
  errorTable,
  errorMaps,
  titles,
  links,
];

const PROGRAMS: readonly { name: string; args: readonly string[] }[] = [
  { name: 'tsc', args: ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'] },
  { name: 'biome', args: ['node_modules/@biomejs/biome/bin/biome', 'ci', '--diagnostic-level=warn'] },
];

/** Text files git knows or would take. */
function readTree(): Tree {
  const listed = spawnSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: ROOT, encoding: 'utf8' });
  if (listed.status !== 0) throw new Error(`git ls-files failed: ${listed.stderr}`);
  const paths = listed.stdout.split('\0').filter((path) => /\.(ts|mjs|md|json|ya?ml|sh|html)$|^\.ci\//.test(path));
  const present = paths.filter((path) => existsSync(join(ROOT, path))).sort();
  return new Map(present.map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]));
}

function main(): number {
  const { values } = parseArgs({ options: { only: { type: 'string', multiple: true }, write: { type: 'boolean' } } });
  const chosen = (name: string): boolean => values.only === undefined || values.only.includes(name);
  if (values.write === true) {
    const page = join(ROOT, 'docs/configuration.md');
    writeFileSync(page, withTables(readFileSync(page, 'utf8')));
  }
  let failed = 0;
  const report = (name: string, ok: boolean): void => {
    process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${name}\n`);
    if (!ok) failed += 1;
  };
  for (const { name, args } of PROGRAMS.filter((program) => chosen(program.name))) {
    report(name, spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' }).status === 0);
  }
  const tree = readTree();
  for (const check of CHECKS.filter(({ name }) => chosen(name))) {
    const complaints = check.run(tree);
    for (const { path, line, text } of complaints) {
      process.stdout.write(`${path}${line === 0 ? '' : `:${line}`}: ${text}\n`);
    }
    report(check.name, complaints.length === 0);
  }
  process.stdout.write(failed === 0 ? 'all checks passed\n' : `${failed} checks failed\n`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();
