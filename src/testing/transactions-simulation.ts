/**
 * The model test of transactions: random ones over queues with and without rules, on simulated disk and clock, with crashes. The
 * model is a ledger: each transaction has happened as a whole or not at all, whatever ends the broker, and nobody sees anything
 * of one that is not durable. One seed gives one run.
 */
import { strict as assert } from 'node:assert';
import {
  type Arguments,
  type Client,
  CONFIRM,
  CoreError,
  type DeliveryBatch,
  FLAG_DURABLE,
  type Message,
  type Producer,
  RoutingKey,
  type Subscription,
  type Transaction,
} from '../core/index.ts';
import { Prng } from './prng.ts';
import { idOf, messageOf } from './sim-broker.ts';
import type { SimClock } from './sim-clock.ts';
import { type Ended, SimMachine } from './sim-machine.ts';

const DEAD = 'dead';
const QUEUES: ReadonlyMap<string, Arguments> = new Map<string, Arguments>([
  ['first', {}],
  ['second', {}],
  ['third', {}],
  ['ruled', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': DEAD }],
  ['ranked', { 'x-max-priority': 9 }],
  ['full', { 'x-max-length': 15, 'x-overflow': 'reject-publish' }],
  [DEAD, {}],
]);
const SOURCES = [...QUEUES.keys()].filter((name) => name !== DEAD);

type Fate = 'open' | 'committing' | 'done' | 'never';

interface Entry {
  queue: string;
  readonly persistent: boolean;
  /** The transaction that published it; undefined: published on its own. */
  readonly by: Deal | undefined;
  confirmed: boolean;
  /** The transaction that took it away, or wants to. */
  taker: Deal | undefined;
  /** The transaction that gave it back, not to come again before this time. */
  waits: { readonly by: Deal; readonly untilMs: number } | undefined;
  /** The broker ended since it was published, and it did not have to survive that. */
  lost: boolean;
}

/** A transaction as the model has it. */
interface Deal {
  fate: Fate;
  readonly published: number[];
  readonly completed: number[];
  readonly discarded: number[];
}

interface Consumer {
  readonly queue: string;
  readonly subscription: Subscription;
  /** Delivery number -> message, as far as no transaction holds it. */
  readonly out: Map<number, number>;
}

export class TransactionsSimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  /** Transactions that were committed, refused, and lost in a crash; messages that had to wait after one, and did. */
  readonly counts = { done: 0, refused: 0, lost: 0, waited: 0 };
  readonly #prng: Prng;
  readonly #machine: SimMachine;
  readonly #clock: SimClock;
  readonly #entries = new Map<number, Entry>();
  #client!: Client;
  #producer!: Producer;
  #consumers: Consumer[] = [];
  #open: { deal: Deal; transaction: Transaction }[] = [];
  #deals: Deal[] = [];
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
    await this.#start();
    for (const [name, args] of QUEUES) await this.#machine.declare(name, args);
    for (let n = 0; n < steps; n++) await this.#step();
    await this.#restart('clean');
    await this.#machine.end('clean');
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const weights = {
      ...{ publish: 6, subscribe: 6, leave: 3, begin: 12, add: 40, commit: 12, rollback: 3 },
      ...{ requeue: 3, wait: 25, checkpoint: 2, restart: 3 },
    };
    const what = prng.weighted(weights);
    const open = this.#open.length === 0 ? undefined : prng.pick(this.#open);
    const consumer = this.#consumers.length === 0 ? undefined : prng.pick(this.#consumers);
    if (what === 'publish') this.#publish();
    else if (what === 'subscribe') this.#subscribe(prng.pick([...QUEUES.keys()]));
    else if (what === 'leave' && consumer !== undefined) this.#leave(consumer);
    else if (what === 'begin' && this.#open.length < 4) this.#begin();
    else if (what === 'add' && open !== undefined) this.#add(open);
    else if (what === 'commit' && open !== undefined) this.#commit(open);
    else if (what === 'rollback' && open !== undefined) this.#rollBack(open);
    else if (what === 'requeue' && consumer !== undefined) this.#requeue(consumer);
    else if (what === 'wait') await this.#clock.advance(prng.chance(0.2) ? prng.between(1, 100) : prng.float() * 3);
    else if (what === 'checkpoint') await this.#clock.drive(this.#machine.checkpoint());
    else if (what === 'restart') await this.#restart(prng.pick(['clean', 'kill', 'crash'] as const));
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  async #start(): Promise<void> {
    await this.#machine.start();
    this.#client = this.#machine.connect();
    this.#producer = this.#client.producer({ onConfirm: (upTo, refused) => this.#onConfirm(upTo, refused) });
    this.#asked = [];
    this.#confirmed = 0;
    this.#consumers = [];
    this.#open = [];
  }

  async #restart(how: Ended): Promise<void> {
    this.log.push(`restart ${how}`);
    for (const { deal } of this.#open) this.#dismiss(deal);
    await this.#machine.end(how);
    await this.#start();
    for (const entry of this.#entries.values()) if (!entry.persistent) entry.lost = true;
    await this.#audit(how);
  }

  /** It will never have happened. */
  #dismiss(deal: Deal): void {
    deal.fate = 'never';
    for (const id of [...deal.completed, ...deal.discarded]) {
      const entry = this.#entry(id);
      // Its consumer may have left, and then another transaction has taken the message.
      if (entry.taker === deal) entry.taker = undefined;
    }
  }

  // ---- Traffic ----------------------------------------------------------------------------------------------------

  #publish(): void {
    const queue = this.#prng.pick(SOURCES);
    const address = this.#producer.address('', new RoutingKey(queue, 0x2e));
    for (let left = this.#prng.between(1, 6); left > 0; left--) {
      const [id, message] = this.#newMessage(queue, undefined);
      this.#asked.push(id);
      this.#producer.publish(address, message, CONFIRM);
    }
  }

  #onConfirm(upTo: number, refused: readonly number[] | undefined): void {
    for (const number of refused ?? []) this.#entries.delete(this.#asked[number - 1] as number);
    for (; this.#confirmed < upTo; this.#confirmed++) {
      const entry = this.#entries.get(this.#asked[this.#confirmed] as number);
      if (entry !== undefined) entry.confirmed = true;
    }
  }

  #newMessage(queue: string, by: Deal | undefined): [id: number, message: Message] {
    const prng = this.#prng;
    const id = ++this.#lastId;
    const persistent = prng.chance(0.8);
    this.#entries.set(id, { queue, persistent, by, confirmed: false, taker: undefined, waits: undefined, lost: false });
    const priority = prng.below(4);
    const bytes = prng.chance(0.1) ? prng.between(1000, 6000) : prng.between(4, 200);
    const message = messageOf(id, bytes, persistent ? FLAG_DURABLE : 0);
    message.priority = priority;
    return [id, message];
  }

  #entry(id: number): Entry {
    const entry = this.#entries.get(id);
    assert(entry !== undefined, `nobody published ${id}, or it was refused`);
    return entry;
  }

  #subscribe(queue: string): void {
    if (this.#consumers.length > 6) return;
    const out = new Map<number, number>();
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) out.set(batch.deliveryId, this.#see(queue, batch.message));
    };
    const subscription = this.#client.subscribe(queue, { credit: this.#prng.between(1, 40) }, { onDeliveries });
    this.#consumers.push({ queue, subscription, out });
  }

  #leave(consumer: Consumer): void {
    this.#consumers = this.#consumers.filter((other) => other !== consumer);
    consumer.subscription.close();
  }

  #requeue({ subscription, out }: Consumer): void {
    for (const number of out.keys()) {
      subscription.settle(number, number, 'requeue');
      out.delete(number);
      subscription.credit(1);
      return;
    }
  }

  // ---- Transactions -----------------------------------------------------------------------------------------------

  #begin(): void {
    const deal: Deal = { fate: 'open', published: [], completed: [], discarded: [] };
    this.#deals.push(deal);
    this.#open.push({ deal, transaction: this.#producer.transaction() });
  }

  #add({ deal, transaction }: { deal: Deal; transaction: Transaction }): void {
    const prng = this.#prng;
    const consumer = this.#consumers.length === 0 ? undefined : prng.pick(this.#consumers);
    if (consumer === undefined || consumer.out.size === 0 || prng.chance(0.5)) {
      const queue = prng.pick(SOURCES);
      const address = this.#producer.address('', new RoutingKey(queue, 0x2e));
      for (let left = prng.between(1, 4); left > 0; left--) {
        const [id, message] = this.#newMessage(queue, deal);
        transaction.publish(address, message, 0);
        deal.published.push(id);
      }
      return;
    }
    const { queue, subscription, out } = consumer;
    const op = prng.weighted({ complete: 4, discard: 3, requeue: 1, modify: 1 });
    const isBack = op === 'requeue' || op === 'modify';
    const untilMs = isBack && prng.chance(0.7) ? Math.ceil(this.#clock.now()) + prng.between(1, 1000) : 0;
    const deliveries = [...out.keys()].slice(0, prng.between(1, 8));
    for (const number of deliveries) {
      const id = out.get(number) as number;
      out.delete(number);
      assert.equal(transaction.settle(subscription, number, number, op, untilMs), 1);
      if (untilMs !== 0) this.#entry(id).waits = { by: deal, untilMs };
      if (isBack) continue;
      this.#entry(id).taker = deal;
      (op === 'discard' && queue === 'ruled' ? deal.discarded : deal.completed).push(id);
    }
  }

  #commit(open: { deal: Deal; transaction: Transaction }): void {
    const { deal, transaction } = open;
    this.#open = this.#open.filter((other) => other !== open);
    try {
      deal.fate = 'committing';
      transaction.commit(() => this.#done(deal));
      this.log.push(`commit ${this.#deals.indexOf(deal)} +${deal.published} -${deal.completed} x${deal.discarded}`);
    } catch (error) {
      assert(error instanceof CoreError && ['limit-exceeded', 'unknown-delivery'].includes(error.code), String(error));
      this.counts.refused++;
      this.#dismiss(deal);
      // What it held stays with its consumer, who goes.
      for (const consumer of [...this.#consumers]) this.#leave(consumer);
    }
    transaction.close();
  }

  #rollBack(open: { deal: Deal; transaction: Transaction }): void {
    this.#open = this.#open.filter((other) => other !== open);
    open.transaction.close();
    this.#dismiss(open.deal);
    for (const consumer of [...this.#consumers]) this.#leave(consumer);
  }

  #done(deal: Deal): void {
    deal.fate = 'done';
    this.counts.done++;
    for (const id of deal.discarded) {
      const entry = this.#entry(id);
      entry.queue = DEAD;
      entry.taker = undefined;
    }
  }

  // ---- Checks -----------------------------------------------------------------------------------------------------

  /** A message is handed out: may it be? Answers its id. */
  #see(queue: string, message: Message): number {
    const id = idOf(message);
    const entry = this.#entry(id);
    assert(!entry.lost, `${id} did not survive, and is in ${queue}`);
    assert(entry.by === undefined || entry.by.fate === 'done', `${id} is seen, its transaction is ${entry.by?.fate}`);
    assert(entry.taker?.fate !== 'done', `${id} was taken away for good and is in ${queue}`);
    assert.equal(queue, entry.queue, `${id} is in a queue it must not be in`);
    this.#checkTime(id, entry, this.#clock.now());
    return id;
  }

  /** It was handed out then: had it to wait? */
  #checkTime(id: number, { waits }: Entry, seenMs: number): void {
    if (waits?.by.fate !== 'done') return;
    assert(seenMs >= waits.untilMs, `${id} had to wait until ${waits.untilMs}, and comes at ${seenMs}`);
    this.counts.waited++;
  }

  /** After a restart: look into every queue, and find out what became of the transactions that were on their way. */
  async #audit(how: string): Promise<void> {
    await this.#clock.advance(200);
    const found = new Map<number, string>();
    const seenMs = new Map<number, number>();
    const looking: Subscription[] = [];
    for (const queue of QUEUES.keys()) {
      const onDeliveries = (batch: DeliveryBatch): void => {
        while (batch.next()) {
          const id = idOf(batch.message);
          assert(!found.has(id), `${id} is in ${found.get(id)} and in ${queue}`);
          found.set(id, queue);
          seenMs.set(id, this.#clock.now());
        }
      };
      looking.push(this.#client.subscribe(queue, { credit: 1e9 }, { onDeliveries }));
    }
    await this.#clock.run(() =>
      this.#machine.broker.admin.queues('/').every(({ ready, deferred }) => ready + deferred === 0),
    );
    for (const deal of this.#deals) {
      if (deal.fate !== 'committing') continue;
      assert(how !== 'clean', 'a transaction was neither done nor refused before an orderly end');
      if (this.#hasHappened(deal, found)) this.#done(deal);
      else this.#lose(deal);
    }
    for (const [id, entry] of this.#entries) {
      const handedOut = seenMs.get(id);
      if (handedOut !== undefined) this.#checkTime(id, entry, handedOut);
      this.#checkPlace(id, entry, found.get(id));
    }
    this.#deals = [];
    for (const subscription of looking) subscription.close();
  }

  /** All that is left of a transaction must say the same. */
  #hasHappened({ published, completed, discarded }: Deal, found: ReadonlyMap<number, string>): boolean {
    const persistent = (id: number): boolean => this.#entry(id).persistent;
    const signs = [
      ...published.filter(persistent).map((id) => found.has(id)),
      ...completed.filter(persistent).map((id) => !found.has(id)),
      ...discarded.filter(persistent).map((id) => found.get(id) === DEAD),
    ];
    const happened = signs[0] ?? false;
    assert(
      signs.every((sign) => sign === happened),
      `half a transaction: +${published} -${completed} x${discarded} say ${signs}`,
    );
    return happened;
  }

  #lose(deal: Deal): void {
    this.counts.lost++;
    this.#dismiss(deal);
  }

  #checkPlace(id: number, entry: Entry, queue: string | undefined): void {
    const { by, taker, lost, confirmed } = entry;
    const isGone = lost || taker?.fate === 'done' || by?.fate === 'never';
    if (queue !== undefined) {
      assert(!isGone, `${id} is in ${queue} and must be gone`);
      assert.equal(queue, entry.queue, `${id} is in a queue it must not be in`);
      entry.confirmed = true;
    } else {
      assert(isGone || (by === undefined && !confirmed), `${id} of ${entry.queue} is lost`);
      this.#entries.delete(id);
    }
  }
}
