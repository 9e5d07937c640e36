import assert from 'node:assert';
import {
  CHECKPOINT_FOLDER,
  type CheckpointFile,
  type CheckpointKind,
  checkpointNames,
  writeCheckpoint,
} from './checkpoint.ts';
import type { ColdSegment } from './cold.ts';
import { Compactor } from './compaction.ts';
import type { BodyRef, EachBody, Journal, LiveBodies, Located, Places } from './journal.ts';
import { Reader } from './reader.ts';
import type { Proves } from './scattered.ts';
import { LogWriter, type WriterOptions } from './writer.ts';

export interface LocalJournalOptions extends WriterOptions {
  /** The cold segment for each log segment that is gone. */
  readonly cold: Map<number, ColdSegment>;
  /** Highest number of a cold segment so far. */
  readonly lastCold: number;
  /** Checkpoints in force, oldest first: a full one and the deltas on top of it. */
  readonly chain: readonly CheckpointFile[];
  /** Number of the newest checkpoint that was ever seen; the next gets a higher one. */
  readonly lastCheckpoint: number;
}

/** The journal in files of a local disk. Made by `openJournal`. */
export class LocalJournal extends LogWriter implements Journal {
  readonly #cold: Map<number, ColdSegment>;
  readonly #reader: Reader;
  readonly #compactor: Compactor;
  #reclaiming: Promise<void> | undefined;
  #chain: readonly CheckpointFile[];
  #lastCheckpoint: number;
  #checkpointing = false;
  #bytesAtCheckpoint = 0;

  constructor(options: LocalJournalOptions) {
    super(options);
    this.#cold = options.cold;
    this.#reader = new Reader(
      options.disk,
      this.tail,
      (segment) => this.segments.get(segment) ?? this.#cold.get(segment),
    );
    this.#compactor = new Compactor({
      disk: options.disk,
      clock: options.clock,
      limits: options.limits,
      journalId: options.journalId,
      reader: this.#reader,
      segments: this.segments,
      cold: this.#cold,
      lastCold: options.lastCold,
      barrier: () => this.whenDurable(this.seal()),
    });
    this.#chain = options.chain;
    this.#lastCheckpoint = options.lastCheckpoint;
  }

  locate(segment: number, offset: number, into: Located): boolean {
    const chunk = this.tail.find(segment, offset);
    if (chunk === undefined) return false;
    into.bytes = chunk.bytes;
    into.start = offset - chunk.start;
    return true;
  }

  load(refs: readonly BodyRef[], each: EachBody): Promise<void> {
    return this.#reader.load(refs, each);
  }

  loadScattered(places: Places, order: ArrayLike<number>, proves: Proves, each: EachBody): Promise<void> {
    return this.#reader.loadScattered(places, order, proves, each);
  }

  async checkpoint(batch: number, state: AsyncIterable<Uint8Array>, kind: CheckpointKind): Promise<void> {
    assert(!this.#checkpointing, 'one checkpoint at a time');
    this.#checkpointing = true;
    try {
      const mark = this.markOf(batch);
      const base = kind === 'delta' ? this.#chain.at(-1) : undefined;
      assert(kind === 'full' || base !== undefined, 'a delta needs a checkpoint to build on');
      await this.whenDurable(batch);
      const written = await writeCheckpoint(
        this.disk,
        {
          kind,
          number: ++this.#lastCheckpoint,
          base: base?.number ?? 0,
          baseCrc: base?.headerCrc ?? 0,
          journalId: this.journalId,
          createdMs: this.clock.now(),
          position: mark,
        },
        state,
      );
      const before = this.#chain;
      this.#chain = kind === 'full' ? [written] : [...before, written];
      this.#bytesAtCheckpoint = mark.logBytes;
      if (kind === 'full') await this.#removeCheckpointsBefore(before[0]?.number ?? 0);
    } finally {
      this.#checkpointing = false;
    }
  }

  /** One full checkpoint and its deltas are kept beside those in force, for the day one of them is damaged. */
  async #removeCheckpointsBefore(number: number): Promise<void> {
    for (const old of checkpointNames(await this.disk.list(CHECKPOINT_FOLDER))) {
      if (old.number < number) await this.disk.remove(`${CHECKPOINT_FOLDER}/${old.name}`);
    }
  }

  get bytesSinceCheckpoint(): number {
    return this.logBytes - this.#bytesAtCheckpoint;
  }

  get checkpointBytes(): { full: number; deltas: number } {
    const full = this.#chain[0]?.bytes ?? 0;
    return { full, deltas: this.#chain.reduce((sum, file) => sum + file.bytes, 0) - full };
  }

  /** Runs one at a time: a call while one is under way waits for that one and does nothing more. */
  async reclaim(live: LiveBodies): Promise<void> {
    const newest = this.#chain.at(-1);
    if (newest === undefined) return;
    if (this.#reclaiming !== undefined) return this.#reclaiming;
    this.#reclaiming = this.#compactor.reclaim(newest.position.segment, live);
    try {
      await this.#reclaiming;
    } finally {
      this.#reclaiming = undefined;
    }
  }

  figures(): { segments: number; bytes: number; durableBatch: number; checkpointBatch: number } {
    const places = new Set([...this.segments.values(), ...this.#cold.values()]);
    let bytes = 0;
    for (const place of places) bytes += place.bytes;
    const checkpointBatch = this.#chain.at(-1)?.position.number ?? 0;
    return { segments: places.size, bytes, durableBatch: this.durableBatch, checkpointBatch };
  }

  async close(): Promise<void> {
    this.#compactor.stop();
    // Whatever became of it, its caller was told.
    await this.#reclaiming?.catch(() => {});
    try {
      await this.closeLog();
    } finally {
      await this.#reader.close();
      await this.disk.unlock();
    }
  }
}
