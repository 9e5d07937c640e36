/** The control plane of delayed messages. */
import { CoreError } from '../errors.ts';
import type { Queue } from '../queue/queue.ts';
import type { Topology } from '../topology.ts';
import type { DelayAdmin as DelayAdminDoor, DelayedInfo, DelayedPage } from './door.ts';
import { findDelayed, listDelayed } from './list.ts';

const LIMIT_DEFAULT = 100;

export class DelayAdmin implements DelayAdminDoor {
  readonly #topology: Topology;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  async list(vhost: string, queue: string, page: DelayedPage = {}): Promise<DelayedInfo[]> {
    return listDelayed(this.#queue(vhost, queue), page.limit ?? LIMIT_DEFAULT, page.after);
  }

  async cancel(vhost: string, name: string, handle: string): Promise<void> {
    const { engine } = this.#topology;
    const queue = this.#queue(vhost, name);
    const { slot, position } = findDelayed(queue, handle);
    queue.delays?.cancel(slot, position);
    engine.flushSettlements();
    await engine.whenDurable();
  }

  async fire(vhost: string, name: string, handle: string): Promise<void> {
    const { engine } = this.#topology;
    const queue = this.#queue(vhost, name);
    findDelayed(queue, handle);
    // Nobody sees a message that is not durable; meanwhile it may have gone another way.
    await engine.whenDurable();
    const { slot, position } = findDelayed(queue, handle);
    queue.delays?.release(slot, position);
    await engine.whenDurable();
  }

  #queue(vhostName: string, name: string): Queue {
    const vhost = this.#topology.vhosts.get(vhostName);
    if (vhost === undefined) throw new CoreError('not-found', `virtual host '${vhostName}'`);
    return vhost.queueFor(name, undefined);
  }
}
