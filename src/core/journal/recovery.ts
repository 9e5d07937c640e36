/**
 * What recovery decides, as two tables. The scan of the log goes on until something is not the next valid batch; what that
 * means depends on what comes behind it. Exactly one row fits any input; the test walks all of them.
 */
import assert from 'node:assert';
import type { StopReason } from './scan.ts';

/** What an operator may allow recovery to do to a damaged log: cut it at the first bad batch and lose all after it. */
export type RecoveryRemedy = 'truncate-tail';

/** Where the scan of the log came to a stop, and what is behind that place. */
export interface LogFinding {
  readonly reason: StopReason;
  /** Is there an intact, newer batch later in the same segment? */
  readonly laterBatch: boolean;
  /** What follows the segment: nothing; one segment without any intact batch; the next segment; or not the next but a later one. */
  readonly laterSegments: 'none' | 'empty' | 'next' | 'gap';
  readonly remedy: RecoveryRemedy | 'none';
}

/** start: append here. cut: remove what follows, then append. next: go on with the next segment. mend: write the segment's
 *  header again and scan on. */
export type LogDecision = 'start' | 'cut' | 'next' | 'mend' | 'refuse' | 'refuse-version';

type Column<T> = T | readonly T[] | '*';
type LogRow = readonly [
  label: string,
  reason: Column<StopReason>,
  laterBatch: boolean | '*',
  laterSegments: Column<LogFinding['laterSegments']>,
  remedy: LogFinding['remedy'] | '*',
  decision: LogDecision,
];

const UNFIT = ['foreign', 'mistaken'] as const;
const BROKEN = ['torn', 'stale'] as const;
const MORE = ['empty', 'next', 'gap'] as const;

/**
 * Why these rows: only one batch at a time is written and not synced, and a segment is started after the last batch before it
 * is durable. So a crash of an honest disk leaves at most one bad batch, and nothing intact or started behind it. All else is damage:
 * confirmed messages may be in it, and only an operator may give them up.
 */
export const LOG_ROWS: readonly LogRow[] = [
  // label                                      reason     batch  segments  remedy           decision
  ['the log ends cleanly', 'end', '*', 'none', '*', 'start'],
  ['a new segment was started, but nothing is in it', 'end', '*', 'empty', '*', 'start'],
  ['the log goes on in the next segment', 'end', '*', 'next', '*', 'next'],
  ['a segment is missing', 'end', '*', 'gap', 'none', 'refuse'],
  ['a segment is missing; told to cut', 'end', '*', 'gap', 'truncate-tail', 'cut'],
  ['the last write was torn', BROKEN, false, 'none', '*', 'cut'],
  ['a batch is damaged, later segments exist', BROKEN, false, MORE, 'none', 'refuse'],
  ['a batch is damaged, later segments exist; told to cut', BROKEN, false, MORE, 'truncate-tail', 'cut'],
  ['a batch is damaged, later ones are intact', BROKEN, true, '*', 'none', 'refuse'],
  ['a batch is damaged, later ones are intact; told to cut', BROKEN, true, '*', 'truncate-tail', 'cut'],
  ['a batch does not continue the log', UNFIT, '*', '*', 'none', 'refuse'],
  ['a batch does not continue the log; told to cut', UNFIT, '*', '*', 'truncate-tail', 'cut'],
  // Nothing torn: the header was durable before the batches behind it. They prove themselves, so nothing is given up.
  ['the header of a segment is damaged', 'header', '*', '*', 'none', 'refuse'],
  ['the header of a segment is damaged; told to mend', 'header', '*', '*', 'truncate-tail', 'mend'],
  ['a newer version wrote on', 'version', '*', '*', '*', 'refuse-version'],
];

/** The row for a finding: what it is called and what to do. */
export function decideLog(finding: LogFinding): { label: string; decision: LogDecision } {
  const rows = LOG_ROWS.filter(
    (row) =>
      fits(row[1], finding.reason) &&
      fits(row[2], finding.laterBatch) &&
      fits(row[3], finding.laterSegments) &&
      fits(row[4], finding.remedy),
  );
  assert(rows.length === 1, `${rows.length} rows for ${JSON.stringify(finding)}`);
  return { label: rows[0]![0], decision: rows[0]![5] };
}

/** What is known of one checkpoint. */
export interface CheckpointFinding {
  /** All its chunks and those of the checkpoints it builds on are as written; or not; or a newer program wrote one. */
  readonly state: 'intact' | 'damaged' | 'version';
  /** The log has the batch it belongs to; or ends before it; or that segment is gone. */
  readonly log: 'covered' | 'short' | 'missing';
  readonly remedy: RecoveryRemedy | 'none';
}

/** use: load it. older: try the one before, or the log from its start if there is none. */
export type CheckpointDecision = 'use' | 'older' | 'refuse' | 'refuse-version';

type CheckpointRow = readonly [
  label: string,
  state: Column<CheckpointFinding['state']>,
  log: Column<CheckpointFinding['log']>,
  remedy: CheckpointFinding['remedy'] | '*',
  decision: CheckpointDecision,
];

/**
 * A checkpoint is named after it is synced, and made only of durable batches: it is never torn, and never ahead of an honest
 * disk's log. A damaged one costs nothing as long as an older one and the log after that are still there.
 */
export const CHECKPOINT_ROWS: readonly CheckpointRow[] = [
  ['the checkpoint is good', 'intact', 'covered', '*', 'use'],
  ['the log ends before the checkpoint', 'intact', 'short', 'none', 'refuse'],
  ['the log ends before the checkpoint; told to cut', 'intact', 'short', 'truncate-tail', 'older'],
  ['the log after the checkpoint is missing', 'intact', 'missing', 'none', 'refuse'],
  ['the log after the checkpoint is missing; told to cut', 'intact', 'missing', 'truncate-tail', 'older'],
  ['the checkpoint is damaged', 'damaged', '*', '*', 'older'],
  ['a newer version wrote the checkpoint', 'version', '*', '*', 'refuse-version'],
];

export function decideCheckpoint(finding: CheckpointFinding): { label: string; decision: CheckpointDecision } {
  const rows = CHECKPOINT_ROWS.filter(
    (row) => fits(row[1], finding.state) && fits(row[2], finding.log) && fits(row[3], finding.remedy),
  );
  assert(rows.length === 1, `${rows.length} rows for ${JSON.stringify(finding)}`);
  return { label: rows[0]![0], decision: rows[0]![4] };
}

function fits<T>(column: Column<T>, value: T): boolean {
  return column === '*' || (Array.isArray(column) ? column.includes(value) : column === value);
}
