/**
 * The journal, as the core sees it: one append-only log of record batches with group commit (DESIGN section 6,
 * reference/storage.md sections 5 and 8). The local one is `LocalJournal`; a replicated one can follow behind the same
 * interface, so nothing above may assume a file.
 *
 * Positions are batch numbers: a record is durable when the batch it was appended to is. Bodies are found again by a
 * `BodyRef`, which is logical and never changes, whatever compaction does underneath.
 */

/** Where a record's payload starts: segment number (1, 2, 3, ... < 2^31), byte offset in that segment, length in bytes. */
export interface BodyRef {
  segment: number;
  offset: number;
  length: number;
}

/** Where many bodies are: as `BodyRef`s, in columns. */
export interface Places {
  readonly segments: Uint32Array;
  readonly offsets: Uint32Array;
  readonly lengths: Uint32Array;
}

/** Called for each body: its bytes begin at `bytes[start]` and are valid only during the call. */
export type EachBody = (index: number, bytes: Buffer, start: number) => void;

/** Filled by `Journal.locate`: bytes in memory, valid until the current turn of the event loop ends. */
export interface Located {
  bytes: Buffer;
  start: number;
}

export interface JournalHandlers {
  /**
   * The open batch is about to be sealed: last chance to append to it (collected settlements). Comes from within `seal`, from a
   * commit, or from within an `append` that needs a new batch (that record comes after those appended here); never nested.
   */
  onSeal(): void;
  /** Batches up to and including `batch` are durable. In order, once per commit. */
  onDurable(batch: number): void;
  /** A write or sync failed. Nothing more becomes durable; the process must stop. Called once. */
  onFailed(error: Error): void;
  /** Unsynced bytes fell below the limit again after `pressed` was true. */
  onRelieved(): void;
}

/** One record met in replay. `bytes[start, end)` is the payload; `segment` and `offset` name `start` as a BodyRef does. */
export type ReplayRecord = (
  type: number,
  bytes: Buffer,
  start: number,
  end: number,
  segment: number,
  offset: number,
) => void;

export interface Journal {
  /** Number of the batch that `append` writes to. */
  readonly openBatch: number;
  /** Every batch up to this one is durable. Always < openBatch. */
  readonly durableBatch: number;
  /** True while unsynced bytes exceed `limits.unconfirmedBytesMax`: publishers should pause. */
  readonly pressed: boolean;

  // After `append`, until the next call of any method, the payload may be written to:
  /** Buffer of the open batch. */
  readonly bytes: Buffer;
  /** Segment the last appended record is in, and the offset of its payload in the segment. */
  readonly segment: number;
  readonly offset: number;

  /**
   * Reserve a record of `length` payload bytes in the open batch and answer the index in `bytes` to write the payload to,
   * which the caller must do at once and completely. Synchronous; the order of calls is the order of the log. May seal
   * the open batch first and start a new one, so read `bytes` after the call. The commit starts by itself at the end of
   * this turn of the event loop, or when the commit under way ends.
   * @param type 1 to 255, see record.ts
   */
  append(type: number, length: number): number;

  /**
   * Have everything that `write` appends in one batch: recovery finds all of it or nothing. Answers the batch. `write` appends
   * at least one record, and at most `bytes` with the headers of records. When it does otherwise or throws, what it has appended
   * must not become durable: the journal fails.
   */
  atomically(bytes: number, write: () => void): number;

  /** Find a body in memory: true fills `into`. False: it is on disk, use `load`. */
  locate(segment: number, offset: number, into: Located): boolean;
  /**
   * Read bodies back. Neighbours are coalesced into few reads, and the number of reads under way is bounded. `each` is called
   * once for every ref, in the order given, with bytes valid only during the call; then the promise resolves. A body
   * whose checksum or length does not fit rejects with `journal-corrupt`.
   */
  load(refs: readonly BodyRef[], each: EachBody): Promise<void>;
  /**
   * As `load`, for bodies that lie far from each other; `each` is called in any order. A body is read without what lies around it
   * (and has the checksum) when it proves itself.
   * @param order indices of the places in about the order in which they lie
   * @param proves whether `bytes[start, end)`, which may be anything, are the body that was written, beyond doubt
   */
  loadScattered(
    places: Places,
    order: ArrayLike<number>,
    proves: (bytes: Buffer, start: number, end: number) => boolean,
    each: EachBody,
  ): Promise<void>;

  /** Close the open batch to further records (a batch border) and answer its number, or of the last sealed one if it is empty. */
  seal(): number;
  /**
   * Resolves when `batch` is durable; rejects with `journal-failed`. The open batch, when it is empty, stands for the one before.
   * For the control plane.
   */
  whenDurable(batch: number): Promise<void>;

  /**
   * Start a checkpoint file. `state` is what the core wants back at recovery; the journal stores it without understanding, and
   * gives it back in the same pieces. Resolves when the checkpoint is durable and in force; rejects with the error of the file
   * system, and then the one before stays in force. One at a time; to be ended before `close`.
   * @param batch the batch the state belongs to, as `seal` has answered it
   */
  checkpoint(batch: number, state: AsyncIterable<Uint8Array>, kind: 'full' | 'delta'): Promise<void>;
  /** Log bytes appended since the last checkpoint. */
  readonly bytesSinceCheckpoint: number;
  /** Sizes of the newest full checkpoint and of the deltas on top of it, for deciding which kind comes next. */
  readonly checkpointBytes: { full: number; deltas: number };

  /**
   * Remove segments without live bytes and copy sparse ones into cold segments, below the newest checkpoint. Works in small steps
   * and rests between them. Rejects with the error of the file system, with nothing lost.
   */
  reclaim(live: LiveBodies): Promise<void>;

  figures(): { segments: number; bytes: number; durableBatch: number; checkpointBatch: number };
  /** Seal, write, sync, close, unlock. Rejects with `journal-failed`, closed and unlocked all the same. */
  close(): Promise<void>;
}

/** What the core knows of bodies in old segments. */
export interface LiveBodies {
  /** Live body bytes in a segment. */
  bytes(segment: number): number;
  /** Live bodies of some segments, sorted by (segment, offset); collected in slices. Later settlements may outdate it. */
  refs(segments: ReadonlySet<number>): Promise<BodyRef[]>;
}

/** What recovery found, handed to the core before the journal opens for appending. */
export interface Recovery {
  /** Checkpoint states to load, oldest first: a full one and its deltas; empty for a new data directory. */
  readonly checkpoints: readonly AsyncIterable<Buffer>[];
  /** Replay every valid record after the newest checkpoint, in order. */
  replay(record: ReplayRecord): Promise<void>;
  /** Cut the torn tail if there is one, open for appending. */
  open(handlers: JournalHandlers): Promise<Journal>;
  /** One line for the log: what was found and decided. */
  readonly summary: string;
}
