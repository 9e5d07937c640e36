/** The control plane of message groups. */
import { CoreError } from '../errors.ts';
import type { Queue } from '../queue/queue.ts';
import type { Topology } from '../topology.ts';
import type { MessageGroupAdmin as MessageGroupAdminDoor, MessageGroupsInfo } from './door.ts';
import { groupHashOf } from './group-hash.ts';

export class MessageGroupAdmin implements MessageGroupAdminDoor {
  readonly #topology: Topology;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  info(vhost: string, name: string): MessageGroupsInfo {
    const { rules, selection } = this.#queue(vhost, name);
    return { buckets: rules.groupBuckets, pinned: [...(selection?.owners.pinned() ?? [])] };
  }

  bucketOf(vhost: string, name: string, group: string): number {
    const { groupBuckets } = this.#queue(vhost, name).rules;
    return groupBuckets === 0 ? -1 : groupHashOf(group) % groupBuckets;
  }

  release(vhost: string, name: string, group: string): boolean {
    return this.#queue(vhost, name).selection?.owners.release(groupHashOf(group)) ?? false;
  }

  #queue(vhostName: string, name: string): Queue {
    const vhost = this.#topology.vhosts.get(vhostName);
    if (vhost === undefined) throw new CoreError('not-found', `virtual host '${vhostName}'`);
    return vhost.queueFor(name, undefined);
  }
}
