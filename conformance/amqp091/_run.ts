/** Running other people's clients as processes. */
import { spawn } from 'node:child_process';

const WAIT_MS = 15_000;

export interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Run a command to its end; rejects when it takes too long or cannot be started. */
export function run(command: string, args: readonly string[], input = ''): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { timeout: WAIT_MS });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      err += String(chunk);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** The same, but it must succeed; answers what it printed. */
export async function runWell(command: string, args: readonly string[], input = ''): Promise<string> {
  const { code, out, err } = await run(command, args, input);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${err || out}`);
  return out;
}
