/**
 * The model test of what consumers do to messages: counts of returns and failures, the delivery limit, waiting before the next
 * attempt; with consumers that vanish, and with crashes, on simulated disk and clock. The model knows of each message which
 * states it may be in: one, as long as everything is on disk, and after a crash one of those since the last that was. Every
 * delivery is checked: whether it may be made now, in this order, with these counts. One seed gives one run.
 */
import { strict as assert } from 'node:assert';
import {
  type Arguments,
  type Client,
  CONFIRM,
  type DeliveryBatch,
  FLAG_DURABLE,
  type Message,
  type Producer,
  RoutingKey,
  type SettleOp,
  type Subscription,
} from '../core/index.ts';

import { Prng } from './prng.ts';
import { idOf, messageOf } from './sim-broker.ts';
import type { SimClock } from './sim-clock.ts';
import { type Ended, SimMachine } from './sim-machine.ts';

/** Longer than anything waits. */
const LONG_MS = 5_000;
/** What is due is handed out within the next turns. */
const TURN_MS = 2;
const DEAD = 'dead';

interface RetryQueue {
  readonly name: string;
  readonly limit: number;
  readonly type: 'disabled' | 'all' | 'failed' | 'returned';
  readonly minMs: number;
  readonly maxMs: number;
}

const QUEUES: readonly RetryQueue[] = [
  { name: 'plain', limit: Number.POSITIVE_INFINITY, type: 'disabled', minMs: 1, maxMs: 1 },
  { name: 'strict', limit: 2, type: 'disabled', minMs: 1, maxMs: 1 },
  { name: 'patient', limit: 5, type: 'failed', minMs: 40, maxMs: 150 },
  { name: 'returning', limit: Number.POSITIVE_INFINITY, type: 'returned', minMs: 30, maxMs: 60 },
  { name: 'slow', limit: 3, type: 'all', minMs: 25, maxMs: 1000 },
];

function argumentsOf({ limit, type, minMs, maxMs }: RetryQueue): Arguments {
  return {
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': DEAD,
    'x-delivery-limit': Number.isFinite(limit) ? limit : -1,
    'x-delayed-retry-type': type,
    'x-delayed-retry-min': minMs,
    'x-delayed-retry-max': maxMs,
  };
}

/** What a message is like. */
interface State {
  readonly place: 'queue' | 'dead' | 'gone';
  readonly returns: number;
  readonly failures: number;
  /** Not to be handed out before. */
  readonly dueMs: number;
}

interface Entry {
  readonly id: number;
  readonly queue: RetryQueue;
  readonly persistent: boolean;
  confirmed: boolean;
  /** What it may be like: the last one, and what a crash may bring back. */
  states: State[];
  /** The life of the broker in which it was last seen: from then on its last state is the one it has. */
  life: number;
  out: boolean;
  /** The broker ended since it was published, and it did not have to survive that. */
  mayBeGone: boolean;
}

interface Consumer {
  readonly queue: string;
  readonly client: Client;
  readonly subscription: Subscription;
  /** Delivery number -> message. */
  readonly out: Map<number, Entry>;
}

export class RetrySimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly #prng: Prng;
  readonly #machine: SimMachine;
  readonly #clock: SimClock;
  readonly #entries = new Map<number, Entry>();
  #producer!: Producer;
  #consumers: Consumer[] = [];
  /** Messages whose confirm is awaited, in order. */
  #asked: Entry[] = [];
  #confirmed = 0;
  #life = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#machine = new SimMachine({ seed });
    this.#clock = this.#machine.clock;
  }

  /** Do `steps` random things; rejects at the first that is not as it must be. */
  async run(steps: number): Promise<void> {
    await this.#open();
    for (const queue of QUEUES) await this.#machine.declare(queue.name, argumentsOf(queue));
    for (let n = 0; n < steps; n++) await this.#step();
    await this.#restart('clean');
    await this.#audit();
    await this.#machine.end('clean');
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const weights = {
      publish: 20,
      subscribe: 10,
      settle: 35,
      leave: 6,
      wait: 25,
      checkpoint: 2,
      release: 1,
      restart: 2,
    };
    const what = prng.weighted(weights);
    const consumer = this.#consumers.length === 0 ? undefined : prng.pick(this.#consumers);
    if (what === 'publish') this.#publish();
    else if (what === 'subscribe') this.#subscribe(prng.pick([...QUEUES.map(({ name }) => name), DEAD]));
    else if (what === 'settle' && consumer !== undefined) this.#settle(consumer);
    else if (what === 'leave' && consumer !== undefined) this.#leave(consumer, prng.chance(0.5));
    else if (what === 'wait') await this.#clock.advance(prng.chance(0.3) ? prng.between(1, 200) : prng.float() * 3);
    else if (what === 'checkpoint') await this.#clock.drive(this.#machine.checkpoint());
    else if (what === 'release') await this.#release(prng.pick(QUEUES));
    else if (what === 'restart') await this.#restart(prng.pick(['clean', 'kill', 'crash'] as const));
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    await this.#machine.start();
    const client = this.#machine.connect();
    this.#producer = client.producer({ onConfirm: (upTo) => this.#onConfirm(upTo) });
    await this.#machine.declare(DEAD);
    this.#asked = [];
    this.#confirmed = 0;
    this.#consumers = [];
    this.#life++;
  }

  async #restart(how: Ended): Promise<void> {
    this.log.push(`restart ${how}`);
    if (how === 'clean') {
      // Closing gives back what is out; the times this takes are those of the last moment.
      for (const consumer of [...this.#consumers]) this.#leave(consumer, false);
    }
    await this.#machine.end(how);
    await this.#open();
    for (const entry of this.#entries.values()) {
      entry.out = false;
      if (how === 'clean' && entry.life === this.#life - 1) entry.states = entry.states.slice(-1);
      if (!entry.persistent || (!entry.confirmed && how !== 'clean')) entry.mayBeGone = true;
    }
  }

  /** Note when what has happened to these messages of a subscription is on disk. */
  #onceDurable(subscription: Subscription, entries: readonly Entry[]): void {
    const life = this.#life;
    const states = entries.map((entry) => entry.states.at(-1));
    subscription.afterDurable(() => {
      if (life !== this.#life) return;
      for (const [n, entry] of entries.entries()) {
        const at = entry.states.indexOf(states[n] as State);
        if (at > 0) entry.states.splice(0, at);
      }
    });
  }

  // ---- Traffic ----------------------------------------------------------------------------------------------------

  #publish(): void {
    const prng = this.#prng;
    const queue = prng.pick(QUEUES);
    const persistent = prng.chance(0.85);
    const address = this.#producer.address('', new RoutingKey(queue.name, 0x2e));
    const bytes = prng.chance(0.1) ? prng.between(1000, 8000) : prng.between(4, 200);
    for (let left = prng.between(1, 8); left > 0; left--) {
      const id = this.#entries.size + 1;
      const states: State[] = [{ place: 'queue', returns: 0, failures: 0, dueMs: 0 }];
      const entry: Entry = {
        id,
        queue,
        persistent,
        confirmed: false,
        states,
        life: this.#life,
        out: false,
        mayBeGone: false,
      };
      this.#entries.set(id, entry);
      this.#asked.push(entry);
      this.#producer.publish(address, messageOf(id, bytes, persistent ? FLAG_DURABLE : 0), CONFIRM);
    }
  }

  #onConfirm(upTo: number): void {
    for (; this.#confirmed < upTo; this.#confirmed++) (this.#asked[this.#confirmed] as Entry).confirmed = true;
  }

  #subscribe(queue: string): void {
    if (this.#consumers.length > 6) return;
    const client = this.#machine.connect();
    const out = new Map<number, Entry>();
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) out.set(batch.deliveryId, this.#check(queue, batch));
    };
    const subscription = client.subscribe(queue, { credit: this.#prng.between(1, 12) }, { onDeliveries });
    this.#consumers.push({ queue, client, subscription, out });
  }

  #settle({ queue, subscription, out }: Consumer): void {
    const prng = this.#prng;
    const numbers = [...out.keys()];
    if (numbers.length === 0) return;
    const first = prng.pick(numbers);
    const last = Math.min(first + prng.below(4), Math.max(...numbers));
    const op: SettleOp = prng.weighted({ complete: 3, requeue: 3, modify: 6, discard: 1 });
    const mayWait = op === 'requeue' || op === 'modify';
    const atMs = mayWait && prng.chance(0.15) ? this.#clock.now() + prng.between(-20, 300) : 0;
    const settled: Entry[] = [];
    for (const number of numbers) {
      if (number < first || number > last) continue;
      settled.push(out.get(number) as Entry);
      out.delete(number);
    }
    this.log.push(`${queue} ${op} ${settled.map(({ id }) => id)} ${atMs}`);
    subscription.settle(first, last, op, atMs);
    for (const entry of settled) this.#becomes(entry, queue, op, atMs);
    this.#onceDurable(subscription, settled);
    subscription.credit(settled.length);
  }

  #leave(consumer: Consumer, lost: boolean): void {
    this.#consumers = this.#consumers.filter((other) => other !== consumer);
    const held = [...consumer.out.values()];
    this.log.push(`${consumer.queue} ${lost ? 'lost' : 'closed'} with ${held.map(({ id }) => id)}`);
    consumer.client.close(lost);
    for (const entry of held) this.#becomes(entry, consumer.queue, lost ? 'modify' : 'requeue', 0);
    this.#onceDurable(consumer.subscription, held);
  }

  async #release(queue: RetryQueue): Promise<void> {
    this.log.push(`${queue.name} released`);
    for (const entry of this.#entries.values()) {
      if (entry.queue === queue) entry.states = entry.states.map((state) => ({ ...state, dueMs: 0 }));
    }
    await this.#clock.drive(this.#machine.broker.admin.releaseDeferred('/', queue.name));
  }

  /** A message was settled. */
  #becomes(entry: Entry, queue: string, op: SettleOp, atMs: number): void {
    entry.out = false;
    const state = entry.states.at(-1) as State;
    entry.states.push(
      queue === DEAD ? afterDead(state, op) : afterSettling(entry.queue, state, op, this.#clock.now(), atMs),
    );
  }

  // ---- Checks -----------------------------------------------------------------------------------------------------

  /** A message is handed out: may it be, now and like this? */
  #check(queue: string, { message, redeliveries, failures }: DeliveryBatch): Entry {
    const entry = this.#entries.get(idOf(message)) as Entry;
    const place = queue === DEAD ? 'dead' : 'queue';
    this.log.push(`${queue} -> ${entry.id} ${redeliveries} ${failures} at ${this.#clock.now()}`);
    assert(queue === DEAD || queue === entry.queue.name, `${entry.id} is in ${queue}`);
    assert(!entry.out, `${entry.id} is handed out twice`);
    assert(entry.confirmed || !entry.persistent || this.#asked.indexOf(entry) < 0, `${entry.id} is not durable yet`);
    const possible = this.#possible(entry);
    const like = possible.filter(
      (state) => state.place === place && state.returns === redeliveries && state.failures === failures,
    );
    const seen = `${entry.id} in ${queue}, returned ${redeliveries}, failed ${failures}`;
    assert(like.length > 0, `${seen}, may be ${JSON.stringify(possible)}`);
    // A count and the time that goes with it are two records: a crash may come between them.
    const dueMs = Math.min(...possible.map((state) => state.dueMs));
    assert(dueMs <= this.#clock.now(), `${seen}, is not due before ${dueMs}`);
    if (place === 'dead') this.#checkDeath(entry, message);
    else this.#checkOrder(entry);
    if (entry.life !== this.#life) entry.states = [like.at(-1) as State];
    entry.life = this.#life;
    entry.out = true;
    return entry;
  }

  /** What a message may be like now: the last state, unless the broker ended since. */
  #possible({ states, life }: Entry): readonly State[] {
    return life === this.#life ? states.slice(-1) : states;
  }

  #checkDeath({ id, queue }: Entry, message: Message): void {
    const { annotations } = this.#machine.broker.hub(message);
    const reason = annotations.get('x-first-death-reason');
    assert.equal(annotations.get('x-first-death-queue'), queue.name);
    assert(reason === 'rejected' || (reason === 'delivery_limit' && Number.isFinite(queue.limit)), `${id}: ${reason}`);
  }

  /** Nothing that is certainly ready lies before it. */
  #checkOrder(entry: Entry): void {
    for (const other of this.#entries.values()) {
      if (other.id >= entry.id) return;
      if (other.queue !== entry.queue || other.out || !other.confirmed || other.mayBeGone) continue;
      const [state, ...more] = this.#possible(other);
      if (more.length > 0 || state?.place !== 'queue') continue;
      assert(state.dueMs + TURN_MS > this.#clock.now(), `${entry.id} is handed out before ${other.id}`);
    }
  }

  /** Nothing waits for anything any more: every message must be where it belongs. */
  async #audit(): Promise<void> {
    await this.#clock.advance(LONG_MS);
    const found = new Map<number, string>();
    for (const name of [...QUEUES.map((queue) => queue.name), DEAD]) {
      const onDeliveries = (batch: DeliveryBatch): void => {
        while (batch.next()) {
          const { id } = this.#check(name, batch);
          assert(!found.has(id), `${id} is in ${found.get(id)} and in ${name}`);
          found.set(id, name);
        }
      };
      this.#machine.connect().subscribe(name, { credit: 1e9 }, { onDeliveries });
      await this.#clock.advance(LONG_MS);
      const info = this.#machine.broker.admin.queue('/', name);
      assert.equal((info?.ready ?? 0) + (info?.deferred ?? 0), 0, `${name} is not empty`);
    }
    for (const { id, states, mayBeGone } of this.#entries.values()) {
      const mustBe = !mayBeGone && states.every(({ place }) => place !== 'gone');
      assert(found.has(id) || !mustBe, `${id} is lost`);
    }
  }
}

function afterSettling(queue: RetryQueue, state: State, op: SettleOp, nowMs: number, atMs: number): State {
  if (op === 'complete') return { ...state, place: 'gone' };
  if (op === 'discard') return DIED;
  const failed = op === 'modify';
  const returns = state.returns + 1;
  const failures = state.failures + (failed ? 1 : 0);
  if (failures > queue.limit && failed) return DIED;
  const waits = queue.type === 'all' || queue.type === (failed ? 'failed' : 'returned');
  const waitMs = waits ? Math.min(queue.minMs * (failed ? failures : returns), queue.maxMs) : 0;
  const dueMs = atMs !== 0 ? atMs : nowMs + waitMs;
  return { place: 'queue', returns, failures, dueMs: dueMs > nowMs ? dueMs : 0 };
}

/** The queue of dead letters has no rules of its own, and what is discarded there is gone. */
function afterDead(state: State, op: SettleOp): State {
  if (op === 'complete' || op === 'discard') return { ...state, place: 'gone' };
  const failures = state.failures + (op === 'modify' ? 1 : 0);
  return { place: 'dead', returns: state.returns + 1, failures, dueMs: 0 };
}

/** It begins anew among the dead. */
const DIED: State = { place: 'dead', returns: 0, failures: 0, dueMs: 0 };
