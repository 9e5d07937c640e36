/** Records and checkpoint objects of topics (docs/topics.md). Types 64 to 95 belong to them. */
import type { TopicSettings } from '../door.ts';
import type { HubValue } from '../message.ts';
import type { TlvReader, TlvWriter } from '../tlv.ts';
import type { SealedFile } from './sealed-file.ts';
import type { StoredProgress } from './sequences.ts';

export const TOPIC_RECORD = {
  /** partition u32, count u16, bits u16, time of the newest f64, [id u32, epoch u32, first sequence f64 of the idempotent producer,
   *  if bit 0], frames: so many messages get the next offsets. */
  append: 64,
  /** id u32, virtual host u32, name text, settings table, count varint, ids of partitions u32. */
  declare: 65,
  /** id u32. */
  delete: 66,
  /** id u32, settings table, count varint, ids of all partitions u32. */
  alter: 67,
  /** partition u32, file: its messages are in that file now. */
  sealed: 68,
  /** partition u32, start f64: what is before is gone. */
  start: 69,
  /** virtual host u32, group text, epoch f64, count varint, offsets. */
  commit: 70,
  /** virtual host u32, group text. */
  groupDelete: 71,
  /** virtual host u32, name text, id u32, epoch u32: an idempotent producer; without a name, only its number is taken. */
  origin: 72,
  /** virtual host u32, name text. */
  originDelete: 73,
  /** id u32, partition u32, group text, next f64, count varint, { offset f64, word varint } not done before that. Word: bits 0 to 15
   *  how often it came back, from bit 16 on why it was given up (a code of death.ts). */
  shareOpen: 74,
  /** id u32, count varint, { first f64, count varint, word varint; 0 = they are done }. */
  shareSettle: 75,
  /** topic u32, group text. */
  shareDelete: 76,
  /** partition u32, clean end f64, count of the oldest files that are replaced varint, count varint, files in their place. */
  compacted: 77,
  /** topic u32, group text, table with exchange and key, or without: where what a share group gives up goes. */
  shareRule: 84,
} as const;

export const TOPIC_RECORD_FIRST = 64;
export const TOPIC_RECORD_LAST = 95;
/** Kinds of objects in a checkpoint. */
export const TOPIC_OBJECT = { topic: 32, group: 33, origin: 34, sharePart: 35, shareRule: 40 } as const;
export const TOPIC_OBJECT_FIRST = 32;
export const TOPIC_OBJECT_LAST = 47;

export interface StoredTopic {
  id: number;
  vhostId: number;
  name: string;
  settings: TopicSettings;
  partitionIds: number[];
}

/** What a checkpoint knows of a partition beside its id. */
export interface StoredPartition {
  row: number;
  start: number;
  /** The offset after the last message of its runs. */
  end: number;
  cleanEnd: number;
  files: readonly SealedFile[];
  progress: readonly StoredProgress[];
}

export function writeTopic(out: TlvWriter, topic: StoredTopic): void {
  out.u32(topic.id).u32(topic.vhostId).text(topic.name);
  writeShape(out, topic.settings, topic.partitionIds);
}

export function readTopic(from: TlvReader): StoredTopic {
  return { id: from.u32(), vhostId: from.u32(), name: from.text(), ...readShape(from) };
}

/** What `alter` may change. */
export function writeShape(out: TlvWriter, settings: TopicSettings, partitionIds: readonly number[]): void {
  const { partitions: _, ...kept } = settings;
  const table: { [name: string]: HubValue } = {};
  for (const [name, value] of Object.entries(kept)) if (value !== undefined) table[name] = value as HubValue;
  out.table(table).varint(partitionIds.length);
  for (const id of partitionIds) out.u32(id);
}

export function readShape(from: TlvReader): { settings: TopicSettings; partitionIds: number[] } {
  const table = from.table();
  const partitionIds = Array.from({ length: from.varint() }, () => from.u32());
  return { settings: { ...table, partitions: partitionIds.length }, partitionIds };
}

export function writeFile(out: TlvWriter, file: SealedFile): void {
  out.f64(file.base).u32(file.generation).f64(file.end).f64(file.bytes).f64(file.firstMs).f64(file.newestMs);
}

export function readFile(from: TlvReader): SealedFile {
  return {
    ...{ base: from.f64(), generation: from.u32(), end: from.f64() },
    ...{ bytes: from.f64(), firstMs: from.f64(), newestMs: from.f64() },
  };
}

export function writePartition(out: TlvWriter, partition: StoredPartition): void {
  out.u32(partition.row).f64(partition.start).f64(partition.end).f64(partition.cleanEnd).varint(partition.files.length);
  for (const file of partition.files) writeFile(out, file);
  out.varint(partition.progress.length);
  for (const { id, epoch, stretches } of partition.progress) {
    out.u32(id).u32(epoch).varint(stretches.length);
    for (const { first, last, base } of stretches) out.f64(first).f64(last).f64(base);
  }
}

export function readPartition(from: TlvReader): StoredPartition {
  const row = from.u32();
  const start = from.f64();
  const end = from.f64();
  const cleanEnd = from.f64();
  const files = Array.from({ length: from.varint() }, () => readFile(from));
  const progress = Array.from({ length: from.varint() }, () => readProgress(from));
  return { row, start, end, cleanEnd, files, progress };
}

function readProgress(from: TlvReader): StoredProgress {
  const id = from.u32();
  const epoch = from.u32();
  const stretches = Array.from({ length: from.varint() }, () => {
    return { first: from.f64(), last: from.f64(), base: from.f64() };
  });
  return { id, epoch, stretches };
}

/** How far a group has come in a partition. Immutable. */
export interface StoredOffset {
  readonly partitionId: number;
  /** Of the message to be read next. */
  readonly offset: number;
  /** The consumer's own note. */
  readonly metadata: string;
  readonly timeMs: number;
}

export interface StoredGroup {
  readonly vhostId: number;
  readonly name: string;
  readonly epoch: number;
  readonly offsets: readonly StoredOffset[];
}

export function writeOffsets(out: TlvWriter, group: StoredGroup): void {
  out.u32(group.vhostId).text(group.name).f64(group.epoch).varint(group.offsets.length);
  for (const { partitionId, offset, metadata, timeMs } of group.offsets) {
    out.u32(partitionId).f64(offset).text(metadata).f64(timeMs);
  }
}

export function readOffsets(from: TlvReader): StoredGroup {
  const vhostId = from.u32();
  const name = from.text();
  const epoch = from.f64();
  const offsets = Array.from({ length: from.varint() }, () => {
    return { partitionId: from.u32(), offset: from.f64(), metadata: from.text(), timeMs: from.f64() };
  });
  return { vhostId, name, epoch, offsets };
}

/** A named idempotent producer. Immutable. */
export interface StoredOrigin {
  readonly vhostId: number;
  readonly name: string;
  readonly id: number;
  readonly epoch: number;
}

export function writeOrigin(out: TlvWriter, { vhostId, name, id, epoch }: StoredOrigin): void {
  out.u32(vhostId).text(name).u32(id).u32(epoch);
}

export function readOrigin(from: TlvReader): StoredOrigin {
  return { vhostId: from.u32(), name: from.text(), id: from.u32(), epoch: from.u32() };
}
