/** Ten million messages left in a queue: what they cost in memory, in speed, at a restart and after a crash. */
import { statfsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { runLoad } from './generator.ts';
import { type Result, rssBytes } from './load/measure.ts';
import { type Pauses, type RunningJunction, startJunction } from './peers/junction.ts';
import type { Row } from './scenarios.ts';

/** Bytes on disk for each message beside its payload, checkpoints included, generously. */
const DISK_OVERHEAD_BYTES = 176;
const PARKED = 'parked';
/** Messages published into an empty queue for comparison. */
const PROBE = 500_000;

async function publish(
  server: RunningJunction,
  queue: string,
  messages: number,
  payloadBytes: number,
): Promise<Result> {
  const common = { port: server.port('amqp'), pid: server.pid, payloadBytes };
  return runLoad({ ...common, kind: 'fill', queue, messages, window: 4000, tenths: queue === PARKED });
}

async function consume(
  server: RunningJunction,
  queue: string,
  messages: number,
  payloadBytes: number,
): Promise<Result> {
  const common = { port: server.port('amqp'), pid: server.pid, payloadBytes };
  return runLoad({ ...common, kind: 'drain', queue, messages, prefetch: 2000 });
}

/** Throws when the disk has no room for it. */
export function checkRoom(folder: string, messages: number, payloadBytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  const needed = messages * (payloadBytes + DISK_OVERHEAD_BYTES);
  if (bavail * bsize < needed) {
    throw new Error(`needs ${Math.ceil(needed / 1e9)} GB of disk, ${Math.floor((bavail * bsize) / 1e9)} GB are free`);
  }
}

function addPauses(extra: Record<string, number>, when: string, pauses: Pauses): void {
  extra[`longestPause${when}Ms`] = pauses.longestMs;
  extra[`longestOwnPause${when}Ms`] = pauses.longestOwnMs;
}

export async function runParked(cli: string, folder: string, messages: number, payloadBytes: number): Promise<Row[]> {
  checkRoom(folder, messages, payloadBytes);
  const extra: Record<string, number> = {};
  let server = await startJunction(cli, folder, true);
  try {
    const empty = await publish(server, 'probe', PROBE, payloadBytes);
    await consume(server, 'probe', PROBE, payloadBytes);
    extra['emptyQueuePerSecond'] = empty.messages / empty.seconds;

    const growing = Date.now();
    const into = await publish(server, PARKED, messages, payloadBytes);
    Object.assign(extra, into.extra);
    addPauses(extra, 'Growing', server.pauses(growing));
    // A checkpoint may be under way, and the disk is as busy as it was for the last tenth.
    const beside = await publish(server, 'probe', PROBE, payloadBytes);
    extra['emptyQueueBesidePerSecond'] = beside.messages / beside.seconds;
    extra['lastTenthToEmptyBeside'] = (into.extra?.['tenth10PerSecond'] ?? 0) / extra['emptyQueueBesidePerSecond'];
    await consume(server, 'probe', PROBE, payloadBytes);
    await sleep(10_000);
    addPauses(extra, 'Parked', server.pauses(Date.now() - 9000));
    const parked = { ...into, serverRssBytes: rssBytes(server.pid), extra };

    await server.stop();
    server = await startJunction(cli, folder, true);
    extra['restartSeconds'] = server.readySeconds;
    extra['restartRssBytes'] = rssBytes(server.pid);
    await publish(server, 'probe', PROBE / 10, payloadBytes);
    await server.kill();
    server = await startJunction(cli, folder, true);
    extra['restartAfterKillSeconds'] = server.readySeconds;

    const draining = Date.now();
    const out = await consume(server, PARKED, messages, payloadBytes);
    const pauses: Record<string, number> = {};
    addPauses(pauses, 'Draining', server.pauses(draining));
    return [
      { row: 'parked-10m in', result: parked },
      { row: 'parked-10m out', result: { ...out, extra: pauses } },
    ];
  } finally {
    await server.stop();
  }
}
