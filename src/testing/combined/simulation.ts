/**
 * The combined model test: random queues with random rules, random traffic, crashes and restarts, on simulated disk and clock,
 * beside a model that judges every delivery (docs/order.md). One seed gives one run.
 */
import { strict as assert } from 'node:assert';
import type { RedriveInfo } from '../../core/index.ts';
import type { CombinedCommand, Step } from './commands.ts';
import { Consuming } from './consuming.ts';
import { ModelQueue } from './model-queue.ts';
import { Publishing } from './publishing.ts';
import { modelRules, QUEUE_NAMES } from './rules.ts';
import { Session } from './session.ts';

/** Longer than it takes until a dead letter that nobody took is tried again. */
const RETRY_MS = 11_000;
/** A redrive has so many times so long, then it is ended. */
const REDRIVE_ROUNDS = 20;
const REDRIVE_ROUND_MS = 3;
const ROUNDS_MAX = 100;

export class CombinedSimulation {
  readonly #session: Session;
  readonly #publishing: Publishing;
  readonly #consuming: Consuming;

  constructor(seed: number) {
    this.#session = new Session(seed);
    this.#publishing = new Publishing(this.#session);
    this.#consuming = new Consuming(this.#session);
  }

  /** What happened, line by line. */
  get log(): string[] {
    return this.#session.log;
  }

  /** Run a script; rejects at the first thing that is not as it must be. */
  async run(script: readonly CombinedCommand[]): Promise<void> {
    await this.#session.broker.start();
    this.#session.connect();
    for (const step of script) {
      this.log.push(JSON.stringify(step));
      await this.#step(step);
      this.#compare();
    }
    await this.#session.restart('clean');
    this.#compare();
    await this.#findAll();
  }

  async #step(step: CombinedCommand): Promise<void> {
    const { broker } = this.#session;
    switch (step.do) {
      case 'declare':
        return this.#declare(step);
      case 'delete':
        return this.#delete(step.n);
      case 'publish':
        return this.#publishing.publish(step);
      case 'transaction':
        return this.#publishing.transact(step);
      case 'half':
        return this.#publishing.half(step);
      case 'alter':
        return this.#alter(step);
      case 'subscribe':
        return this.#consuming.subscribe(step);
      case 'purge':
        return this.#purge(step.n);
      case 'redrive':
        return this.#redrive(step);
      case 'checkpoint':
        return broker.clock.drive(broker.checkpoint());
      case 'wait':
        return broker.clock.advance(step.ms);
      case 'quiet':
        return this.#session.quiet();
      case 'restart':
        return this.#session.restart(step.how);
      default:
        return this.#consuming.step(step);
    }
  }

  #compare(): void {
    const { broker, model } = this.#session;
    this.#session.rethrow();
    const { admin } = broker.door;
    this.#session.observe();
    for (const queue of model.knowledge.queues.values()) {
      const info = admin.queue('/', queue.name);
      assert(info !== undefined, `${queue.name} is not there`);
      const out = this.#session.consumers
        .filter((one) => one.queue === queue)
        .reduce((sum, one) => sum + one.out.size, 0);
      assert.equal(info.unsettled, out, `${queue.name}: unsettled`);
      const isBounded = queue.rules.overflow === 'drop-head';
      assert(!isBounded || info.ready <= queue.rules.maxLength, `${queue.name} is longer than it may be`);
      const [bytes] = model.knowledge.readyBytes(queue);
      assert(!isBounded || bytes <= queue.rules.maxBytes, `${queue.name} has ${bytes} bytes, and may have fewer`);
    }
    const names = admin.queues('/').map(({ name }) => name);
    assert.deepEqual(names.sort(), [...model.knowledge.queues.keys()].sort());
  }

  // ---- Queues -----------------------------------------------------------------------------------------------------

  async #declare(step: Step<'declare'>): Promise<void> {
    const { broker, model } = this.#session;
    const name = QUEUE_NAMES[step.n % QUEUE_NAMES.length] as string;
    if (model.knowledge.queues.has(name)) return;
    // What is on its way finds it there, or does not: it must be one of the two.
    await this.#session.quiet();
    const settings = { durable: step.durable, autoDelete: false, exclusive: false, arguments: step.arguments };
    const done = broker.door.admin.declareQueue('/', name, settings);
    model.declared(new ModelQueue(name, step.durable, step.arguments, broker.clock.now()));
    await broker.clock.drive(done);
  }

  async #delete(n: number): Promise<void> {
    const { broker, model } = this.#session;
    const queue = this.#session.queueAt(n);
    if (queue === undefined) return;
    await this.#session.quiet();
    if (!this.#session.has(queue)) return;
    const done = broker.door.admin.deleteQueue('/', queue.name);
    model.deleted(queue);
    this.#session.consumers = this.#session.consumers.filter((consumer) => consumer.queue !== queue);
    await broker.clock.drive(done);
  }

  /** Other rules for a queue that lives. */
  async #alter({ n, rules }: Step<'alter'>): Promise<void> {
    const { broker, model } = this.#session;
    const queue = this.#session.queueAt(n);
    if (queue === undefined) return;
    const { refuses, keepsLast, deadLetter, isRing } = { ...queue.rules, refuses: queue.refuses };
    const isMeant = (name: string): boolean => {
      if (name === 'dead-letter-routing-key') return deadLetter !== undefined;
      // One that never takes anything would make others keep their dead letters for ever.
      if (name === 'max-length-bytes' && refuses) return false;
      // Rules that cannot be together are left out by the broker; the model is not about that.
      return !name.startsWith('max-length') || !(keepsLast || isRing || (deadLetter?.keeps === true && !refuses));
    };
    const live = Object.fromEntries(Object.entries(rules).filter(([name]) => isMeant(name)));
    const args = Object.entries(live).map(([name, value]) => [`x-${name}`, value] as const);
    await this.#session.quiet();
    if (!this.#session.has(queue)) return;
    const done = broker.door.admin.policies.setQueueRules('/', queue.name, live);
    model.altered(queue, modelRules({ ...queue.arguments, ...Object.fromEntries(args) }));
    await broker.clock.drive(done);
    await this.#session.quiet();
  }

  async #purge(n: number): Promise<void> {
    const { broker, model } = this.#session;
    const queue = this.#session.queueAt(n);
    if (queue === undefined) return;
    const done = broker.door.admin.purgeQueue('/', queue.name);
    const [least, most] = model.purged(queue);
    const count = await broker.clock.drive(done);
    assert(least <= count && count <= most, `${queue.name}: ${count} were purged, it must be ${least} to ${most}`);
  }

  /** Move the messages of a queue to another one. */
  async #redrive({ n, to, max, restart }: Step<'redrive'>): Promise<void> {
    const { broker, model } = this.#session;
    const full = this.#session.queues.filter(({ name }) => this.#session.readyIn(name) > 0);
    const queue = full[n % full.length];
    const target = this.#session.queueAt(to);
    if (queue === undefined || target === undefined || target === queue || model.hasBeenIn(queue, target)) return;
    const jobs = broker.door.admin.redrives;
    const options = max === undefined ? {} : { max };
    const isThere = model.redrives(queue, target);
    const { id } = await broker.clock.drive(jobs.start('/', queue.name, { to: { queue: target.name }, ...options }));
    const info = (): RedriveInfo | undefined => broker.door.admin.redrives.get('/', id);
    const isRunning = (): boolean => info() !== undefined && info()?.endedAtMs === undefined;
    for (let round = 0; (isRunning() || round === 0) && round < REDRIVE_ROUNDS; round++) {
      await broker.clock.advance(REDRIVE_ROUND_MS);
      this.#session.rethrow();
      if (restart !== undefined && round === 0) await this.#session.restart(restart);
    }
    const { state, moved = 0, skipped } = info() ?? {};
    this.log.push(`${queue.name} to ${target.name}: ${state}, ${moved} moved, ${skipped} skipped`);
    assert(moved <= (max ?? moved), `${moved} messages were moved, of ${max}`);
    if (isRunning()) await broker.clock.drive(broker.door.admin.redrives.cancel('/', id));
    // A crash before its end is on disk, and it goes on.
    await this.#session.quiet();
    model.redriven(queue);
    if (state === 'done' && moved !== max && skipped === 0) isThere();
  }

  // ---- The end ----------------------------------------------------------------------------------------------------

  /** Take everything out of all queues and hold it: then every message must have been seen, or may be gone. */
  async #findAll(): Promise<void> {
    const { broker, model } = this.#session;
    const everything = { credit: 1e9, quota: 1e9, priority: 0, settled: false, pull: false };
    for (const queue of this.#session.queues) this.#consuming.consume(queue, everything);
    for (const [n, name] of QUEUE_NAMES.entries()) {
      if (model.knowledge.queues.has(name)) continue;
      await this.#declare({ do: 'declare', n, durable: true, arguments: {} });
      this.#consuming.consume(model.knowledge.queues.get(name) as ModelQueue, everything);
    }
    for (let round = 0, before = -1; before < this.log.length; round++) {
      assert(round < ROUNDS_MAX, 'messages go round and round');
      before = this.log.length;
      await broker.clock.advance(RETRY_MS);
      this.#session.rethrow();
      this.#session.observe();
    }
    model.checkNothingStuck();
    model.checkNothingLost();
  }
}
