/**
 * The model test of message groups and filters of consumers: random traffic through one queue, with consumers that come, go,
 * stall and give back, and crashes. Every delivery is held against the order rule (docs/message-groups.md), and whenever the
 * broker has come to rest, nobody may wait for a message that it could have. One seed gives one run.
 */
import { strict as assert } from 'node:assert';
import {
  type Client,
  CONFIRM,
  type DeliveryBatch,
  FLAG_DURABLE,
  FLAG_ENDS_GROUP,
  Message,
  type Producer,
  RoutingKey,
  type SettleOp,
  type Subscription,
} from '../core/index.ts';
import { groupHashOf } from '../core/selection/group-hash.ts';
import { Prng } from './prng.ts';
import { idOf } from './sim-broker.ts';
import type { SimClock } from './sim-clock.ts';
import { type Ended, SimMachine } from './sim-machine.ts';

/** Longer than any work takes. */
const REST_MS = 200;
const QUEUE = 'q';
const CONSUMERS_MAX = 6;
const SHADES = ['red', 'blue', 'green'] as const;
const FILTERS = [undefined, undefined, "shade = 'red'", "shade <> 'red'"] as const;

type Shade = (typeof SHADES)[number];

interface Entry {
  readonly id: number;
  readonly priority: number;
  /** -1: in no group. */
  readonly bucket: number;
  readonly shade: Shade;
  readonly ends: boolean;
  confirmed: boolean;
  holder: Taker | undefined;
  /** Somebody completed it, or it was purged; for good once that is durable. */
  done: 'no' | 'perhaps' | 'yes';
  /** It need not be there: the broker ended before it was confirmed, or after it was done. */
  doubtful: boolean;
}

interface Taker {
  readonly name: string;
  readonly priority: number;
  readonly pull: boolean;
  readonly filter: string | undefined;
  subscription: Subscription;
  credit: number;
  cancelled: boolean;
  /** Delivery number -> message. */
  readonly out: Map<number, Entry>;
}

/** What the model knows of a bucket. */
interface Bucket {
  owner: Taker | undefined;
  out: number;
  /** Nothing more of it until nothing is out. */
  ending: boolean;
}

export class GroupsSimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly #prng: Prng;
  readonly #machine: SimMachine;
  readonly #clock: SimClock;
  readonly #buckets: number;
  readonly #levels: number;
  readonly #rebalances: boolean;
  readonly #groups: number;
  readonly #entries = new Map<number, Entry>();
  readonly #state = new Map<number, Bucket>();
  #client!: Client;
  #producer!: Producer;
  #takers: Taker[] = [];
  #asked: Entry[] = [];
  #confirmed = 0;
  #lastId = 0;
  #lastTaker = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#machine = new SimMachine({ seed });
    this.#clock = this.#machine.clock;
    this.#buckets = this.#prng.pick([1, 3, 16, 1024]);
    this.#levels = this.#prng.pick([0, 0, 3]);
    this.#rebalances = this.#prng.chance(0.3);
    this.#groups = this.#prng.pick([2, 5, 30]);
  }

  /** Do `steps` random things; rejects at the first that is not as it must be. */
  async run(steps: number): Promise<void> {
    await this.#open();
    const args = { 'x-group-buckets': this.#buckets, 'x-max-priority': this.#levels };
    const rebalance = this.#rebalances ? { 'x-group-rebalance': true } : {};
    await this.#machine.declare(QUEUE, { ...args, ...rebalance });
    for (let n = 0; n < steps; n++) await this.#step();
    await this.#restart('clean');
    await this.#drain();
    await this.#machine.end('clean');
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const weights = {
      publish: 25,
      subscribe: 8,
      settle: 30,
      credit: 10,
      leave: 4,
      cancel: 2,
      wait: 12,
      rest: 6,
      purge: 1,
      checkpoint: 2,
      restart: 2,
    };
    const what = prng.weighted(weights);
    const taker = this.#takers.length === 0 ? undefined : prng.pick(this.#takers);
    if (what === 'publish') this.#publish();
    else if (what === 'subscribe') this.#subscribe();
    else if (what === 'wait') await this.#clock.advance(prng.float() * 3);
    else if (what === 'rest') await this.#rest();
    else if (what === 'purge') await this.#purge();
    else if (what === 'checkpoint') await this.#clock.drive(this.#machine.checkpoint());
    else if (what === 'restart') await this.#restart(prng.pick(['clean', 'kill', 'crash'] as const));
    else if (taker === undefined) return;
    else if (what === 'settle') this.#settle(taker);
    else if (what === 'credit') this.#credit(taker, prng.between(1, 20));
    else if (what === 'leave') this.#leave(taker);
    else if (what === 'cancel') this.#cancel(taker);
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    await this.#machine.start();
    const toHub = (message: Message) => {
      const shade = SHADES[message.bytes[message.headStart] as number] as Shade;
      return { durable: true, annotations: new Map(), application: [['shade', shade] as [string, string]] };
    };
    this.#machine.broker.registerFormat({ id: 1, name: 'sim', toHub });
    this.#client = this.#machine.connect();
    this.#producer = this.#client.producer({ onConfirm: (upTo) => this.#onConfirm(upTo) });
    this.#asked = [];
    this.#confirmed = 0;
    this.#takers = [];
    this.#state.clear();
  }

  async #restart(how: Ended): Promise<void> {
    this.log.push(`restart ${how}`);
    await this.#machine.end(how);
    for (const entry of this.#entries.values()) {
      entry.holder = undefined;
      if (how === 'clean' && entry.done === 'perhaps' && !entry.doubtful) entry.done = 'yes';
      if (entry.done === 'perhaps' || (!entry.confirmed && how !== 'clean')) entry.doubtful = true;
      entry.confirmed = true;
    }
    await this.#open();
  }

  // ---- Traffic ----------------------------------------------------------------------------------------------------

  #publish(): void {
    const prng = this.#prng;
    const address = this.#producer.address('', new RoutingKey(QUEUE, 0x2e));
    const bytes = prng.chance(0.1) ? prng.between(1000, 4000) : prng.between(4, 200);
    for (let left = prng.between(1, 25); left > 0; left--) {
      const group = prng.chance(0.2) ? '' : `group-${prng.below(this.#groups)}`;
      const ends = group !== '' && prng.chance(0.05);
      const message = messageOf(++this.#lastId, bytes, prng.below(SHADES.length), group);
      message.flags = FLAG_DURABLE | (ends ? FLAG_ENDS_GROUP : 0);
      message.priority = prng.below(this.#levels + 1);
      const entry: Entry = {
        id: this.#lastId,
        priority: message.priority,
        bucket: group === '' ? -1 : groupHashOf(group) % this.#buckets,
        shade: SHADES[message.bytes[0] as number] as Shade,
        ends,
        confirmed: false,
        holder: undefined,
        done: 'no',
        doubtful: false,
      };
      this.log.push(
        `publish ${entry.id} (bucket ${entry.bucket}, priority ${entry.priority}, ${entry.shade}${ends ? ', ends' : ''})`,
      );
      this.#entries.set(entry.id, entry);
      this.#asked.push(entry);
      this.#producer.publish(address, message, CONFIRM);
    }
  }

  #onConfirm(upTo: number): void {
    for (; this.#confirmed < upTo; this.#confirmed++) (this.#asked[this.#confirmed] as Entry).confirmed = true;
  }

  #subscribe(): void {
    if (this.#takers.length >= CONSUMERS_MAX) return;
    const prng = this.#prng;
    const pull = prng.chance(0.15);
    const filter = prng.pick(FILTERS);
    const priority = pull ? 0 : prng.pick([0, 0, 0, 5]);
    const credit = prng.between(0, 40);
    const name = `c${++this.#lastTaker}`;
    const taker: Taker = {
      ...{ name, priority, pull, filter, credit },
      cancelled: false,
      out: new Map(),
      subscription: undefined as never,
    };
    this.log.push(`${name} comes: ${JSON.stringify({ pull, filter, priority, credit })}`);
    const options = { credit, pull, priority, tag: name, ...(filter === undefined ? {} : { filter }) };
    taker.subscription = this.#client.subscribe(QUEUE, options, {
      onDeliveries: (batch) => this.#onDeliveries(taker, batch),
    });
    this.#takers.push(taker);
  }

  #onDeliveries(taker: Taker, batch: DeliveryBatch): void {
    while (batch.next()) {
      const entry = this.#check(taker, batch);
      entry.holder = taker;
      taker.out.set(batch.deliveryId, entry);
      taker.credit--;
      if (entry.bucket < 0) continue;
      const bucket = this.#bucket(entry);
      bucket.owner = taker;
      bucket.out++;
      if (entry.ends) bucket.ending = true;
    }
  }

  #credit(taker: Taker, credit: number): void {
    if (taker.cancelled) return;
    taker.credit += credit;
    taker.subscription.credit(credit);
  }

  #settle(taker: Taker): void {
    const numbers = [...taker.out.keys()];
    if (numbers.length === 0) return;
    const first = this.#prng.pick(numbers);
    const last = Math.min(first + this.#prng.below(15), Math.max(...numbers));
    const op: SettleOp = this.#prng.weighted({ complete: 7, requeue: 2, modify: 1, discard: 1 });
    const settled = numbers.filter((number) => number >= first && number <= last);
    const entries = settled.map((number) => taker.out.get(number) as Entry);
    this.log.push(`${taker.name} ${op} ${entries.map(({ id }) => id)}`);
    const isGone = op === 'complete' || op === 'discard';
    for (const number of settled) this.#back(taker, number, isGone);
    taker.subscription.settle(first, last, op);
    if (isGone) {
      taker.subscription.afterDurable(() => {
        for (const entry of entries) entry.done = 'yes';
      });
    }
    if (this.#prng.chance(0.8)) this.#credit(taker, settled.length);
  }

  /** A delivery is out no more. */
  #back(taker: Taker, number: number, isGone: boolean): void {
    const entry = taker.out.get(number) as Entry;
    taker.out.delete(number);
    entry.holder = undefined;
    if (isGone) entry.done = 'perhaps';
    if (entry.bucket < 0) return;
    const bucket = this.#bucket(entry);
    if (--bucket.out > 0) return;
    if (bucket.ending || taker.pull || taker.cancelled) bucket.owner = undefined;
    bucket.ending = false;
  }

  #leave(taker: Taker): void {
    this.log.push(`${taker.name} leaves`);
    this.#takers = this.#takers.filter((other) => other !== taker);
    for (const number of [...taker.out.keys()]) this.#back(taker, number, false);
    for (const bucket of this.#state.values()) if (bucket.owner === taker) bucket.owner = undefined;
    taker.subscription.close();
  }

  #cancel(taker: Taker): void {
    this.log.push(`${taker.name} is cancelled`);
    taker.cancelled = true;
    taker.credit = 0;
    for (const bucket of this.#state.values()) {
      if (bucket.owner !== taker) continue;
      if (bucket.out === 0) bucket.owner = undefined;
      else bucket.ending = true;
    }
    taker.subscription.cancel();
  }

  async #purge(): Promise<void> {
    await this.#rest();
    this.log.push('purge');
    for (const entry of this.#entries.values()) if (this.#isReady(entry)) entry.done = 'yes';
    const purged = this.#machine.broker.admin.purgeQueue('/', QUEUE);
    // What was in somebody's hands comes back in the midst of it.
    for (const taker of this.#takers) if (this.#prng.chance(0.5)) this.#settle(taker);
    await this.#clock.drive(purged);
  }

  // ---- The rule ---------------------------------------------------------------------------------------------------

  #bucket({ bucket }: Entry): Bucket {
    let state = this.#state.get(bucket);
    if (state === undefined) {
      state = { owner: undefined, out: 0, ending: false };
      this.#state.set(bucket, state);
    }
    return state;
  }

  #isReady(entry: Entry): boolean {
    return entry.confirmed && !entry.doubtful && entry.holder === undefined && entry.done === 'no';
  }

  /** Whether the groups let a consumer have a message. */
  #mayHave(taker: Taker, entry: Entry): boolean {
    if (entry.bucket < 0) return true;
    const { owner, out, ending } = this.#bucket(entry);
    if (ending) return false;
    // When groups are shared out anew, the model does not know which ones change hands.
    return owner === taker || (out === 0 && (owner === undefined || this.#rebalances));
  }

  /** A delivery is as the rule wants it. */
  #check(taker: Taker, batch: DeliveryBatch): Entry {
    const entry = this.#entries.get(idOf(batch.message));
    assert(entry !== undefined, 'nobody published this');
    this.log.push(`${taker.name} <- ${entry.id} (bucket ${entry.bucket})`);
    assert(entry.confirmed, `${entry.id} is delivered before it is durable`);
    assert.equal(entry.holder, undefined, `${entry.id} is in somebody's hands`);
    assert(entry.done !== 'yes' && (entry.done === 'no' || entry.doubtful), `${entry.id} was done`);
    entry.doubtful = false;
    entry.done = 'no';
    assert(taker.credit > 0, `${taker.name} has no credit`);
    assert(passes(taker, entry), `${entry.id} does not pass the filter of ${taker.name}`);
    if (!this.#mayHave(taker, entry)) {
      const { owner, out, ending } = this.#bucket(entry);
      assert(!ending, `the group of ${entry.id} is being given up`);
      assert.fail(`${entry.id} is of a group of ${owner?.name} (${out} out), and went to ${taker.name}`);
    }
    if (entry.bucket >= 0) {
      const { owner } = this.#bucket(entry);
      if (!this.#rebalances) assert.equal(batch.groupFirst, owner === undefined, `groupFirst of ${entry.id}`);
    }
    for (const other of this.#entries.values()) {
      if (!isBefore(other, entry) || !this.#isReady(other) || !passes(taker, other)) continue;
      if (this.#mayHave(taker, other) && !this.#isPromised(other, taker)) {
        assert.fail(`${taker.name} got ${entry.id} before ${other.id}`);
      }
    }
    return entry;
  }

  /** Nobody's group may be about to go to another consumer, in the same turn: for this message, or for another one of it. */
  #isPromised(entry: Entry, asking: Taker): boolean {
    if (entry.bucket < 0) return false;
    if (this.#rebalances) return true;
    if (this.#bucket(entry).owner !== undefined) return false;
    return this.#takers.some((other) => other !== asking && other.credit > 0 && !other.pull);
  }

  /** Let the broker come to rest: nobody waits for what it could have. */
  async #rest(): Promise<void> {
    await this.#clock.advance(REST_MS);
    for (const entry of this.#entries.values()) {
      if (!this.#isReady(entry)) continue;
      if (this.#rebalances && entry.bucket >= 0 && this.#bucket(entry).owner !== undefined) continue;
      for (const taker of this.#takers) {
        const wants = taker.credit > 0 && passes(taker, entry) && this.#mayHave(taker, entry);
        assert(!wants, `${taker.name} waits for ${entry.id} (bucket ${entry.bucket}) and could have it`);
      }
    }
  }

  /** Take everything out: nothing is lost. */
  async #drain(): Promise<void> {
    await this.#rest();
    const found = new Set<number>();
    const order: Entry[] = [];
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) {
        const id = idOf(batch.message);
        assert(!found.has(id), `${id} twice`);
        found.add(id);
        order.push(this.#entries.get(id) as Entry);
      }
    };
    // Settled as they are handed out: what ends a group would hold the rest of it up.
    this.#client.subscribe(QUEUE, { credit: Number.POSITIVE_INFINITY, settled: true }, { onDeliveries });
    await this.#clock.advance(60_000);
    for (const [n, entry] of order.entries()) {
      assert(n === 0 || isBefore(order[n - 1] as Entry, entry), `${entry.id} is not at its place`);
      assert.notEqual(entry.done, 'yes', `${entry.id} was done for good`);
    }
    for (const entry of this.#entries.values())
      if (entry.done === 'no' && !entry.doubtful) assert(found.has(entry.id), `${entry.id} is lost`);
    assert.equal(this.#machine.broker.admin.queue('/', QUEUE)?.ready, 0);
  }
}

function passes({ filter }: Taker, { shade }: Entry): boolean {
  if (filter === undefined) return true;
  return filter.includes('<>') ? shade !== 'red' : shade === 'red';
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.priority === b.priority ? a.id < b.id : a.priority > b.priority;
}

/** The shade in the head, the id in the first bytes of the body, the group behind it. */
function messageOf(id: number, bytes: number, shade: number, group: string): Message {
  const message = new Message();
  message.format = 1;
  message.bytes = Buffer.concat([Buffer.from([shade]), Buffer.alloc(bytes, id & 0xff), Buffer.from(group)]);
  message.bytes.writeUInt32LE(id, 1);
  message.headEnd = 1;
  message.bodyStart = 1;
  message.bodyEnd = 1 + bytes;
  message.groupStart = message.bodyEnd;
  message.groupEnd = message.bytes.length;
  return message;
}
