import type { Clock } from '../clock.ts';
import type { Disk } from '../disk.ts';
import type { Limits } from '../limits.ts';
import type { Recovery } from './journal.ts';
import type { RecoveryRemedy } from './recovery.ts';

export interface JournalOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly limits: Limits;
  /** What the operator allows recovery to do to a damaged log; nothing unless given. */
  readonly remedy?: RecoveryRemedy;
}

/**
 * Lock the data directory, find the newest usable checkpoint and the log after it. Load `checkpoints`, `replay`, then `open`.
 * Rejects with CoreError `data-dir-locked`, `data-dir-unusable`, `journal-corrupt` or `journal-version`; then nothing
 * was changed on disk and the lock is given back.
 */
export async function openJournal(options: JournalOptions): Promise<Recovery> {
  throw new Error(`not there yet: ${Object.keys(options).length}`);
}
