/** The real server as a child process: started from `dist/cli.js`, killed without mercy. Used by crash and CLI tests. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { spawnProgram } from '../program.ts';

export interface Ports {
  mqtt: number;
  amqp: number;
  http: number;
}

export interface ServerProcess {
  readonly ports: Ports;
  readonly pid: number;
  /** SIGKILL: the process gets no chance to write anything more. Resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM and wait: resolves to the exit code. */
  stop(): Promise<number | null>;
  /** What it wrote to standard output and error so far, for failure reports. */
  output(): string;
}

/** Start on free loopback ports. Rejects with the output when the process ends before it is ready. */
export async function startServer(dataDir: string, extra: readonly string[] = []): Promise<ServerProcess> {
  const args = ['start', '--data-dir', dataDir, '--mqtt-port', '0', '--amqp-port', '0', '--http-port', '0', ...extra];
  const child = spawnProgram(args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const { stdout, stderr } = child as ChildProcess & { stdout: Readable; stderr: Readable };
  let text = '';
  stderr.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const ports = await new Promise<Ports>((resolve, reject) => {
    stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      const ready = readyPorts(text);
      if (ready !== undefined) resolve(ready);
    });
    child.once('exit', (code, signal) =>
      reject(new Error(`the server ended (${code ?? signal}) before it was ready:\n${text}`)),
    );
  });
  return {
    ports,
    pid: child.pid as number,
    kill: async () => void (await ended(child, 'SIGKILL')),
    stop: () => ended(child, 'SIGTERM'),
    output: () => text,
  };
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = once(child, 'exit');
  child.kill(signal);
  const [code] = (await exit) as [number | null];
  return code;
}

/** The ports in the ready line of the log, if it came already. */
function readyPorts(text: string): Ports | undefined {
  for (const line of text.split('\n').slice(0, -1)) {
    if (!line.includes('"msg":"ready"')) continue;
    const entry = JSON.parse(line) as { ports?: Ports } & Partial<Ports>;
    return entry.ports ?? { mqtt: entry.mqtt ?? 0, amqp: entry.amqp ?? 0, http: entry.http ?? 0 };
  }
  return undefined;
}
