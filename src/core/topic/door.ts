/** The part of the door (door.ts) that topics, their readers and consumer groups are behind. The same rules hold. */
import type { ErrorCode } from '../errors.ts';
import type { Message, MessageOrigin } from '../message.ts';

// ---- Reading ----------------------------------------------------------------------------------------------------

/** A place in a partition: its first message, its last one, behind the last one, an offset (taken to the nearest end when there
 *  is nothing), the first message not older than a time, or the n-th from the end. */
export type ReadFrom =
  | 'first'
  | 'last'
  | 'next'
  | { readonly offset: number }
  | { readonly timeMs: number }
  | { readonly lastN: number };

export interface ReaderHandlers {
  /** As `SubscriptionHandlers.onDeliveries`: what is left untaken pauses the reader until `resume()`. */
  onRecords(batch: RecordBatch): void;
  /** The reader ended without being asked to: topic deleted, or client closed by the operator. */
  onEnd?(reason: ErrorCode): void;
}

export interface RecordBatch {
  /** Go to the next message; false when there is none for now. */
  next(): boolean;
  /** Offset of the message. They ascend, and may leave some out: what retention has removed while the reader was behind. */
  readonly offset: number;
  /** Messages in the batch shown as a whole, of which `offset` is the first, and `message.body` what its producer sent; 0 = it is a
   *  single message. A batch is shown so to readers that ask for it, which then may get offsets before the one they began at; to
   *  others only when it cannot be taken apart. */
  readonly sealed: number;
  /** Reused view: valid until the next call of `next`. */
  readonly message: Message;
}

export interface ReaderOptions {
  /** Id of the `Format` whose batches are shown as a whole; unset: all are taken apart. */
  readonly sealed?: number;
}

/** Where a batch is. */
export interface Appended {
  readonly partition: number;
  /** Of its first message; -1: it was appended before, so long ago that its offset is not remembered. */
  readonly offset: number;
  /** Messages in it. */
  readonly count: number;
  /** False: the publisher should pause until `onDrain`. */
  readonly goesOn: boolean;
}

/** A cursor over one partition. It shows what is durable; at the end it waits, and is woken. */
export interface Reader {
  readonly topic: string;
  readonly partition: number;
  /** Offset of the next message. */
  readonly position: number;
  /** Take messages again after a batch was left unfinished. */
  resume(): void;
  /** Go on from another offset. Throws `offset-out-of-range`. */
  seek(offset: number): void;
  close(): void;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface OffsetCommit extends TopicPartition {
  /** Of the message to be read next: one more than the last one that is done. */
  readonly offset: number;
  /** The consumer's own note. */
  readonly metadata?: string;
}

/** How partitions are dealt out among the members of a group. */
export type GroupStrategy = 'range' | 'round-robin' | 'cooperative-sticky';

export interface GroupOptions {
  readonly topics: readonly string[];
  /** All members have the same; unset: that of the others, or `cooperative-sticky`. */
  readonly strategy?: GroupStrategy;
  /** Begins the member's id; unset: the client id. */
  readonly memberName?: string;
}

/** Called in the broker's own turn. */
export interface GroupHandlers {
  /** These partitions are the member's now: read from where the group is (`GroupMember.committed`). */
  onAssigned(partitions: readonly TopicPartition[], epoch: number): void;
  /** Give these up: stop reading, commit, then `release`. They may still be committed until then. */
  onRevoked(partitions: readonly TopicPartition[], epoch: number): void;
  /** Put out: it did not release in time (`fenced`), or its client was closed by the operator. */
  onEnd?(reason: ErrorCode): void;
}

export interface GroupMember {
  readonly id: string;
  readonly group: string;
  /** Rises whenever something was assigned to the member or asked back from it. */
  readonly epoch: number;
  readonly assigned: readonly TopicPartition[];
  /** Asked back, and not released. */
  readonly revoked: readonly TopicPartition[];
  /** The group's offset in a partition; undefined when none was committed. */
  committed(topic: string, partition: number): number | undefined;
  /** Commit offsets of partitions the member holds, all or none; `done` when they are durable. Throws `fenced`,
   *  `offset-out-of-range`, `invalid-argument`, `not-found`. */
  commit(offsets: readonly OffsetCommit[], done: () => void): void;
  /** Partitions that were asked back (all of them by default) are given up, and go to their next holders. */
  release(partitions?: readonly TopicPartition[]): void;
  leave(): void;
}

// ---- Control plane ----------------------------------------------------------------------------------------------

export interface TopicSettings {
  /** 1 or more; may grow, never shrinks. Growing sends groups to other partitions. */
  partitions: number;
  /** Messages older than this are removed, whole files at a time; unset: kept for ever. */
  retentionMs?: number;
  /** Bytes of one partition beyond which its oldest files are removed; at least so many stay. Unset: no limit. */
  retentionBytes?: number;
  /** Of messages with a key (their group; else, when they came through an exchange with bindings, their routing key) only the
   *  newest is kept; one with an empty body says that there is none. The others stay. */
  compact?: boolean;
  /** Messages younger than this are not compacted; unset: 0. */
  compactLagMs?: number;
  /** So long at least a message with an empty body stays, for readers to see it; unset: a day. */
  tombstoneMs?: number;
  /** Bytes at which a new file is begun; unset: `limits.topicFileBytes`. */
  fileBytes?: number;
}

export interface PartitionInfo {
  /** First offset that can be read, and the one the next message gets. */
  start: number;
  end: number;
  /** What is before it is durable and can be read. */
  durableEnd: number;
  /** Bytes on disk, and how many files they are in beside the journal. */
  bytes: number;
  files: number;
  readers: number;
}

export interface TopicInfo extends TopicSettings {
  name: string;
  /** By number. */
  details: PartitionInfo[];
  /** Process-lifetime counter. */
  published: number;
}

/** An idempotent producer with a name. */
export interface OriginInfo {
  name: string;
  id: number;
  /** How often it was opened again. */
  epoch: number;
}

export interface GroupOffsetInfo extends TopicPartition {
  /** Unset: nothing was committed. */
  offset?: number;
  committedAtMs?: number;
  metadata: string;
  /** Messages between the group's offset (or the start) and the durable end. */
  lag: number;
  /** Id of the member that holds the partition. */
  member?: string;
}

export interface GroupInfo {
  name: string;
  strategy: GroupStrategy;
  epoch: number;
  /** Ids. */
  members: string[];
  offsets: GroupOffsetInfo[];
}

/** Where a share group begins that is not there yet: at the oldest message, or behind the newest. */
export type ShareStart = 'first' | 'next';

/** Where what a share group gives up goes: rejected, or come back too often. */
export interface ShareDeadLetter {
  readonly exchange: string;
  /** Unset: their own. */
  readonly key?: string;
}

export interface ShareSettings {
  /** For a new group; default `next`. */
  readonly start?: ShareStart;
  /** Unset: what is given up is done. */
  readonly deadLetter?: ShareDeadLetter;
}

/** `SubscribeOptions.share`: take messages of a topic together with others, as if it were a queue. The settings are those of a new
 *  group. */
export interface ShareOptions extends ShareSettings {
  readonly group: string;
}

export interface SharePartInfo {
  partition: number;
  /** Everything before it is done. */
  start: number;
  /** Nothing from here on was handed out. */
  next: number;
  /** Handed out and not settled; come back and waiting. */
  held: number;
  returned: number;
  /** Given up, and on their way to the dead letter exchange. */
  leaving: number;
  /** Not done. */
  lag: number;
}

export interface ShareGroupInfo {
  topic: string;
  name: string;
  consumers: number;
  deadLetter?: ShareDeadLetter;
  /** Messages that went there; process-lifetime counter. */
  deadLettered: number;
  partitions: SharePartInfo[];
}

/** Promises resolve when the effect is durable. */
export interface TopicAdmin {
  /** Same settings again: fine. Others: `already-exists`, as for the name of a queue; change them with `alter`. */
  create(vhost: string, name: string, settings: TopicSettings): Promise<TopicInfo>;
  /** Other settings. Throws `not-found`, `invalid-argument` (fewer partitions). */
  alter(vhost: string, name: string, settings: TopicSettings): Promise<TopicInfo>;
  delete(vhost: string, name: string): Promise<void>;
  /** Remove what is before `offset` from a partition; files go as soon as all in them is removed. Resolves to its new start.
   *  Throws `not-found`, `invalid-argument`, `offset-out-of-range` (behind what is durable). */
  truncate(vhost: string, name: string, partition: number, offset: number): Promise<number>;
  get(vhost: string, name: string): TopicInfo | undefined;
  list(vhost: string): TopicInfo[];

  group(vhost: string, name: string): GroupInfo | undefined;
  groups(vhost: string): GroupInfo[];
  /** Set offsets of a group without members; it is made when it is not there. Throws `in-use`, and as `GroupMember.commit`. */
  setOffsets(vhost: string, name: string, offsets: readonly OffsetCommit[]): Promise<void>;
  /** Forget a group. Throws `not-found`, `in-use` (it has members). */
  deleteGroup(vhost: string, name: string): Promise<void>;

  /** Throws `not-found`. */
  shareGroups(vhost: string, topic: string): ShareGroupInfo[];
  /** Have a share group go by these settings; it is made when it is not there. Throws `not-found` (topic, exchange),
   *  `invalid-argument`, `limit-exceeded`. */
  setShareGroup(vhost: string, topic: string, name: string, settings: ShareSettings): Promise<ShareGroupInfo>;
  /** Forget a share group. Throws `not-found`, `in-use` (it has consumers). */
  deleteShareGroup(vhost: string, topic: string, name: string): Promise<void>;

  /** A number and an epoch for an idempotent producer (`Message.origin`). The same name has the same number and the next epoch,
   *  and what is published with an older one is refused (`fenced`). Without a name, a number nobody else ever gets. Sequences
   *  begin at 0 with each epoch. Throws `invalid-argument`, `limit-exceeded`. */
  openOrigin(vhost: string, name?: string): Promise<MessageOrigin>;
  /** Those with names. */
  origins(vhost: string): OriginInfo[];
  /** Forget a name. Throws `not-found`. */
  deleteOrigin(vhost: string, name: string): Promise<void>;
}
