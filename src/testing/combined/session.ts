/** The broker of a combined simulation, the model beside it, and the one connection that all of a script goes through. */
import { strict as assert } from 'node:assert';
import type { Client, Producer } from '../../core/index.ts';
import type { RestartKind } from '../script.ts';
import { SimBroker } from '../sim-broker.ts';
import { QUIET_MS } from './knowledge.ts';
import { FORMAT } from './messages.ts';
import { Model } from './model.ts';
import type { ModelConsumer, ModelQueue } from './model-queue.ts';

export class Session {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly broker: SimBroker;
  readonly model: Model;
  client!: Client;
  producer!: Producer;
  consumers: ModelConsumer[] = [];
  /** Confirms awaited, in order: the message, and whether it must be a refusal. */
  #asked: { readonly id: number; readonly refused: boolean | undefined }[] = [];
  #confirmed = 0;
  #confirmedMs = 0;
  /** The first thing that was not as it must be, found in a call of the broker's: it must not see it. */
  #fault: unknown;

  constructor(seed: number) {
    this.broker = new SimBroker(seed, (line) => this.log.push(line), false);
    this.model = new Model({
      now: () => this.broker.clock.now(),
      exists: (queue) => this.broker.door.admin.queue('/', queue) !== undefined,
      ready: (queue) => this.readyIn(queue),
      isRepeat: (queue, id) => this.broker.door.admin.messageIds.has('/', queue, id),
      busyMs: () => (this.isConfirmed ? this.#confirmedMs : this.broker.clock.now()),
    });
  }

  /** Judge in a call of the broker's: what it throws is kept for `rethrow`. */
  guard(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.#fault ??= error;
    }
  }

  /** Throw what was found since. */
  rethrow(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** Begin anew, without consumers and with no confirm awaited. */
  connect(): void {
    const identity = { user: 'sim', clientId: 'sim', protocol: 'sim', peer: '' };
    this.broker.door.registerFormat(FORMAT);
    this.client = this.broker.door.client('/', identity, {});
    this.producer = this.client.producer({
      onConfirm: (upTo, refused) => this.guard(() => this.#onConfirm(upTo, refused ?? [])),
    });
    this.#asked = [];
    this.#confirmed = 0;
    this.consumers = [];
  }

  /** Have the model look at everything. */
  observe(): void {
    this.model.observe();
    this.consumers = this.consumers.filter(({ queue }) => this.has(queue));
  }

  /** That a queue is gone because nobody used it shall be on disk, whatever comes. */
  async #settleUnused(): Promise<void> {
    for (;;) {
      this.observe();
      const waitMs = this.model.unusedMs + QUIET_MS - this.broker.clock.now();
      if (waitMs <= 0) return;
      await this.broker.clock.advance(waitMs);
      this.rethrow();
    }
  }

  /** End the broker and start it again. */
  async restart(how: RestartKind): Promise<void> {
    await this.#settleUnused();
    const ended = await this.broker.restart(how);
    this.rethrow();
    this.model.restarted(ended);
    this.connect();
  }

  /** Wait until the broker has done what it was about to do. */
  async quiet(): Promise<void> {
    await this.broker.clock.advance(2 * QUIET_MS);
    this.rethrow();
    this.observe();
    this.model.checkNothingStuck();
  }

  /** The queues there are. */
  get queues(): ModelQueue[] {
    return [...this.model.knowledge.queues.values()];
  }

  /** One of the queues there are; undefined = there are none. */
  queueAt(n: number): ModelQueue | undefined {
    return this.queues[n % this.queues.length];
  }

  /** It is still there. */
  has(queue: ModelQueue): boolean {
    return this.model.knowledge.queues.get(queue.name) === queue;
  }

  /** Messages that the broker says are ready in a queue. */
  readyIn(name: string): number {
    return this.broker.door.admin.queue('/', name)?.ready ?? 0;
  }

  // ---- Confirms ---------------------------------------------------------------------------------------------------

  /** The next publish wants a confirm. @param refused whether it must be a refusal; undefined: may be one */
  expectConfirm(id: number, refused: boolean | undefined): void {
    this.#asked.push({ id, refused });
  }

  /** No confirm is awaited. */
  get isConfirmed(): boolean {
    return this.#confirmed === this.#asked.length;
  }

  #onConfirm(upTo: number, refused: readonly number[]): void {
    for (; this.#confirmed < upTo; this.#confirmed++) {
      const asked = this.#asked[this.#confirmed];
      assert(asked !== undefined, 'a confirm nobody asked for');
      const isRefused = refused.includes(this.#confirmed + 1);
      if (asked.refused !== undefined) assert.equal(isRefused, asked.refused, `${asked.id} is refused`);
      this.model.confirmed(asked.id, isRefused);
    }
    this.#confirmedMs = this.broker.clock.now();
    this.log.push(`confirmed up to ${this.#asked[upTo - 1]?.id}`);
  }
}
