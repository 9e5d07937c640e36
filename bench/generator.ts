/** Runs a load generator as a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Result } from './load/measure.ts';
import type { LoadSpec } from './load/spec.ts';

const MAIN = fileURLToPath(new URL('load/main.ts', import.meta.url));
const TSX = import.meta.resolve('tsx');
const LONGEST_MS = 900_000;

/** One run. Rejects with what the generator said when messages were lost, late for long, or refused. */
export async function runLoad(load: LoadSpec): Promise<Result> {
  const child = spawn(process.execPath, ['--import', TSX, MAIN, JSON.stringify(load)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_MS);
  let out = '';
  let problems = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    problems += text;
  });
  await once(child, 'close');
  clearTimeout(timer);
  if (child.exitCode !== 0)
    throw new Error(/^\w*Error: .*/m.exec(problems)?.[0] ?? `generator: ${problems.slice(-500)}`);
  return JSON.parse(out) as Result;
}
