/** The producer groups of all virtual hosts, by name: they come into being when they are used, and go when nobody needs them. */
import { CoreError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type { Vhost } from '../vhost.ts';
import { ProducerGroup } from './producer-group.ts';
import { checkName } from './settings.ts';

export class ProducerGroups {
  readonly #limits: Limits;
  readonly #groups = new Map<Vhost, Map<string, ProducerGroup>>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get(vhost: Vhost, name: string): ProducerGroup | undefined {
    return this.#groups.get(vhost)?.get(name);
  }

  all(vhost: Vhost): ProducerGroup[] {
    return [...(this.#groups.get(vhost)?.values() ?? [])];
  }

  /** The group of a name; a new one when there is none. Throws `invalid-argument`, `limit-exceeded`. */
  open(vhost: Vhost, name: string): ProducerGroup {
    const known = this.get(vhost, name);
    if (known !== undefined) return known;
    checkName(name, 'the name of a producer group', this.#limits);
    const { producerGroupsPerVhostMax } = this.#limits;
    if ((this.#groups.get(vhost)?.size ?? 0) >= producerGroupsPerVhostMax) {
      const text = `${producerGroupsPerVhostMax} producer groups in virtual host '${vhost.name}'`;
      throw new CoreError('limit-exceeded', text);
    }
    return this.add(vhost, name);
  }

  /** The same without checks, for replay. */
  add(vhost: Vhost, name: string): ProducerGroup {
    let groups = this.#groups.get(vhost);
    if (groups === undefined) {
      groups = new Map();
      this.#groups.set(vhost, groups);
    }
    const group = groups.get(name) ?? new ProducerGroup(vhost, name);
    groups.set(name, group);
    return group;
  }

  /** Forget a group that nobody needs. */
  tidy(group: ProducerGroup): void {
    if (group.unused) this.#groups.get(group.vhost)?.delete(group.name);
  }

  removeVhost(vhost: Vhost): void {
    this.#groups.delete(vhost);
  }

  /** Those with an address to be called at. */
  *withCallback(): IterableIterator<ProducerGroup> {
    for (const groups of this.#groups.values()) {
      for (const group of groups.values()) if (group.callback !== undefined) yield group;
    }
  }
}
