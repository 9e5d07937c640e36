/** Reading a partition of a topic over a WebSocket. Every message tells its offset: a peer that comes back goes on behind its last. */
import type { Reader, RecordBatch } from '../../core/index.ts';
import { offsetOf } from '../read-place.ts';
import type { FrameId, SubscribeFrame } from './frames.ts';
import type { JsonSubscription, SubscriptionHost } from './subscriptions.ts';

export class StreamReading implements JsonSubscription {
  readonly #host: SubscriptionHost;
  readonly #id: FrameId;
  readonly #prefix: string;
  #reader: Reader | undefined;
  #credit: number;
  #closed = false;

  /** Begins when `start` is called. */
  constructor(host: SubscriptionHost, { id, credit }: SubscribeFrame) {
    this.#host = host;
    this.#id = id;
    this.#credit = credit ?? Number.POSITIVE_INFINITY;
    this.#prefix = `{"op":"message","sub":${JSON.stringify(id)},"offset":`;
  }

  /** Find the place and read from there; resolves to its offset. Rejects as `Client.offsetOf` and `Client.reader` do. */
  async start(stream: string, frame: SubscribeFrame): Promise<number> {
    const { client } = this.#host;
    const { partition = 0 } = frame;
    const first = await offsetOf(frame, 'next', (from) => client.offsetOf(stream, partition, from));
    if (this.#closed) return first;
    this.#reader = client.reader(stream, partition, first, {
      onRecords: (batch) => this.#show(batch),
      onEnd: (reason) => this.#host.onEnd(this.#id, reason),
    });
    return first;
  }

  #show(batch: RecordBatch): void {
    const { output, frames } = this.#host;
    while (this.#credit > 0 && output.roomy && batch.next()) {
      this.#credit--;
      output.sendText(frames.text(batch.message, `${this.#prefix}${batch.offset},`));
    }
  }

  /** So many messages may still come. */
  setCredit(credit: number): void {
    this.#credit = credit;
    this.#reader?.resume();
  }

  onRoom(): void {
    this.#reader?.resume();
  }

  close(): void {
    this.#closed = true;
    this.#reader?.close();
  }
}
