/** A broker for tests, on a journal in memory or on a simulated disk, and small helpers around the door. */
import {
  ANY_MANY,
  ANY_ONE,
  type Arguments,
  type Client,
  type DeliveryBatch,
  FLAG_DURABLE,
  type Limits,
  limitsWith,
  Message,
  type Pattern,
  type PatternLevel,
  RoutingKey,
  type SubscribeOptions,
  type Subscription,
} from '../../src/core/index.ts';
import { openJournal } from '../../src/core/journal/index.ts';
import { startBroker } from '../../src/core/start.ts';
import { memoryRecovery } from '../../src/testing/memory-journal.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';

export const DOT = 0x2e;
export const SLASH = 0x2f;
export const DURABLE = { durable: true, autoDelete: false, exclusive: false, arguments: {} };
export const TRANSIENT = { durable: false, autoDelete: false, exclusive: false, arguments: {} };

export type Running = Awaited<ReturnType<typeof startBroker>>;

export interface Fixture extends Running {
  readonly clock: SimClock;
  readonly disk: SimDisk;
  readonly lines: string[];
  /** Run everything there is to run. */
  settle(): Promise<void>;
}

/** @param disk undefined: a journal in memory */
export async function start(limits: Partial<Limits> = {}, clock = new SimClock(), disk?: SimDisk): Promise<Fixture> {
  const lines: string[] = [];
  const log = (level: string, msg: string): void => {
    lines.push(`${level} ${msg}`);
  };
  const options = { disk: disk ?? new SimDisk({ seed: 1 }), clock, limits: limitsWith(limits), log };
  const recovery = disk === undefined ? memoryRecovery(clock) : await clock.drive(openJournal(options));
  const running = await clock.drive(startBroker(options, recovery));
  return { ...running, clock, disk: options.disk, lines, settle: () => clock.advance(50) };
}

export function newDisk(clock: SimClock, options: Partial<SimDisk['options']> = {}): SimDisk {
  return new SimDisk({ seed: 7, clock, latencyMsMax: 1, ...options });
}

export function connect(fixture: Running, handlers: Parameters<Running['broker']['client']>[2] = {}): Client {
  return fixture.broker.client(
    '/',
    { user: 'alice', clientId: 'c-1', protocol: 'test', peer: '127.0.0.1:1' },
    handlers,
  );
}

/** Declare a queue. */
export async function declare(fixture: Fixture, name: string, args: Arguments = {}, durable = true): Promise<void> {
  const settings = { ...(durable ? DURABLE : TRANSIENT), arguments: args };
  await fixture.clock.drive(fixture.broker.admin.declareQueue('/', name, settings));
}

/** Publish messages with these bodies, and let everything happen that follows. @param make the message of a body */
export async function publishAll(
  fixture: Fixture,
  to: string,
  bodies: readonly string[],
  make: (body: string, n: number) => Message = durably,
  exchange = '',
): Promise<void> {
  const producer = connect(fixture).producer({});
  const address = producer.address(exchange, key(to));
  for (const [n, body] of bodies.entries()) producer.publish(address, make(body, n), 0);
  await fixture.settle();
}

/** The bodies in a queue, in order; they go back to it. */
export async function contents(fixture: Fixture, queue: string): Promise<string[]> {
  const client = connect(fixture);
  const { bodies } = collect(client, queue);
  await fixture.settle();
  client.close();
  await fixture.settle();
  return bodies;
}

export function text(body: string, flags = 0): Message {
  const message = new Message();
  message.format = 1;
  message.flags = flags;
  message.bytes = Buffer.from(`H${body}`);
  message.headEnd = 1;
  message.bodyStart = 1;
  message.bodyEnd = message.bytes.length;
  return message;
}

export const durably = (body: string): Message => text(body, FLAG_DURABLE);

/** A durable message whose body is `group:text`, in that group; with no group before the colon it is in none. */
export function grouped(body: string, flags = 0): Message {
  const message = text(body, FLAG_DURABLE | flags);
  const end = body.indexOf(':');
  if (end <= 0) return message;
  message.groupStart = message.bodyStart;
  message.groupEnd = message.bodyStart + end;
  return message;
}

export function bodyOf(message: Message): string {
  return message.bytes.toString('utf8', message.bodyStart, message.bodyEnd);
}

export function key(name: string, separator = DOT): RoutingKey {
  return new RoutingKey(name, separator);
}

export function pattern(name: string, separator = DOT): Pattern {
  const parts = name === '' ? [] : name.split(String.fromCharCode(separator));
  const levels: PatternLevel[] = parts.map((part) =>
    part === '*' || part === '+' ? ANY_ONE : part === '#' ? ANY_MANY : part,
  );
  return { text: name, separator, levels, hidesDollar: false };
}

export interface Collector {
  readonly subscription: Subscription;
  /** Bodies in the order of delivery. */
  readonly bodies: string[];
  readonly redeliveries: number[];
  ended: string | undefined;
}

/** A consumer that notes what it gets and settles nothing. */
export function collect(client: Client, queue: string, options: Partial<SubscribeOptions> = {}): Collector {
  const bodies: string[] = [];
  const redeliveries: number[] = [];
  const onDeliveries = (batch: DeliveryBatch): void => {
    while (batch.next()) {
      bodies.push(bodyOf(batch.message));
      redeliveries.push(batch.redeliveries);
    }
  };
  const collector: Collector = { subscription: undefined as never, bodies, redeliveries, ended: undefined };
  const onEnd = (reason: string): void => {
    collector.ended = reason;
  };
  const subscription = client.subscribe(queue, { credit: 1000, ...options }, { onDeliveries, onEnd });
  return Object.assign(collector, { subscription });
}
