/** Records and checkpoint objects of share groups (docs/topics.md, "Records"). */
import type { Engine } from '../../engine.ts';
import { type TlvReader, TlvWriter } from '../../tlv.ts';
import { TOPIC_RECORD } from '../records.ts';

/** Messages from `first` on that were settled: `returns` 0, they are done; else they came back, for that time. */
export interface SettledRange {
  readonly first: number;
  count: number;
  readonly returns: number;
}

/** What a checkpoint knows of a share group's part. */
export interface StoredPart {
  readonly id: number;
  readonly partitionId: number;
  readonly group: string;
  readonly next: number;
  /** Before `next` and not done, ascending. */
  readonly open: readonly { readonly offset: number; readonly returns: number }[];
}

const record = new TlvWriter();

/** SHARE_SETTLE. */
export function writeSettled(engine: Engine, id: number, ranges: readonly SettledRange[]): void {
  record.reset().u32(id).varint(ranges.length);
  for (const { first, count, returns } of ranges) record.f64(first).varint(count).varint(returns);
  engine.append(TOPIC_RECORD.shareSettle, record);
}

export function readSettled(from: TlvReader): SettledRange[] {
  return Array.from({ length: from.varint() }, () => {
    return { first: from.f64(), count: from.varint(), returns: from.varint() };
  });
}

/** As SHARE_OPEN, then what is open. */
export function writePart(out: TlvWriter, { id, partitionId, group, next, open }: StoredPart): void {
  out.u32(id).u32(partitionId).text(group).f64(next).varint(open.length);
  for (const { offset, returns } of open) out.f64(offset).varint(returns);
}

export function readPart(from: TlvReader): StoredPart {
  const [id, partitionId, group, next] = [from.u32(), from.u32(), from.text(), from.f64()];
  const open = Array.from({ length: from.varint() }, () => ({ offset: from.f64(), returns: from.varint() }));
  return { id, partitionId, group, next, open };
}
