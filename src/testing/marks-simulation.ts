/**
 * The model test of queues that remember ids and of last-value queues: random traffic on simulated disk and clock, with crashes.
 * The model knows of each message whether it must be there, must not be, or may be: of an id one in its window, of a value the
 * newest. One seed gives one run.
 */
import { strict as assert } from 'node:assert';
import {
  type Arguments,
  type Client,
  CONFIRM,
  type DeliveryBatch,
  FLAG_DURABLE,
  type Format,
  Message,
  type Producer,
  RoutingKey,
  type Subscription,
} from '../core/index.ts';
import { Prng } from './prng.ts';
import type { SimClock } from './sim-clock.ts';
import { type Ended, SimMachine } from './sim-machine.ts';

const WINDOW_MS = 400;
const NAMES = 12;

/** The first four bytes of a head are the message id, and the property `name` as well. */
const FORMAT: Format = {
  id: 9,
  name: 'sim',
  toHub(message) {
    const name = message.bytes.readUInt32LE(message.headStart);
    return { durable: message.durable, annotations: new Map(), application: [['name', name]], messageId: name };
  },
};

interface Sent {
  readonly n: number;
  readonly name: number;
  readonly atMs: number;
  readonly persistent: boolean;
  confirmed: boolean;
  /** Somebody completed it: perhaps, until that is durable. */
  completed: 'no' | 'perhaps' | 'yes';
}

interface Consumer {
  readonly queue: string;
  readonly subscription: Subscription;
  readonly out: Map<number, Sent>;
}

/** What the model holds of one queue. */
class Ledger {
  readonly name: string;
  readonly arguments: Arguments;
  /** Messages of each name that came in, or may have, in order. */
  readonly sent = new Map<number, Sent[]>();
  /** Messages that must never be seen: repeats. */
  readonly repeats = new Set<number>();

  constructor(name: string, args: Arguments) {
    this.name = name;
    this.arguments = args;
  }

  of(name: number): Sent[] {
    let list = this.sent.get(name);
    if (list === undefined) {
      list = [];
      this.sent.set(name, list);
    }
    return list;
  }
}

export class MarksSimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly counts = { repeats: 0, replaced: 0 };
  readonly #prng: Prng;
  readonly #machine: SimMachine;
  readonly #clock: SimClock;
  readonly #dedup = new Ledger('dedup', { 'x-dedup-window-ms': WINDOW_MS });
  readonly #last = new Ledger('last', { 'x-last-value-key': 'name', 'x-max-priority': 2 });
  readonly #ledgers = [this.#dedup, this.#last];
  readonly #byNumber = new Map<number, Sent>();
  #client!: Client;
  #producer!: Producer;
  #consumers: Consumer[] = [];
  #asked: Sent[] = [];
  #confirmed = 0;
  #count = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#machine = new SimMachine({ seed });
    this.#clock = this.#machine.clock;
  }

  /** Do `steps` random things; rejects at the first that is not as it must be. */
  async run(steps: number): Promise<void> {
    await this.#start();
    for (const { name, arguments: args } of this.#ledgers) await this.#machine.declare(name, args);
    for (let n = 0; n < steps; n++) await this.#step();
    await this.#restart('clean');
    await this.#machine.end('clean');
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const weights = { publish: 40, subscribe: 8, settle: 25, leave: 4, wait: 20, checkpoint: 2, restart: 3 };
    const what = prng.weighted(weights);
    const consumer = this.#consumers.length === 0 ? undefined : prng.pick(this.#consumers);
    if (what === 'publish') this.#publish(prng.pick(this.#ledgers));
    else if (what === 'subscribe') this.#subscribe(prng.pick(this.#ledgers));
    else if (what === 'settle' && consumer !== undefined) this.#settle(consumer);
    else if (what === 'leave' && consumer !== undefined) this.#leave(consumer);
    else if (what === 'wait') await this.#clock.advance(prng.chance(0.2) ? prng.between(1, 300) : prng.float() * 3);
    else if (what === 'checkpoint') await this.#clock.drive(this.#machine.checkpoint());
    else if (what === 'restart') await this.#restart(prng.pick(['clean', 'kill', 'crash'] as const));
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  async #start(): Promise<void> {
    await this.#machine.start();
    this.#machine.broker.registerFormat(FORMAT);
    this.#client = this.#machine.connect();
    this.#producer = this.#client.producer({ onConfirm: (upTo) => this.#onConfirm(upTo) });
    this.#asked = [];
    this.#confirmed = 0;
    this.#consumers = [];
  }

  async #restart(how: Ended): Promise<void> {
    this.log.push(`restart ${how}`);
    await this.#machine.end(how);
    await this.#start();
    await this.#audit();
  }

  // ---- Traffic ----------------------------------------------------------------------------------------------------

  #publish(ledger: Ledger): void {
    const prng = this.#prng;
    const address = this.#producer.address('', new RoutingKey(ledger.name, 0x2e));
    for (let left = prng.between(1, 5); left > 0; left--) {
      const n = ++this.#count;
      const name = prng.below(NAMES);
      const persistent = prng.chance(0.85);
      const atMs = this.#clock.now();
      const sent: Sent = { n, name, atMs, persistent, confirmed: false, completed: 'no' };
      this.#byNumber.set(n, sent);
      this.#asked.push(sent);
      const list = ledger.of(name);
      if (ledger === this.#dedup && list.some((before) => atMs - before.atMs < WINDOW_MS)) {
        ledger.repeats.add(n);
        this.counts.repeats++;
      } else {
        list.push(sent);
      }
      this.log.push(`publish ${n} of ${name} to ${ledger.name}${persistent ? '' : ', transient'}`);
      this.#producer.publish(
        address,
        messageOf(sent, prng.chance(0.1) ? prng.between(1000, 5000) : 20, prng.below(4)),
        CONFIRM,
      );
    }
  }

  #onConfirm(upTo: number): void {
    for (; this.#confirmed < upTo; this.#confirmed++) (this.#asked[this.#confirmed] as Sent).confirmed = true;
  }

  #subscribe(ledger: Ledger): void {
    if (this.#consumers.length > 4) return;
    const out = new Map<number, Sent>();
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) out.set(batch.deliveryId, this.#see(ledger, batch.message));
    };
    const subscription = this.#client.subscribe(ledger.name, { credit: this.#prng.between(1, 10) }, { onDeliveries });
    this.#consumers.push({ queue: ledger.name, subscription, out });
  }

  #leave(consumer: Consumer): void {
    this.#consumers = this.#consumers.filter((other) => other !== consumer);
    consumer.subscription.close();
  }

  #settle({ subscription, out }: Consumer): void {
    const number = out.keys().next().value;
    if (number === undefined) return;
    const sent = out.get(number) as Sent;
    out.delete(number);
    const op = this.#prng.weighted({ complete: 3, requeue: 2, modify: 1 });
    subscription.settle(number, number, op);
    this.log.push(`${op} ${sent.n}`);
    subscription.credit(1);
    if (op !== 'complete') return;
    sent.completed = 'perhaps';
    subscription.afterDurable(() => {
      sent.completed = 'yes';
    });
  }

  // ---- Checks -----------------------------------------------------------------------------------------------------

  #see(ledger: Ledger, message: Message): Sent {
    const n = message.bytes.readUInt32LE(message.bodyStart);
    const sent = this.#byNumber.get(n);
    assert(sent !== undefined, `nobody published ${n}`);
    assert(!ledger.repeats.has(n), `${n} is a repeat and came in`);
    assert(sent.completed !== 'yes', `${n} was completed for good and is back`);
    assert(ledger.of(sent.name).includes(sent), `${n} did not survive and is back`);
    return sent;
  }

  /** After a restart: look into the queues, and correct what the model could not know. */
  async #audit(): Promise<void> {
    await this.#clock.advance(20);
    for (const ledger of this.#ledgers) {
      const found = new Set<Sent>();
      const onDeliveries = (batch: DeliveryBatch): void => {
        while (batch.next()) found.add(this.#see(ledger, batch.message));
      };
      const looking = this.#client.subscribe(ledger.name, { credit: 1e9 }, { onDeliveries });
      await this.#clock.run(() => (this.#machine.broker.admin.queue('/', ledger.name)?.ready ?? 0) === 0);
      for (const list of ledger.sent.values()) {
        if (ledger === this.#dedup) this.#checkWindow(ledger, list, found);
        else this.#checkLast(ledger, list, found);
      }
      looking.close();
    }
  }

  /** Each message that came in is there unless it was completed; what is lost is not remembered either. */
  #checkWindow(ledger: Ledger, list: readonly Sent[], found: ReadonlySet<Sent>): void {
    const left = list.filter((sent) => {
      if (found.has(sent)) {
        sent.completed = 'no';
        return true;
      }
      if (sent.completed !== 'no') {
        sent.completed = 'yes';
        return sent.persistent;
      }
      assert(!(sent.persistent && sent.confirmed), `${sent.n} of ${sent.name} is lost`);
      return false;
    });
    ledger.sent.set((list[0] as Sent | undefined)?.name ?? -1, left);
  }

  /** Of each value the newest that survived is there, unless it was completed, and nothing else. */
  #checkLast(ledger: Ledger, list: readonly Sent[], found: ReadonlySet<Sent>): void {
    const here = list.filter((sent) => found.has(sent));
    assert(here.length <= 1, `${here.map(({ n }) => n)} are all there, of one value`);
    const [one] = here;
    if (one !== undefined) assert(one.persistent, `${one.n} is transient and there after a restart`);
    const newest = list.findLast((sent) => sent.persistent && sent.confirmed);
    if (newest !== undefined) {
      const mayBeGone = newest.completed !== 'no' || list.some((sent) => !sent.persistent && sent.n > newest.n);
      assert(one !== undefined || mayBeGone, `${newest.n}, the newest of ${newest.name}, is lost`);
      assert(one === undefined || one.n >= newest.n, `${one?.n} is there, and ${newest.n} was newer`);
    }
    this.counts.replaced += Math.max(0, list.length - 1);
    ledger.sent.set((list[0] as Sent | undefined)?.name ?? -1, here);
  }
}

/** Name in the head, number at the start of the body. */
function messageOf({ n, name, persistent }: Sent, bytes: number, priority: number): Message {
  const message = new Message();
  message.format = FORMAT.id;
  message.flags = persistent ? FLAG_DURABLE : 0;
  message.priority = priority;
  message.bytes = Buffer.alloc(8 + bytes);
  message.bytes.writeUInt32LE(name, 0);
  message.bytes.writeUInt32LE(n, 4);
  message.headEnd = message.bodyStart = 4;
  message.bodyEnd = message.bytes.length;
  return message;
}
