import type { DiskFile } from '../disk.ts';
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC_BYTES,
  type BatchHeader,
  type ChainLink,
  continues,
  emptyBatchHeader,
  FORMAT_VERSION,
  isBatchIntact,
  readBatchHeader,
} from './batch.ts';
import { ReadWindow } from './read-window.ts';
import { eachRecord, RECORD_OPEN } from './record.ts';

/**
 * Why a scan stopped: `end` the segment ends right here; `torn` what follows is no intact batch; `stale` an intact batch that was
 * written before the last valid one (left over); `foreign` an intact one that does not continue the chain; `version` one of
 * a newer program; `mistaken` an intact one that continues the chain, but its records make no sense; `header` the segment's
 * header is damaged, though the log has durable batches in that segment.
 */
export type StopReason = 'end' | 'torn' | 'stale' | 'foreign' | 'version' | 'mistaken' | 'header';

export interface ScanStop {
  /** Where the last valid batch ends. */
  readonly offset: number;
  readonly reason: StopReason;
}

/** Called for each valid batch: `bytes[start, start + header.length)`, at `header.offset` in the segment. */
export type BatchVisitor = (bytes: Buffer, start: number, header: BatchHeader) => void;

/**
 * Read the batches of a segment from `offset` up to the end or the first that is not valid. `link` is the batch before, and is
 * moved along. Reads ahead of the visitor, so that disk and processor work at the same time.
 */
export async function scanBatches(
  file: DiskFile,
  size: number,
  offset: number,
  link: ChainLink,
  visit: BatchVisitor,
): Promise<ScanStop> {
  const header = emptyBatchHeader();
  const window = new ReadWindow(file, size, offset);
  try {
    for (;;) {
      if (offset === size) return { offset, reason: 'end' };
      if (!(await window.ensure(offset, BATCH_HEADER_BYTES))) return { offset, reason: 'torn' };
      if (!readBatchHeader(window.bytes, window.indexOf(offset), header)) return { offset, reason: 'torn' };
      if (header.offset !== offset || offset + header.length > size) return { offset, reason: 'torn' };
      if (!(await window.ensure(offset, header.length))) return { offset, reason: 'torn' };
      const start = window.indexOf(offset);
      const reason = judge(window.bytes, start, header, link);
      if (reason !== undefined) return { offset, reason };
      visit(window.bytes, start, header);
      link.epoch = header.epoch;
      link.number = header.number;
      link.crc = header.crc;
      offset += header.length;
    }
  } finally {
    await window.idle();
  }
}

/** What is wrong with the complete batch at `start`, which follows `link`; undefined when it is valid. */
function judge(bytes: Buffer, start: number, header: BatchHeader, link: ChainLink): StopReason | undefined {
  if (!isBatchIntact(bytes, start, header)) return 'torn';
  if (header.version !== FORMAT_VERSION) return 'version';
  if (!continues(link, header)) return header.number <= link.number ? 'stale' : 'foreign';
  let first = 0;
  const count = eachRecord(bytes, start + BATCH_HEADER_BYTES, start + header.length, (type) => {
    if (first === 0) first = type;
  });
  if (count !== header.count) return 'mistaken';
  // The epoch rises with the first batch of a process, and that one says so.
  if (header.epoch > link.epoch && first !== RECORD_OPEN) return 'mistaken';
  return undefined;
}

/**
 * Is there an intact batch of the log behind `offset`, where the scan stopped? Looks at every byte, since the length of a bad
 * batch cannot be trusted. A batch counts if it is intact, was written for just this place and is not older than `link`.
 */
export async function hasLaterBatch(file: DiskFile, size: number, offset: number, link: ChainLink): Promise<boolean> {
  const rest = Buffer.allocUnsafe(Math.max(0, size - offset));
  const got = await file.read(rest, 0, rest.length, offset);
  const header = emptyBatchHeader();
  for (let at = 1; ; at++) {
    at = rest.indexOf(BATCH_MAGIC_BYTES, at);
    if (at === -1 || at + BATCH_HEADER_BYTES > got) return false;
    if (!readBatchHeader(rest, at, header) || header.offset !== offset + at || at + header.length > got) continue;
    if (header.number > link.number && isBatchIntact(rest, at, header)) return true;
  }
}
