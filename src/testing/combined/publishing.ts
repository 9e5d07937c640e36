/** Publishes, transactions and half messages of the combined simulation, each told to the model as it is done. */
import { strict as assert } from 'node:assert';
import { CONFIRM, CoreError, FLAG_DURABLE, type Message, RoutingKey, type Transaction } from '../../core/index.ts';
import { DOT } from '../sim-broker.ts';
import type { PublishFacts, SettleFacts, Step } from './commands.ts';
import { markedMessage } from './messages.ts';
import type { Published } from './model.ts';
import type { ModelQueue } from './model-queue.ts';
import { choose, type Held, type Part } from './parts.ts';
import type { Lineage, Unit } from './place.ts';
import type { Session } from './session.ts';

/** What filters tell messages apart by. */
const COLORS = 3;

interface Room {
  readonly before: Map<ModelQueue, number>;
  readonly full: ModelQueue[];
  readonly mayBeFull: ModelQueue[];
}

export class Publishing {
  readonly #session: Session;
  #lastId = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Messages for a queue, each with a confirm. */
  publish(facts: PublishFacts): void {
    const { model, producer } = this.#session;
    const queue = this.#session.queueAt(facts.n);
    if (queue === undefined) return;
    const address = producer.address('', new RoutingKey(queue.name, DOT));
    for (const { message, published } of this.#messages(facts)) {
      const { refused } = model.publish(queue, published);
      this.#session.expectConfirm(published.id, refused);
      producer.publish(address, message, CONFIRM);
    }
    this.#session.log.push(`published up to ${this.#lastId} to ${queue.name}`);
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
      const dueMs = this.#session.broker.clock.now() + delayMs;
      if (persistent) message.flags = FLAG_DURABLE;
      message.priority = priority;
      if (delayMs > 0) message.deliverAtMs = dueMs;
      if (ttlMs !== undefined) message.expiresAtMs = dueMs + ttlMs;
      const marks = { color, group, slot, dedupId: dedup === 0 ? '' : `${dedup}` };
      const { headStart, headEnd, bodyStart, bodyEnd } = message;
      const size = headEnd - headStart + bodyEnd - bodyStart;
      const published = {
        id,
        bytes: size,
        persistent,
        priority,
        ...marks,
        delayMs,
        ttlMs: ttlMs ?? Number.POSITIVE_INFINITY,
      };
      yield { message, published };
    }
  }

  /** Publishes and settlements that happen together. */
  transact({ publishes, settles }: Step<'transaction'>): void {
    const { model, producer } = this.#session;
    const transaction = producer.transaction();
    const parts = this.#parts(publishes);
    for (const { address, message } of parts) transaction.publish(address, message, 0);
    const settled: Held[] = [];
    for (const facts of settles) this.#settleIn(transaction, facts, settled);
    const { before, full, mayBeFull } = this.#roomFor(parts);
    const unit: Unit = { published: [], removed: [], happened: undefined };
    const done = [() => model.happened(unit)];
    // The model has to know all that it does before it is told that it is durable, which may be at once.
    let waits = 2;
    const tell = (): void => {
      if (--waits === 0) this.#session.guard(() => done.forEach((each) => void each()));
    };
    try {
      transaction.commit(tell);
    } catch (error) {
      assert(error instanceof CoreError && error.code === 'limit-exceeded', String(error));
      assert(mayBeFull.length > 0, `refused, and there is room: ${error.message}`);
      transaction.close();
      this.#session.log.push('transaction refused');
      return;
    }
    // Repeats need no room.
    const isCounted = full.every((queue) => queue.rules.dedup !== undefined);
    assert(isCounted, `there is no room in ${full.map(({ name }) => name)}, and a transaction is not refused`);
    for (const { lineage, op, number, out } of settled) {
      out.delete(number);
      model.removed(unit, lineage);
      done.push(op === 'complete' ? model.completed(lineage) : model.rejected(lineage));
    }
    for (const { queue, published } of parts) {
      const { ready } = model.publish(queue, published, { before: before.get(queue), unit });
      before.set(queue, ready);
    }
    this.#session.log.push(
      `transaction up to ${this.#lastId}: ${parts.map(({ queue }) => queue.name)}, ${settled.length} settled`,
    );
    tell();
  }

  /** Messages for several queues. */
  #parts(publishes: readonly PublishFacts[]): Part[] {
    return publishes.flatMap((facts) => {
      const queue = this.#session.queueAt(facts.n);
      if (queue === undefined) return [];
      const address = this.#session.producer.address('', new RoutingKey(queue.name, DOT));
      return [...this.#messages(facts)].map((part) => ({ ...part, queue, address }));
    });
  }

  /** How many messages are ready in each queue, and which queues have no room for all that is to come, certainly or perhaps. */
  #roomFor(parts: readonly Part[]): Room {
    const before = new Map(this.#session.queues.map((queue) => [queue, this.#session.readyIn(queue.name)]));
    const full: ModelQueue[] = [];
    const mayBeFull: ModelQueue[] = [];
    for (const [queue, ready] of before) {
      const coming = parts.filter((part) => part.queue === queue).map(({ published }) => published);
      const isFull = this.#session.model.isFull(queue, coming, ready);
      if (isFull === true) full.push(queue);
      if (isFull !== false) mayBeFull.push(queue);
    }
    return { before, full, mayBeFull };
  }

  /** Messages that are prepared, and published when they are committed, perhaps after a restart. */
  async half({ publishes, restarts, commits }: Step<'half'>): Promise<void> {
    const { broker, model } = this.#session;
    const alike = { delayMs: 0, persistent: true };
    const parts = this.#parts(publishes.map((facts) => ({ ...facts, message: { ...facts.message, ...alike } })));
    if (parts.length === 0) return;
    const preparedMs = broker.clock.now();
    const half = `h${this.#lastId}`;
    this.#session.expectConfirm(0, false);
    this.#session.producer.prepareHalf(parts, { group: 'sim', id: half, checksMax: 0 }, CONFIRM);
    await this.#session.quiet();
    // A half that is still on its way to the disk may be lost.
    const isSafe = this.#session.isConfirmed;
    if (restarts && isSafe) await this.#session.restart('kill');
    await this.#session.quiet();
    const there = parts.filter(({ queue }) => this.#session.has(queue));
    const { before, mayBeFull } = this.#roomFor(there);
    const op = commits && mayBeFull.length === 0 ? 'commit' : 'rollback';
    const unit: Unit = { published: [], removed: [], happened: undefined };
    let told = false;
    this.#session.client.finishHalf('sim', half, op, (error) => {
      told = true;
      this.#session.guard(() => {
        assert.equal(error, undefined, `the ${op} of half ${half}`);
        model.happened(unit);
      });
    });
    const now = broker.clock.now();
    for (const { queue, published } of op === 'commit' ? there : []) {
      // Its own time to live counts from when it was prepared, and so does one that the queue gets later on, unless the queue has
      // a copy that says when it came.
      const { rules } = queue;
      const hasCopy = rules.ttlMs !== Number.POSITIVE_INFINITY || (rules.keepsLast && published.slot !== 0);
      const agesFromMs = hasCopy ? undefined : preparedMs;
      const facts = { ...published, agesFromMs, ttlMs: preparedMs + published.ttlMs - now };
      model.publish(queue, facts, { before: before.get(queue), unit, isOpen: true });
    }
    await broker.clock.run(() => told);
    this.#session.log.push(`half up to ${this.#lastId} ${op}: ${there.map(({ queue }) => queue.name)}`);
  }

  #settleIn(transaction: Transaction, { n, from, count, op }: SettleFacts, settled: Held[]): void {
    const consumer = this.#session.consumers[n % this.#session.consumers.length];
    if (consumer === undefined) return;
    const { subscription, out } = consumer;
    for (const number of choose([...out.keys()], from, count)) {
      const lineage = out.get(number) as Lineage;
      if (settled.some((one) => one.lineage === lineage)) continue;
      transaction.settle(subscription, number, number, op);
      settled.push({ lineage, op, number, out });
    }
  }
}
