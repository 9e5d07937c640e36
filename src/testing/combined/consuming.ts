/** Consumers of the combined simulation: each delivery and each settlement is told to the model. */
import { strict as assert } from 'node:assert';
import type { DeliveryBatch, ErrorCode, HubValue, Message, SettleOp } from '../../core/index.ts';
import { idOf } from '../sim-broker.ts';
import type { ConsumerFacts, Step } from './commands.ts';
import { isUser, type ModelConsumer, type ModelQueue } from './model-queue.ts';
import { choose } from './parts.ts';
import type { Lineage } from './place.ts';
import type { Session } from './session.ts';

const CONSUMERS_MAX = 10;

export class Consuming {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** A consumer of a queue, unless there are enough. */
  subscribe({ n, options }: Step<'subscribe'>): void {
    const queue = this.#session.queueAt(n);
    if (queue === undefined || this.#session.consumers.length >= CONSUMERS_MAX) return;
    // A second consumer: refused.
    if (!options.pull || !queue.rules.singleActive) this.consume(queue, options);
  }

  /** A consumer that takes what it is given, up to its quota of each batch. */
  consume(queue: ModelQueue, facts: ConsumerFacts): ModelConsumer {
    const { priority, pull, settled, credit, color, timeoutMs = Number.POSITIVE_INFINITY, weight = 1 } = facts;
    const onDeliveries = (batch: DeliveryBatch): void => {
      let quota = facts.quota;
      for (; quota > 0 && batch.next(); quota--) this.#session.guard(() => this.#take(consumer, batch));
      consumer.mayBePaused = quota === 0;
    };
    const onEnd = (reason: ErrorCode): void => this.#session.guard(() => this.#ended(consumer, reason));
    const filter = color === undefined ? {} : { filter: `color = ${color}` };
    const subscription = this.#session.client.subscribe(
      queue.name,
      { credit, priority, pull, settled, timeoutMs, weight, ...filter },
      { onDeliveries, onEnd },
    );
    const out = new Map<number, Lineage>();
    const state = { mayBePaused: false, isOver: false, out };
    const consumer: ModelConsumer = {
      queue,
      subscription,
      priority,
      pull,
      settled,
      credit,
      color,
      timeoutMs,
      ...state,
    };
    if (color !== undefined) queue.isSelective = true;
    this.#session.consumers.push(consumer);
    queue.consumers.push(consumer);
    return consumer;
  }

  #take(consumer: ModelConsumer, batch: DeliveryBatch): void {
    const id = idOf(batch.message);
    const history = this.#historyOf(batch.message);
    const { redeliveries: returns, failures } = batch;
    this.#session.log.push(`${consumer.queue.name} -> ${id} [${history}] ${returns} ${failures}`);
    const lineage = this.#session.model.delivered(consumer, { id, history, returns, failures });
    if (!consumer.settled) consumer.out.set(batch.deliveryId, lineage);
  }

  #historyOf(message: Message): string {
    const deaths = (this.#session.broker.door.hub(message).annotations.get('x-death') ?? []) as HubValue[];
    const texts = deaths.map((death) => {
      const { queue, reason, count } = death as { [name: string]: HubValue };
      return `${queue} ${reason} ${count}`;
    });
    return texts.join(', ');
  }

  /** What one of the consumers does. */
  step(step: Step<'credit' | 'resume' | 'settle' | 'cancel' | 'leave'>): void {
    const consumer = this.#session.consumers[step.n % this.#session.consumers.length];
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
      // Nobody is told when the time of one is over that was cancelled.
      if (consumer.timeoutMs !== Number.POSITIVE_INFINITY) return;
      this.#mayBeLast(consumer);
      consumer.isOver = true;
      subscription.cancel();
    } else this.#leave(consumer, step.lost);
  }

  #settle({ queue, subscription, out }: ModelConsumer, from: number, count: number, op: SettleOp): void {
    const { log, model } = this.#session;
    const chosen = choose([...out.keys()], from, count);
    const [first] = chosen;
    const last = chosen.at(-1);
    if (first === undefined || last === undefined) return;
    let ready = this.#session.readyIn(queue.name);
    assert.equal(subscription.settle(first, last, op), chosen.length);
    const done: (() => void)[] = [];
    const ids: number[] = [];
    for (const number of chosen) {
      const lineage = out.get(number);
      assert(lineage !== undefined);
      out.delete(number);
      ids.push(lineage.id);
      if (op === 'complete') done.push(model.completed(lineage));
      else if (op === 'discard') done.push(model.rejected(lineage));
      else ready = model.returned(lineage, ready, op === 'modify');
    }
    log.push(`${queue.name}: ${op} ${ids}`);
    if (done.length > 0) subscription.afterDurable(() => done.forEach((each) => void each()));
  }

  /** The broker has ended a consumer. */
  #ended(consumer: ModelConsumer, reason: ErrorCode): void {
    const { queue, out } = consumer;
    this.#session.log.push(`${queue.name}: a consumer is ended: ${reason}`);
    // Else the queue or the broker goes: the model learns of that elsewhere.
    if (reason === 'consumer-timeout') {
      this.#forget(consumer);
      this.#session.model.timedOut(consumer);
      out.clear();
    }
  }

  #forget(consumer: ModelConsumer): void {
    const { queue } = consumer;
    this.#mayBeLast(consumer);
    this.#session.consumers = this.#session.consumers.filter((other) => other !== consumer);
    queue.consumers = queue.consumers.filter((other) => other !== consumer);
  }

  /** It will be no consumer any more: up to now, the queue is used. */
  #mayBeLast(consumer: ModelConsumer): void {
    const now = this.#session.broker.clock.now();
    if (isUser(consumer)) consumer.queue.usedMs = [now, now];
  }

  #leave(consumer: ModelConsumer, lost: boolean): void {
    const { queue, subscription, out } = consumer;
    this.#forget(consumer);
    let ready = this.#session.readyIn(queue.name);
    subscription.close(lost);
    for (const lineage of out.values()) ready = this.#session.model.returned(lineage, ready, lost);
  }
}
