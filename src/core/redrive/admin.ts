/** Redrives: checks and answers. */
import { CoreError } from '../errors.ts';
import type { Queue } from '../queue/queue.ts';
import type { Topology } from '../topology.ts';
import type { Vhost } from '../vhost.ts';
import type { RedriveAdmin as RedriveAdminDoor, RedriveInfo, RedriveOptions } from './door.ts';
import type { Job } from './job.ts';

export class RedriveAdmin implements RedriveAdminDoor {
  readonly #topology: Topology;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  async start(vhostName: string, name: string, options: RedriveOptions = {}): Promise<RedriveInfo> {
    const { redrives, engine } = this.#topology;
    const vhost = this.#topology.vhost(vhostName);
    const queue = knownQueue(vhost, name);
    checkOptions(vhost, queue, options);
    const running = redrives.all().filter((job) => !job.ended);
    if (running.some(({ task }) => task.queueId === queue.id))
      throw new CoreError('in-use', `a redrive of queue '${name}' is under way`);
    const { redrivesMax } = engine.limits;
    if (running.length >= redrivesMax) throw new CoreError('limit-exceeded', `${redrivesMax} redrives are under way`);
    const info = redrives.start(queue, options).info();
    await engine.whenDurable();
    return info;
  }

  list(vhostName: string): RedriveInfo[] {
    const vhost = this.#topology.vhost(vhostName);
    const jobs = this.#topology.redrives.all().filter(({ task }) => task.vhost === vhost);
    return jobs.map((job) => job.info()).reverse();
  }

  get(vhostName: string, id: number): RedriveInfo | undefined {
    return this.#job(vhostName, id)?.info();
  }

  async cancel(vhostName: string, id: number): Promise<RedriveInfo> {
    const job = this.#job(vhostName, id);
    if (job === undefined) throw new CoreError('not-found', `redrive ${id} in virtual host '${vhostName}'`);
    this.#topology.redrives.end(job, 'cancelled');
    await this.#topology.engine.whenDurable();
    return job.info();
  }

  #job(vhostName: string, id: number): Job | undefined {
    const job = this.#topology.redrives.get(id);
    return job?.task.vhost === this.#topology.vhost(vhostName) ? job : undefined;
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
