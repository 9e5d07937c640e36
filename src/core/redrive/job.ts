/** One redrive: what it is to do, and how far it is. What it does is in runner.ts. */
import type { HubValue } from '../message.ts';
import type { TlvReader, TlvWriter } from '../tlv.ts';
import type { Vhost } from '../vhost.ts';
import type { RedriveInfo, RedriveOptions, RedriveState } from './door.ts';

/** Up to which position an entry log was filled when the job began: what comes later, perhaps because it died once more, is not
 *  this job's. */
export interface LogEnd {
  readonly logId: number;
  readonly end: number;
}

/** What does not change. */
export interface Task {
  readonly id: number;
  readonly vhost: Vhost;
  /** It may be gone. */
  readonly queueId: number;
  readonly queueName: string;
  readonly options: RedriveOptions;
  readonly startedAtMs: number;
  readonly ends: readonly LogEnd[];
}

/** Their places in this list are on disk. */
const STATES = ['running', 'waiting', 'done', 'cancelled', 'failed'] as const satisfies readonly RedriveState[];

export class Job {
  readonly task: Task;
  state: RedriveState = 'running';
  /** Why it waits or has failed. */
  reason: string | undefined;
  endedAtMs: number | undefined;
  moved = 0;
  skipped = 0;
  /** Messages it has to look at, and those of them that it has looked at. */
  found = 0;
  seen = 0;

  constructor(task: Task) {
    this.task = task;
  }

  get ended(): boolean {
    return this.endedAtMs !== undefined;
  }

  info(): RedriveInfo {
    const { id, queueName: queue, options, startedAtMs } = this.task;
    const { state, moved, skipped, endedAtMs, reason } = this;
    const left = Math.max(0, this.found - this.seen);
    return { ...options, id, queue, state, moved, skipped, left, startedAtMs, endedAtMs, reason };
  }
}

/** REDRIVE, and the object of a checkpoint. */
export function writeJob(out: TlvWriter, { task, moved, skipped, found, seen, ...end }: Job): void {
  const { id, vhost, queueId, queueName, options, startedAtMs, ends } = task;
  out.u32(id).u32(vhost.id).u32(queueId).text(queueName).table(tableOf(options)).f64(startedAtMs);
  out.varint(ends.length);
  for (const { logId, end: position } of ends) out.u32(logId).f64(position);
  out
    .f64(moved)
    .f64(skipped)
    .f64(Math.max(0, found - seen));
  writeEnd(out, end);
}

/** The job that `writeJob` wrote; undefined when its virtual host is gone. */
export function readJob(from: TlvReader, vhosts: ReadonlyMap<number, Vhost>): Job | undefined {
  const [id, vhost] = [from.u32(), vhosts.get(from.u32())];
  const [queueId, queueName, options, startedAtMs] = [from.u32(), from.text(), optionsOf(from.table()), from.f64()];
  const ends = Array.from({ length: from.varint() }, () => ({ logId: from.u32(), end: from.f64() }));
  if (vhost === undefined) return undefined;
  const job = new Job({ id, vhost, queueId, queueName, options, startedAtMs, ends });
  job.moved = from.f64();
  job.skipped = from.f64();
  job.found = from.f64();
  readEnd(from, job);
  return job;
}

type End = Pick<Job, 'state' | 'endedAtMs' | 'reason'>;

/** How a job has ended, if it has. */
export function writeEnd(out: TlvWriter, { state, endedAtMs = 0, reason = '' }: End): void {
  out.u8(STATES.indexOf(state)).f64(endedAtMs).text(reason);
}

export function readEnd(from: TlvReader, job: Job): void {
  const [state, endedAtMs, reason] = [STATES[from.u8()] ?? 'failed', from.f64(), from.text()];
  if (endedAtMs === 0) return;
  job.state = state;
  job.endedAtMs = endedAtMs;
  job.reason = reason === '' ? undefined : reason;
}

function tableOf({ to, ...rest }: RedriveOptions): { [name: string]: HubValue } {
  const table: { [name: string]: HubValue } = {};
  for (const [name, value] of Object.entries({ ...to, ...rest })) if (value !== undefined) table[name] = value;
  return table;
}

function optionsOf(table: { [name: string]: HubValue }): RedriveOptions {
  const { queue, exchange, key, ...rest } = table as { queue?: string; exchange?: string; key?: string };
  if (queue !== undefined) return { ...rest, to: { queue } };
  if (exchange === undefined) return rest;
  return { ...rest, to: key === undefined ? { exchange } : { exchange, key } };
}
