/**
 * The model test of queue rules: random traffic through queues that give messages up, on simulated disk and clock, with
 * crashes. The model is a ledger of messages: wherever rules send one, it is in exactly one queue, until somebody completes it
 * (DESIGN section 10). One seed gives one run.
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

/** Longer than anything that waits, waits. */
const LONG_MS = 60_000;

type Reason = 'rejected' | 'expired' | 'maxlen';
/** A message may be handed out in the turn in which it expires. */
const TURN_MS = 2;

interface RuledQueue {
  readonly name: string;
  readonly arguments: Arguments;
  /** Where what it gives up goes, and for what. */
  readonly deadLetters: string;
  readonly reasons: readonly Reason[];
  readonly ttlMs: number;
}

const REJECTED_OR_EXPIRED = ['rejected', 'expired'] as const;
const ANY_REASON = [...REJECTED_OR_EXPIRED, 'maxlen'] as const;
const LENGTH_MAX = 12;

/** A queue of at most `LENGTH_MAX` ready messages. */
function boundedQueue(name: string, overflow: string): RuledQueue {
  const args = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
  return {
    name,
    arguments: { ...args, 'x-max-length': LENGTH_MAX, 'x-overflow': overflow },
    deadLetters: 'dead',
    reasons: overflow === 'reject-publish' ? REJECTED_OR_EXPIRED : ANY_REASON,
    ttlMs: Number.POSITIVE_INFINITY,
  };
}

const RULED: readonly RuledQueue[] = [
  {
    name: 'work',
    arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' },
    deadLetters: 'dead',
    reasons: REJECTED_OR_EXPIRED,
    ttlMs: Number.POSITIVE_INFINITY,
  },
  boundedQueue('short', 'drop-head'),
  boundedQueue('refusing', 'reject-publish'),
  boundedQueue('bouncing', 'reject-publish-dlx'),
  {
    name: 'brief',
    arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead', 'x-message-ttl': 60 },
    deadLetters: 'dead',
    reasons: REJECTED_OR_EXPIRED,
    ttlMs: 60,
  },
  {
    name: 'strict',
    arguments: {
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'sometimes',
      'x-dead-letter-strategy': 'at-least-once',
    },
    deadLetters: 'sometimes',
    reasons: REJECTED_OR_EXPIRED,
    ttlMs: Number.POSITIVE_INFINITY,
  },
];
/** Always there. */
const DEAD = 'dead';
/** Comes and goes, but only goes when it is empty. */
const SOMETIMES = 'sometimes';

/** A message as the ledger has it. */
interface Entry {
  readonly queue: RuledQueue;
  readonly persistent: boolean;
  /** Wall clock; Infinity = never. */
  readonly expiresAtMs: number;
  confirmed: boolean;
  /** Its publisher was told that there is no room for it. */
  refused: boolean;
  /** Somebody completed it; for good once that is durable. */
  completed: 'no' | 'perhaps' | 'yes';
  rejected: 'no' | 'perhaps' | 'yes';
  /** The broker ended since it was published, and it did not have to survive that. */
  mayBeGone: boolean;
}

interface Consumer {
  readonly queue: string;
  readonly subscription: Subscription;
  /** Delivery number -> message. */
  readonly out: Map<number, number>;
}

export class RulesSimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly #prng: Prng;
  readonly #machine: SimMachine;
  readonly #clock: SimClock;
  readonly #entries = new Map<number, Entry>();
  #client!: Client;
  #producer!: Producer;
  #consumers: Consumer[] = [];
  /** Messages whose confirm is awaited, in order. */
  #asked: number[] = [];
  #confirmed = 0;
  #lastId = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#machine = new SimMachine({ seed });
    this.#clock = this.#machine.clock;
  }

  /** Do `steps` random things; rejects at the first that is not as it must be. */
  async run(steps: number): Promise<void> {
    await this.#open();
    await this.#machine.declare(DEAD);
    for (const { name, arguments: args } of RULED) await this.#machine.declare(name, args);
    for (let n = 0; n < steps; n++) await this.#step();
    await this.#restart('clean');
    await this.#audit(true);
    await this.#machine.end('clean');
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const weights = {
      publish: 30,
      subscribe: 8,
      settle: 30,
      leave: 4,
      wait: 20,
      sometimes: 4,
      checkpoint: 2,
      restart: 2,
    };
    const what = prng.weighted(weights);
    const consumer = this.#consumers.length === 0 ? undefined : prng.pick(this.#consumers);
    if (what === 'publish') this.#publish();
    else if (what === 'subscribe') this.#subscribe(prng.pick([...RULED.map(({ name }) => name), DEAD]));
    else if (what === 'settle' && consumer !== undefined) this.#settle(consumer);
    else if (what === 'leave' && consumer !== undefined) this.#leave(consumer);
    else if (what === 'wait') await this.#clock.advance(prng.chance(0.2) ? prng.between(1, 200) : prng.float() * 3);
    else if (what === 'sometimes') await this.#comeOrGo();
    else if (what === 'checkpoint') await this.#clock.drive(this.#machine.checkpoint());
    const short = this.#machine.broker.admin.queue('/', 'short')?.ready ?? 0;
    assert(short <= LENGTH_MAX, `${short} messages are ready in a queue of at most ${LENGTH_MAX}`);
    if (what === 'restart') await this.#restart(prng.pick(['clean', 'kill', 'crash'] as const));
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    await this.#machine.start();
    this.#client = this.#machine.connect();
    this.#producer = this.#client.producer({ onConfirm: (upTo, refused) => this.#onConfirm(upTo, refused) });
    this.#asked = [];
    this.#confirmed = 0;
    this.#consumers = [];
  }

  async #restart(how: Ended): Promise<void> {
    this.log.push(`restart ${how}`);
    await this.#machine.end(how);
    await this.#open();
    for (const entry of this.#entries.values()) {
      // It may have been refused, and the broker ended before it could say so.
      const perhapsRefused = entry.queue.name === 'refusing';
      if (!entry.persistent || (!entry.confirmed && (how !== 'clean' || perhapsRefused))) entry.mayBeGone = true;
      if (how !== 'clean') continue;
      if (entry.completed === 'perhaps') entry.completed = 'yes';
      if (entry.rejected === 'perhaps') entry.rejected = 'yes';
    }
    await this.#audit(false);
  }

  async #comeOrGo(): Promise<void> {
    const { admin } = this.#machine.broker;
    const info = admin.queue('/', SOMETIMES);
    if (info === undefined) await this.#machine.declare(SOMETIMES, {});
    else if (info.ready + info.unsettled === 0) await this.#clock.drive(admin.deleteQueue('/', SOMETIMES));
  }

  // ---- Traffic ----------------------------------------------------------------------------------------------------

  #publish(): void {
    const prng = this.#prng;
    const queue = prng.pick(RULED);
    const persistent = prng.chance(0.8);
    const address = this.#producer.address('', new RoutingKey(queue.name, 0x2e));
    const bytes = prng.chance(0.1) ? prng.between(1000, 8000) : prng.between(4, 200);
    const nowMs = this.#clock.now();
    const ownTtlMs = prng.chance(0.15) ? prng.between(1, 200) : Number.POSITIVE_INFINITY;
    const expiresAtMs = nowMs + Math.min(ownTtlMs, queue.ttlMs);
    for (let left = prng.between(1, 20); left > 0; left--) {
      const id = ++this.#lastId;
      const entry = { queue, persistent, expiresAtMs, confirmed: false, refused: false, mayBeGone: false } as const;
      this.#entries.set(id, { ...entry, completed: 'no', rejected: 'no' });
      this.#asked.push(id);
      const message = messageOf(id, bytes, persistent ? FLAG_DURABLE : 0);
      if (ownTtlMs !== Number.POSITIVE_INFINITY) message.expiresAtMs = nowMs + ownTtlMs;
      this.#producer.publish(address, message, CONFIRM);
    }
  }

  #onConfirm(upTo: number, refused: readonly number[] | undefined): void {
    for (const number of refused ?? []) {
      const entry = this.#entry(this.#asked[number - 1] as number);
      assert.match(entry.queue.name, /^(refusing|bouncing)$/);
      entry.refused = true;
      if (entry.queue.name === 'refusing') entry.mayBeGone = true;
    }
    for (; this.#confirmed < upTo; this.#confirmed++)
      this.#entry(this.#asked[this.#confirmed] as number).confirmed = true;
  }

  #entry(id: number): Entry {
    const entry = this.#entries.get(id);
    assert(entry !== undefined, `nobody published ${id}`);
    return entry;
  }

  #subscribe(queue: string): void {
    if (this.#consumers.length > 6) return;
    const out = new Map<number, number>();
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) {
        const id = this.#check(queue, batch.message);
        this.log.push(`${queue} -> ${id}`);
        out.set(batch.deliveryId, id);
      }
    };
    const subscription = this.#client.subscribe(queue, { credit: this.#prng.between(1, 60) }, { onDeliveries });
    this.#consumers.push({ queue, subscription, out });
  }

  #settle(consumer: Consumer): void {
    const numbers = [...consumer.out.keys()];
    if (numbers.length === 0) return;
    const first = this.#prng.pick(numbers);
    const last = Math.min(first + this.#prng.below(20), Math.max(...numbers));
    const op: SettleOp = this.#prng.weighted({ complete: 3, requeue: 2, modify: 1, discard: 4 });
    const ids: number[] = [];
    for (const number of numbers) {
      if (number < first || number > last) continue;
      ids.push(consumer.out.get(number) as number);
      consumer.out.delete(number);
    }
    consumer.subscription.settle(first, last, op);
    this.log.push(`${consumer.queue} ${op} ${ids}`);
    // What is discarded from the last queue is gone, as if it were completed.
    const gone = op === 'complete' || (op === 'discard' && consumer.queue === DEAD);
    for (const id of ids) {
      if (gone) this.#entry(id).completed = 'perhaps';
      else if (op === 'discard') this.#entry(id).rejected = 'perhaps';
    }
    if (op === 'requeue' || op === 'modify') return;
    consumer.subscription.afterDurable(() => {
      for (const id of ids) this.#entry(id)[gone ? 'completed' : 'rejected'] = 'yes';
    });
    consumer.subscription.credit(ids.length);
  }

  #leave(consumer: Consumer): void {
    this.#consumers = this.#consumers.filter((other) => other !== consumer);
    consumer.subscription.close();
  }

  // ---- Checks -----------------------------------------------------------------------------------------------------

  /** A message is seen in a queue: may it be there? Answers its id. */
  #check(queue: string, message: Message): number {
    const id = idOf(message);
    const entry = this.#entry(id);
    assert(!entry.refused || entry.queue.name !== 'refusing', `${id} was refused and is in ${queue}`);
    assert(entry.completed !== 'yes', `${id} was completed for good and is in ${queue}`);
    const { annotations } = this.#machine.broker.hub(message);
    if (queue === entry.queue.name) {
      assert(entry.rejected !== 'yes', `${id} was rejected for good and is back in ${queue}`);
      assert(!annotations.has('x-death'), `${id} has a death history and never died`);
      const lateMs = this.#clock.now() - entry.expiresAtMs;
      assert(lateMs <= TURN_MS, `${id} was handed out ${lateMs} ms after it had expired`);
      return id;
    }
    assert.equal(queue, entry.queue.deadLetters, `${id} is in a queue it must not be in`);
    assert.equal(annotations.get('x-first-death-queue'), entry.queue.name);
    const reason = annotations.get('x-first-death-reason') as Reason;
    assert(entry.queue.reasons.includes(reason), `${id} died in ${entry.queue.name} as ${reason}`);
    assert(reason !== 'expired' || this.#clock.now() >= entry.expiresAtMs, `${id} expired too early`);
    assert(reason !== 'rejected' || entry.rejected !== 'no', `${id} died as rejected, and nobody rejected it`);
    return id;
  }

  /** Look into every queue. @param final nothing waits for anything any more: every message must be found */
  async #audit(final: boolean): Promise<void> {
    if (final) {
      await this.#machine.declare(SOMETIMES, {});
      await this.#clock.advance(LONG_MS);
    }
    const found = new Map<number, string>();
    // Looking makes messages expire that are not at the head: so those come first that dead letters start from. What is
    // held does not go on while the others are looked at.
    const looking: Subscription[] = [];
    const names = [...RULED.map(({ name }) => name), DEAD, SOMETIMES];
    for (const name of names) {
      if (this.#machine.broker.admin.queue('/', name) === undefined) continue;
      looking.push(
        await this.#look(name, (id) => {
          assert.equal(found.get(id), undefined, `${id} is in ${found.get(id)} and in ${name}`);
          found.set(id, name);
        }),
      );
    }
    for (const subscription of looking) subscription.close();
    for (const [id, entry] of this.#entries) {
      const expected = entry.completed === 'no' && !entry.mayBeGone;
      if (final && expected) assert(found.has(id), `${id} of ${entry.queue.name} is lost`);
      if (found.get(id) === entry.queue.name) entry.rejected = 'no';
      if (found.has(id)) entry.completed = 'no';
      else if (entry.completed === 'perhaps') this.#notFound(entry);
    }
  }

  /** It was completed shortly before a crash, and is in no queue. */
  #notFound(entry: Entry): void {
    if (entry.queue.deadLetters === SOMETIMES) {
      // It may have expired instead, and be kept out of sight until somebody takes it.
      entry.completed = 'no';
      entry.mayBeGone = true;
    } else {
      entry.completed = 'yes';
    }
  }

  /** Take everything out of a queue and hold it. */
  async #look(queue: string, each: (id: number) => void): Promise<Subscription> {
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) each(this.#check(queue, batch.message));
    };
    const subscription = this.#client.subscribe(queue, { credit: 1e9 }, { onDeliveries });
    await this.#clock.run(() => (this.#machine.broker.admin.queue('/', queue)?.ready ?? 0) === 0);
    return subscription;
  }
}
