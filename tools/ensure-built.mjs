/**
 * Make a checkout runnable: install dependencies when they are missing or not those of package-lock.json, and compile
 * `src` when `dist` is missing or was built from other sources. Plain JavaScript on Node alone, because it runs before
 * anything is installed. Does nothing (in some 50 ms) when all is in place.
 *
 *   node tools/ensure-built.mjs          what `npm start` needs: runtime dependencies, and the compiler only to build
 *   node tools/ensure-built.mjs --dev    development dependencies too
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const STAMP = '.sources';

/** @param {string} path */
function readJson(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
}

/**
 * Packages the lock file asks for that `node_modules` does not hold in that version. Optional ones (binaries of other
 * platforms) do not count, development ones only when `dev` is set.
 * @param {string} root
 * @param {boolean} dev
 * @returns {string[]}
 */
export function missingPackages(root, dev) {
  const wanted = readJson(join(root, 'package-lock.json'))?.packages ?? {};
  const installed = readJson(join(root, 'node_modules', '.package-lock.json'))?.packages ?? {};
  return Object.keys(wanted).filter((path) => {
    const entry = wanted[path];
    if (path === '' || entry.optional || entry.devOptional || entry.link) return false;
    if (entry.dev && !dev) return false;
    return installed[path]?.version !== entry.version;
  });
}

/** @param {string} folder @returns {string[]} */
function filesUnder(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/**
 * A digest of everything `dist` is made from: names and contents of the sources and of the compiler settings.
 * @param {string} root
 */
export function sourceDigest(root) {
  const hash = createHash('sha256');
  const settings = ['tsconfig.json', 'tsconfig.build.json'].map((name) => join(root, name));
  for (const path of [...settings, ...filesUnder(join(root, 'src')).filter((file) => file.endsWith('.ts'))]) {
    if (existsSync(path))
      hash
        .update(`${relative(root, path)}\0`)
        .update(readFileSync(path))
        .update('\0');
  }
  return hash.digest('hex');
}

/** @param {string} root */
export function isBuilt(root) {
  const stamp = join(root, 'dist', STAMP);
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === sourceDigest(root);
}

/**
 * Remove compiled files whose source is gone.
 * @param {string} root
 */
function removeOrphans(root) {
  for (const path of filesUnder(join(root, 'dist'))) {
    const source = relative(join(root, 'dist'), path).replace(/\.(d\.ts|js|js\.map)$/, '.ts');
    if (source !== STAMP && !existsSync(join(root, 'src', source))) rmSync(path);
  }
}

/** @param {string} root @param {string} command @param {string[]} args */
function run(root, command, args) {
  // Output goes to stderr: stdout belongs to what is started afterwards.
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', process.stderr, process.stderr] });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

/** @param {string} root */
function install(root) {
  const locked = existsSync(join(root, 'package-lock.json'));
  const args = [locked ? 'ci' : 'install', '--include=dev', '--no-audit', '--no-fund'];
  const npm = process.env['npm_execpath'];
  return npm?.endsWith('.js') ? run(root, process.execPath, [npm, ...args]) : run(root, 'npm', args);
}

/** @param {string} root */
function build(root) {
  const digest = sourceDigest(root);
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const status = run(root, process.execPath, [compiler, '-p', 'tsconfig.build.json']);
  if (status !== 0) return status;
  removeOrphans(root);
  writeFileSync(join(root, 'dist', STAMP), digest);
  return 0;
}

/** @param {string} root @param {boolean} dev @returns {number} exit code */
export function ensureBuilt(root, dev) {
  const built = isBuilt(root);
  // Whoever has to compile needs the compiler, which is a development dependency.
  const missing = missingPackages(root, dev || !built);
  if (missing.length > 0) {
    console.error(`Installing dependencies (${missing.length} missing or outdated) ...`);
    const status = install(root);
    if (status !== 0) return status;
  }
  if (built) return 0;
  console.error('Compiling ...');
  return build(root);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  process.exitCode = ensureBuilt(root, process.argv.includes('--dev'));
}
