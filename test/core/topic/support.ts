/** Helpers for the tests of topics. */
import {
  type Client,
  FLAG_DURABLE,
  Message,
  type Reader,
  type ReadFrom,
  type TopicSettings,
} from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import type { SimDisk } from '../../../src/testing/sim-disk.ts';
import { bodyOf, connect, durably, type Fixture, key, newDisk, start } from '../fixture.ts';

/** Everything small, so that a few hundred messages go through all stages. */
export const SMALL = {
  segmentBytes: 64 * 1024,
  batchBytesMax: 8 * 1024,
  tailCacheBytesMax: 16 * 1024,
  topicSealBytes: 4 * 1024,
  topicBlockBytes: 1024,
  topicFileBytes: 8 * 1024,
  topicCacheBytesMax: 16 * 1024,
};

export interface Lab extends Fixture {
  readonly client: Client;
}

export async function lab(
  limits: Parameters<typeof start>[0] = SMALL,
  disk?: SimDisk,
  clock = new SimClock(),
): Promise<Lab> {
  const fixture = await start(limits, clock, disk ?? newDisk(clock));
  return { ...fixture, client: connect(fixture) };
}

/** A broker on a copy of a disk, with a clock of its own that stands where the other one stood. */
export async function reopened(from: Fixture, limits = SMALL): Promise<Lab> {
  const clock = new SimClock(from.clock.now());
  return lab(limits, from.disk.clone({ clock }), clock);
}

export async function createTopic(lab: Lab, settings: TopicSettings = { partitions: 1 }, name = 't'): Promise<void> {
  await lab.clock.drive(lab.broker.admin.topics.create('/', name, settings));
}

/** Append texts to one partition of topic `t`, in batches of some. */
export async function append(lab: Lab, bodies: readonly string[], partition = 0): Promise<void> {
  const producer = lab.client.producer({});
  const address = producer.address('', key('t'));
  for (const [n, body] of bodies.entries()) {
    const message = durably(body);
    message.partition = partition;
    producer.publish(address, message, 0);
    if (n % 20 === 19) await lab.clock.advance(5);
  }
  await lab.clock.advance(50);
  producer.close();
}

export interface Reading {
  readonly reader: Reader;
  readonly bodies: string[];
  readonly offsets: number[];
  ended: string | undefined;
}

/** A reader that notes what it gets. @param perTurn messages after which it pauses, to be resumed by the test */
export function read(lab: Lab, offset: number, partition = 0, perTurn = Number.POSITIVE_INFINITY): Reading {
  const bodies: string[] = [];
  const offsets: number[] = [];
  const reading: Reading = { reader: undefined as never, bodies, offsets, ended: undefined };
  const reader = lab.client.reader('t', partition, offset, {
    onRecords: (batch) => {
      for (let n = 0; n < perTurn && batch.next(); n++) {
        bodies.push(bodyOf(batch.message));
        offsets.push(batch.offset);
      }
    },
    onEnd: (reason) => {
      reading.ended = reason;
    },
  });
  return Object.assign(reading, { reader });
}

export function offsetOf(lab: Lab, from: ReadFrom, partition = 0): Promise<number> {
  return lab.clock.drive(lab.client.offsetOf('t', partition, from));
}

/** Everything in a partition, from its start to its end. */
export async function readAll(lab: Lab, partition = 0): Promise<Reading> {
  const reading = read(lab, await offsetOf(lab, 'first', partition), partition);
  const { durableEnd } = detail(lab, partition);
  for (let n = 0; n < 100 && reading.reader.position < durableEnd; n++) await lab.clock.advance(50);
  reading.reader.close();
  return reading;
}

export function detail(lab: Lab, partition = 0) {
  const info = lab.broker.admin.topics.get('/', 't')?.details[partition];
  if (info === undefined) throw new Error('there is no such partition');
  return info;
}

export const numbered = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, n) => `${from + n} ${'x'.repeat(((from + n) * 37) % 200)}`);

/** A message of a group, for partition 0; where a topic is compacted, an empty body is a tombstone. */
export function keyed(group: string, body: string): Message {
  const message = new Message();
  message.format = 1;
  message.flags = FLAG_DURABLE;
  message.bytes = Buffer.from(group + body);
  message.groupEnd = message.headStart = message.headEnd = message.bodyStart = group.length;
  message.bodyEnd = message.bytes.length;
  message.partition = 0;
  return message;
}
