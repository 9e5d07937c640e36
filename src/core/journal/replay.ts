import type { Disk, DiskFile } from '../disk.ts';
import { CoreError } from '../errors.ts';
import { BATCH_HEADER_BYTES, type BatchHeader } from './batch.ts';
import type { ReplayRecord } from './journal.ts';
import type { LogSegment } from './log-segment.ts';
import { eachRecord, RECORD_CORE_MIN } from './record.ts';
import { decideLog, type LogDecision, type LogFinding, type RecoveryRemedy } from './recovery.ts';
import { hasLaterBatch, type ScanStop, scanBatches } from './scan.ts';
import { KIND_LOG, readSegmentHeader, SEGMENT_HEADER_BYTES, segmentPath } from './segment.ts';
import type { LogPosition } from './writer.ts';

export interface ReplayOptions {
  readonly disk: Disk;
  /** All log segments there are, by number. */
  readonly segments: ReadonlyMap<number, LogSegment>;
  /** Replay starts after this batch. */
  readonly from: LogPosition;
  /** 0: not known yet, the first segment tells. */
  readonly journalId: number;
  readonly remedy: RecoveryRemedy | 'none';
}

/** What replay found: where the log ends, and what has to go before it can be continued. */
export interface Replayed {
  readonly tail: LogPosition;
  readonly journalId: number;
  readonly batches: number;
  readonly bytes: number;
  /** Why the log ends there: label of a row of the decision table. */
  readonly label: string;
  /** Cut this segment to so many bytes; 0 removes it. */
  readonly cut: { readonly segment: number; readonly bytes: number } | undefined;
  /** Segments behind the end. */
  readonly behind: readonly number[];
  /** The header of this segment has to be written again; 0 = of none. */
  readonly mend: number;
  /** The operator gave up data: keep a copy of what is cut and rename what is behind, instead of removing it. */
  readonly setAside: boolean;
}

/** Hand every record after `from` to `record`, in order, up to the end of the log. Rejects when that is no end to start from. */
export async function replayLog(options: ReplayOptions, record: ReplayRecord): Promise<Replayed> {
  const replay = new Replay(options, record);
  return replay.run();
}

class Replay {
  readonly #options: ReplayOptions;
  readonly #record: ReplayRecord;
  readonly #tail: LogPosition;
  #journalId: number;
  #batches = 0;
  #bytes = 0;
  /** Segment whose damaged header is passed over. */
  #mend = 0;

  constructor(options: ReplayOptions, record: ReplayRecord) {
    this.#options = options;
    this.#record = record;
    this.#tail = { ...options.from };
    this.#journalId = options.journalId;
  }

  async run(): Promise<Replayed> {
    let number = this.#tail.segment;
    let offset = this.#tail.end;
    for (;;) {
      const finding = await this.#scan(number, offset);
      const { label, decision } = decideLog(finding);
      if (decision === 'next') {
        number++;
        offset = 0;
        continue;
      }
      if (decision === 'mend') {
        this.#mend = number;
        continue;
      }
      this.#refuse(decision, label, number, finding.offset);
      return this.#finish(decision, label, number, finding);
    }
  }

  /** Replay one segment from `offset` on and find out what its end means. Segment 0 stands for "before the first". */
  async #scan(number: number, offset: number): Promise<LogFinding & ScanStop> {
    const { disk, remedy } = this.#options;
    if (number === 0) {
      return { offset: 0, reason: 'end', laterBatch: false, laterSegments: await this.#laterSegments(0), remedy };
    }
    const segment = this.#options.segments.get(number)!;
    const file = await disk.open(segment.path, 'read');
    try {
      const size = await file.size();
      const stop =
        (await this.#checkHeader(file, number, offset)) ?? (await this.#replaySegment(file, size, segment, offset));
      const laterBatch = stop.reason !== 'end' && (await hasLaterBatch(file, size, stop.offset, this.#tail));
      return { ...stop, laterBatch, laterSegments: await this.#laterSegments(number), remedy };
    } finally {
      await file.close();
    }
  }

  /** Undefined when the header is right: the segment can be read. */
  async #checkHeader(file: DiskFile, number: number, offset: number): Promise<ScanStop | undefined> {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const got = await file.read(bytes, 0, bytes.length, 0);
    const header = got < bytes.length ? undefined : readSegmentHeader(bytes);
    if (header === undefined && offset > SEGMENT_HEADER_BYTES) {
      return number === this.#mend ? undefined : { offset, reason: 'header' };
    }
    if (header === undefined) return { offset, reason: 'torn' };
    if (header === 'version') return { offset, reason: 'version' };
    if (this.#journalId === 0) this.#journalId = header.journalId;
    const known = header.kind === KIND_LOG && header.segment === number && header.journalId === this.#journalId;
    const continues = header.firstBatch === this.#tail.number + 1 && header.previousCrc === this.#tail.crc;
    return known && (offset > 0 || continues) ? undefined : { offset, reason: 'foreign' };
  }

  #replaySegment(file: DiskFile, size: number, segment: LogSegment, offset: number): Promise<ScanStop> {
    const tail = this.#tail;
    const visit = (bytes: Buffer, start: number, header: BatchHeader) => {
      const { offset: at, length } = header;
      const delta = at - start;
      eachRecord(bytes, start + BATCH_HEADER_BYTES, start + length, (type, _bytes, from, to) => {
        if (type >= RECORD_CORE_MIN) this.#record(type, bytes, from, to, segment.number, from + delta);
      });
      segment.note(at, at + length);
      tail.segment = segment.number;
      tail.start = at;
      tail.end = at + length;
      this.#batches++;
      this.#bytes += length;
    };
    return scanBatches(file, size, Math.max(offset, SEGMENT_HEADER_BYTES), tail, visit);
  }

  async #laterSegments(number: number): Promise<LogFinding['laterSegments']> {
    const later = this.#behind(number);
    if (later.length === 0) return 'none';
    if (later[0] !== number + 1) return 'gap';
    if (later.length > 1) return 'next';
    const file = await this.#options.disk.open(segmentPath(number + 1), 'read');
    try {
      return (await hasLaterBatch(file, await file.size(), 0, this.#tail)) ? 'next' : 'empty';
    } finally {
      await file.close();
    }
  }

  #behind(number: number): number[] {
    return [...this.#options.segments.keys()].filter((other) => other > number).sort((a, b) => a - b);
  }

  #refuse(decision: LogDecision, label: string, number: number, offset: number): void {
    if (decision !== 'refuse' && decision !== 'refuse-version') return;
    const place = `${segmentPath(number)} at ${offset}: ${label}`;
    if (decision === 'refuse-version') throw new CoreError('journal-version', place);
    const hint = 'the remedy truncate-tail would give up everything from there on';
    throw new CoreError('journal-corrupt', `${place} (last good batch ${this.#tail.number}; ${hint})`);
  }

  #finish(decision: LogDecision, label: string, number: number, finding: LogFinding & ScanStop): Replayed {
    // A segment with no valid batch in it goes as a whole, so that its header is never without a first batch.
    const bytes = finding.offset <= SEGMENT_HEADER_BYTES ? 0 : finding.offset;
    const isTorn = finding.reason === 'torn' && !finding.laterBatch && finding.laterSegments === 'none';
    const behind = this.#behind(number);
    return {
      tail: this.#tail,
      journalId: this.#journalId,
      batches: this.#batches,
      bytes: this.#bytes,
      label,
      cut: decision === 'cut' && finding.reason !== 'end' ? { segment: number, bytes } : undefined,
      behind,
      mend: this.#mend,
      setAside: decision === 'cut' && !isTorn,
    };
  }
}
