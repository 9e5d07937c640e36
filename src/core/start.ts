/**
 * Opening the broker: recovery, journal, background work. `server.ts` calls this and nothing else of the core's inside.
 */
import { Broker } from './broker.ts';
import { Checkpointer } from './checkpointer.ts';
import type { Clock } from './clock.ts';
import { DELAY_LEVELS, parseDelay } from './delay/levels.ts';
import type { Disk } from './disk.ts';
import { DiskAlarm } from './disk-alarm.ts';
import type { Broker as BrokerDoor } from './door.ts';
import { Engine } from './engine.ts';
import type { Recovery } from './journal/journal.ts';
import { openJournal } from './journal/open-journal.ts';
import type { RecoveryRemedy } from './journal/recovery.ts';
import type { Limits } from './limits.ts';
import { Replay } from './replay.ts';
import { loadState } from './state.ts';
import { Topology } from './topology.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/** The core's only way to say something: control-plane events, never one line per message. */
export type Log = (level: LogLevel, msg: string, fields?: Readonly<Record<string, unknown>>) => void;

export interface BrokerOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly limits: Limits;
  /** What the operator allows recovery to do with a damaged journal. */
  readonly remedy?: RecoveryRemedy;
  readonly log: Log;
  /** Delays by level; RocketMQ's when nothing is said. */
  readonly delayLevels?: readonly string[];
}

/** A broker that is ready to take clients. */
export interface RunningBroker {
  readonly broker: BrokerDoor;
  /** What recovery found and decided, in one line. */
  readonly summary: string;
  /** Resolves (once) with the error that made the journal stop: the process must exit, nothing more becomes durable. */
  readonly failed: Promise<Error>;
  /** Close all clients, write and sync everything, give the data directory back. Idempotent. */
  close(): Promise<void>;
}

/** What tests look at, beside the door. */
export interface Internals {
  readonly engine: Engine;
  readonly topology: Topology;
  readonly checkpointer: Checkpointer;
}

/** The virtual host that is always there. */
const DEFAULT_VHOST = '/';

/** Recover the state from `disk` and start. Rejects with a `CoreError` of severity `fatal` when the data cannot be used. */
export async function openBroker(options: BrokerOptions): Promise<RunningBroker> {
  const { disk, clock, limits, remedy } = options;
  return startBroker(options, await openJournal({ disk, clock, limits, ...(remedy === undefined ? {} : { remedy }) }));
}

/** Start on a journal that was found already: the seam where tests put another one in. */
export async function startBroker(
  options: Omit<BrokerOptions, 'remedy'>,
  recovery: Recovery,
): Promise<RunningBroker & { internals: Internals }> {
  const { clock, limits, log, disk, delayLevels = DELAY_LEVELS } = options;
  const engine = new Engine(clock, limits, log);
  const topology = new Topology(engine);
  const failed = new Promise<Error>((resolve) => {
    engine.onFailure = resolve;
  });
  await loadState(topology, recovery.checkpoints);
  await recovery.replay(new Replay(topology).apply);
  for (const queue of topology.queuesById.values()) queue.recovered();
  await topology.topics.check(disk);
  const journal = await recovery.open(engine);
  engine.attach(journal);
  for (const queue of topology.queuesById.values()) queue.resume();
  const broker = new Broker(
    topology,
    delayLevels.flatMap((level) => parseDelay(level) ?? []),
  );
  if (!topology.vhosts.has(DEFAULT_VHOST)) await broker.admin.createVhost(DEFAULT_VHOST);
  const checkpointer = new Checkpointer(topology);
  const alarm = new DiskAlarm(engine, broker, disk);
  await topology.topics.start();
  topology.halves.start();
  topology.redrives.resume();
  checkpointer.start();
  await alarm.start();
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    broker.stop();
    alarm.stop();
    topology.halves.checks.stop();
    await topology.topics.close();
    await checkpointer.stop();
    for (const queue of topology.queuesById.values()) queue.logAllGivenUp();
    engine.flushSettlements();
    engine.closed = true;
    await journal.close();
  };
  return {
    ...{ broker, summary: recovery.summary, failed },
    close: () => (closing ??= close()),
    internals: { engine, topology, checkpointer },
  };
}
