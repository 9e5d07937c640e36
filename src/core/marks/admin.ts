/** The control plane of message ids that queues remember. */
import { writeU32 } from '../bytes.ts';
import { CoreError } from '../errors.ts';
import type { Queue } from '../queue/queue.ts';
import { RECORD } from '../records.ts';
import type { Topology } from '../topology.ts';
import type { MessageIdsAdmin as MessageIdsAdminDoor } from './door.ts';
import { type Print, printOf } from './print.ts';

export class MessageIdsAdmin implements MessageIdsAdminDoor {
  readonly #topology: Topology;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  count(vhost: string, name: string): number {
    return this.#queue(vhost, name).marks?.dedup?.size ?? 0;
  }

  has(vhost: string, name: string, id: string): boolean {
    const { marks, engine } = this.#queue(vhost, name);
    return marks?.dedup?.has(printOf(id) as Print, engine.now()) ?? false;
  }

  async forget(vhost: string, name: string): Promise<void> {
    const queue = this.#queue(vhost, name);
    const { engine } = queue;
    queue.marks?.dedup?.clear();
    if (!queue.logged) return;
    const at = engine.journal.append(RECORD.forgetIds, 4);
    writeU32(engine.journal.bytes, at, queue.id);
    engine.wrote();
    await engine.whenDurable();
  }

  #queue(vhost: string, name: string): Queue {
    const queue = this.#topology.vhost(vhost).queues.get(name);
    if (queue === undefined) throw new CoreError('not-found', `queue '${name}' in virtual host '${vhost}'`);
    return queue;
  }
}
