/**
 * A consumer group: committed offsets, which last, and members, which do not. The broker decides who reads what. A partition has one
 * holder: it is taken from one member, who says when it has let go, before it is given to the next.
 */
import type { Client } from '../client.ts';
import type { GroupHandlers, GroupInfo, GroupOptions, GroupStrategy, OffsetCommit } from '../door.ts';
import { CoreError } from '../errors.ts';
import { TlvWriter } from '../tlv.ts';
import type { Vhost } from '../vhost.ts';
import { STRATEGIES, targetOf } from './assign.ts';
import { Member } from './member.ts';
import type { Partition } from './partition.ts';
import { type StoredOffset, TOPIC_RECORD, writeOffsets } from './records.ts';

const record = new TlvWriter();

export type FoundCommit = OffsetCommit & { readonly source: Partition };

/** Of groups whose members do not say. */
const DEFAULT_STRATEGY: GroupStrategy = 'cooperative-sticky';

export class Group {
  readonly vhost: Vhost;
  readonly name: string;
  /** By id of the partition. Values are replaced, never changed. */
  readonly offsets = new Map<number, StoredOffset>();
  readonly members = new Set<Member>();
  /** Rises with every change of who should hold what. */
  epoch = 0;
  #strategy: GroupStrategy = DEFAULT_STRATEGY;
  #asked = false;
  #lastMember = 0;

  constructor(vhost: Vhost, name: string) {
    this.vhost = vhost;
    this.name = name;
  }

  get strategy(): GroupStrategy {
    return this.#strategy;
  }

  // ---- Offsets ----------------------------------------------------------------------------------------------------

  /** Throws `not-found`, `invalid-argument`. */
  find(offsets: readonly OffsetCommit[]): FoundCommit[] {
    return offsets.map((one) => ({ ...one, source: this.vhost.topicOf(one.topic).partition(one.partition) }));
  }

  /** Whether a client may commit these. Throws `fenced`, `offset-out-of-range`, `invalid-argument`. */
  checkFor(client: Client, commits: readonly FoundCommit[]): void {
    this.#check(commits);
    if (this.members.size === 0) return;
    const mine = [...this.members].filter((member) => member.client === client);
    for (const { source } of commits) {
      if (mine.some((member) => member.held.has(source))) continue;
      const which = `partition ${source.number} of '${source.topic.name}'`;
      throw new CoreError('fenced', `${which} is not held by a member of this client in group '${this.name}'`);
    }
  }

  /** Write offsets down. Throws `offset-out-of-range`, `invalid-argument`; then nothing is written. */
  commit(commits: readonly FoundCommit[], epoch: number): void {
    const { engine } = this.vhost;
    this.#check(commits);
    const timeMs = engine.clock.now();
    const offsets = commits.map(({ source, offset, metadata = '' }) => ({
      partitionId: source.id,
      offset,
      metadata,
      timeMs,
    }));
    writeOffsets(record.reset(), { vhostId: this.vhost.id, name: this.name, epoch, offsets });
    engine.append(TOPIC_RECORD.commit, record);
    this.apply(offsets, epoch);
  }

  #check(commits: readonly FoundCommit[]): void {
    const { offsetMetadataBytesMax } = this.vhost.engine.limits;
    for (const { source, offset, metadata } of commits) {
      if (!Number.isSafeInteger(offset) || offset < 0 || offset > source.durableEnd) {
        const where = `partition ${source.number} of topic '${source.topic.name}'`;
        throw new CoreError('offset-out-of-range', `offset ${offset}; ${where} ends at ${source.durableEnd}`);
      }
      if (metadata !== undefined && Buffer.byteLength(metadata) > offsetMetadataBytesMax) {
        throw new CoreError('invalid-argument', `metadata has more than ${offsetMetadataBytesMax} bytes`);
      }
    }
  }

  /** The same, live and in replay. */
  apply(offsets: readonly StoredOffset[], epoch: number): void {
    for (const offset of offsets) this.offsets.set(offset.partitionId, offset);
    this.epoch = Math.max(this.epoch, epoch);
  }

  // ---- Members ----------------------------------------------------------------------------------------------------

  /** Throws `not-found` (a topic), `invalid-argument` (strategy), `limit-exceeded`. */
  join(client: Client, options: GroupOptions, handlers: GroupHandlers): Member {
    const { groupMembersMax } = this.vhost.engine.limits;
    const strategy = options.strategy ?? (this.members.size > 0 ? this.#strategy : DEFAULT_STRATEGY);
    if (!STRATEGIES.includes(strategy)) throw new CoreError('invalid-argument', `there is no strategy '${strategy}'`);
    if (this.members.size > 0 && strategy !== this.#strategy) {
      throw new CoreError(
        'invalid-argument',
        `group '${this.name}' has strategy '${this.#strategy}', not '${strategy}'`,
      );
    }
    if (this.members.size >= groupMembersMax) {
      throw new CoreError('limit-exceeded', `${groupMembersMax} members of group '${this.name}'`);
    }
    for (const topic of options.topics) this.vhost.topicOf(topic);
    this.#strategy = strategy;
    const id = `${options.memberName ?? client.identity.clientId}-${client.id}-${++this.#lastMember}`;
    const member = new Member(this, id, client, options, handlers);
    this.members.add(member);
    this.changed();
    return member;
  }

  leave(member: Member): void {
    if (!this.members.delete(member)) return;
    member.retire();
    this.changed();
    this.vhost.topology.topics.groups.tidy(this);
  }

  /** Members, partitions or holders are others now: see at the end of the turn who should hold what. Changes at the same time are
   *  one. */
  changed(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.vhost.engine.clock.soon(() => {
      this.#asked = false;
      if (this.vhost.engine.failure === undefined) this.#reconcile();
    });
  }

  /** Take what is with the wrong member, give what is free. Members may leave or release while they are told. */
  #reconcile(): void {
    const members = [...this.members];
    for (const member of members) {
      for (const partition of member.held) if (partition.deleted) member.lose(partition);
    }
    const target = targetOf(this.#strategy, members, this.#partitions(members));
    const held = new Set(members.flatMap((member) => [...member.held]));
    const revokes = new Map<Member, Partition[]>();
    const assigns = new Map<Member, Partition[]>();
    for (const [member, partitions] of target) {
      const wanted = new Set(partitions);
      const back = [...member.held].filter((partition) => !wanted.has(partition) && !member.revoking.has(partition));
      const free = partitions.filter((partition) => !held.has(partition));
      if (back.length > 0) revokes.set(member, back);
      if (free.length > 0) assigns.set(member, free);
    }
    if (revokes.size + assigns.size === 0) return;
    this.epoch++;
    for (const [member, partitions] of revokes) if (!member.gone) member.revoke(partitions, this.epoch);
    for (const [member, partitions] of assigns) if (!member.gone) member.assign(partitions, this.epoch);
  }

  /** The partitions of all topics that somebody wants, by topic and number. */
  #partitions(members: readonly Member[]): Partition[] {
    const names = new Set(members.flatMap((member) => [...member.topics]));
    return [...names].sort().flatMap((name) => this.vhost.topics.get(name)?.partitions ?? []);
  }

  info(): GroupInfo {
    const { name, strategy, epoch, vhost } = this;
    const holders = new Map(
      [...this.members].flatMap((member) => [...member.held].map((one) => [one, member.id] as const)),
    );
    const offsets = [...vhost.topics.values()].flatMap((topic) =>
      topic.partitions.flatMap((partition) => {
        const stored = this.offsets.get(partition.id);
        const member = holders.get(partition);
        if (stored === undefined && member === undefined) return [];
        const { start, durableEnd: end } = partition;
        const committed = stored === undefined ? {} : { offset: stored.offset, committedAtMs: stored.timeMs };
        return {
          topic: topic.name,
          partition: partition.number,
          ...committed,
          metadata: stored?.metadata ?? '',
          lag: end - Math.max(stored?.offset ?? start, start),
          ...(member === undefined ? {} : { member }),
        };
      }),
    );
    return { name, strategy, epoch, members: [...this.members].map((member) => member.id), offsets };
  }
}
