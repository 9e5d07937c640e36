/**
 * Encoded messages, made before the run. All have one length and carry their number in the ring, so the receiver can tell that
 * none is missing, doubled or out of order without anything being built while the clock runs.
 */
export class MessageRing {
  readonly #bytes: Buffer;
  readonly #frameBytes: number;
  /** Messages in the ring. */
  readonly count: number;

  /** @param encode the message with number `index`, of a length that does not depend on it */
  constructor(count: number, encode: (index: number) => Buffer) {
    this.count = count;
    const first = encode(0);
    this.#frameBytes = first.length;
    this.#bytes = Buffer.allocUnsafe(count * first.length);
    for (let index = 0; index < count; index++) encode(index).copy(this.#bytes, index * first.length);
  }

  /** Write the messages `from`, `from + 1`, ... (numbers of the whole run), `count` of them. */
  send(write: (bytes: Buffer) => void, from: number, count: number): void {
    while (count > 0) {
      const start = from % this.count;
      const now = Math.min(count, this.count - start);
      write(this.#bytes.subarray(start * this.#frameBytes, (start + now) * this.#frameBytes));
      from += now;
      count -= now;
    }
  }
}

/** A payload of `bytes` that begins with the message's number in the ring. */
export function payload(bytes: number, index: number): Buffer {
  const made = Buffer.alloc(bytes, 0x78);
  made.writeUInt32BE(index, 0);
  return made;
}
