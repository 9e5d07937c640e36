/**
 * `npm run conformance`: starts one real server, runs every case file of the folders beside this file (README.md), writes
 * report.md, and prints TAP, so that whoever counts can count.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { type ServerProcess, startServer } from '../test/crash/server-process.ts';
import type { Case, CaseFile, ServerUnderTest } from './case.ts';
import { countsOf, judge, type Outcome, type Result, reportText, staleGaps } from './report.ts';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
const CASE_MS = 20_000;

interface Found {
  /** `folder/file: name`. */
  readonly id: string;
  readonly folder: string;
  readonly test: Case;
}

async function findCases(only: readonly string[]): Promise<Found[]> {
  const found: Found[] = [];
  const folders = readdirSync(FOLDER, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const folder of folders.map((entry) => entry.name).sort()) {
    const files = readdirSync(join(FOLDER, folder)).filter((file) => /^[^_].*(?<!\.test)\.ts$/.test(file));
    for (const file of files.sort()) {
      const { cases } = (await import(pathToFileURL(join(FOLDER, folder, file)).href)) as Partial<CaseFile>;
      if (cases === undefined) throw new Error(`conformance/${folder}/${file} exports no cases`);
      for (const test of cases) found.push({ id: `${folder}/${file.slice(0, -3)}: ${test.name}`, folder, test });
    }
  }
  const ids = new Set(found.map(({ id }) => id));
  if (ids.size !== found.length) throw new Error('two conformance cases have the same name');
  return only.length === 0 ? found : found.filter(({ id }) => only.some((text) => id.includes(text)));
}

const installed = new Map<string, boolean>();
function isInstalled(command: string): boolean {
  let known = installed.get(command);
  if (known === undefined) {
    known = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', command]).status === 0;
    installed.set(command, known);
  }
  return known;
}

/** The server of the run; cases see it through this handle, which stays the same over restarts. */
class Server implements ServerUnderTest {
  readonly host = '127.0.0.1';
  readonly #dataDir: string;
  #process: ServerProcess;
  readonly mqttPort: number;
  readonly amqpPort: number;
  readonly httpPort: number;

  constructor(dataDir: string, process: ServerProcess) {
    this.#dataDir = dataDir;
    this.#process = process;
    this.mqttPort = process.ports.mqtt;
    this.amqpPort = process.ports.amqp;
    this.httpPort = process.ports.http;
  }

  async restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (signal === 'SIGKILL') await this.#process.kill();
    else await this.#process.stop();
    const ports = ['--mqtt-port', this.mqttPort, '--amqp-port', this.amqpPort, '--http-port', this.httpPort];
    this.#process = await startServer(this.#dataDir, ports.map(String));
  }

  /** Exit code of an orderly stop. */
  stop(): Promise<number | null> {
    return this.#process.stop();
  }

  output(): string {
    return this.#process.output();
  }
}

async function within(promise: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${ms} ms`)), ms);
  });
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function runCase({ test }: Found, server: Server, strict: boolean): Promise<Result> {
  const missing = (test.needs ?? []).filter((command) => !isInstalled(command));
  if (missing.length > 0) {
    return { passed: false, skipped: !strict, detail: `not installed: ${missing.join(', ')}` };
  }
  try {
    await within(test.run(server), test.timeoutMs ?? CASE_MS);
    return { passed: true, skipped: false, detail: '' };
  } catch (error) {
    return {
      passed: false,
      skipped: false,
      detail: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  }
}

function printTap(number: number, { id, verdict, result }: Outcome): void {
  const ok = verdict === 'failed' || verdict === 'closed gap' ? 'not ok' : 'ok';
  const directive =
    verdict === 'skipped' ? ` # SKIP ${result.detail}` : verdict === 'gap' ? ' # todo expected gap' : '';
  process.stdout.write(`${ok} ${number} - ${id.replaceAll('#', '\\#')}${directive}\n`);
  if (verdict === 'failed') process.stdout.write(`${result.detail.replace(/^/gm, '  # ')}\n`);
  if (verdict === 'closed gap') process.stdout.write('  # passes now: take it out of expected-gaps.json\n');
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      strict: { type: 'boolean', default: false },
      report: { type: 'boolean', default: true },
    },
    allowNegative: true,
  });
  const gaps = JSON.parse(readFileSync(join(FOLDER, 'expected-gaps.json'), 'utf8')) as Record<string, string>;
  const cases = await findCases(values.only ?? []);
  const dataDir = mkdtempSync(join(tmpdir(), 'junction-conformance-'));
  const server = new Server(dataDir, await startServer(dataDir));
  const outcomes: Outcome[] = [];
  process.stdout.write('TAP version 14\n');
  try {
    for (const found of cases) {
      const result = await runCase(found, server, values.strict);
      const outcome = { id: found.id, folder: found.folder, result, verdict: judge(result, gaps[found.id]) };
      outcomes.push(outcome);
      printTap(outcomes.length, outcome);
    }
  } finally {
    const code = await server.stop();
    if (code !== 0) process.stdout.write(`Bail out! the server stopped with code ${code}\n${server.output()}\n`);
    rmSync(dataDir, { recursive: true, force: true });
    if (code !== 0) process.exitCode = 1;
  }
  process.stdout.write(`1..${outcomes.length}\n`);
  const whole = values.only === undefined;
  const stale = whole ? staleGaps(gaps, outcomes) : [];
  for (const id of stale) process.stdout.write(`# expected-gaps.json names no case: ${id}\n`);
  if (whole && values.report) writeFileSync(join(FOLDER, 'report.md'), reportText(outcomes, gaps));
  const counts = countsOf(outcomes);
  process.stdout.write(
    `# ${counts.passed} passed, ${counts.failed} failed, ${counts.gaps} expected gaps, ${counts.skipped} skipped\n`,
  );
  return counts.failed + stale.length === 0 ? 0 : 1;
}

const code = await main();
process.exit(process.exitCode ?? code);
