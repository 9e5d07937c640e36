/**
 * Opening the broker: recovery, journal, background work. `server.ts` calls this and nothing else of the core's inside.
 */
import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import type { Broker } from './door.ts';
import { CoreError } from './errors.ts';
import type { Limits } from './limits.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/** The core's only way to say something: control-plane events, never one line per message. */
export type Log = (level: LogLevel, msg: string, fields?: Readonly<Record<string, unknown>>) => void;

export interface BrokerOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly limits: Limits;
  /** What the operator allows recovery to do with a damaged journal. */
  readonly remedy?: string;
  readonly log: Log;
}

/** A broker that is ready to take clients. */
export interface RunningBroker {
  readonly broker: Broker;
  /** What recovery found and decided, in one line. */
  readonly summary: string;
  /** Resolves (once) with the error that made the journal stop: the process must exit, nothing more becomes durable. */
  readonly failed: Promise<Error>;
  /** Close all clients, write and sync everything, give the data directory back. Idempotent. */
  close(): Promise<void>;
}

/** Recover the state from `disk` and start. Rejects with a `CoreError` of severity `fatal` when the data cannot be used. */
export function openBroker(options: BrokerOptions): Promise<RunningBroker> {
  options.log('error', 'the broker core is under construction');
  return Promise.reject(new CoreError('internal-error', 'under construction'));
}
