/**
 * All redrives of the broker: their records, replay, checkpoints. A job of a queue that survives a restart does so too, and goes on
 * with what is left of the messages that were there when it began.
 */
import type { Queue } from '../queue/queue.ts';
import { RECORD } from '../records.ts';
import { type TlvReader, TlvWriter } from '../tlv.ts';
import type { Topology } from '../topology.ts';
import type { RedriveOptions, RedriveState } from './door.ts';
import { Job, readEnd, readJob, writeEnd, writeJob } from './job.ts';
import { Runner } from './runner.ts';

const record = new TlvWriter();

export class Redrives {
  readonly #topology: Topology;
  /** In the order in which they began. */
  readonly #jobs = new Map<number, Job>();
  #lastId = 0;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  all(): Job[] {
    return [...this.#jobs.values()];
  }

  get(id: number): Job | undefined {
    return this.#jobs.get(id);
  }

  /** Begin. Throws what is wrong with the filter. */
  start(queue: Queue, options: RedriveOptions): Job {
    const { engine } = this.#topology;
    const task = {
      id: this.#lastId + 1,
      vhost: queue.vhost,
      queueId: queue.id,
      queueName: queue.name,
      options,
      startedAtMs: engine.clock.now(),
      ends: queue.lanes.all.map(({ id, ring }) => ({ logId: id, end: ring.tail })),
    };
    const job = new Job(task);
    const runner = new Runner(job, queue, this);
    this.#add(job);
    job.found = queue.ready;
    if (queue.logged) {
      // Places up to the end are never given again, whatever is in them.
      for (const lane of queue.lanes.all) lane.beforeLogged();
      writeJob(record.reset(), job);
      engine.append(RECORD.redrive, record);
    }
    void runner.run();
    return job;
  }

  /** A message is about to be moved. Counted before it is, so that a crash in between has counted one too many, never too few. */
  moving(job: Job, queue: Queue): void {
    job.moved++;
    if (!queue.logged) return;
    record.reset().u32(job.task.id);
    this.#topology.engine.append(RECORD.redriveMoved, record);
  }

  end(job: Job, state: RedriveState, reason?: string): void {
    if (job.ended) return;
    const { engine } = this.#topology;
    job.state = state;
    job.reason = reason;
    job.endedAtMs = engine.clock.now();
    if (engine.failure !== undefined || engine.closed) return;
    record
      .reset()
      .u32(job.task.id)
      .f64(job.skipped)
      .f64(Math.max(0, job.found - job.seen));
    writeEnd(record, job);
    engine.append(RECORD.redriveEnd, record);
  }

  #add(job: Job): void {
    this.#jobs.set(job.task.id, job);
    this.#lastId = Math.max(this.#lastId, job.task.id);
    this.#forgetOld();
  }

  #forgetOld(): void {
    const ended = this.all().filter((job) => job.ended);
    const { redrivesKeptMax } = this.#topology.engine.limits;
    for (const job of ended.slice(0, Math.max(0, ended.length - redrivesKeptMax))) this.#jobs.delete(job.task.id);
  }

  // ---- Replay and checkpoints -------------------------------------------------------------------------------------

  replay(type: number, from: TlvReader): void {
    if (type === RECORD.redrive) {
      this.load(from);
      return;
    }
    const job = this.#jobs.get(from.u32());
    if (job === undefined) return;
    if (type === RECORD.redriveMoved) job.moved++;
    else {
      job.skipped = from.f64();
      job.found = from.f64();
      readEnd(from, job);
    }
  }

  /** Take in a job as a checkpoint or a record holds it. */
  load(from: TlvReader): void {
    const job = readJob(from, this.#topology.vhostsById);
    if (job !== undefined) this.#add(job);
  }

  /** Those that survive a restart, as they are now. */
  moment(): Job[] {
    const { queuesById } = this.#topology;
    const surviving = this.all().filter(({ task }) => queuesById.get(task.queueId)?.logged !== false);
    return surviving.map((job) => Object.assign(new Job(job.task), job));
  }

  /** The broker is open: go on. */
  resume(): void {
    for (const job of this.all()) if (!job.ended) this.#resume(job);
  }

  #resume(job: Job): void {
    const queue = this.#topology.queuesById.get(job.task.queueId);
    if (queue === undefined) {
      this.end(job, 'failed', 'the queue was deleted');
      return;
    }
    try {
      const runner = new Runner(job, queue, this);
      // What was looked at and left there is looked at again.
      job.skipped = 0;
      job.seen = 0;
      job.found = runner.count();
      void runner.run();
    } catch (error) {
      this.end(job, 'failed', (error as Error).message);
    }
  }
}
