/** Pages of a partition, for requests: what there is up to some messages and bytes, or what comes within a time. */
import type { ServerResponse } from 'node:http';
import {
  type Broker,
  type Client,
  type Clock,
  CoreError,
  type Limits,
  type Message,
  type PartitionInfo,
  type Reader,
  type RecordBatch,
  type TopicInfo,
} from '../../core/index.ts';
import { messageJsonTail } from '../json-message.ts';
import { type JsonPlace, offsetOf } from '../read-place.ts';
import { COUNT, query } from './schemas.ts';

/** What the disk may take. */
const READ_MS = 10_000;

/** What a request for a page says of it. */
export interface PageQuery extends JsonPlace {
  max: number;
  wait_ms: number;
}

/** The schema of a `PageQuery`. */
export function pageQuery(limits: Limits): object {
  return query({
    from: { enum: ['first', 'last', 'next'] },
    offset: COUNT,
    time_ms: COUNT,
    last_n: COUNT,
    max: { type: 'integer', minimum: 1, maximum: limits.leaseMessagesMax, default: 100 },
    wait_ms: { type: 'integer', minimum: 0, maximum: limits.leaseWaitMsMax, default: 0 },
  });
}

interface Asked {
  readonly stream: string;
  readonly partition: number;
  readonly place: JsonPlace;
  /** How long the page may wait for its first message. */
  readonly waitMs: number;
  /** The format whose batches come as they are; unset: none. */
  readonly sealed?: number;
}

interface Surroundings {
  readonly broker: Broker;
  readonly client: Client;
  readonly clock: Clock;
  /** When it closes, the requester has gone. */
  readonly response: ServerResponse;
}

/**
 * Hand what there is to `take`, until it answers false. Resolves, when the page is at its end, with the offset it began at: also
 * when the time is over, or the requester has gone. Rejects as `Client.reader` and `Client.offsetOf` do.
 */
export async function readPage(
  { stream, partition, place, waitMs, sealed }: Asked,
  { broker, client, clock, response }: Surroundings,
  take: (batch: RecordBatch) => boolean,
): Promise<number> {
  const end = (): number => partitionOf(broker.admin.topics.get(client.vhost, stream), partition).durableEnd;
  const offset = await offsetOf(place, 'first', (from) => client.offsetOf(stream, partition, from));
  return new Promise((resolve) => {
    const finish = (): void => {
      timer.cancel();
      response.off('close', finish);
      reader.close();
      resolve(offset);
    };
    const onRecords = (batch: RecordBatch): void => {
      let goesOn = true;
      while (goesOn && batch.next()) goesOn = take(batch);
      // Between blocks nothing is there for a moment; the next one comes.
      if (!goesOn || reader.position >= end()) finish();
    };
    const options = sealed === undefined ? {} : { sealed };
    const reader: Reader = client.reader(stream, partition, offset, { onRecords, onEnd: finish }, options);
    // What is there is read however short the time.
    const timer = clock.after(offset < end() ? Math.max(waitMs, READ_MS) : waitMs, finish);
    response.once('close', finish);
    if (response.destroyed) finish();
  });
}

/** Throws `not-found`. */
export function partitionOf(info: TopicInfo | undefined, partition: number): PartitionInfo {
  const found = info?.details[partition];
  if (found === undefined) throw new CoreError('not-found', 'the stream was deleted');
  return found;
}

/** A message of a partition as the text of a JSON object. */
export function recordJson(broker: Broker, offset: number, message: Message): string {
  const { bytes, groupStart, groupEnd } = message;
  const group =
    groupEnd === groupStart ? '' : `,"group":${JSON.stringify(bytes.toString('utf8', groupStart, groupEnd))}`;
  return `{"offset":${offset}${group},${messageJsonTail(broker, message)}`;
}
