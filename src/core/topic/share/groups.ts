/** All share groups: found by topic and name, replayed, checkpointed. */
import type { ShareStart } from '../../door.ts';
import { CoreError } from '../../errors.ts';
import { type TlvReader, TlvWriter } from '../../tlv.ts';
import type { Partition } from '../partition.ts';
import { TOPIC_RECORD } from '../records.ts';
import type { Topic } from '../topic.ts';
import type { Topics } from '../topics.ts';
import { ShareGroup } from './group.ts';
import { SharePart } from './part.ts';
import { readPart, readSettled, type StoredPart, writePart } from './records.ts';

const record = new TlvWriter();

export class ShareGroups {
  readonly #topics: Topics;
  readonly #groups = new Map<Topic, Map<string, ShareGroup>>();
  readonly #parts = new Map<number, SharePart>();

  constructor(topics: Topics) {
    this.#topics = topics;
  }

  get(topic: Topic, name: string): ShareGroup | undefined {
    return this.#groups.get(topic)?.get(name);
  }

  all(topic: Topic): ShareGroup[] {
    return [...(this.#groups.get(topic)?.values() ?? [])];
  }

  /** The group of a name; a new one, from `start` on, when there is none. Throws `invalid-argument`, `limit-exceeded`. */
  open(topic: Topic, name: string, start: ShareStart): ShareGroup {
    const known = this.get(topic, name);
    if (known !== undefined) return known;
    const { nameBytesMax, shareGroupsPerTopicMax } = topic.vhost.engine.limits;
    const bytes = Buffer.byteLength(name);
    if (bytes === 0 || bytes > nameBytesMax) {
      throw new CoreError('invalid-argument', `the name of a share group has ${bytes} bytes, not 1 to ${nameBytesMax}`);
    }
    if (this.all(topic).length >= shareGroupsPerTopicMax) {
      throw new CoreError('limit-exceeded', `${shareGroupsPerTopicMax} share groups of topic '${topic.name}'`);
    }
    const group = this.#add(topic, name);
    group.parts = topic.partitions.map((partition) =>
      this.#openPart(group, partition, start === 'first' ? partition.start : partition.durableEnd),
    );
    return group;
  }

  #add(topic: Topic, name: string): ShareGroup {
    let groups = this.#groups.get(topic);
    if (groups === undefined) {
      groups = new Map();
      this.#groups.set(topic, groups);
    }
    const group = new ShareGroup(topic, name);
    groups.set(name, group);
    return group;
  }

  #openPart(group: ShareGroup, partition: Partition, next: number): SharePart {
    const stored = { id: this.#topics.nextId(), partitionId: partition.id, group: group.name, next, open: [] };
    writePart(record.reset(), stored);
    partition.engine.append(TOPIC_RECORD.shareOpen, record);
    return this.#addPart(group, partition, stored);
  }

  #addPart(group: ShareGroup, partition: Partition, { id, next, open }: StoredPart): SharePart {
    const part = new SharePart(this.#topics, group, id, partition, next);
    part.load(open);
    this.#parts.set(id, part);
    return part;
  }

  /** Forget a group. Throws `in-use` while it has consumers. */
  delete(group: ShareGroup): void {
    const { topic, name, subscriptions } = group;
    if (subscriptions.size > 0) {
      throw new CoreError(
        'in-use',
        `share group '${name}' of topic '${topic.name}' has ${subscriptions.size} consumers`,
      );
    }
    record.reset().u32(topic.id).text(name);
    topic.vhost.engine.append(TOPIC_RECORD.shareDelete, record);
    this.#forget(group);
  }

  #forget(group: ShareGroup): void {
    for (const part of group.parts) {
      this.#parts.delete(part.id);
      part.close();
    }
    const groups = this.#groups.get(group.topic);
    groups?.delete(group.name);
    if (groups?.size === 0) this.#groups.delete(group.topic);
  }

  /** A topic has more partitions: groups begin at their start. */
  grown(topic: Topic): void {
    for (const group of this.all(topic)) {
      const more = topic.partitions.slice(group.parts.length);
      group.parts = [...group.parts, ...more.map((partition) => this.#openPart(group, partition, partition.start))];
      group.wake();
    }
  }

  /** A topic is gone. */
  topicDeleted(topic: Topic): void {
    for (const group of this.all(topic)) {
      group.end('not-found');
      this.#forget(group);
    }
  }

  // ---- Replay and checkpoints -------------------------------------------------------------------------------------

  replay(type: number, from: TlvReader): void {
    if (type === TOPIC_RECORD.shareOpen) {
      this.load(from);
    } else if (type === TOPIC_RECORD.shareSettle) {
      this.#parts.get(from.u32())?.replay(readSettled(from));
    } else {
      const topic = this.#topics.topic(from.u32());
      const group = topic === undefined ? undefined : this.get(topic, from.text());
      if (group !== undefined) this.#forget(group);
    }
  }

  /** Replay is over. */
  recovered(): void {
    for (const part of this.#parts.values()) part.recovered();
  }

  moment(): StoredPart[] {
    return Array.from(this.#parts.values(), (part) => part.moment());
  }

  /** Take in a part as a checkpoint or a record holds it. Parts of a group come in the order of their partitions. */
  load(from: TlvReader): void {
    const stored = readPart(from);
    this.#topics.used(stored.id);
    const partition = this.#topics.partition(stored.partitionId);
    if (partition === undefined) return;
    const group = this.get(partition.topic, stored.group) ?? this.#add(partition.topic, stored.group);
    group.parts = [...group.parts, this.#addPart(group, partition, stored)];
  }
}
