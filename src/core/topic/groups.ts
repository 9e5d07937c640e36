/** All consumer groups: found by virtual host and name, replayed, checkpointed. */
import type { Engine } from '../engine.ts';
import { CoreError } from '../errors.ts';
import { type TlvReader, TlvWriter } from '../tlv.ts';
import type { Vhost } from '../vhost.ts';
import { Group } from './group.ts';
import { readOffsets, type StoredGroup, TOPIC_RECORD } from './records.ts';
import type { Topic } from './topic.ts';

const record = new TlvWriter();

export class Groups {
  readonly #vhosts: ReadonlyMap<number, Vhost>;
  readonly #groups = new Map<Vhost, Map<string, Group>>();

  constructor(vhosts: ReadonlyMap<number, Vhost>) {
    this.#vhosts = vhosts;
  }

  get(vhost: Vhost, name: string): Group | undefined {
    return this.#groups.get(vhost)?.get(name);
  }

  all(vhost: Vhost): Group[] {
    return [...(this.#groups.get(vhost)?.values() ?? [])];
  }

  /** The group of a name; a new one when there is none. Throws `invalid-argument`, `limit-exceeded`. */
  open(vhost: Vhost, name: string): Group {
    const known = this.get(vhost, name);
    if (known !== undefined) return known;
    const { nameBytesMax, groupsPerVhostMax } = vhost.engine.limits;
    const bytes = Buffer.byteLength(name);
    if (bytes === 0 || bytes > nameBytesMax) {
      throw new CoreError(
        'invalid-argument',
        `the name of a group has ${bytes} bytes; 1 to ${nameBytesMax} are allowed`,
      );
    }
    if (this.all(vhost).length >= groupsPerVhostMax) {
      throw new CoreError('limit-exceeded', `${groupsPerVhostMax} groups in virtual host '${vhost.name}'`);
    }
    return this.#add(vhost, name);
  }

  /** Do something with the group of a name, as `open` finds it. It is forgotten when it is empty after that. */
  use<T>(vhost: Vhost, name: string, task: (group: Group) => T): T {
    const group = this.open(vhost, name);
    try {
      return task(group);
    } finally {
      this.tidy(group);
    }
  }

  /** A group without members and offsets is no more. */
  tidy({ vhost, name, members, offsets }: Group): void {
    if (members.size + offsets.size === 0) this.#groups.get(vhost)?.delete(name);
  }

  #add(vhost: Vhost, name: string): Group {
    let groups = this.#groups.get(vhost);
    if (groups === undefined) {
      groups = new Map();
      this.#groups.set(vhost, groups);
    }
    const group = new Group(vhost, name);
    groups.set(name, group);
    return group;
  }

  /** Forget a group and its offsets. Throws `in-use` while it has members. */
  delete(engine: Engine, group: Group): void {
    if (group.members.size > 0) {
      throw new CoreError('in-use', `group '${group.name}' has ${group.members.size} members`);
    }
    record.reset().u32(group.vhost.id).text(group.name);
    engine.append(TOPIC_RECORD.groupDelete, record);
    this.#groups.get(group.vhost)?.delete(group.name);
  }

  /** Partitions of a topic came or went. */
  topicChanged(topic: Topic): void {
    for (const group of this.all(topic.vhost)) {
      if (topic.deleted) for (const partition of topic.partitions) group.offsets.delete(partition.id);
      if (group.members.size > 0) group.changed();
      else this.tidy(group);
    }
  }

  removeVhost(vhost: Vhost): void {
    this.#groups.delete(vhost);
  }

  // ---- Replay and checkpoints -------------------------------------------------------------------------------------

  replay(type: number, from: TlvReader): void {
    if (type === TOPIC_RECORD.commit) {
      this.load(from);
      return;
    }
    const vhost = this.#vhosts.get(from.u32());
    if (vhost !== undefined) this.#groups.get(vhost)?.delete(from.text());
  }

  /** Groups with offsets at one moment: those without are not kept over a restart. */
  moment(): StoredGroup[] {
    return [...this.#groups].flatMap(([vhost, groups]) =>
      [...groups.values()]
        .filter((group) => group.offsets.size > 0)
        .map(({ name, epoch, offsets }) => ({ vhostId: vhost.id, name, epoch, offsets: [...offsets.values()] })),
    );
  }

  /** Take in a group as a checkpoint or a record holds it. */
  load(from: TlvReader): void {
    const { vhostId, name, epoch, offsets } = readOffsets(from);
    const vhost = this.#vhosts.get(vhostId);
    if (vhost !== undefined) (this.get(vhost, name) ?? this.#add(vhost, name)).apply(offsets, epoch);
  }
}
