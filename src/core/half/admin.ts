/** The control plane of half messages. */
import { CoreError } from '../errors.ts';
import type { Message } from '../message.ts';
import type { Topology } from '../topology.ts';
import type { Vhost } from '../vhost.ts';
import { showMessages } from './checks.ts';
import type { HalfAdmin as HalfAdminDoor, HalfCaller, HalfInfo, HalfOp, ProducerGroupInfo } from './door.ts';
import type { Half } from './half.ts';

export class HalfAdmin implements HalfAdminDoor {
  readonly #topology: Topology;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  list(vhostName: string, group?: string): HalfInfo[] {
    const vhost = this.#vhost(vhostName);
    const infos: HalfInfo[] = [];
    for (const half of this.#topology.halves.open()) {
      const isWanted = half.group.vhost === vhost && (group === undefined || half.group.name === group);
      if (isWanted) infos.push(half.info());
    }
    return infos;
  }

  get(vhost: string, group: string, id: string): HalfInfo | undefined {
    return this.#find(vhost, group, id)?.info();
  }

  async messages(vhost: string, group: string, id: string, each: (message: Message) => void): Promise<void> {
    const half = this.#find(vhost, group, id);
    if (half === undefined) throw new CoreError('not-found', `half message '${id}' of producer group '${group}'`);
    await showMessages(this.#topology.engine, half, each);
  }

  #find(vhost: string, group: string, id: string): Half | undefined {
    const half = this.#topology.halves.groups.get(this.#vhost(vhost), group)?.halves.get(id);
    return half !== undefined && isOpen(half) ? half : undefined;
  }

  async finish(vhostName: string, group: string, id: string, op: HalfOp): Promise<void> {
    const { halves, engine } = this.#topology;
    const half = halves.ending(this.#vhost(vhostName), group, id, op);
    if (half !== undefined) {
      await new Promise<void>((resolve, reject) => {
        halves.end(half, op, (error) => (error === undefined ? resolve() : reject(error)));
      });
    }
    await engine.whenDurable();
  }

  groups(vhostName: string): ProducerGroupInfo[] {
    return this.#topology.halves.groups.all(this.#vhost(vhostName)).map((group) => group.info());
  }

  async setCallback(vhostName: string, name: string, address: string | undefined): Promise<void> {
    const { halves, engine } = this.#topology;
    const vhost = this.#vhost(vhostName);
    const group = address === undefined ? halves.groups.get(vhost, name) : halves.groups.open(vhost, name);
    if (group === undefined) throw new CoreError('not-found', `producer group '${name}'`);
    halves.setCallback(group, address);
    await engine.whenDurable();
  }

  setCaller(caller: HalfCaller): void {
    this.#topology.halves.checks.caller = caller;
  }

  #vhost(name: string): Vhost {
    const vhost = this.#topology.vhosts.get(name);
    if (vhost === undefined) throw new CoreError('not-found', `virtual host '${name}'`);
    return vhost;
  }
}

function isOpen({ outcome }: Half): boolean {
  return outcome === undefined;
}
