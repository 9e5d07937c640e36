/** Redrives: checks, the list of jobs, answers. */
import { CoreError } from '../errors.ts';
import type { Queue } from '../queue/queue.ts';
import type { Topology } from '../topology.ts';
import type { Vhost } from '../vhost.ts';
import type { RedriveAdmin as RedriveAdminDoor, RedriveInfo, RedriveOptions } from './door.ts';
import { Redrive } from './job.ts';

export class RedriveAdmin implements RedriveAdminDoor {
  readonly #topology: Topology;
  /** In the order in which they began. */
  readonly #jobs = new Map<number, Redrive>();
  #lastId = 0;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  start(vhostName: string, name: string, options: RedriveOptions = {}): RedriveInfo {
    const vhost = this.#topology.vhost(vhostName);
    const queue = knownQueue(vhost, name);
    checkOptions(vhost, queue, options);
    const running = [...this.#jobs.values()].filter((job) => !job.ended);
    if (running.some((job) => job.queue === queue))
      throw new CoreError('in-use', `a redrive of queue '${name}' is under way`);
    const { redrivesMax } = this.#topology.engine.limits;
    if (running.length >= redrivesMax) throw new CoreError('limit-exceeded', `${redrivesMax} redrives are under way`);
    const job = new Redrive(++this.#lastId, queue, options);
    this.#jobs.set(job.id, job);
    this.#forgetOld();
    void job.run();
    return job.info();
  }

  list(vhostName: string): RedriveInfo[] {
    const vhost = this.#topology.vhost(vhostName);
    const jobs = [...this.#jobs.values()].filter((job) => job.queue.vhost === vhost);
    return jobs.map((job) => job.info()).reverse();
  }

  get(vhostName: string, id: number): RedriveInfo | undefined {
    return this.#job(vhostName, id)?.info();
  }

  cancel(vhostName: string, id: number): RedriveInfo {
    const job = this.#job(vhostName, id);
    if (job === undefined) throw new CoreError('not-found', `redrive ${id} in virtual host '${vhostName}'`);
    job.cancel();
    return job.info();
  }

  #job(vhostName: string, id: number): Redrive | undefined {
    const job = this.#jobs.get(id);
    return job?.queue.vhost === this.#topology.vhost(vhostName) ? job : undefined;
  }

  #forgetOld(): void {
    const ended = [...this.#jobs.values()].filter((job) => job.ended);
    const { redrivesKeptMax } = this.#topology.engine.limits;
    for (const job of ended.slice(0, Math.max(0, ended.length - redrivesKeptMax))) this.#jobs.delete(job.id);
  }
}

function checkOptions(vhost: Vhost, queue: Queue, { to, ratePerSecond, max }: RedriveOptions): void {
  if (ratePerSecond !== undefined && !(ratePerSecond > 0 && Number.isFinite(ratePerSecond)))
    throw new CoreError('invalid-argument', `a rate of ${ratePerSecond} a second is not above 0`);
  if (max !== undefined && !(Number.isSafeInteger(max) && max > 0))
    throw new CoreError('invalid-argument', `at most ${max} is not a whole number from 1`);
  if (to === undefined) return;
  if ('queue' in to) {
    if (knownQueue(vhost, to.queue) === queue)
      throw new CoreError('invalid-argument', `messages of queue '${queue.name}' cannot be redriven to itself`);
  } else if (vhost.router.get(to.exchange) === undefined) {
    throw new CoreError('not-found', `exchange '${to.exchange}' in virtual host '${vhost.name}'`);
  }
}

function knownQueue(vhost: Vhost, name: string): Queue {
  const queue = vhost.queues.get(name);
  if (queue === undefined) throw new CoreError('not-found', `queue '${name}' in virtual host '${vhost.name}'`);
  return queue;
}
