import assert from 'node:assert';
import {
  CHECKPOINT_FOLDER,
  type CheckpointFile,
  type CheckpointKind,
  checkpointNames,
  writeCheckpoint,
} from './checkpoint.ts';
import type { BodyRef, Journal, LiveBodies, Located } from './journal.ts';
import { type EachBody, Reader } from './reader.ts';
import type { Source } from './source.ts';
import { LogWriter, type WriterOptions } from './writer.ts';

export interface LocalJournalOptions extends WriterOptions {
  /** Where the bodies of old segments are; log segments are added by the writer. */
  readonly cold: Map<number, Source>;
  /** Checkpoints in force, oldest first: a full one and the deltas on top of it. */
  readonly chain: readonly CheckpointFile[];
  /** Number of the newest checkpoint that was ever seen; the next gets a higher one. */
  readonly lastCheckpoint: number;
}

/** The journal in files of a local disk. Made by `openJournal`. */
export class LocalJournal extends LogWriter implements Journal {
  readonly #cold: Map<number, Source>;
  readonly #reader: Reader;
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

  async reclaim(_live: LiveBodies): Promise<void> {
    await Promise.resolve();
  }

  figures(): { segments: number; bytes: number; durableBatch: number; checkpointBatch: number } {
    const places = new Set<Source>([...this.segments.values(), ...this.#cold.values()]);
    let bytes = 0;
    for (const place of places) bytes += place.bytes;
    const checkpointBatch = this.#chain.at(-1)?.position.number ?? 0;
    return { segments: places.size, bytes, durableBatch: this.durableBatch, checkpointBatch };
  }

  async close(): Promise<void> {
    try {
      await this.closeLog();
    } finally {
      await this.#reader.close();
      await this.disk.unlock();
    }
  }
}
