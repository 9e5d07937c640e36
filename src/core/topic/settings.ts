/** Settings of topics: what they may be, and what a listing shows. */
import type { PartitionInfo, TopicInfo, TopicSettings } from '../door.ts';
import { CoreError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type { Partition } from './partition.ts';
import type { Topic } from './topic.ts';

/** Lowest value of each number that may be left out. */
const LOWEST = { retentionMs: 1, retentionBytes: 1, fileBytes: 4096, compactLagMs: 0, tombstoneMs: 0 } as const;
const NAMES = Object.keys(LOWEST) as (keyof typeof LOWEST)[];

/** Throws `invalid-argument`, `limit-exceeded`. @param partitionsMin so many there are already */
export function checkTopicSettings(settings: TopicSettings, limits: Limits, partitionsMin = 1): void {
  const { partitions } = settings;
  if (!Number.isInteger(partitions) || partitions < partitionsMin) {
    throw new CoreError(
      'invalid-argument',
      `partitions is ${partitions}; it is a whole number from ${partitionsMin} on`,
    );
  }
  if (partitions > limits.partitionsPerTopicMax) {
    throw new CoreError('limit-exceeded', `${partitions} partitions; ${limits.partitionsPerTopicMax} are allowed`);
  }
  for (const name of NAMES) {
    const value = settings[name];
    if (value === undefined || (Number.isSafeInteger(value) && value >= LOWEST[name])) continue;
    throw new CoreError('invalid-argument', `${name} is ${value}; it is a whole number from ${LOWEST[name]} on`);
  }
}

/** Throws `already-exists` when a topic has other settings than are wanted. */
export function checkSameTopic(topic: Topic, wanted: TopicSettings): void {
  for (const name of ['partitions', 'compact', ...NAMES] as const) {
    if (topic.settings[name] !== wanted[name]) {
      const has = topic.settings[name] ?? 'not set';
      throw new CoreError('already-exists', `topic '${topic.name}' has ${name} ${has}, not ${wanted[name]}`);
    }
  }
}

export function topicInfo(topic: Topic): TopicInfo {
  const { name, settings, partitions } = topic;
  const published = partitions.reduce((sum, partition) => sum + partition.appended, 0);
  return { name, ...settings, details: partitions.map(partitionInfo), published };
}

function partitionInfo({ start, end, durableEnd, bytes, files, readers }: Partition): PartitionInfo {
  return { start, end, durableEnd, bytes, files: files.length, readers: readers.size };
}
