/**
 * The broker of a simulation whose disk fails, lies and fills up when it is told to. Starts it again after all of that, as an
 * operator would, and looks into it.
 */
import { strict as assert } from 'node:assert';
import {
  ANY_MANY,
  type Broker,
  type Client,
  CoreError,
  type DeliveryBatch,
  Message,
  type Pattern,
  type QueueInfo,
} from '../core/index.ts';
import { dump } from './dump.ts';
import { EXCHANGES, type RestartKind } from './script.ts';
import type { SimClock } from './sim-clock.ts';
import { failure } from './sim-disk.ts';
import { type Ended, SimMachine } from './sim-machine.ts';

export const DOT = 0x2e;
const ALL: Pattern = { text: '#', separator: DOT, levels: [ANY_MANY], hidesDollar: false };
/** So that bodies leave the arena too, and alarms begin. */
const LIMITS = {
  tailCacheBytesMax: 32 * 1024,
  volatileBytesMax: 256 * 1024,
  unconfirmedBytesMax: 64 * 1024,
  diskFreeBytesMin: 64 * 1024,
  diskCheckMs: 10,
};

/** A message found in a queue. */
export interface Found {
  readonly id: number;
  readonly redeliveries: number;
}

export class SimBroker {
  readonly clock: SimClock;
  /** Operations of this kind fail. */
  failing: 'sync' | 'write' | undefined;
  readonly #log: (line: string) => void;
  readonly #isStill: boolean;
  readonly #machine: SimMachine;
  #lying = false;
  /** A disk that lied lost what was promised; that may show long afterwards. */
  #damaged = false;

  /** @param isStill its queues do nothing on their own: what is there before a clean restart is there after it */
  constructor(seed: number, log: (line: string) => void, isStill = true) {
    this.#log = log;
    this.#isStill = isStill;
    this.#machine = new SimMachine({
      seed,
      limits: LIMITS,
      fault: (operation) => (operation === this.failing ? failure('EIO', 'simulated') : undefined),
      log: (level, msg, fields) => log(`${level} ${msg} ${JSON.stringify(fields ?? {})}`),
    });
    this.clock = this.#machine.clock;
  }

  get door(): Broker {
    return this.#machine.broker;
  }

  /** Its journal has failed: it can do nothing but end. */
  get failed(): boolean {
    return this.#machine.internals.engine.failure !== undefined;
  }

  /** Anything may be missing, or found to be unreadable. */
  get damaged(): boolean {
    return this.#damaged;
  }

  /** From now on this share of all syncs does nothing. */
  lie(probability: number): void {
    this.#lying = true;
    const { disk } = this.#machine;
    disk.options = { ...disk.options, lyingSync: probability };
  }

  /** Let the disk have so many free bytes; null: as many as anybody wants. */
  leave(freeBytes: number | null): void {
    this.#machine.disk.leave(freeBytes ?? undefined);
  }

  checkpoint(): Promise<void> {
    return this.#machine.checkpoint();
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  /** Start it on a disk that works again, with the exchanges that scripts use. */
  async start(): Promise<void> {
    this.failing = undefined;
    this.leave(null);
    this.#log(await this.#started());
    for (const [n, name] of EXCHANGES.entries()) {
      if (n === 0) continue;
      const durable = n < EXCHANGES.length - 1;
      const settings = { kind: 'fanout', durable, autoDelete: false, internal: false, arguments: {} } as const;
      await this.clock.drive(this.door.admin.declareExchange('/', name, settings));
    }
  }

  /** Only a disk that lied may make it refuse to start: then do what an operator would do. Answers what it says of its start. */
  async #started(): Promise<string> {
    try {
      return await this.#machine.start();
    } catch (error) {
      await this.#refused(error);
    }
    try {
      return await this.#machine.start('truncate-tail');
    } catch (error) {
      await this.#refused(error);
    }
    this.#machine.replaceDisk();
    return this.#machine.start();
  }

  async #refused(error: unknown): Promise<void> {
    const isFatal = error instanceof CoreError && error.severity === 'fatal';
    if (!this.#damaged || !isFatal) throw error;
    this.#log(`refused: ${error.message}`);
    await this.#machine.end('kill');
  }

  /** End it and start it again; answers how it ended in truth. */
  async restart(how: RestartKind): Promise<Ended> {
    const { topology } = this.#machine.internals;
    if (how === 'clean') await this.control(this.#machine.close());
    // The journal may fail while it is being closed: that is no clean end then.
    const ended = this.failed ? 'crash' : how;
    const before = ended === 'clean' ? dump(topology) : [];
    if (ended === 'crash' && this.#lying) this.#damaged = true;
    await this.#machine.end(ended);
    await this.start();
    if (ended === 'clean' && !this.#damaged && this.#isStill) {
      const after = dump(this.#machine.internals.topology);
      assert.deepEqual(after, before, 'the state after a clean restart is the state before it');
    }
    return ended;
  }

  /** Wait for a promise of the control plane, or until the journal has failed. */
  async control<T>(promise: Promise<T>): Promise<T | undefined> {
    let value: T | undefined;
    let open = true;
    promise.then(
      (result) => {
        value = result;
        open = false;
      },
      (error: unknown) => {
        assert(error instanceof CoreError && error.code === 'journal-failed', String(error));
        open = false;
      },
    );
    await this.clock.run(() => !open);
    return value;
  }

  // ---- Looking ----------------------------------------------------------------------------------------------------

  /** Everything in a queue that can be read, handed out once and given back. */
  async look(client: Client, info: QueueInfo): Promise<Found[]> {
    const found: Found[] = [];
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) found.push({ id: idOf(batch.message), redeliveries: batch.redeliveries });
    };
    const subscription = client.subscribe(info.name, { credit: 1e9, pull: true }, { onDeliveries });
    let done = false;
    subscription.drain(() => {
      done = true;
    });
    await this.clock.run(() => done);
    subscription.close();
    this.#log(`${info.name} holds ${found.length}`);
    return found;
  }

  /** The last values of all keys. */
  async retained(client: Client): Promise<ReadonlyMap<string, number>> {
    const there = new Map<string, number>();
    const tap = client.tap({ onMessage: () => true });
    let done = false;
    const each = (message: Message): void => {
      there.set(message.keyBytes.toString('utf8', message.keyStart, message.keyEnd), idOf(message));
    };
    tap.retained('amq.topic', ALL, each, () => {
      done = true;
    });
    await this.clock.run(() => done);
    tap.close();
    // Bodies that a lying disk lost are not shown.
    const keys = this.door.admin.retainedKeys('/', 'amq.topic');
    assert(keys.length === there.size || this.#damaged, `${keys.length} last values, ${there.size} of them are shown`);
    return there;
  }
}

/** Id in the first bytes; the rest follows from it, so that a wrong body is noticed. */
export function messageOf(id: number, bytes: number, flags: number): Message {
  const message = new Message();
  message.format = 1;
  message.flags = flags;
  message.bytes = Buffer.alloc(Math.max(4, bytes), id & 0xff);
  message.bytes.writeUInt32LE(id, 0);
  message.bodyEnd = message.bytes.length;
  return message;
}

/** The id of a message, which must be whole. */
export function idOf(message: Message): number {
  const { bytes, bodyStart, bodyEnd } = message;
  const id = bytes.readUInt32LE(bodyStart);
  for (let at = bodyStart + 4; at < bodyEnd; at++) assert.equal(bytes[at], id & 0xff, `the body of ${id} is damaged`);
  return id;
}
