/**
 * Frames: how messages of a partition follow each other, in the journal and in sealed files alike, so that sealing copies whole
 * runs of them without looking inside.
 *
 *     u32 length, stored message          a message; it has the next offset
 *     u32 GAP_BIT + n                     no message: the next n offsets were removed by compaction
 */
import { readU32, writeU32 } from '../bytes.ts';

export const FRAME_HEADER_BYTES = 4;
const GAP_BIT = 0x8000_0000;
/** Offsets one gap can stand for. */
export const GAP_MAX = 0x7fff_ffff;

const NO_BYTES: Buffer = Buffer.alloc(0);

/** Write that `offsets` (1 to GAP_MAX) are not there. */
export function writeGap(bytes: Buffer, at: number, offsets: number): void {
  writeU32(bytes, at, GAP_BIT | offsets);
}

/** A cursor over frames. It stands at a message, or at the end. */
export class Frames {
  bytes: Buffer = NO_BYTES;
  /** Offset of the message it stands at; at the end, of what follows. */
  offset = 0;
  /** Where the stored message begins and ends. */
  start = 0;
  after = 0;
  /** Where the frames end. */
  end = 0;
  ended = true;

  /** Stand at the first message of `bytes[at, end)`, whose first frame has `offset`. */
  set(bytes: Buffer, at: number, end: number, offset: number): void {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
    this.#goTo(at);
  }

  /** Stand at the one message `bytes[start, end)`, which has no frame. */
  setBare(bytes: Buffer, start: number, end: number, offset: number): void {
    this.bytes = bytes;
    this.offset = offset;
    this.start = start;
    this.after = this.end = end;
    this.ended = false;
  }

  /** Hold on to nothing. */
  clear(): void {
    this.bytes = NO_BYTES;
    this.ended = true;
  }

  /** Go to the next message. */
  advance(): void {
    this.offset++;
    this.#goTo(this.after);
  }

  /** Go on to the message of an offset, or the first one after it. */
  seek(offset: number): void {
    while (this.offset < offset && !this.ended) this.advance();
  }

  /** Stand at the message of the frame at `at`, or behind gaps. */
  #goTo(at: number): void {
    for (; at < this.end; at += FRAME_HEADER_BYTES) {
      const word = readU32(this.bytes, at);
      if (word < GAP_BIT) {
        this.start = at + FRAME_HEADER_BYTES;
        this.after = this.start + word;
        this.ended = false;
        return;
      }
      this.offset += word - GAP_BIT;
    }
    this.ended = true;
  }
}
