/**
 * Batches: messages that a producer packed together, and that are kept as it made them, compressed or not. A batch is stored as one
 * message whose body is what the producer sent, under one frame that gives it the offsets of all messages in it (frames.ts). Who
 * knows the format gets the same bytes back. For everybody else it is taken apart by its format, into frames of single
 * messages with the exchange, the key, the publisher and the time of the batch.
 */
import { writeU32 } from '../bytes.ts';
import type { Engine } from '../engine.ts';
import { CoreError } from '../errors.ts';
import { type BatchFormat, clientId, exchangeName, FLAG_DURABLE, type Format, Message, userName } from '../message.ts';
import { GROUP_BYTES_MAX, readStored, readStoredKey, Template } from '../stored-message.ts';
import { FRAME_HEADER_BYTES, Frames, type Unpacked, type Unpacker } from './frames.ts';
import type { Partition } from './partition.ts';
import { RUN_MESSAGES_MAX } from './runs.ts';

/** What a kept batch costs beside its bytes. */
const KEPT_BYTES = 256;
const BYTES_MIN = 1024;

/** A batch that was looked at before it is appended. */
export interface CheckedBatch {
  /** Messages in it. */
  readonly count: number;
  /** If it had to be taken apart. */
  readonly unpacked: Unpacked | undefined;
}

export class Batches {
  readonly #engine: Engine;
  /** Those taken apart last, by partition and offset, the least recently used first. Undefined: it cannot be done. */
  readonly #kept = new Map<string, Unpacked | undefined>();
  #bytes = 0;
  readonly #view = new Message();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Look at a batch as its producer filled it. Throws `not-supported` (its format has no batches), `message-too-large`,
   * `invalid-argument` (it is empty, or not what it says). @param template how messages of its producer are stored
   */
  check(template: Template, batch: Message): CheckedBatch {
    const { formats, limits } = this.#engine;
    const format = formats[batch.format];
    const packing = packingOf(format);
    const bytesMax = limits.batchUnpackedBytesMax;
    const counted = packing.count?.(batch);
    const countMax = Math.min(limits.batchMessagesMax, RUN_MESSAGES_MAX);
    const unpacked =
      counted === undefined
        ? unpack(packing, template, batch, this.#engine.now(), bytesMax, countMax, true)
        : undefined;
    const count = counted ?? (unpacked as Unpacked).places.length;
    if (count < 1) throw new CoreError('invalid-argument', 'a batch without messages');
    if (count > countMax) throw tooMany(countMax);
    const bytes = count * template.lengthOf(NO_MESSAGE);
    if (bytes > bytesMax) throw tooLarge(bytes, bytesMax);
    return { count, unpacked };
  }

  /** A cursor over frames of a partition that shows single messages. @param whole but batches of this format as they are; 0 = none */
  cursor(partition: Partition, whole = 0): Frames {
    return new Frames(new PartitionUnpacker(this, partition), whole);
  }

  /** The messages in the batch that a cursor stands at; undefined when it cannot be taken apart. */
  unpacked(partition: Partition, frames: Frames): Unpacked | undefined {
    const key = keyOf(partition, frames.offset);
    if (!this.#kept.has(key)) return this.#keep(key, this.#unpack(partition, frames));
    const known = this.#kept.get(key);
    this.#kept.delete(key);
    this.#kept.set(key, known);
    return known;
  }

  /** A batch was appended: who reads at the end of the partition asks for it soon. */
  appended(partition: Partition, offset: number, unpacked: Unpacked | undefined): void {
    if (unpacked !== undefined && partition.readers.size + partition.proxies.size > 0)
      this.#keep(keyOf(partition, offset), unpacked);
  }

  #keep(key: string, unpacked: Unpacked | undefined): Unpacked | undefined {
    this.#kept.set(key, unpacked);
    this.#bytes += bytesOf(unpacked);
    for (const [oldest, old] of this.#kept) {
      if (this.#bytes <= this.#engine.limits.batchCacheBytesMax) break;
      this.#kept.delete(oldest);
      this.#bytes -= bytesOf(old);
    }
    return unpacked;
  }

  #unpack(partition: Partition, { bytes, start, after, offset, sealed }: Frames): Unpacked | undefined {
    const { formats, limits } = this.#engine;
    const batch = this.#view;
    readStored(batch, bytes, start, after);
    try {
      const key = readStoredKey(bytes, start);
      const template = new Template(exchangeName(batch), key, userName(batch), clientId(batch));
      const packing = packingOf(formats[batch.format]);
      return unpack(packing, template, batch, batch.receivedAtMs, limits.batchUnpackedBytesMax, sealed);
    } catch (error) {
      // It was taken under other limits, or with a protocol that is switched off now. Nobody is held up.
      this.#engine.log('warn', 'a batch of a topic cannot be taken apart: it is shown as one message', {
        topic: partition.topic.name,
        ...{ partition: partition.number, offset, messages: sealed, error: (error as Error).message },
      });
      return undefined;
    }
  }
}

const NO_MESSAGE = new Message();

class PartitionUnpacker implements Unpacker {
  readonly #batches: Batches;
  readonly #partition: Partition;

  constructor(batches: Batches, partition: Partition) {
    this.#batches = batches;
    this.#partition = partition;
  }

  unpack(frames: Frames): Unpacked | undefined {
    return this.#batches.unpacked(this.#partition, frames);
  }
}

function keyOf({ id }: Partition, offset: number): string {
  return `${id}:${offset}`;
}

function bytesOf(unpacked: Unpacked | undefined): number {
  return KEPT_BYTES + (unpacked === undefined ? 0 : unpacked.bytes.length + unpacked.places.byteLength);
}

function packingOf(format: Format | undefined): BatchFormat {
  if (format?.batches !== undefined) return format.batches;
  throw new CoreError('not-supported', `batches of format '${format?.name ?? 'unknown'}'`);
}

function tooLarge(bytes: number, bytesMax: number): CoreError {
  return new CoreError('message-too-large', `a batch of ${bytes} bytes when unpacked; ${bytesMax} are allowed`);
}

function tooMany(countMax: number): CoreError {
  return new CoreError('message-too-large', `a batch of more than ${countMax} messages`);
}

/**
 * Write the messages in a batch one after the other, as frames: of them at most `countMax`.
 * @param refusesMore throw when there are more
 */
function unpack(
  packing: BatchFormat,
  template: Template,
  batch: Message,
  receivedAtMs: number,
  bytesMax: number,
  countMax: number,
  refusesMore = false,
): Unpacked {
  let bytes = Buffer.allocUnsafe(Math.max(BYTES_MIN, 2 * (batch.bodyEnd - batch.bodyStart)));
  const places: number[] = [];
  let at = 0;
  packing.unpack(batch, bytesMax, (message) => {
    if (places.length === countMax) {
      // At once: what is small when compressed may hold millions, and the format goes on to the end.
      if (refusesMore) throw tooMany(countMax);
      return;
    }
    if (message.groupEnd - message.groupStart > GROUP_BYTES_MAX) {
      const which = `message ${places.length + 1} of the batch`;
      throw new CoreError('invalid-argument', `${which} has a group id of more than ${GROUP_BYTES_MAX} bytes`);
    }
    // What else flags can say is not for messages of topics.
    message.flags &= FLAG_DURABLE;
    const length = template.lengthOf(message);
    const after = at + FRAME_HEADER_BYTES + length;
    // The names that each message has of the batch come on top of what the format unpacks.
    if (after > 2 * bytesMax) throw tooLarge(after, 2 * bytesMax);
    if (after > bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(after, bytes.length * 2));
      bytes.copy(grown, 0, 0, at);
      bytes = grown;
    }
    writeU32(bytes, at, length);
    template.write(message, receivedAtMs, bytes, at + FRAME_HEADER_BYTES);
    places.push(at);
    at = after;
  });
  return { bytes: Buffer.from(bytes.subarray(0, at)), places: Uint32Array.from(places) };
}
