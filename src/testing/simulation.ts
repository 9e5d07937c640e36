/**
 * The model test: random commands to a broker on simulated disk and clock, beside a model of its queues, bindings and last
 * values, with crashes and faults in between: a disk that fails, is full, or lies. One seed gives one log.
 */
import { strict as assert } from 'node:assert';
import {
  type Admin,
  type BindingTarget,
  type Client,
  CONFIRM,
  CoreError,
  type DeliveryBatch,
  FLAG_DURABLE,
  FLAG_RETAIN,
  type Producer,
  type QueueInfo,
  RoutingKey,
  type SettleOp,
  type Subscription,
} from '../core/index.ts';
import { ModelKeys } from './model-keys.ts';
import { ModelQueue } from './model-queue.ts';
import { ModelRouting } from './model-routing.ts';
import { type Command, EXCHANGES, type RestartKind } from './script.ts';
import { DOT, type Found, idOf, messageOf, SimBroker } from './sim-broker.ts';

const QUEUES = 4;
const KEYS = 6;
const CONSUMERS_MAX = 8;
const NO_PATTERN = { text: '', separator: DOT, levels: [], hidesDollar: false };

interface Consumer {
  readonly queue: ModelQueue;
  readonly subscription: Subscription;
  /** Takes on request. */
  readonly pull: boolean;
  cancelled: boolean;
  /** Delivery number -> message. */
  readonly out: Map<number, number>;
  /** How many it got. */
  taken: number;
}

type Step<K extends Command['do']> = Extract<Command, { do: K }>;

export class Simulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly #broker: SimBroker;
  #client!: Client;
  #producer!: Producer;
  readonly #queues = new Map<string, ModelQueue>();
  readonly #routing = new ModelRouting();
  readonly #keys = new ModelKeys();
  /** Queues that may be back after a crash: their deletion, or declaration, is not known to be durable. */
  readonly #unsure = new Set<string>();
  #consumers: Consumer[] = [];
  /** Confirms awaited, in order: what each is about. */
  #asked: (() => void)[] = [];
  #confirmed = 0;
  readonly #asksConfirm = new Set<number>();
  #lastId = 0;

  constructor(seed: number) {
    this.#broker = new SimBroker(seed, (line) => this.log.push(line));
  }

  /** Run a script; rejects at the first thing that is not as it must be. */
  async run(script: readonly Command[]): Promise<void> {
    await this.#broker.start();
    this.#connect();
    for (const step of script) {
      this.log.push(JSON.stringify(step));
      await this.#step(step);
      this.#compare();
    }
    this.#broker.failing = undefined;
    this.#broker.leave(null);
    await this.#restart('clean');
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  #connect(): void {
    const identity = { user: 'sim', clientId: 'sim', protocol: 'sim', peer: '' };
    this.#client = this.#broker.door.client('/', identity, {});
    this.#producer = this.#client.producer({ onConfirm: (upTo) => this.#onConfirm(upTo) });
    this.#asked = [];
    this.#confirmed = 0;
    // What was not confirmed will not be any more, and may be durable all the same.
    this.#asksConfirm.clear();
    this.#consumers = [];
  }

  async #restart(how: RestartKind): Promise<void> {
    if (how === 'clean') this.#departed();
    const ended = await this.#broker.restart(how);
    this.#connect();
    const clean = ended === 'clean';
    const lost = this.#broker.damaged;
    await (lost ? this.#adopt() : this.#lookAtQueues(clean));
    this.#routing.restarted(this.#admin.bindings('/'), !lost);
    this.#keys.restarted(await this.#broker.retained(this.#client), clean, lost);
  }

  async #lookAtQueues(clean: boolean): Promise<void> {
    const admin = this.#admin;
    for (const { name } of admin.queues('/')) {
      if (this.#queues.get(name)?.durable === true) continue;
      assert(!clean && this.#unsure.has(name), `${name} was deleted, or not durable, and is back`);
      await this.#broker.clock.drive(admin.deleteQueue('/', name));
    }
    this.#unsure.clear();
    for (const model of [...this.#queues.values()]) {
      const info = admin.queue('/', model.name);
      assert.equal(info !== undefined, model.durable, `${model.name} after a restart`);
      if (info === undefined) {
        this.#forget(model);
        continue;
      }
      const found = await this.#broker.look(this.#client, info);
      assert.equal(found.length, info.ready, `${model.name}: messages that can be read`);
      model.restarted(found, clean);
      this.#lookedAt(model, found);
    }
  }

  /** The disk lied and lost what was promised: there may be anything, as long as it is whole and in order. */
  async #adopt(): Promise<void> {
    const admin = this.#admin;
    this.#queues.clear();
    this.#unsure.clear();
    for (const info of admin.queues('/')) {
      const found = await this.#broker.look(this.#client, info);
      if (found.length < info.ready) {
        await this.#broker.clock.drive(admin.deleteQueue('/', info.name));
        continue;
      }
      const model = new ModelQueue(info.name, true, info.autoDelete ? 'auto-delete' : 'plain');
      this.#queues.set(info.name, model);
      model.adopt(found);
      const ids = found.map(({ id }) => id);
      const isWhole = ids.every((id, n) => id <= this.#lastId && id > (ids[n - 1] ?? 0));
      assert(isWhole, `${info.name}: ${ids} are not messages in their order`);
      this.#lookedAt(model, found);
    }
  }

  /** It was not counted yet that they came back just now. */
  #lookedAt(model: ModelQueue, found: readonly Found[]): void {
    for (const { id } of found) {
      const message = model.messages.get(id);
      if (message !== undefined) message.returns++;
    }
  }

  // ---- Commands ---------------------------------------------------------------------------------------------------

  async #step(step: Command): Promise<void> {
    // A broker whose journal failed must be started again: that is all there is to do with it.
    if (this.#broker.failed && step.do !== 'restart') return this.#restart('kill');
    switch (step.do) {
      case 'declare':
        return this.#declare(step);
      case 'bind':
        return this.#bind(step);
      case 'publish':
        return this.#publish(step);
      case 'retain':
        return this.#retain(step);
      case 'readRetained':
        return this.#readRetained();
      case 'subscribe':
        return this.#subscribe(step);
      case 'pull':
        return this.#pull(step);
      case 'purge':
        return this.#purge(step.n);
      case 'delete':
        return this.#delete(step.n);
      case 'reconnect':
        return this.#reconnect();
      case 'wait':
        return this.#broker.clock.advance(step.ms);
      case 'restart':
        return this.#restart(step.how);
      case 'checkpoint':
      case 'fail':
      case 'space':
      case 'lie':
        return this.#operatorStep(step);
      default:
        return this.#consumerStep(step);
    }
  }

  async #readRetained(): Promise<void> {
    const found = await this.#broker.retained(this.#client);
    if (!this.#broker.damaged) this.#keys.check(found);
  }

  async #operatorStep(step: Step<'checkpoint' | 'fail' | 'space' | 'lie'>): Promise<void> {
    const broker = this.#broker;
    if (step.do === 'checkpoint') {
      const running = broker.checkpoint();
      if (step.wait) await broker.control(running);
    } else if (step.do === 'fail') broker.failing = step.what;
    else if (step.do === 'space') broker.leave(step.freeBytes);
    else broker.lie(step.probability);
  }

  #consumerStep(step: Step<'credit' | 'resume' | 'settle' | 'cancel' | 'leave'>): void {
    const consumer = this.#consumers[step.n % this.#consumers.length];
    if (consumer === undefined) return;
    if (step.do === 'credit') consumer.subscription.credit(step.count);
    else if (step.do === 'resume') consumer.subscription.resume();
    else if (step.do === 'settle') this.#settle(consumer, step.from, step.count, step.op);
    else if (step.do === 'cancel') this.#cancel(consumer);
    else this.#leave(consumer);
  }

  get #admin(): Admin {
    return this.#broker.door.admin;
  }

  #queueAt(n: number): ModelQueue | undefined {
    return [...this.#queues.values()][n % this.#queues.size];
  }

  // ---- Queues and bindings ----------------------------------------------------------------------------------------

  async #declare(step: Step<'declare'>): Promise<void> {
    const name = `q${step.n % QUEUES}`;
    if (this.#queues.has(name)) return;
    const admin = this.#admin;
    const exclusive = step.kind === 'exclusive';
    const settings = { durable: step.durable, autoDelete: step.kind === 'auto-delete', exclusive, arguments: {} };
    const info = await this.#broker.control(admin.declareQueue('/', name, settings, this.#client));
    if (info === undefined) {
      this.#unsure.add(name);
      return this.#restart('kill');
    }
    // Without a record of its own it says nothing of the one before it.
    if (step.durable && !exclusive) this.#unsure.delete(name);
    this.#queues.set(name, new ModelQueue(name, step.durable && !exclusive, step.kind));
    await this.#change('amq.fanout', { kind: 'queue', name }, false);
  }

  async #bind(step: Step<'bind'>): Promise<void> {
    const targets: BindingTarget[] = EXCHANGES.map((name) => ({ kind: 'exchange', name }));
    for (const name of this.#queues.keys()) targets.push({ kind: 'queue', name });
    await this.#change(EXCHANGES[step.from] as string, targets[step.to % targets.length] as BindingTarget, step.remove);
  }

  async #change(source: string, target: BindingTarget, remove: boolean): Promise<void> {
    const admin = this.#admin;
    const { kind, name } = target;
    const isLasting = kind === 'queue' ? this.#queues.get(name)?.durable === true : name !== EXCHANGES.at(-1);
    if (remove) this.#routing.unbound(source, target);
    else this.#routing.bound(source, target, isLasting && source !== EXCHANGES.at(-1));
    const args = ['/', source, target, NO_PATTERN, {}, this.#client] as const;
    await this.#broker.control(remove ? admin.unbind(...args) : admin.bind(...args));
    if (!this.#broker.failed) return;
    this.#routing.unsure(source, target);
    await this.#restart('kill');
  }

  async #purge(n: number): Promise<void> {
    const queue = this.#queueAt(n);
    if (queue === undefined) return;
    const promise = this.#admin.purgeQueue('/', queue.name, this.#client);
    const ids = queue.purged();
    const count = await this.#broker.control(promise);
    if (count === undefined) return;
    assert.equal(count, ids.length, `${queue.name}: the count of purged messages`);
    for (const id of ids) queue.settledForGood(id);
  }

  async #delete(n: number): Promise<void> {
    const queue = this.#queueAt(n);
    if (queue === undefined) return;
    const ready = queue.ready;
    this.#gone(queue);
    const count = await this.#broker.control(this.#admin.deleteQueue('/', queue.name, { owner: this.#client }));
    if (count === undefined) return this.#restart('kill');
    assert.equal(count, ready, `${queue.name}: the count of messages deleted with it`);
    this.#unsure.delete(queue.name);
  }

  /** A queue is deleted; a crash may bring it back. */
  #gone(queue: ModelQueue): void {
    this.#forget(queue);
    if (queue.durable) this.#unsure.add(queue.name);
  }

  #forget(queue: ModelQueue): void {
    this.#queues.delete(queue.name);
    this.#routing.gone(queue.name);
    this.#consumers = this.#consumers.filter((consumer) => consumer.queue !== queue);
  }

  // ---- Publishing -------------------------------------------------------------------------------------------------

  #publish(step: Step<'publish'>): void {
    const name = this.#queueAt(step.n)?.name;
    if (name === undefined) return;
    const exchange = step.to === 'queue' ? '' : (EXCHANGES[step.to] as string);
    const names = step.to === 'queue' ? [name] : this.#routing.queuesFrom(exchange);
    const targets = names.map((target) => this.#queues.get(target) as ModelQueue);
    const address = this.#producer.address(exchange, new RoutingKey(name, DOT));
    for (let count = 0; count < step.count; count++) {
      const id = this.#lastId + 1;
      const { confirm, persistent } = step;
      const message = messageOf(id, step.bytes, persistent ? FLAG_DURABLE : 0);
      if (!this.#taken(() => this.#producer.publish(address, message, confirm ? CONFIRM : 0))) return;
      this.#lastId = id;
      for (const queue of targets) queue.published(id, persistent);
      if (!confirm) continue;
      this.#asksConfirm.add(id);
      this.#asked.push(() => {
        for (const queue of targets) queue.confirmed(id);
      });
    }
  }

  #retain(step: Step<'retain'>): void {
    const key = `k.${step.n % KEYS}`;
    const id = step.clear ? 0 : this.#lastId + 1;
    const message = messageOf(id, 20, FLAG_RETAIN | (step.persistent ? FLAG_DURABLE : 0));
    if (step.clear) message.bodyEnd = message.bodyStart;
    const address = this.#producer.address('amq.topic', new RoutingKey(key, DOT));
    if (!this.#taken(() => this.#producer.publish(address, message, CONFIRM))) return;
    this.#lastId = Math.max(this.#lastId, id);
    this.#asked.push(this.#keys.set(key, id, step.persistent));
  }

  /** Publish; answers false when an alarm forbids it. */
  #taken(publish: () => boolean): boolean {
    try {
      publish();
      return true;
    } catch (error) {
      const { blockedBy } = this.#broker.door;
      assert(error instanceof CoreError && error.code === 'publishing-blocked' && blockedBy === 'disk', String(error));
      this.log.push('publishing is blocked');
      return false;
    }
  }

  #onConfirm(upTo: number): void {
    assert(upTo > this.#confirmed && upTo <= this.#asked.length, `confirm ${upTo} after ${this.#confirmed}`);
    while (this.#confirmed < upTo) (this.#asked[this.#confirmed++] as () => void)();
    this.log.push(`confirmed ${upTo}`);
  }

  // ---- Consuming --------------------------------------------------------------------------------------------------

  #subscribe({ n, credit, quota, settled }: Step<'subscribe'>): void {
    const queue = this.#queueAt(n);
    if (queue !== undefined) this.#consume(queue, { credit, settled }, quota);
  }

  /** Take what is there, up to the credit, and see that nothing was left behind. */
  #pull({ n, credit }: Step<'pull'>): void {
    const queue = this.#queueAt(n);
    const consumer = queue === undefined ? undefined : this.#consume(queue, { credit, pull: true }, 1e9);
    if (queue === undefined || consumer === undefined) return;
    const newest = this.#lastId;
    consumer.subscription.drain(() => {
      const left = credit - consumer.taken;
      const isOver =
        this.#queues.get(queue.name) !== queue ||
        !this.#consumers.includes(consumer) ||
        consumer.cancelled ||
        this.#broker.damaged;
      this.log.push(`${queue.name} is drained, credit for ${left} left`);
      if (left > 0 && !isOver) assert(!queue.holds(newest), `${queue.name}: a drain left something behind`);
    });
  }

  #consume(
    queue: ModelQueue,
    options: { credit: number; settled?: boolean; pull?: boolean },
    quotaMax: number,
  ): Consumer | undefined {
    if (this.#consumers.length >= CONSUMERS_MAX) return undefined;
    const onDeliveries = (batch: DeliveryBatch): void => {
      for (let quota = quotaMax; quota > 0 && batch.next(); quota--) {
        const id = idOf(batch.message);
        this.log.push(`${queue.name} -> ${id}`);
        queue.delivered(id, batch.redeliveries, this.#asksConfirm.has(id));
        consumer.taken++;
        if (options.settled === true) queue.settled(id);
        else consumer.out.set(batch.deliveryId, id);
      }
    };
    const subscription = this.#client.subscribe(queue.name, options, { onDeliveries });
    const consumer: Consumer = {
      queue,
      subscription,
      pull: options.pull === true,
      cancelled: false,
      out: new Map(),
      taken: 0,
    };
    this.#consumers.push(consumer);
    return consumer;
  }

  #settle({ queue, subscription, out }: Consumer, from: number, count: number, op: SettleOp): void {
    const numbers = [...out.keys()].sort((a, b) => a - b);
    const first = numbers[from % Math.max(1, numbers.length)];
    if (first === undefined) return;
    const last = Math.min(first + count - 1, numbers.at(-1) as number);
    const chosen = numbers.filter((number) => number >= first && number <= last);
    const ids = chosen.map((number) => out.get(number) as number);
    for (const number of chosen) out.delete(number);
    assert.equal(subscription.settle(first, last, op), chosen.length);
    if (op === 'requeue' || op === 'modify') {
      for (const id of ids) queue.returned(id);
      return;
    }
    for (const id of ids) queue.settled(id);
    subscription.afterDurable(() => {
      for (const id of ids) queue.settledForGood(id);
    });
  }

  #cancel(consumer: Consumer): void {
    const counted = counts(consumer);
    consumer.subscription.cancel();
    consumer.cancelled = true;
    this.#checkLast(consumer.queue, counted);
  }

  #leave(consumer: Consumer): void {
    const { queue, out, subscription } = consumer;
    this.#consumers = this.#consumers.filter((other) => other !== consumer);
    subscription.close();
    for (const id of out.values()) queue.returned(id);
    this.#checkLast(queue, counts(consumer));
  }

  /** A consumer left. @param counted as one */
  #checkLast(queue: ModelQueue, counted: boolean): void {
    if (!counted || queue.kind !== 'auto-delete' || this.#queues.get(queue.name) !== queue) return;
    if (!this.#consumers.some((other) => other.queue === queue && counts(other))) this.#gone(queue);
  }

  #reconnect(): void {
    this.#client.close();
    this.#departed();
    this.#connect();
  }

  /** The client leaves, and what belongs to it. */
  #departed(): void {
    for (const { queue, out } of this.#consumers) for (const id of out.values()) queue.returned(id);
    const left = this.#consumers;
    this.#consumers = [];
    for (const consumer of left) this.#checkLast(consumer.queue, counts(consumer));
    for (const queue of [...this.#queues.values()]) if (queue.kind === 'exclusive') this.#gone(queue);
  }

  #compare(): void {
    const admin = this.#admin;
    assert.deepEqual(
      admin
        .queues('/')
        .map(({ name }) => name)
        .sort(),
      [...this.#queues.keys()].sort(),
    );
    for (const model of this.#queues.values()) {
      const info = admin.queue('/', model.name) as QueueInfo;
      const consumers = this.#consumers.filter((consumer) => counts(consumer) && consumer.queue === model).length;
      const expected = { ready: model.ready, unsettled: model.messages.size - model.ready, consumers };
      const { ready, unsettled } = info;
      assert.deepEqual({ ready, unsettled, consumers: info.consumers }, expected, model.name);
    }
  }
}

/** Whether it is one of its queue's consumers. */
function counts({ pull, cancelled }: Consumer): boolean {
  return !pull && !cancelled;
}
