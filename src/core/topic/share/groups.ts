/** All share groups: found by topic and name, replayed, checkpointed. */
import type { ShareDeadLetter, ShareSettings } from '../../door.ts';
import { CoreError } from '../../errors.ts';
import { type TlvReader, TlvWriter } from '../../tlv.ts';
import type { Partition } from '../partition.ts';
import { TOPIC_RECORD } from '../records.ts';
import type { Topic } from '../topic.ts';
import type { Topics } from '../topics.ts';
import { ShareGroup } from './group.ts';
import { SharePart } from './part.ts';
import {
  readPart,
  readRule,
  readSettled,
  type StoredPart,
  type StoredShareRule,
  writePart,
  writeRule,
} from './records.ts';

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

  /** The group of a name; a new one, with these settings, when there is none. Throws `invalid-argument`, `limit-exceeded`,
   *  `not-found` (the exchange). */
  open(topic: Topic, name: string, { start = 'next', deadLetter }: ShareSettings): ShareGroup {
    const known = this.get(topic, name);
    if (known !== undefined) return known;
    checkExchange(topic, deadLetter);
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
    if (deadLetter !== undefined) this.#setRule(group, deadLetter);
    return group;
  }

  /** Have a group go by these settings; it is made when it is not there. Throws as `open`. */
  set(topic: Topic, name: string, settings: ShareSettings): ShareGroup {
    const { deadLetter } = settings;
    checkExchange(topic, deadLetter);
    const group = this.open(topic, name, settings);
    if (!sameRule(group.deadLetters?.rule, deadLetter)) this.#setRule(group, deadLetter);
    return group;
  }

  #setRule(group: ShareGroup, deadLetter: ShareDeadLetter | undefined): void {
    const { topic, name } = group;
    writeRule(record.reset(), { topicId: topic.id, group: name, deadLetter });
    topic.vhost.engine.append(TOPIC_RECORD.shareRule, record);
    group.setDeadLetter(this.#topics, deadLetter);
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
    group.deadLetters?.close();
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
    } else if (type === TOPIC_RECORD.shareRule) {
      this.loadRule(from);
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

  /** Take in the rule of a group as a checkpoint or a record holds it. */
  loadRule(from: TlvReader): void {
    const { topicId, group: name, deadLetter } = readRule(from);
    const topic = this.#topics.topic(topicId);
    const group = topic === undefined ? undefined : this.get(topic, name);
    group?.setDeadLetter(this.#topics, deadLetter);
  }

  /** Rules at one moment. */
  rules(): StoredShareRule[] {
    return [...this.#groups.values()].flatMap((groups) =>
      [...groups.values()].flatMap(({ topic, name, deadLetters }) =>
        deadLetters === undefined ? [] : [{ topicId: topic.id, group: name, deadLetter: deadLetters.rule }],
      ),
    );
  }
}

function checkExchange({ vhost }: Topic, deadLetter: ShareDeadLetter | undefined): void {
  if (deadLetter === undefined || vhost.router.get(deadLetter.exchange) !== undefined) return;
  throw new CoreError('not-found', `exchange '${deadLetter.exchange}' in virtual host '${vhost.name}'`);
}

function sameRule(a: ShareDeadLetter | undefined, b: ShareDeadLetter | undefined): boolean {
  return a?.exchange === b?.exchange && a?.key === b?.key;
}
