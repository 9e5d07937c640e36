/** A member of a consumer group: what it holds, and what it is being asked to give up. */
import type { Client } from '../client.ts';
import type { Timer } from '../clock.ts';
import type { GroupHandlers, GroupMember, GroupOptions, OffsetCommit, TopicPartition } from '../door.ts';
import { CoreError, type ErrorCode } from '../errors.ts';
import type { Assignable } from './assign.ts';
import type { Group } from './group.ts';
import type { Partition } from './partition.ts';

export class Member implements GroupMember, Assignable {
  readonly id: string;
  readonly client: Client;
  readonly topics: ReadonlySet<string>;
  /** Assigned, and not released: those in `revoking` too. */
  readonly held = new Set<Partition>();
  /** Held, and asked back. */
  readonly revoking = new Set<Partition>();
  epoch = 0;
  gone = false;
  readonly #group: Group;
  readonly #handlers: GroupHandlers;
  #patience: Timer | undefined;

  constructor(group: Group, id: string, client: Client, options: GroupOptions, handlers: GroupHandlers) {
    this.#group = group;
    this.id = id;
    this.client = client;
    this.topics = new Set(options.topics);
    this.#handlers = handlers;
  }

  get group(): string {
    return this.#group.name;
  }

  get assigned(): TopicPartition[] {
    return this.kept.map(named);
  }

  get revoked(): TopicPartition[] {
    return [...this.revoking].map(named);
  }

  get kept(): Partition[] {
    return [...this.held].filter((partition) => !this.revoking.has(partition));
  }

  wants(partition: Partition): boolean {
    return this.topics.has(partition.topic.name);
  }

  committed(topic: string, partition: number): number | undefined {
    return this.#group.offsets.get(this.#group.vhost.topicOf(topic).partition(partition).id)?.offset;
  }

  commit(offsets: readonly OffsetCommit[], done: () => void): void {
    const found = this.#group.find(offsets);
    for (const { source } of found) {
      if (this.gone || !this.held.has(source)) {
        throw new CoreError(
          'fenced',
          `partition ${source.number} of '${source.topic.name}' is not held by '${this.id}'`,
        );
      }
    }
    this.#group.commit(found, this.epoch);
    this.client.engine.afterDurable(done);
  }

  release(partitions: readonly TopicPartition[] = [...this.revoking].map(named)): void {
    if (this.gone) return;
    for (const { topic, partition } of partitions) {
      for (const source of this.revoking) {
        if (source.topic.name !== topic || source.number !== partition) continue;
        this.revoking.delete(source);
        this.held.delete(source);
      }
    }
    if (this.revoking.size === 0) this.#patience?.cancel();
    this.#group.changed();
  }

  leave(): void {
    this.#group.leave(this);
  }

  // ---- The group's side -------------------------------------------------------------------------------------------

  revoke(partitions: readonly Partition[], epoch: number): void {
    this.epoch = epoch;
    const { clock, limits } = this.client.engine;
    // Being asked for more does not give more time for the first.
    if (this.revoking.size === 0) this.#patience = clock.after(limits.groupReleaseMs, () => this.end('fenced'));
    for (const partition of partitions) this.revoking.add(partition);
    this.#handlers.onRevoked(partitions.map(named), epoch);
  }

  assign(partitions: readonly Partition[], epoch: number): void {
    this.epoch = epoch;
    for (const partition of partitions) this.held.add(partition);
    this.#handlers.onAssigned(partitions.map(named), epoch);
  }

  /** The topic was deleted: there is nothing to give up. */
  lose(partition: Partition): void {
    this.held.delete(partition);
    this.revoking.delete(partition);
    if (this.revoking.size === 0) this.#patience?.cancel();
  }

  /** Forget everything; the group has forgotten us. */
  retire(): void {
    this.gone = true;
    this.#patience?.cancel();
    this.held.clear();
    this.revoking.clear();
    this.client.leftGroup(this);
  }

  /** Put out by the broker. */
  end(reason: ErrorCode): void {
    if (this.gone) return;
    this.leave();
    this.#handlers.onEnd?.(reason);
  }
}

function named(partition: Partition): TopicPartition {
  return { topic: partition.topic.name, partition: partition.number };
}
