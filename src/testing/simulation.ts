/**
 * The model test: random commands to a broker on simulated disk and clock, beside a model of its queues, with crashes and
 * faults in between. A script of commands is made from a seed before anything runs, so a failing one can be printed, shortened
 * and run again. One seed gives one log.
 */
import { strict as assert } from 'node:assert';
import {
  ANY_MANY,
  type Client,
  CONFIRM,
  CoreError,
  type DeliveryBatch,
  FLAG_DURABLE,
  FLAG_RETAIN,
  limitsWith,
  Message,
  type Producer,
  RoutingKey,
  type SettleOp,
  type Subscription,
} from '../core/index.ts';
import { openJournal } from '../core/journal/index.ts';
import { type Internals, type RunningBroker, startBroker } from '../core/start.ts';
import { dump } from './dump.ts';
import { ModelQueue } from './model-queue.ts';
import { Prng } from './prng.ts';
import { SimClock } from './sim-clock.ts';
import { failure, SimDisk } from './sim-disk.ts';

/** One step. `n` chooses among what there is at the time, modulo their number. */
export type Command =
  | { do: 'declare'; n: number; durable: boolean }
  | { do: 'publish'; n: number; count: number; persistent: boolean; confirm: boolean; fanout: boolean; bytes: number }
  | { do: 'retain'; n: number; persistent: boolean; clear: boolean }
  | { do: 'subscribe'; n: number; credit: number; quota: number; settled: boolean }
  | { do: 'credit'; n: number; count: number }
  | { do: 'resume'; n: number }
  | { do: 'settle'; n: number; from: number; count: number; op: SettleOp }
  | { do: 'leave'; n: number }
  | { do: 'purge'; n: number }
  | { do: 'delete'; n: number }
  | { do: 'checkpoint' }
  | { do: 'wait'; ms: number }
  | { do: 'restart'; how: 'clean' | 'kill' | 'crash' }
  | { do: 'fail'; what: 'sync' | 'write' };

const QUEUES = 4;
const KEYS = 6;
/** Small, so that segments roll, bodies leave memory and windows are many. */
const LIMITS = limitsWith({
  segmentBytes: 64 * 1024,
  batchBytesMax: 8 * 1024,
  tailCacheBytesMax: 32 * 1024,
  volatileBytesMax: 256 * 1024,
  readAheadBytesMax: 8 * 1024,
  diskFreeBytesMin: 0,
});

/** Make a script from a seed. @param faults whether the disk may fail */
export function scriptOf(seed: number, length: number, faults: boolean): Command[] {
  const prng = new Prng(seed);
  const weights = {
    declare: 4,
    publish: 30,
    retain: 4,
    subscribe: 8,
    credit: 10,
    resume: 6,
    settle: 26,
    leave: 4,
    purge: 1,
    delete: 0.6,
    checkpoint: 2,
    wait: 20,
    restart: 2,
    fail: faults ? 0.4 : 0,
  };
  const script: Command[] = [{ do: 'declare', n: 0, durable: true }];
  while (script.length < length) script.push(command(prng, prng.weighted(weights)));
  return script;
}

function command(prng: Prng, kind: Command['do']): Command {
  const n = prng.below(1000);
  switch (kind) {
    case 'declare':
      return { do: kind, n, durable: prng.chance(0.7) };
    case 'publish': {
      const bytes = prng.chance(0.05) ? prng.between(1000, 20_000) : prng.between(4, 300);
      const many = { n, count: prng.between(1, prng.chance(0.1) ? 200 : 10), bytes };
      return { do: kind, ...many, persistent: prng.chance(0.7), confirm: prng.chance(0.8), fanout: prng.chance(0.2) };
    }
    case 'retain':
      return { do: kind, n, persistent: prng.chance(0.7), clear: prng.chance(0.2) };
    case 'subscribe': {
      const quota = prng.chance(0.3) ? prng.between(1, 5) : 1e9;
      return { do: kind, n, credit: prng.chance(0.2) ? 1e6 : prng.between(1, 40), quota, settled: prng.chance(0.1) };
    }
    case 'credit':
      return { do: kind, n, count: prng.between(1, 50) };
    case 'settle': {
      const op = prng.weighted({ complete: 8, requeue: 2, modify: 1, discard: 1 });
      return { do: kind, n, from: prng.below(8), count: prng.between(1, prng.chance(0.3) ? 100 : 5), op };
    }
    case 'wait':
      return { do: kind, ms: prng.chance(0.2) ? prng.between(1, 50) : prng.float() * 2 };
    case 'restart':
      return { do: kind, how: prng.pick(['clean', 'kill', 'crash'] as const) };
    case 'fail':
      return { do: kind, what: prng.pick(['sync', 'write'] as const) };
    case 'checkpoint':
      return { do: kind };
    default:
      return { do: kind, n };
  }
}

interface Consumer {
  readonly queue: ModelQueue;
  readonly subscription: Subscription;
  readonly settled: boolean;
  /** Delivery number -> message. */
  readonly out: Map<number, number>;
}

/** A retained key: the values a restart may show. */
interface ModelKey {
  current: number;
  /** Newest that is certain (0 = certainly none), and what came after it. */
  certain: number;
  later: number[];
}

export class Simulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly #clock = new SimClock();
  readonly #disk: SimDisk;
  #running!: RunningBroker & { internals: Internals };
  #client!: Client;
  #producer!: Producer;
  readonly #queues = new Map<string, ModelQueue>();
  #consumers: Consumer[] = [];
  readonly #keys = new Map<string, ModelKey>();
  /** Confirms awaited, in order: what each is about. */
  #asked: (() => void)[] = [];
  #confirmed = 0;
  readonly #asksConfirm = new Set<number>();
  #lastId = 0;
  #failing = false;

  constructor(seed: number) {
    const fault = (operation: string): Error | undefined =>
      this.#failing && (operation === 'sync' || operation === 'write') ? failure('EIO', 'simulated') : undefined;
    this.#disk = new SimDisk({ seed: seed ^ 0x5eed, clock: this.#clock, latencyMsMax: 2, fault });
  }

  /** Run a script; rejects at the first thing that is not as it must be. */
  async run(script: readonly Command[]): Promise<void> {
    await this.#open();
    for (const step of script) {
      this.log.push(JSON.stringify(step));
      await this.#step(step);
      this.#compare();
    }
    this.#failing = false;
    await this.#restart('clean');
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    const options = { disk: this.#disk, clock: this.#clock, limits: LIMITS };
    const recovery = await this.#clock.drive(openJournal(options));
    const log = (level: string, msg: string, fields?: object): void => {
      this.log.push(`${level} ${msg} ${JSON.stringify(fields ?? {})}`);
    };
    this.#running = await this.#clock.drive(startBroker({ ...options, log }, recovery));
    this.log.push(this.#running.summary);
    const identity = { user: 'sim', clientId: 'sim', protocol: 'sim', peer: '' };
    this.#client = this.#running.broker.client('/', identity, {});
    this.#producer = this.#client.producer({ onConfirm: (upTo) => this.#onConfirm(upTo) });
    this.#asked = [];
    this.#confirmed = 0;
    this.#consumers = [];
  }

  async #restart(how: 'clean' | 'kill' | 'crash'): Promise<void> {
    const { engine, topology } = this.#running.internals;
    // The journal may fail while it is being closed: that is no clean end then.
    if (how === 'clean') await this.#control(this.#running.close());
    const clean = how === 'clean' && engine.failure === undefined;
    const before = clean ? dump(topology) : [];
    if (!clean && (how === 'crash' || engine.failure !== undefined)) this.#disk.crash();
    else if (!clean) this.#disk.kill();
    this.#clock.clear();
    this.#failing = false;
    await this.#open();
    const after = dump(this.#running.internals.topology);
    if (clean) assert.deepEqual(after, before, 'the state after a clean restart is the state before it');
    for (const queue of [...this.#queues.values()]) await this.#look(queue, clean);
    await this.#lookAtKeys(clean);
  }

  /** Compare a queue with its model after a restart: everything is handed out once and given back. */
  async #look(model: ModelQueue, clean: boolean): Promise<void> {
    const info = this.#running.broker.admin.queue('/', model.name);
    if (!model.durable) {
      assert.equal(info, undefined, `${model.name} was not durable and is there`);
      this.#queues.delete(model.name);
      return;
    }
    assert(info !== undefined, `${model.name} was declared and is lost`);
    const found: { id: number; redeliveries: number }[] = [];
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) found.push({ id: idOf(batch.message), redeliveries: batch.redeliveries });
    };
    const subscription = this.#client.subscribe(model.name, { credit: 1e9 }, { onDeliveries });
    await this.#clock.run(() => found.length >= info.ready);
    subscription.close();
    this.log.push(`${model.name} holds ${found.length}`);
    // It was not counted yet that they came back just now.
    model.restarted(found, clean);
    for (const { id } of found) {
      const message = model.messages.get(id);
      if (message !== undefined) message.returns++;
    }
  }

  async #lookAtKeys(clean: boolean): Promise<void> {
    const { broker } = this.#running;
    const there = new Map<string, number>();
    const tap = this.#client.tap({ onMessage: () => true });
    let done = false;
    const each = (message: Message): void => {
      there.set(message.keyBytes.toString('utf8', message.keyStart, message.keyEnd), idOf(message));
    };
    tap.retained('amq.topic', { text: '#', separator: 0x2e, levels: [ANY_MANY], hidesDollar: false }, each, () => {
      done = true;
    });
    await this.#clock.run(() => done);
    tap.close();
    assert.equal(broker.admin.retainedKeys('/', 'amq.topic').length, there.size);
    for (const [key, model] of this.#keys) {
      const found = there.get(key) ?? 0;
      const allowed = clean ? [model.later.at(-1) ?? model.certain] : [model.certain, ...model.later];
      assert(allowed.includes(found), `last value of ${key} is ${found}; it must be one of ${allowed}`);
      model.current = found;
      model.certain = found;
      model.later = [];
    }
  }

  // ---- Commands ---------------------------------------------------------------------------------------------------

  async #step(step: Command): Promise<void> {
    // A broker whose journal failed must be started again: that is all there is to do with it.
    if (this.#running.internals.engine.failure !== undefined && step.do !== 'restart') return this.#restart('kill');
    switch (step.do) {
      case 'declare':
        return this.#declare(step.n, step.durable);
      case 'publish':
        return this.#publish(step);
      case 'retain':
        return this.#retain(step);
      case 'subscribe':
        return this.#subscribe(step);
      case 'purge':
        return this.#purge(step.n);
      case 'delete':
        return this.#delete(step.n);
      case 'checkpoint':
        return this.#checkpoint();
      case 'wait':
        return this.#clock.advance(step.ms);
      case 'restart':
        return this.#restart(step.how);
      case 'fail':
        this.#failing = true;
        return;
      default:
        return this.#consumerStep(step);
    }
  }

  #consumerStep(step: Extract<Command, { do: 'credit' | 'resume' | 'settle' | 'leave' }>): void {
    const consumer = this.#consumers[step.n % this.#consumers.length];
    if (consumer === undefined) return;
    if (step.do === 'credit') consumer.subscription.credit(step.count);
    else if (step.do === 'resume') consumer.subscription.resume();
    else if (step.do === 'settle') this.#settle(consumer, step.from, step.count, step.op);
    else this.#leave(consumer);
  }

  /** Wait for a promise of the control plane, or until the journal has failed. */
  async #control<T>(promise: Promise<T>): Promise<T | undefined> {
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
    await this.#clock.run(() => !open);
    return value;
  }

  async #declare(n: number, durable: boolean): Promise<void> {
    const name = `q${n % QUEUES}`;
    if (this.#queues.has(name)) return;
    const { admin } = this.#running.broker;
    const settings = { durable, autoDelete: false, exclusive: false, arguments: {} };
    const info = await this.#control(admin.declareQueue('/', name, settings));
    const pattern = { text: '', separator: 0x2e, levels: [], hidesDollar: false };
    if (info === undefined) return this.#restartUnsure(name, durable);
    this.#queues.set(name, new ModelQueue(name, durable));
    await this.#control(admin.bind('/', 'amq.fanout', { kind: 'queue', name }, pattern, {}));
    // Whether a binding survived a failure is not known: have it again.
    if (this.#running.internals.engine.failure !== undefined) {
      await this.#restart('kill');
      if (this.#queues.has(name))
        await this.#control(this.#running.broker.admin.bind('/', 'amq.fanout', { kind: 'queue', name }, pattern, {}));
    }
  }

  /** The journal failed in the middle of a declaration or deletion: ask the broker what became of it. */
  async #restartUnsure(name: string, durable: boolean): Promise<void> {
    this.#queues.delete(name);
    await this.#restart('kill');
    const { admin } = this.#running.broker;
    if (admin.queue('/', name) === undefined) return;
    void durable;
    await this.#control(admin.deleteQueue('/', name));
  }

  #publish(step: Extract<Command, { do: 'publish' }>): void {
    const names = [...this.#queues.keys()];
    const name = names[step.n % names.length];
    if (name === undefined) return;
    const targets = step.fanout ? [...this.#queues.values()] : [this.#queues.get(name) as ModelQueue];
    const address = step.fanout
      ? this.#producer.address('amq.fanout', new RoutingKey('any', 0x2e))
      : this.#producer.address('', new RoutingKey(name, 0x2e));
    for (let count = 0; count < step.count; count++) {
      const id = ++this.#lastId;
      for (const queue of targets) queue.published(id, step.persistent);
      const { confirm } = step;
      if (confirm) {
        this.#asksConfirm.add(id);
        this.#asked.push(() => {
          for (const queue of targets) queue.confirmed(id);
        });
      }
      this.#producer.publish(
        address,
        messageOf(id, step.bytes, step.persistent ? FLAG_DURABLE : 0),
        confirm ? CONFIRM : 0,
      );
    }
  }

  #retain(step: Extract<Command, { do: 'retain' }>): void {
    const key = `k.${step.n % KEYS}`;
    const id = step.clear ? 0 : ++this.#lastId;
    const model = this.#keys.get(key) ?? { current: 0, certain: 0, later: [] };
    this.#keys.set(key, model);
    model.current = id;
    // A transient value makes a restart show none: the same as clearing.
    const survives = step.persistent ? id : 0;
    model.later.push(survives);
    const seen = model.later.length;
    const later = model.later;
    this.#asked.push(() => {
      if (later !== model.later) return;
      const at = model.later.length - seen >= 0 ? model.later.indexOf(survives) : -1;
      if (at < 0) return;
      model.certain = survives;
      model.later.splice(0, at + 1);
    });
    const flags = FLAG_RETAIN | (step.persistent ? FLAG_DURABLE : 0);
    const message = messageOf(id, 20, flags);
    if (step.clear) message.bodyEnd = message.bodyStart;
    this.#producer.publish(this.#producer.address('amq.topic', new RoutingKey(key, 0x2e)), message, CONFIRM);
  }

  #onConfirm(upTo: number): void {
    assert(upTo > this.#confirmed && upTo <= this.#asked.length, `confirm ${upTo} after ${this.#confirmed}`);
    while (this.#confirmed < upTo) (this.#asked[this.#confirmed++] as () => void)();
    this.log.push(`confirmed ${upTo}`);
  }

  #subscribe(step: Extract<Command, { do: 'subscribe' }>): void {
    const queue = [...this.#queues.values()][step.n % this.#queues.size];
    if (queue === undefined || this.#consumers.length > 6) return;
    const out = new Map<number, number>();
    const onDeliveries = (batch: DeliveryBatch): void => {
      for (let quota = step.quota; quota > 0 && batch.next(); quota--) {
        const id = idOf(batch.message);
        this.log.push(`${queue.name} -> ${id}`);
        queue.delivered(id, batch.redeliveries, this.#asksConfirm.has(id));
        if (step.settled) queue.settled(id);
        else out.set(batch.deliveryId, id);
      }
    };
    const options = { credit: step.credit, settled: step.settled };
    const subscription = this.#client.subscribe(queue.name, options, { onDeliveries });
    this.#consumers.push({ queue, subscription, settled: step.settled, out });
  }

  #settle(consumer: Consumer, from: number, count: number, op: SettleOp): void {
    const numbers = [...consumer.out.keys()].sort((a, b) => a - b);
    const first = numbers[from % Math.max(1, numbers.length)];
    if (first === undefined) return;
    const last = Math.min(first + count - 1, numbers.at(-1) as number);
    const chosen = numbers.filter((number) => number >= first && number <= last);
    const ids = chosen.map((number) => consumer.out.get(number) as number);
    for (const number of chosen) consumer.out.delete(number);
    assert.equal(consumer.subscription.settle(first, last, op), chosen.length);
    const { queue } = consumer;
    if (op === 'requeue' || op === 'modify') {
      for (const id of ids) queue.returned(id);
      return;
    }
    for (const id of ids) queue.settled(id);
    consumer.subscription.afterDurable(() => {
      for (const id of ids) queue.settledForGood(id);
    });
  }

  #leave(consumer: Consumer): void {
    this.#consumers = this.#consumers.filter((other) => other !== consumer);
    consumer.subscription.close();
    for (const id of consumer.out.values()) consumer.queue.returned(id);
  }

  async #purge(n: number): Promise<void> {
    const queue = [...this.#queues.values()][n % this.#queues.size];
    if (queue === undefined) return;
    const promise = this.#running.broker.admin.purgeQueue('/', queue.name);
    const ids = queue.purged();
    const count = await this.#control(promise);
    if (count === undefined) return;
    assert.equal(count, ids.length, `${queue.name}: the count of purged messages`);
    for (const id of ids) queue.settledForGood(id);
  }

  async #delete(n: number): Promise<void> {
    const queue = [...this.#queues.values()][n % this.#queues.size];
    if (queue === undefined) return;
    this.#consumers = this.#consumers.filter((consumer) => consumer.queue !== queue);
    const ready = queue.ready;
    this.#queues.delete(queue.name);
    const count = await this.#control(this.#running.broker.admin.deleteQueue('/', queue.name));
    if (count === undefined) return this.#restartUnsure(queue.name, queue.durable);
    assert.equal(count, ready, `${queue.name}: the count of messages deleted with it`);
  }

  async #checkpoint(): Promise<void> {
    const running = this.#running.internals.checkpointer.run();
    let open = true;
    void running.then(() => {
      open = false;
    });
    await this.#clock.run(() => !open);
  }

  #compare(): void {
    for (const model of this.#queues.values()) {
      const info = this.#running.broker.admin.queue('/', model.name);
      assert(info !== undefined, `${model.name} is gone`);
      assert.equal(info.ready, model.ready, `${model.name}: ready messages`);
      assert.equal(info.unsettled, model.messages.size - model.ready, `${model.name}: unsettled messages`);
    }
  }
}

/** Id in the first bytes; the rest follows from it, so that a wrong body is noticed. */
function messageOf(id: number, bytes: number, flags: number): Message {
  const message = new Message();
  message.format = 1;
  message.flags = flags;
  message.bytes = Buffer.alloc(Math.max(4, bytes), id & 0xff);
  message.bytes.writeUInt32LE(id, 0);
  message.bodyEnd = message.bytes.length;
  return message;
}

function idOf(message: Message): number {
  const { bytes, bodyStart, bodyEnd } = message;
  const id = bytes.readUInt32LE(bodyStart);
  for (let at = bodyStart + 4; at < bodyEnd; at++) assert.equal(bytes[at], id & 0xff, `the body of ${id} is damaged`);
  return id;
}
