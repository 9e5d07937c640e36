import assert from 'node:assert';
import type { Clock } from '../clock.ts';
import type { Disk } from '../disk.ts';
import { CoreError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import { CHECKPOINT_FOLDER, readCheckpoint } from './checkpoint.ts';
import type { ColdSegment } from './cold.ts';
import {
  type CheckpointChoice,
  chooseCheckpoint,
  endLog,
  listSegments,
  openColdSegments,
  removeLeftovers,
  setAsideCheckpoints,
} from './data-dir.ts';
import type { Journal, JournalHandlers, Recovery, ReplayRecord } from './journal.ts';
import { LocalJournal } from './local-journal.ts';
import type { LogSegment } from './log-segment.ts';
import { type Manifest, readManifest } from './manifest.ts';
import { OPEN_PAYLOAD_BYTES, RECORD_OPEN } from './record.ts';
import type { RecoveryRemedy } from './recovery.ts';
import { type Replayed, replayLog } from './replay.ts';
import { JOURNAL_FOLDER, segmentPath } from './segment.ts';
import type { LogPosition } from './writer.ts';

export interface JournalOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly limits: Limits;
  /** What the operator allows recovery to do to a damaged log; nothing unless given. */
  readonly remedy?: RecoveryRemedy | undefined;
}

/**
 * Lock the data directory, find the newest usable checkpoint and the log after it. Load `checkpoints`, `replay`, then `open`.
 * Rejects with CoreError `data-dir-locked`, `data-dir-unusable`, `journal-corrupt` or `journal-version`; `replay` rejects
 * with the latter two as well. Until `open` nothing is changed on disk; when any of them rejects, the lock is given back.
 */
export async function openJournal(options: JournalOptions): Promise<Recovery> {
  const { disk } = options;
  await disk.lock();
  try {
    await disk.makeFolder(JOURNAL_FOLDER);
    await disk.makeFolder(CHECKPOINT_FOLDER);
    await disk.syncFolder('');
    return await LocalRecovery.start(options);
  } catch (error) {
    await disk.unlock();
    throw asCoreError(error);
  }
}

/** A failure of the file system while opening is about the data directory, whatever call met it. */
function asCoreError(error: unknown): unknown {
  if (error instanceof CoreError || (error as NodeJS.ErrnoException).code === undefined) return error;
  return new CoreError('data-dir-unusable', (error as Error).message, { cause: error });
}

/** Before the first batch. */
export const START: LogPosition = { segment: 0, start: 0, end: 0, epoch: 0, number: 0, crc: 0 };

class LocalRecovery implements Recovery {
  readonly checkpoints: readonly AsyncIterable<Buffer>[];
  readonly #options: JournalOptions;
  readonly #segments: Map<number, LogSegment>;
  readonly #cold: Map<number, ColdSegment>;
  readonly #choice: CheckpointChoice;
  readonly #manifest: Manifest | undefined;
  #replayed: Replayed | undefined;
  #opened = false;

  private constructor(
    options: JournalOptions,
    manifest: Manifest | undefined,
    segments: Map<number, LogSegment>,
    cold: Map<number, ColdSegment>,
    choice: CheckpointChoice,
  ) {
    this.#options = options;
    this.#manifest = manifest;
    this.#segments = segments;
    this.#cold = cold;
    this.#choice = choice;
    this.checkpoints = choice.chain.map((file) => readCheckpoint(options.disk, file));
  }

  static async start(options: JournalOptions): Promise<LocalRecovery> {
    const { disk } = options;
    const manifest = await readManifest(disk);
    const segments = await listSegments(disk, manifest);
    const cold = await openColdSegments(disk, manifest);
    const choice = await chooseCheckpoint(disk, segments, manifest, options.remedy ?? 'none');
    return new LocalRecovery(options, manifest, segments, cold, choice);
  }

  get summary(): string {
    const newest = this.#choice.chain.at(-1);
    const from =
      newest === undefined ? 'no checkpoint' : `checkpoint ${newest.number} at batch ${newest.position.number}`;
    const notes = this.#choice.passedOver.map(({ name, why }) => `; ${name}: ${why}`).join('');
    const replayed = this.#replayed;
    if (replayed === undefined) return `${from}${notes}`;
    const { batches, bytes, label, cut, tail } = replayed;
    const end = cut === undefined ? '' : `, ${segmentPath(cut.segment)} is cut to ${cut.bytes} bytes`;
    return `${from}${notes}; replayed ${batches} batches, ${bytes} bytes, up to batch ${tail.number}; ${label}${end}`;
  }

  async replay(record: ReplayRecord): Promise<void> {
    assert(this.#replayed === undefined, 'replay once');
    const { disk, remedy } = this.#options;
    const newest = this.#choice.chain.at(-1);
    try {
      this.#replayed = await replayLog(
        {
          disk,
          segments: this.#segments,
          from: newest?.position ?? START,
          journalId: newest?.journalId ?? this.#manifest?.journalId ?? 0,
          remedy: remedy ?? 'none',
        },
        record,
      );
    } catch (error) {
      await disk.unlock();
      throw asCoreError(error);
    }
  }

  async open(handlers: JournalHandlers): Promise<Journal> {
    assert(!this.#opened, 'open once');
    this.#opened = true;
    if (this.#replayed === undefined) await this.replay(() => {});
    try {
      return await this.#open(handlers, this.#replayed!);
    } catch (error) {
      await this.#options.disk.unlock();
      throw asCoreError(error);
    }
  }

  async #open(handlers: JournalHandlers, replayed: Replayed): Promise<Journal> {
    const { disk, clock, limits } = this.#options;
    const { tail } = replayed;
    await setAsideCheckpoints(disk, this.#choice);
    await endLog(disk, replayed, this.#segments);
    await removeLeftovers(disk, this.#segments, this.#manifest);
    const journalId = replayed.journalId === 0 ? clock.now() : replayed.journalId;
    // The core has no journal yet while the first batch is written: it hears of nothing but a failure, from here.
    let isOpen = false;
    const gate: JournalHandlers = {
      onSeal: () => isOpen && handlers.onSeal(),
      onDurable: (batch) => isOpen && handlers.onDurable(batch),
      onFailed: (error) => isOpen && handlers.onFailed(error),
      onRelieved: () => isOpen && handlers.onRelieved(),
    };
    const journal = new LocalJournal({
      disk,
      clock,
      limits,
      handlers: gate,
      journalId,
      epoch: tail.epoch + 1,
      tail,
      bytesSinceCheckpoint: replayed.bytes,
      segments: this.#segments,
      cold: this.#cold,
      lastCold: Math.max(0, ...(this.#manifest?.cold ?? []).map((row) => row.number)),
      chain: this.#choice.chain,
      lastCheckpoint: this.#choice.newestNumber,
    });
    const at = journal.append(RECORD_OPEN, OPEN_PAYLOAD_BYTES);
    journal.bytes.writeUInt32LE(tail.epoch + 1, at);
    journal.bytes.writeDoubleLE(clock.now(), at + 4);
    await journal.whenDurable(journal.seal());
    isOpen = true;
    return journal;
  }
}
