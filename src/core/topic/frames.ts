/**
 * Frames: how messages of a partition follow each other, in the journal and in sealed files alike, so that sealing copies whole
 * runs of them without looking inside.
 *
 *     u32 length, stored message                          a message; it has the next offset
 *     u32 BATCH_BIT + length, u32 count, stored message   a batch (batches.ts); the messages in it have the next `count` offsets
 *     u32 GAP_BIT + n                                     no message: the next n offsets were removed by compaction
 */
import { readU32, writeU32 } from '../bytes.ts';

export const FRAME_HEADER_BYTES = 4;
export const BATCH_HEADER_BYTES = 8;
const BATCH_BIT = 0x4000_0000;
const GAP_BIT = 0x8000_0000;
/** Bytes of the longest stored message: no frame can say more. */
export const FRAME_BYTES_MAX = BATCH_BIT - 1;
/** Offsets one gap can stand for. */
export const GAP_MAX = 0x7fff_ffff;

const NO_BYTES: Buffer = Buffer.alloc(0);

/** Write that `offsets` (1 to GAP_MAX) are not there. */
export function writeGap(bytes: Buffer, at: number, offsets: number): void {
  writeU32(bytes, at, GAP_BIT | offsets);
}

/** Write the header of a batch of `count` messages whose stored form has `length` bytes. */
export function writeBatchHeader(bytes: Buffer, at: number, length: number, count: number): void {
  writeU32(bytes, at, BATCH_BIT | length);
  writeU32(bytes, at + 4, count);
}

/** The messages that were in a batch, as frames one after the other. */
export interface Unpacked {
  readonly bytes: Buffer;
  /** Where each frame begins. */
  readonly places: Uint32Array;
}

/** Takes batches apart for cursors that show the messages in them. */
export interface Unpacker {
  /** The messages in the batch that `frames` stands at; undefined when it can only be shown as it is. */
  unpack(frames: Frames): Unpacked | undefined;
}

/** A cursor over frames. It stands at a message, at a batch as a whole, or at the end. */
export class Frames {
  bytes: Buffer = NO_BYTES;
  /** Offset of the message it stands at, or of the first one in the batch; at the end, of what follows. */
  offset = 0;
  /** Where the stored message begins and ends. */
  start = 0;
  after = 0;
  /** Where the frames end. */
  end = 0;
  ended = true;
  /** Messages in the batch it stands at; 0 = it stands at a message. */
  sealed = 0;
  readonly #unpacker: Unpacker | undefined;
  readonly #whole: number;
  /** Within a batch: the frames it is one of, and how they go on. */
  #around: Buffer | undefined;
  #aroundAt = 0;
  #aroundEnd = 0;
  #aroundOffset = 0;

  /**
   * @param unpacker unset: it stands at batches as they are
   * @param whole batches of this format it stands at as they are; of the others, at one that cannot be taken apart
   */
  constructor(unpacker?: Unpacker, whole = 0) {
    this.#unpacker = unpacker;
    this.#whole = whole;
  }

  /** It stands at a message that was in a batch: the bytes are those of the unpacked batch. */
  get isUnpacked(): boolean {
    return this.#around !== undefined;
  }

  /** Where the frame it stands at begins. */
  get head(): number {
    return this.start - (this.sealed === 0 ? FRAME_HEADER_BYTES : BATCH_HEADER_BYTES);
  }

  /** The offset after what it stands at. */
  get next(): number {
    return this.offset + (this.sealed === 0 ? 1 : this.sealed);
  }

  /** Stand at the message of offset `wanted`, or the first one after it, in `bytes[at, end)`, whose first frame has `offset`. */
  set(bytes: Buffer, at: number, end: number, offset: number, wanted: number): void {
    this.#around = undefined;
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
    this.#goTo(at, wanted);
    this.seek(wanted);
  }

  /** Stand at the one message `bytes[start, end)`, which has no frame. */
  setBare(bytes: Buffer, start: number, end: number, offset: number): void {
    this.#around = undefined;
    this.bytes = bytes;
    this.offset = offset;
    this.start = start;
    this.after = this.end = end;
    this.ended = false;
    this.sealed = 0;
  }

  /** Hold on to nothing. */
  clear(): void {
    this.#around = undefined;
    this.bytes = NO_BYTES;
    this.ended = true;
  }

  /** Go to the next message. */
  advance(): void {
    this.offset = this.next;
    this.#goTo(this.after, this.offset);
  }

  /** Go on to the message of an offset, or the first one after it. A batch it stands at as a whole may begin before. */
  seek(offset: number): void {
    while (!this.ended && this.next <= offset) {
      this.offset = this.next;
      this.#goTo(this.after, offset);
    }
  }

  /** Stand at the message of the frame at `at`; behind gaps, and behind batches that end before `wanted`. */
  #goTo(at: number, wanted: number): void {
    for (;;) {
      while (at < this.end) {
        const word = readU32(this.bytes, at);
        if (word < BATCH_BIT) {
          this.start = at + FRAME_HEADER_BYTES;
          this.after = this.start + word;
          this.sealed = 0;
          this.ended = false;
          return;
        }
        if (word >= GAP_BIT) {
          this.offset += word - GAP_BIT;
          at += FRAME_HEADER_BYTES;
        } else if (this.#standAt(at, word - BATCH_BIT, wanted)) {
          return;
        } else {
          at = this.after;
        }
      }
      if (this.#around === undefined) break;
      at = this.#leave(this.#around);
    }
    this.sealed = 0;
    this.ended = true;
  }

  /** Stand at the batch at `at`. False: go on at `after`, which is behind the batch, or within it. */
  #standAt(at: number, length: number, wanted: number): boolean {
    this.sealed = readU32(this.bytes, at + 4);
    this.start = at + BATCH_HEADER_BYTES;
    this.after = this.start + length;
    this.ended = false;
    if (this.next > wanted) {
      if (this.#unpacker === undefined || this.bytes[this.start] === this.#whole) return true;
      const unpacked = this.#unpacker.unpack(this);
      if (unpacked !== undefined) {
        this.#enter(unpacked, wanted);
        return false;
      }
      // It stands for its first message; none of the others can be shown.
      if (this.offset >= wanted) return true;
    }
    this.offset = this.next;
    return false;
  }

  #enter({ bytes, places }: Unpacked, wanted: number): void {
    this.#around = this.bytes;
    this.#aroundAt = this.after;
    this.#aroundEnd = this.end;
    this.#aroundOffset = this.next;
    this.bytes = bytes;
    this.end = bytes.length;
    const skipped = Math.max(0, wanted - this.offset);
    this.offset += skipped;
    this.after = places[skipped] ?? bytes.length;
  }

  /** The batch is over; answers where the frames around it go on. */
  #leave(around: Buffer): number {
    this.#around = undefined;
    this.bytes = around;
    this.end = this.#aroundEnd;
    this.offset = this.#aroundOffset;
    return this.#aroundAt;
  }
}
