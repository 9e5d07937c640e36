/** Messages with an id and properties, for the tests of what queues know of messages by their marks. */
import {
  type Arguments,
  type Client,
  FLAG_DURABLE,
  type Format,
  Message,
  type Producer,
} from '../../../src/core/index.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';
import type { SimDisk } from '../../../src/testing/sim-disk.ts';
import { bodyOf, connect, declare, type Fixture, key, newDisk, start } from '../fixture.ts';

interface Properties {
  id?: string | number;
  [name: string]: unknown;
}

/** Heads are JSON: `id` is the message id, `x-...` are annotations, all others application properties. */
const FORMAT: Format = {
  id: 9,
  name: 'marked',
  toHub(message) {
    const { id, ...rest } = JSON.parse(
      message.bytes.toString('utf8', message.headStart, message.headEnd),
    ) as Properties;
    const entries = Object.entries(rest) as [string, string][];
    return {
      durable: message.durable,
      annotations: new Map(entries.filter(([name]) => name.startsWith('x-'))),
      application: entries.filter(([name]) => !name.startsWith('x-')),
      ...(id === undefined ? {} : { messageId: id }),
    };
  },
};

export interface Scene extends Fixture {
  readonly client: Client;
  readonly producer: Producer;
  /** Confirms, in order: ok or refused. */
  readonly confirms: string[];
  declare(queue: string, args: Arguments): Promise<void>;
  publish(queue: string, body: string, properties: Properties, more?: { durable?: boolean; priority?: number }): void;
  ready(queue: string): number;
}

export async function scene(limits = {}, clock = new SimClock(), disk: SimDisk = newDisk(clock)): Promise<Scene> {
  const fixture = await start(limits, clock, disk);
  fixture.broker.registerFormat(FORMAT);
  const client = connect(fixture);
  const confirms: string[] = [];
  const onConfirm = (upTo: number, refused: readonly number[] | undefined): void => {
    while (confirms.length < upTo) confirms.push(refused?.includes(confirms.length + 1) ? 'refused' : 'ok');
  };
  const producer = client.producer({ onConfirm });
  return {
    ...{ ...fixture, client, producer, confirms },
    declare: (queue, args) => declare(fixture, queue, args),
    publish: (queue, body, properties, more) => {
      producer.publish(producer.address('', key(queue)), marked(body, properties, more), 2);
    },
    ready: (queue) => fixture.broker.admin.queue('/', queue)?.ready ?? -1,
  };
}

export function marked(
  body: string,
  properties: Properties,
  more: { durable?: boolean; priority?: number } = {},
): Message {
  const head = Buffer.from(JSON.stringify(properties));
  const message = new Message();
  message.format = FORMAT.id;
  message.flags = more.durable === false ? 0 : FLAG_DURABLE;
  message.priority = more.priority ?? 0;
  message.bytes = Buffer.concat([head, Buffer.from(body)]);
  message.headEnd = message.bodyStart = head.length;
  message.bodyEnd = message.bytes.length;
  return message;
}

/** The broker on what its disk has after a crash. */
export async function crashed(scene: Scene, limits = {}): Promise<Scene> {
  scene.disk.crash();
  scene.clock.clear();
  return restarted(scene, limits);
}

/** The broker after it was closed in order. */
export async function reopened(scene: Scene, limits = {}): Promise<Scene> {
  await scene.clock.drive(scene.close());
  scene.clock.clear();
  return restarted(scene, limits);
}

function restarted({ clock, disk }: Scene, limits: object): Promise<Scene> {
  return scene(limits, clock, disk);
}

/** Everything in a queue, taken and completed. */
export async function drained({ client, settle }: Scene, queue: string): Promise<string[]> {
  const bodies: string[] = [];
  const subscription = client.subscribe(
    queue,
    { credit: 1000, settled: true },
    {
      onDeliveries: (batch) => {
        while (batch.next()) bodies.push(bodyOf(batch.message));
      },
    },
  );
  await settle();
  subscription.close();
  return bodies;
}
