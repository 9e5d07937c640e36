/** The log: one JSON line per event (pino) on standard output. Control-plane events only, never one line per message. */
import pino from 'pino';
import type { Log } from './adapters/log.ts';
import type { LogLevel } from './options.ts';

/** Like the adapters' and the core's `Log`, and one level more, for what ends the process. */
export type ServerLog = (
  level: Parameters<Log>[0] | 'fatal',
  msg: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;

/**
 * Lines are written at once, so that the last words of a dying process are not lost; there are few of them.
 * A reader that goes away must not take the broker with it: errors of the descriptor are ignored.
 */
export function createLog(level: LogLevel, descriptor = 1): ServerLog {
  const destination = pino.destination({ fd: descriptor, sync: true });
  destination.on('error', () => {});
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return (at, msg, fields) => logger[at](fields ?? {}, msg);
}
