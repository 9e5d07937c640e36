/** A topic: partitions that messages are appended to, kept until retention removes them, however many have read them. */
import type { TopicSettings } from '../door.ts';
import { CoreError } from '../errors.ts';
import type { Message, RoutingKey } from '../message.ts';
import type { Vhost } from '../vhost.ts';
import { FRAME_HEADER_BYTES } from './frames.ts';
import type { Partition } from './partition.ts';
import { partitionOfKey, StickyRoundRobin } from './partitioner.ts';
import { RUN_BYTES_MAX } from './runs.ts';

export class Topic {
  readonly vhost: Vhost;
  readonly id: number;
  readonly name: string;
  /** It survives a restart; so do bindings that lead to it. */
  readonly logged = true;
  settings: TopicSettings;
  /** By number. Grows, never shrinks. */
  partitions: readonly Partition[] = [];
  deleted = false;
  readonly #sticky = new StickyRoundRobin(RUN_BYTES_MAX);

  constructor(vhost: Vhost, id: number, name: string, settings: TopicSettings) {
    this.vhost = vhost;
    this.id = id;
    this.name = name;
    this.settings = settings;
  }

  /**
   * The partition for a message: the one its publisher named; else that of its group; else, when it came through an exchange
   * with bindings, that of its routing key; else each in turn. Throws `invalid-argument` when there is no such partition.
   */
  choose(message: Message, exchange: string, key: RoutingKey, length: number): Partition {
    const { partitions } = this;
    const count = partitions.length;
    if (message.partition >= 0) return this.partition(message.partition);
    const { groupStart, groupEnd } = message;
    let number: number;
    if (groupEnd > groupStart) number = partitionOfKey(message.bytes, groupStart, groupEnd, count);
    else if (exchange !== '') number = partitionOfKey(key.bytes, 0, key.bytes.length, count);
    else number = this.#sticky.next(FRAME_HEADER_BYTES + length, count);
    return partitions[number] as Partition;
  }

  /** The partition for a message that is stored already and comes from elsewhere: by its group, else by its routing key. */
  chooseAgain(message: Message, length: number): Partition {
    const { keyBytes, keyStart, keyEnd, groupStart, groupEnd } = message;
    const count = this.partitions.length;
    let number = 0;
    if (groupEnd > groupStart) number = partitionOfKey(message.bytes, groupStart, groupEnd, count);
    else if (keyEnd > keyStart) number = partitionOfKey(keyBytes, keyStart, keyEnd, count);
    else number = this.#sticky.next(FRAME_HEADER_BYTES + length, count);
    return this.partitions[number] as Partition;
  }

  /** Throws `invalid-argument` when there is no partition of this number. */
  partition(number: number): Partition {
    const partition = this.partitions[number];
    if (partition !== undefined) return partition;
    throw new CoreError(
      'invalid-argument',
      `topic '${this.name}' has no partition ${number}: ${this.partitions.length} in all`,
    );
  }
}
