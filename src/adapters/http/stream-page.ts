/** A page of a partition, for a request: what there is up to some messages and bytes, or what comes within a time. */
import type { Client, Clock, Message, Reader } from '../../core/index.ts';

/** What the disk may take. */
const READ_MS = 10_000;

export interface StreamPage {
  /** Each as `show` gave it. */
  readonly messages: string[];
  /** Offset to go on from. */
  readonly next: number;
}

interface Place {
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
}

interface PageLimits {
  readonly max: number;
  /** Characters at which nothing more is taken. */
  readonly bytesMax: number;
  readonly waitMs: number;
}

interface PageViews {
  /** What there is to read ends here. */
  end(): number;
  show(offset: number, message: Message): string;
}

/** Read a page. Resolves with an empty one when the time is over, or the requester has `gone`; rejects as `Client.reader` throws. */
export function readStream(
  client: Client,
  { stream, partition, offset }: Place,
  { max, bytesMax, waitMs }: PageLimits,
  { end, show }: PageViews,
  clock: Clock,
  gone: AbortSignal,
): Promise<StreamPage> {
  return new Promise((resolve) => {
    const messages: string[] = [];
    let bytes = 0;
    let next = offset;
    const finish = (): void => {
      timer.cancel();
      gone.removeEventListener('abort', finish);
      reader.close();
      resolve({ messages, next });
    };
    const reader: Reader = client.reader(stream, partition, offset, {
      onRecords: (batch) => {
        while (messages.length < max && bytes < bytesMax && batch.next()) {
          const text = show(batch.offset, batch.message);
          messages.push(text);
          bytes += text.length;
          next = batch.offset + 1;
        }
        // Between blocks nothing is there for a moment; the next one comes.
        if (messages.length === max || bytes >= bytesMax || reader.position >= end()) finish();
      },
      onEnd: finish,
    });
    // What is there is read however short the time.
    const timer = clock.after(offset < end() ? Math.max(waitMs, READ_MS) : waitMs, finish);
    gone.addEventListener('abort', finish);
  });
}
