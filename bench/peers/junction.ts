import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, type Peer, type RunningPeer } from './peer.ts';

const ROOT = new URL('../../', import.meta.url);
/** The command line of this checkout, compiled. */
export const OWN_CLI = fileURLToPath(new URL('dist/cli.js', ROOT));
const LOOP_DELAY = new URL('loop-delay.mjs', import.meta.url).href;

/** The line a server logs when it is ready. */
interface Ready {
  readonly mqtt: number;
  readonly amqp: number;
  readonly http: number;
}

export interface Pauses {
  /** The longest, in milliseconds. */
  readonly longestMs: number;
  /** The longest less all the time its thread waited for a core about then: what the server must answer for, at least. */
  readonly longestOwnMs: number;
}

export interface RunningJunction extends RunningPeer {
  /** From starting the process to the line that says ready. */
  readonly readySeconds: number;
  /** What recovery said it did. */
  readonly recovery: string;
  /** Pauses of its event loop since `sinceMs` (wall clock). */
  pauses(sinceMs: number): Pauses;
  /** End it as a power cut would. */
  kill(): Promise<void>;
}

/**
 * JunctionMQ with its defaults: every persistent message on disk (fdatasync) before it is confirmed.
 * @param cli its compiled command line
 * @param folder may hold the data of an earlier start
 * @param watchPauses measure the pauses of its event loop
 */
export async function startJunction(cli: string, folder: string, watchPauses = false): Promise<RunningJunction> {
  const delays = join(folder, `loop-delay-${Date.now()}`);
  const started = Date.now();
  const ports = ['--mqtt-port', '0', '--amqp-port', '0', '--http-port', '0'];
  const watch = watchPauses ? ['--import', LOOP_DELAY] : [];
  const args = [...watch, cli, 'start', '--data-dir', join(folder, 'data'), ...ports];
  const env = { ...process.env, BENCH_LOOP_DELAY_FILE: delays };
  const child = new Child('junction', process.execPath, args, { env });
  const line = (message: string) => child.output.split('\n').find((text) => text.includes(`"msg":"${message}"`));
  const ready = JSON.parse(await child.until(() => line('ready'))) as Ready;
  const recovered = line('recovered');
  return {
    pid: child.pid,
    port: (protocol) => ready[protocol],
    readySeconds: (Date.now() - started) / 1000,
    recovery: recovered === undefined ? '' : (JSON.parse(recovered) as { summary: string }).summary,
    pauses: (sinceMs) => pausesIn(delays, sinceMs),
    stop: () => child.stop(),
    kill: () => child.kill(),
  };
}

function pausesIn(file: string, sinceMs: number): Pauses {
  const pauses = { longestMs: 0, longestOwnMs: 0 };
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const [at = 0, pause = 0, waited = 0] = line.split(' ').map(Number);
    if (at < sinceMs) continue;
    pauses.longestMs = Math.max(pauses.longestMs, pause);
    pauses.longestOwnMs = Math.max(pauses.longestOwnMs, pause - waited);
  }
  return pauses;
}

/** Our server as one of the peers. @param cli its compiled command line */
export function junctionPeer(cli: string): Peer {
  return {
    name: 'junction',
    protocols: ['mqtt', 'amqp'],
    version: () => (JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as { version: string }).version,
    start: (folder) => startJunction(cli, folder),
  };
}
