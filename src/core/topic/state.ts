/** What topics put into a checkpoint: objects of kinds 32 to 47 (docs/topics.md, "Records"). */
import { CoreError } from '../errors.ts';
import type { TlvReader, TlvWriter } from '../tlv.ts';
import {
  readPartition,
  readTopic,
  type StoredGroup,
  type StoredOrigin,
  type StoredPartition,
  type StoredTopic,
  TOPIC_OBJECT,
  writeOffsets,
  writeOrigin,
  writePartition,
  writeTopic,
} from './records.ts';
import { type StoredPart, type StoredShareRule, writePart, writeRule } from './share/records.ts';
import type { Topic } from './topic.ts';
import type { Topics } from './topics.ts';

interface TopicMoment {
  readonly topic: StoredTopic;
  readonly partitions: readonly StoredPartition[];
}

/** Topics and groups as they are when it is made, to be encoded at leisure. */
export class TopicsMoment {
  readonly #topics: readonly TopicMoment[];
  readonly #groups: readonly StoredGroup[];
  readonly #origins: readonly StoredOrigin[];
  readonly #shares: readonly StoredPart[];
  readonly #shareRules: readonly StoredShareRule[];

  constructor(topics: Topics) {
    this.#topics = Array.from(topics.all(), momentOf);
    this.#groups = topics.groups.moment();
    this.#origins = topics.origins.moment();
    this.#shares = topics.shares.moment();
    this.#shareRules = topics.shares.rules();
  }

  /** Write the objects one by one. */
  *encode(out: TlvWriter): Generator<void, void, undefined> {
    for (const { topic, partitions } of this.#topics) {
      writeTopic(out.u8(TOPIC_OBJECT.topic), topic);
      for (const partition of partitions) writePartition(out, partition);
      yield;
    }
    for (const group of this.#groups) yield writeOffsets(out.u8(TOPIC_OBJECT.group), group);
    for (const part of this.#shares) yield writePart(out.u8(TOPIC_OBJECT.sharePart), part);
    for (const rule of this.#shareRules) yield writeRule(out.u8(TOPIC_OBJECT.shareRule), rule);
    for (const origin of this.#origins) yield writeOrigin(out.u8(TOPIC_OBJECT.origin), origin);
  }
}

function momentOf({ id, vhost, name, settings, partitions }: Topic): TopicMoment {
  return {
    topic: { id, vhostId: vhost.id, name, settings, partitionIds: partitions.map((partition) => partition.id) },
    partitions: partitions.map(({ runs, start, cleanEnd, files, progress }) => ({
      row: runs.row,
      ...{ start, end: runs.end, cleanEnd, files, progress },
    })),
  };
}

/** Take in what `encode` wrote, after the kind. Throws `journal-corrupt`. */
export function loadTopicObject(topics: Topics, kind: number, from: TlvReader): void {
  if (kind === TOPIC_OBJECT.topic) {
    const topic = readTopic(from);
    const partitions = topic.partitionIds.map(() => readPartition(from));
    topics.load(topic, partitions);
  } else if (kind === TOPIC_OBJECT.group) topics.groups.load(from);
  else if (kind === TOPIC_OBJECT.sharePart) topics.shares.load(from);
  else if (kind === TOPIC_OBJECT.shareRule) topics.shares.loadRule(from);
  else if (kind === TOPIC_OBJECT.origin) topics.origins.load(from);
  else throw new CoreError('journal-corrupt', `checkpoint: an object of kind ${kind}`);
}
