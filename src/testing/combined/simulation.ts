/**
 * The combined model test: random queues with random rules, random traffic, crashes and restarts, on simulated disk and clock,
 * beside a model that judges every delivery (docs/order.md). One seed gives one run.
 */
import { strict as assert } from 'node:assert';
import {
  type Client,
  CONFIRM,
  CoreError,
  type DeliveryBatch,
  FLAG_DURABLE,
  type HubValue,
  type Message,
  type Producer,
  RoutingKey,
  type SettleOp,
  type Transaction,
} from '../../core/index.ts';
import type { RestartKind } from '../script.ts';
import { DOT, idOf, SimBroker } from '../sim-broker.ts';
import type { CombinedCommand, ConsumerFacts, PublishFacts, SettleFacts } from './commands.ts';
import { QUIET_MS } from './knowledge.ts';
import { FORMAT, markedMessage } from './messages.ts';
import { Model, type Published } from './model.ts';
import { type ModelConsumer, ModelQueue } from './model-queue.ts';
import { choose, type Held, type Part } from './parts.ts';
import type { Lineage, Unit } from './place.ts';
import { modelRules, QUEUE_NAMES } from './rules.ts';

const CONSUMERS_MAX = 10;
/** Longer than it takes until a dead letter that nobody took is tried again. */
const RETRY_MS = 11_000;
const ROUNDS_MAX = 100;

/** What filters tell messages apart by. */
const COLORS = 3;

type Step<K extends CombinedCommand['do']> = Extract<CombinedCommand, { do: K }>;

export class CombinedSimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly #broker: SimBroker;
  readonly #model: Model;
  #client!: Client;
  #producer!: Producer;
  #consumers: ModelConsumer[] = [];
  /** Confirms awaited, in order: the message, and whether it must be a refusal. */
  #asked: { readonly id: number; readonly refused: boolean | undefined }[] = [];
  #confirmed = 0;
  #confirmedMs = 0;
  #lastId = 0;
  /** The first thing that was not as it must be, found in a call of the broker's: it must not see it. */
  #fault: unknown;

  constructor(seed: number) {
    this.#broker = new SimBroker(seed, (line) => this.log.push(line), false);
    this.#model = new Model({
      now: () => this.#broker.clock.now(),
      ready: (queue) => this.#broker.door.admin.queue('/', queue)?.ready ?? 0,
      isRepeat: (queue, id) => this.#broker.door.admin.messageIds.has('/', queue, id),
      busyMs: () => (this.#confirmed < this.#asked.length ? this.#broker.clock.now() : this.#confirmedMs),
    });
  }

  /** Run a script; rejects at the first thing that is not as it must be. */
  async run(script: readonly CombinedCommand[]): Promise<void> {
    await this.#broker.start();
    this.#connect();
    for (const step of script) {
      this.log.push(JSON.stringify(step));
      await this.#step(step);
      this.#compare();
    }
    await this.#restart('clean');
    await this.#findAll();
  }

  #guard(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.#fault ??= error;
    }
  }

  #rethrow(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }

  #connect(): void {
    const identity = { user: 'sim', clientId: 'sim', protocol: 'sim', peer: '' };
    this.#broker.door.registerFormat(FORMAT);
    this.#client = this.#broker.door.client('/', identity, {});
    this.#producer = this.#client.producer({
      onConfirm: (upTo, refused) => this.#guard(() => this.#onConfirm(upTo, refused ?? [])),
    });
    this.#asked = [];
    this.#confirmed = 0;
    this.#consumers = [];
  }

  async #restart(how: RestartKind): Promise<void> {
    this.#model.observe();
    const ended = await this.#broker.restart(how);
    this.#rethrow();
    this.#model.restarted(ended);
    this.#connect();
  }

  async #step(step: CombinedCommand): Promise<void> {
    switch (step.do) {
      case 'declare':
        return this.#declare(step);
      case 'delete':
        return this.#delete(step.n);
      case 'publish':
        return this.#publish(step);
      case 'transaction':
        return this.#transact(step);
      case 'half':
        return this.#half(step);
      case 'alter':
        return this.#alter(step);
      case 'subscribe':
        return this.#subscribe(step);
      case 'purge':
        return this.#purge(step.n);
      case 'checkpoint':
        return this.#broker.clock.drive(this.#broker.checkpoint());
      case 'wait':
        return this.#broker.clock.advance(step.ms);
      case 'quiet':
        return this.#quiet();
      case 'restart':
        return this.#restart(step.how);
      default:
        return this.#consumerStep(step);
    }
  }

  async #quiet(): Promise<void> {
    await this.#broker.clock.advance(2 * QUIET_MS);
    this.#rethrow();
    this.#model.checkNothingStuck();
  }

  #compare(): void {
    this.#rethrow();
    const { admin } = this.#broker.door;
    this.#model.observe();
    for (const queue of this.#model.knowledge.queues.values()) {
      const info = admin.queue('/', queue.name);
      assert(info !== undefined, `${queue.name} is not there`);
      const out = this.#consumers.filter((one) => one.queue === queue).reduce((sum, one) => sum + one.out.size, 0);
      assert.equal(info.unsettled, out, `${queue.name}: unsettled`);
      const isBounded = queue.rules.overflow === 'drop-head';
      assert(!isBounded || info.ready <= queue.rules.maxLength, `${queue.name} is longer than it may be`);
    }
    const names = admin.queues('/').map(({ name }) => name);
    assert.deepEqual(names.sort(), [...this.#model.knowledge.queues.keys()].sort());
  }

  // ---- Queues -----------------------------------------------------------------------------------------------------

  get #queues(): ModelQueue[] {
    return [...this.#model.knowledge.queues.values()];
  }

  #queueAt(n: number): ModelQueue | undefined {
    return this.#queues[n % this.#queues.length];
  }

  async #declare(step: Step<'declare'>): Promise<void> {
    const name = QUEUE_NAMES[step.n % QUEUE_NAMES.length] as string;
    if (this.#model.knowledge.queues.has(name)) return;
    // What is on its way finds it there, or does not: it must be one of the two.
    await this.#quiet();
    const settings = { durable: step.durable, autoDelete: false, exclusive: false, arguments: step.arguments };
    const done = this.#broker.door.admin.declareQueue('/', name, settings);
    this.#model.declared(new ModelQueue(name, step.durable, step.arguments));
    await this.#broker.clock.drive(done);
  }

  async #delete(n: number): Promise<void> {
    const queue = this.#queueAt(n);
    if (queue === undefined) return;
    await this.#quiet();
    const done = this.#broker.door.admin.deleteQueue('/', queue.name);
    this.#model.deleted(queue);
    this.#consumers = this.#consumers.filter((consumer) => consumer.queue !== queue);
    await this.#broker.clock.drive(done);
  }

  /** Other rules for a queue that lives. */
  async #alter({ n, rules }: Step<'alter'>): Promise<void> {
    const queue = this.#queueAt(n);
    if (queue === undefined) return;
    const { refuses, keepsLast, deadLetter, isRing } = { ...queue.rules, refuses: queue.refuses };
    const isMeant = (name: string): boolean => {
      if (name === 'dead-letter-routing-key') return deadLetter !== undefined;
      // Rules that cannot be together are left out by the broker; the model is not about that.
      return name !== 'max-length' || !(keepsLast || isRing || (deadLetter?.keeps === true && !refuses));
    };
    const live = Object.fromEntries(Object.entries(rules).filter(([name]) => isMeant(name)));
    const args = Object.entries(live).map(([name, value]) => [`x-${name}`, value] as const);
    await this.#quiet();
    const done = this.#broker.door.admin.policies.setQueueRules('/', queue.name, live);
    this.#model.altered(queue, modelRules({ ...queue.arguments, ...Object.fromEntries(args) }));
    await this.#broker.clock.drive(done);
    await this.#quiet();
  }

  async #purge(n: number): Promise<void> {
    const queue = this.#queueAt(n);
    if (queue === undefined) return;
    const done = this.#broker.door.admin.purgeQueue('/', queue.name);
    const [least, most] = this.#model.purged(queue);
    const count = await this.#broker.clock.drive(done);
    assert(least <= count && count <= most, `${queue.name}: ${count} were purged, it must be ${least} to ${most}`);
  }

  // ---- Publishing -------------------------------------------------------------------------------------------------

  #publish(facts: PublishFacts): void {
    const queue = this.#queueAt(facts.n);
    if (queue === undefined) return;
    const address = this.#producer.address('', new RoutingKey(queue.name, DOT));
    for (const { message, published } of this.#messages(facts)) {
      const { refused } = this.#model.publish(queue, published);
      this.#asked.push({ id: published.id, refused });
      this.#producer.publish(address, message, CONFIRM);
    }
    this.log.push(`published up to ${this.#lastId} to ${queue.name}`);
  }

  *#messages({ count, bytes, message: facts }: PublishFacts): Generator<{ message: Message; published: Published }> {
    const { persistent, priorities, ttlMs, groups, ids, slots, delayMs = 0 } = facts;
    for (let left = count; left > 0; left--) {
      const id = ++this.#lastId;
      const group = groups === 0 ? 0 : 1 + (id % groups);
      const dedup = ids === 0 ? 0 : 1 + (id % ids);
      const slot = slots === 0 ? 0 : 1 + (id % slots);
      const color = id % COLORS;
      const message = markedMessage(id, bytes, { color, slot, dedup, group });
      const priority = priorities[left % priorities.length] as number;
      const dueMs = this.#broker.clock.now() + delayMs;
      if (persistent) message.flags = FLAG_DURABLE;
      message.priority = priority;
      if (delayMs > 0) message.deliverAtMs = dueMs;
      if (ttlMs !== undefined) message.expiresAtMs = dueMs + ttlMs;
      const marks = { color, group, slot, dedupId: dedup === 0 ? '' : `${dedup}` };
      const published = { id, persistent, priority, ...marks, delayMs, ttlMs: ttlMs ?? Number.POSITIVE_INFINITY };
      yield { message, published };
    }
  }

  /** Publishes and settlements that happen together. */
  #transact({ publishes, settles }: Step<'transaction'>): void {
    const transaction = this.#producer.transaction();
    const parts = this.#parts(publishes);
    for (const { address, message } of parts) transaction.publish(address, message, 0);
    const settled: Held[] = [];
    for (const facts of settles) this.#settleIn(transaction, facts, settled);
    const { before, full } = this.#roomFor(parts);
    const unit: Unit = { published: [], removed: [], happened: undefined };
    const done = [() => this.#model.happened(unit)];
    // The model has to know all that it does before it is told that it is durable, which may be at once.
    let waits = 2;
    const tell = (): void => {
      if (--waits === 0) this.#guard(() => done.forEach((each) => void each()));
    };
    try {
      transaction.commit(tell);
    } catch (error) {
      assert(error instanceof CoreError && error.code === 'limit-exceeded', String(error));
      assert(full.length > 0, `refused, and there is room: ${error.message}`);
      transaction.close();
      this.log.push('transaction refused');
      return;
    }
    // Repeats need no room.
    const isCounted = full.every((queue) => queue.rules.dedup !== undefined);
    assert(isCounted, `there is no room in ${full.map(({ name }) => name)}, and a transaction is not refused`);
    for (const { lineage, op, number, out } of settled) {
      out.delete(number);
      this.#model.removed(unit, lineage);
      done.push(op === 'complete' ? this.#model.completed(lineage) : this.#model.rejected(lineage));
    }
    for (const { queue, published } of parts) {
      const { ready } = this.#model.publish(queue, published, { before: before.get(queue), unit });
      before.set(queue, ready);
    }
    this.log.push(
      `transaction up to ${this.#lastId}: ${parts.map(({ queue }) => queue.name)}, ${settled.length} settled`,
    );
    tell();
  }

  /** Messages for several queues. */
  #parts(publishes: readonly PublishFacts[]): Part[] {
    return publishes.flatMap((facts) => {
      const queue = this.#queueAt(facts.n);
      if (queue === undefined) return [];
      const address = this.#producer.address('', new RoutingKey(queue.name, DOT));
      return [...this.#messages(facts)].map((part) => ({ ...part, queue, address }));
    });
  }

  /** How many messages are ready in each queue, and which queues have no room for all that is to come. */
  #roomFor(parts: readonly Part[]): { before: Map<ModelQueue, number>; full: ModelQueue[] } {
    const before = new Map(this.#queues.map((queue) => [queue, this.#readyIn(queue)]));
    const full = this.#queues.filter((queue) => {
      const coming = parts.filter((part) => part.queue === queue && part.published.delayMs === 0).length;
      return queue.refuses && coming > 0 && (before.get(queue) ?? 0) + coming > queue.rules.maxLength;
    });
    return { before, full };
  }

  /** Messages that are prepared, and published when they are committed, perhaps after a restart. */
  async #half({ publishes, restarts, commits }: Step<'half'>): Promise<void> {
    const alike = { delayMs: 0, persistent: true };
    const parts = this.#parts(publishes.map((facts) => ({ ...facts, message: { ...facts.message, ...alike } })));
    if (parts.length === 0) return;
    const preparedMs = this.#broker.clock.now();
    const half = `h${this.#lastId}`;
    this.#asked.push({ id: 0, refused: false });
    this.#producer.prepareHalf(parts, { group: 'sim', id: half, checksMax: 0 }, CONFIRM);
    await this.#quiet();
    // A half that is still on its way to the disk may be lost.
    const isSafe = this.#confirmed === this.#asked.length;
    if (restarts && isSafe) await this.#restart('kill');
    await this.#quiet();
    const there = parts.filter(({ queue }) => this.#model.knowledge.queues.get(queue.name) === queue);
    const { before, full } = this.#roomFor(there);
    const op = commits && full.length === 0 ? 'commit' : 'rollback';
    const unit: Unit = { published: [], removed: [], happened: undefined };
    let told = false;
    this.#client.finishHalf('sim', half, op, (error) => {
      told = true;
      this.#guard(() => {
        assert.equal(error, undefined, `the ${op} of half ${half}`);
        this.#model.happened(unit);
      });
    });
    const now = this.#broker.clock.now();
    for (const { queue, published } of op === 'commit' ? there : []) {
      // Its own time to live counts from when it was prepared.
      const facts = { ...published, ttlMs: preparedMs + published.ttlMs - now };
      this.#model.publish(queue, facts, { before: before.get(queue), unit, isOpen: true });
    }
    await this.#broker.clock.run(() => told);
    this.log.push(`half up to ${this.#lastId} ${op}: ${there.map(({ queue }) => queue.name)}`);
  }

  #settleIn(transaction: Transaction, { n, from, count, op }: SettleFacts, settled: Held[]): void {
    const consumer = this.#consumers[n % this.#consumers.length];
    if (consumer === undefined) return;
    const { subscription, out } = consumer;
    for (const number of choose([...out.keys()], from, count)) {
      const lineage = out.get(number) as Lineage;
      if (settled.some((one) => one.lineage === lineage)) continue;
      transaction.settle(subscription, number, number, op);
      settled.push({ lineage, op, number, out });
    }
  }

  #readyIn({ name }: ModelQueue): number {
    return this.#broker.door.admin.queue('/', name)?.ready ?? 0;
  }

  #onConfirm(upTo: number, refused: readonly number[]): void {
    for (; this.#confirmed < upTo; this.#confirmed++) {
      const asked = this.#asked[this.#confirmed];
      assert(asked !== undefined, 'a confirm nobody asked for');
      const isRefused = refused.includes(this.#confirmed + 1);
      if (asked.refused !== undefined) assert.equal(isRefused, asked.refused, `${asked.id} is refused`);
      this.#model.confirmed(asked.id);
    }
    this.#confirmedMs = this.#broker.clock.now();
    this.log.push(`confirmed up to ${this.#asked[upTo - 1]?.id}`);
  }

  // ---- Consuming --------------------------------------------------------------------------------------------------

  #subscribe({ n, options }: Step<'subscribe'>): void {
    const queue = this.#queueAt(n);
    if (queue === undefined || this.#consumers.length >= CONSUMERS_MAX) return;
    // A second consumer: refused.
    if (!options.pull || !queue.rules.singleActive) this.#consume(queue, options);
  }

  #consume(queue: ModelQueue, facts: ConsumerFacts): ModelConsumer {
    const { priority, pull, settled, credit, color } = facts;
    const onDeliveries = (batch: DeliveryBatch): void => {
      let quota = facts.quota;
      for (; quota > 0 && batch.next(); quota--) this.#guard(() => this.#take(consumer, batch));
      consumer.mayBePaused = quota === 0;
    };
    const filter = color === undefined ? {} : { filter: `color = ${color}` };
    const subscription = this.#client.subscribe(
      queue.name,
      { credit, priority, pull, settled, ...filter },
      { onDeliveries },
    );
    const out = new Map<number, Lineage>();
    const state = { mayBePaused: false, isOver: false, out };
    const consumer: ModelConsumer = { queue, subscription, priority, pull, settled, credit, color, ...state };
    if (color !== undefined) queue.isSelective = true;
    this.#consumers.push(consumer);
    queue.consumers.push(consumer);
    return consumer;
  }

  #take(consumer: ModelConsumer, batch: DeliveryBatch): void {
    const id = idOf(batch.message);
    const history = this.#historyOf(batch.message);
    const { redeliveries: returns, failures } = batch;
    this.log.push(`${consumer.queue.name} -> ${id} [${history}] ${returns} ${failures}`);
    const lineage = this.#model.delivered(consumer, { id, history, returns, failures });
    if (!consumer.settled) consumer.out.set(batch.deliveryId, lineage);
  }

  #historyOf(message: Message): string {
    const deaths = (this.#broker.door.hub(message).annotations.get('x-death') ?? []) as HubValue[];
    const texts = deaths.map((death) => {
      const { queue, reason, count } = death as { [name: string]: HubValue };
      return `${queue} ${reason} ${count}`;
    });
    return texts.join(', ');
  }

  #consumerStep(step: Step<'credit' | 'resume' | 'settle' | 'cancel' | 'leave'>): void {
    const consumer = this.#consumers[step.n % this.#consumers.length];
    if (consumer === undefined) return;
    const { subscription } = consumer;
    if (step.do === 'credit') {
      subscription.credit(step.count);
      if (!consumer.isOver) consumer.credit += step.count;
    } else if (step.do === 'resume') {
      subscription.resume();
      consumer.mayBePaused = false;
    } else if (step.do === 'settle') this.#settle(consumer, step.from, step.count, step.op);
    else if (step.do === 'cancel') {
      consumer.isOver = true;
      subscription.cancel();
    } else this.#leave(consumer, step.lost);
  }

  #settle({ queue, subscription, out }: ModelConsumer, from: number, count: number, op: SettleOp): void {
    const chosen = choose([...out.keys()], from, count);
    const [first] = chosen;
    const last = chosen.at(-1);
    if (first === undefined || last === undefined) return;
    let ready = this.#readyIn(queue);
    assert.equal(subscription.settle(first, last, op), chosen.length);
    const done: (() => void)[] = [];
    const ids: number[] = [];
    for (const number of chosen) {
      const lineage = out.get(number);
      assert(lineage !== undefined);
      out.delete(number);
      ids.push(lineage.id);
      if (op === 'complete') done.push(this.#model.completed(lineage));
      else if (op === 'discard') done.push(this.#model.rejected(lineage));
      else ready = this.#model.returned(lineage, ready, op === 'modify');
    }
    this.log.push(`${queue.name}: ${op} ${ids}`);
    if (done.length > 0) subscription.afterDurable(() => done.forEach((each) => void each()));
  }

  #leave(consumer: ModelConsumer, lost: boolean): void {
    const { queue, subscription, out } = consumer;
    this.#consumers = this.#consumers.filter((other) => other !== consumer);
    queue.consumers = queue.consumers.filter((other) => other !== consumer);
    let ready = this.#readyIn(queue);
    subscription.close(lost);
    for (const lineage of out.values()) ready = this.#model.returned(lineage, ready, lost);
  }

  // ---- The end ----------------------------------------------------------------------------------------------------

  /** Take everything out of all queues and hold it: then every message must have been seen, or may be gone. */
  async #findAll(): Promise<void> {
    for (const [n, name] of QUEUE_NAMES.entries()) {
      if (!this.#model.knowledge.queues.has(name))
        await this.#declare({ do: 'declare', n, durable: true, arguments: {} });
    }
    const everything = { credit: 1e9, quota: 1e9, priority: 0, settled: false, pull: false };
    for (const queue of this.#queues) this.#consume(queue, everything);
    for (let round = 0, before = -1; before < this.log.length; round++) {
      assert(round < ROUNDS_MAX, 'messages go round and round');
      before = this.log.length;
      await this.#broker.clock.advance(RETRY_MS);
      this.#rethrow();
      this.#model.observe();
    }
    this.#model.checkNothingStuck();
    this.#model.checkNothingLost();
  }
}
