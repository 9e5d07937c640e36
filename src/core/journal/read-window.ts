import type { DiskFile } from '../disk.ts';

const READ_BYTES = 2 * 1024 * 1024;

/**
 * A file read from front to back: the part that is looked at, and the part behind it that is being read meanwhile, so that
 * disk and processor work at the same time.
 */
export class ReadWindow {
  bytes: Buffer = Buffer.alloc(0);
  readonly #file: DiskFile;
  readonly #size: number;
  /** Offset in the file of `bytes[0]`, and how much of `bytes` is filled. */
  #start: number;
  #filled = 0;
  /** The read under way, of what follows the filled part. Its buffer has room in front for what is left of this one. */
  #next: Promise<{ bytes: Buffer; got: number }> | undefined;
  #spare: Buffer | undefined;

  constructor(file: DiskFile, size: number, offset: number) {
    this.#file = file;
    this.#size = size;
    this.#start = offset;
  }

  indexOf(offset: number): number {
    return offset - this.#start;
  }

  /** Have `length` bytes from `offset` in `bytes`; false when the file ends before. Offsets must not go back. */
  async ensure(offset: number, length: number): Promise<boolean> {
    while (offset + length > this.#start + this.#filled) {
      const end = this.#start + this.#filled;
      if (end >= this.#size) return false;
      const left = end - offset;
      if (left <= READ_BYTES && length <= READ_BYTES) await this.#advance(offset, left);
      else await this.#enlarge(offset, left, length);
    }
    return true;
  }

  /** The read under way becomes the window, with what is left of the old one copied in front of it. */
  async #advance(offset: number, left: number): Promise<void> {
    const end = this.#start + this.#filled;
    const { bytes, got } = await (this.#next ?? this.#read(end));
    this.#next = undefined;
    this.bytes.copy(bytes, READ_BYTES - left, this.#filled - left, this.#filled);
    if (this.bytes.length === 2 * READ_BYTES) this.#spare = this.bytes;
    this.bytes = bytes;
    this.#start = offset - (READ_BYTES - left);
    this.#filled = READ_BYTES + got;
    const position = this.#start + this.#filled;
    if (got > 0 && position < this.#size) {
      this.#next = this.#read(position);
      // A failure is met when this read is waited for; until then it must not count as unhandled.
      this.#next.catch(() => {});
    } else if (got === 0) {
      throw new Error(`the file ends at ${position}, before its size ${this.#size}`);
    }
  }

  async #read(position: number): Promise<{ bytes: Buffer; got: number }> {
    const bytes = this.#spare ?? Buffer.allocUnsafeSlow(2 * READ_BYTES);
    this.#spare = undefined;
    const got = await this.#file.read(
      bytes,
      READ_BYTES,
      READ_BYTES + Math.min(READ_BYTES, this.#size - position),
      position,
    );
    return { bytes, got };
  }

  /** A batch larger than a window: read it whole into a buffer of its size. */
  async #enlarge(offset: number, left: number, length: number): Promise<void> {
    await this.idle();
    const wanted = Math.min(length, this.#size - offset);
    const bytes = Buffer.allocUnsafeSlow(wanted);
    this.bytes.copy(bytes, 0, this.#filled - left, this.#filled);
    const got = await this.#file.read(bytes, left, wanted, offset + left);
    if (got === 0) throw new Error(`the file ends at ${offset + left}, before its size ${this.#size}`);
    this.bytes = bytes;
    this.#start = offset;
    this.#filled = left + got;
  }

  /** No read is under way any more, and none is kept. */
  async idle(): Promise<void> {
    const next = this.#next;
    this.#next = undefined;
    await next?.catch(() => {});
  }
}
