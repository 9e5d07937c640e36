/** What all open transactions of a broker hold together. */
import { CoreError } from '../errors.ts';
import type { Limits } from '../limits.ts';

export class OpenTransactions {
  readonly #bytesMax: number;
  #bytes = 0;
  #lastId = 0;

  constructor(limits: Limits) {
    this.#bytesMax = limits.transactionsBytesMax;
  }

  /** A number for a transaction. */
  nextId(): number {
    return ++this.#lastId;
  }

  /** Bytes they hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Count `bytes` more. Throws `limit-exceeded`. */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) {
      throw new CoreError('limit-exceeded', `${this.#bytesMax} bytes in open transactions of all clients`);
    }
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}
