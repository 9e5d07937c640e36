/** Records and checkpoint objects of share groups (docs/topics.md, "Records"). */
import type { ShareDeadLetter } from '../../door.ts';
import type { Engine } from '../../engine.ts';
import { type TlvReader, TlvWriter } from '../../tlv.ts';
import { TOPIC_RECORD } from '../records.ts';

/** Messages from `first` on that were settled: `word` 0, they are done; else how often they came back, and from bit 16 on, why they
 *  were given up. */
export interface SettledRange {
  readonly first: number;
  count: number;
  readonly word: number;
}

/** What a checkpoint knows of a share group's part. */
export interface StoredPart {
  readonly id: number;
  readonly partitionId: number;
  readonly group: string;
  readonly next: number;
  /** Before `next` and not done, ascending. */
  readonly open: readonly { readonly offset: number; readonly word: number }[];
}

const record = new TlvWriter();

/** SHARE_SETTLE. */
export function writeSettled(engine: Engine, id: number, ranges: readonly SettledRange[]): void {
  record.reset().u32(id).varint(ranges.length);
  for (const { first, count, word } of ranges) record.f64(first).varint(count).varint(word);
  engine.append(TOPIC_RECORD.shareSettle, record);
}

export function readSettled(from: TlvReader): SettledRange[] {
  return Array.from({ length: from.varint() }, () => {
    return { first: from.f64(), count: from.varint(), word: from.varint() };
  });
}

/** As SHARE_OPEN, then what is open. */
export function writePart(out: TlvWriter, { id, partitionId, group, next, open }: StoredPart): void {
  out.u32(id).u32(partitionId).text(group).f64(next).varint(open.length);
  for (const { offset, word } of open) out.f64(offset).varint(word);
}

export function readPart(from: TlvReader): StoredPart {
  const [id, partitionId, group, next] = [from.u32(), from.u32(), from.text(), from.f64()];
  const open = Array.from({ length: from.varint() }, () => ({ offset: from.f64(), word: from.varint() }));
  return { id, partitionId, group, next, open };
}

/** What a share group is told to do with what it gives up. */
export interface StoredShareRule {
  readonly topicId: number;
  readonly group: string;
  readonly deadLetter: ShareDeadLetter | undefined;
}

/** SHARE_RULE, and the object of a checkpoint. */
export function writeRule(out: TlvWriter, { topicId, group, deadLetter }: StoredShareRule): void {
  out
    .u32(topicId)
    .text(group)
    .table({ ...deadLetter });
}

export function readRule(from: TlvReader): StoredShareRule {
  const [topicId, group] = [from.u32(), from.text()];
  const { exchange, key } = from.table();
  if (typeof exchange !== 'string') return { topicId, group, deadLetter: undefined };
  return { topicId, group, deadLetter: typeof key === 'string' ? { exchange, key } : { exchange } };
}
