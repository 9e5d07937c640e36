/**
 * The model test of half messages: sets of messages to several queues, prepared, committed and rolled back at random, by their
 * producer or when it is asked, on simulated disk and clock, with crashes. The model is a ledger: a set is afterwards in its
 * queues as a whole, once, or nowhere; and nobody sees anything of it before. One seed gives one run.
 */
import { strict as assert } from 'node:assert';
import {
  type Client,
  CONFIRM,
  CoreError,
  type DeliveryBatch,
  FLAG_DURABLE,
  type HalfInfo,
  type HalfOp,
  type Producer,
  RoutingKey,
} from '../core/index.ts';
import { Prng } from './prng.ts';
import { idOf, messageOf } from './sim-broker.ts';
import type { SimClock } from './sim-clock.ts';
import { type Ended, SimMachine } from './sim-machine.ts';

const QUEUES: readonly (readonly [name: string, args: { [name: string]: number }])[] = [
  ['plain', {}],
  ['ranked', { 'x-max-priority': 5 }],
  // Its messages must know when they came: they are copied.
  ['timed', { 'x-message-ttl': 3_600_000 }],
];
const GROUPS = ['left', 'right'] as const;
/** Where messages to the fanout exchange go. */
const FANOUT = ['plain', 'ranked'] as const;
/** Of transient messages that are in no set. */
const NOISE = 0;
const DELAY_MS_MAX = 50;
const DOT = 0x2e;

interface Sent {
  readonly id: number;
  readonly queues: readonly string[];
  /** The queues out of which somebody took it, for good. */
  readonly taken: Set<string>;
}

interface HalfSet {
  readonly id: string;
  readonly group: string;
  readonly sent: Sent[];
  /** How many of these are known to be on disk. */
  confirmed: number;
  /** What was asked for, by the producer or as an answer to a check. */
  asked: HalfOp | undefined;
  /** The broker said that this is on disk. */
  ended: HalfOp | undefined;
  /** The broker ended before any of it was known to be on disk. */
  mayBeGone: boolean;
  /** What its producer says when it is asked. */
  readonly answer: HalfOp | undefined;
}

export class HalfSimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly #prng: Prng;
  readonly #machine: SimMachine;
  readonly #clock: SimClock;
  readonly #sets = new Map<string, HalfSet>();
  /** Set and message of each number. */
  readonly #sent = new Map<number, readonly [HalfSet, Sent]>();
  #client!: Client;
  #producer!: Producer;
  /** Which set a confirm is about, and how many of its messages are on disk then. */
  #waiting: (readonly [HalfSet, number])[] = [];
  #confirmed = 0;
  #lastId = 0;
  /** Looking takes time: nothing may change meanwhile. */
  #auditing = false;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#machine = new SimMachine({ seed, limits: { halfFirstCheckMs: 20, halfCheckEveryMs: 30, halfChecks: 3 } });
    this.#clock = this.#machine.clock;
  }

  /** Do `steps` random things; rejects at the first that is not as it must be. */
  async run(steps: number): Promise<void> {
    await this.#open();
    for (const [name, args] of QUEUES) await this.#machine.declare(name, args);
    const pattern = { text: '', separator: DOT, levels: [], hidesDollar: false };
    for (const name of FANOUT) {
      const to = { kind: 'queue', name } as const;
      await this.#clock.drive(this.#machine.broker.admin.bind('/', 'amq.fanout', to, pattern, {}));
    }
    for (let n = 0; n < steps; n++) await this.#step();
    await this.#restart('clean');
    for (const set of this.#openSets()) this.#finish(set, 'commit');
    await this.#clock.advance(100 + DELAY_MS_MAX);
    for (const [name] of QUEUES) await this.#take(name);
    await this.#audit();
    await this.#clock.advance(100);
    const { logged } = this.#machine.internals.engine.bodies;
    assert.equal(logged.count, 0, 'everything was taken or rolled back, and bodies are left');
    await this.#machine.end('clean');
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const what = prng.weighted({
      prepare: 30,
      add: 8,
      finish: 20,
      again: 5,
      take: 6,
      noise: 5,
      wait: 20,
      checkpoint: 3,
      restart: 3,
    });
    const open = this.#openSets();
    const all = [...this.#sets.values()];
    if (what === 'prepare') this.#prepare(this.#newSet());
    else if (what === 'add' && open.length > 0) this.#prepare(prng.pick(open));
    else if (what === 'finish' && open.length > 0)
      this.#finish(prng.pick(open), prng.chance(0.6) ? 'commit' : 'rollback');
    else if (what === 'again' && all.length > 0) this.#finish(prng.pick(all), prng.chance(0.5) ? 'commit' : 'rollback');
    else if (what === 'noise') this.#publishNoise();
    else if (what === 'take') await this.#take(prng.pick(QUEUES)[0]);
    else if (what === 'wait') await this.#clock.advance(prng.chance(0.2) ? prng.between(1, 100) : prng.float() * 3);
    else if (what === 'checkpoint') await this.#clock.drive(this.#machine.checkpoint());
    else if (what === 'restart') await this.#restart(prng.pick(['clean', 'kill', 'crash'] as const));
  }

  // ---- Life and death ---------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    await this.#machine.start();
    this.#client = this.#machine.connect();
    this.#waiting = [];
    this.#confirmed = 0;
    this.#producer = this.#client.producer({
      onConfirm: (upTo) => {
        for (; this.#confirmed < upTo; this.#confirmed++) {
          const [set, count] = this.#waiting[this.#confirmed] as readonly [HalfSet, number];
          set.confirmed = Math.max(set.confirmed, count);
        }
      },
    });
    for (const group of GROUPS)
      this.#client.checker(group, { onCheck: (check) => this.#answer(check.id, check.messages) });
  }

  async #restart(how: Ended): Promise<void> {
    this.log.push(`restart ${how}`);
    const { halves } = this.#machine.broker.admin;
    await this.#machine.end(how);
    // Only now: until it has closed, something may still come to its end.
    const before = how === 'clean' ? halves.list('/') : [];
    await this.#open();
    // What was due by now was asked about while the broker started.
    const quiet = before.filter(({ nextCheckMs }) => nextCheckMs === undefined || nextCheckMs > this.#clock.now());
    const ids = new Set(quiet.map(({ id }) => id));
    const after = this.#machine.broker.admin.halves.list('/').filter(({ id }) => ids.has(id));
    if (how === 'clean') assert.deepEqual(after, quiet);
    await this.#audit();
  }

  // ---- Traffic ----------------------------------------------------------------------------------------------------

  #newSet(): HalfSet {
    const id = `h${this.#sets.size}`;
    const answer = this.#prng.pick(['commit', 'rollback', undefined, undefined] as const);
    const set: HalfSet = {
      ...{ id, group: this.#prng.pick(GROUPS), sent: [], confirmed: 0 },
      ...{ asked: undefined, ended: undefined, mayBeGone: false, answer },
    };
    this.#sets.set(id, set);
    return set;
  }

  /** Nobody has asked for its end yet. */
  #openSets(): HalfSet[] {
    return [...this.#sets.values()].filter(({ asked, sent }) => asked === undefined && sent.length > 0);
  }

  #prepare(set: HalfSet): void {
    const prng = this.#prng;
    const bytes = prng.chance(0.2) ? prng.between(1000, 8000) : prng.between(4, 200);
    const messages = Array.from({ length: prng.between(1, 4) }, () => {
      const everywhere = prng.chance(0.2);
      const [queue] = prng.pick(QUEUES);
      const sent = { id: ++this.#lastId, queues: everywhere ? FANOUT : [queue], taken: new Set<string>() };
      this.#sent.set(sent.id, [set, sent]);
      set.sent.push(sent);
      const message = messageOf(sent.id, bytes, FLAG_DURABLE);
      message.priority = prng.between(0, 5);
      if (prng.chance(0.15)) message.deliverAtMs = this.#clock.now() + prng.between(1, DELAY_MS_MAX);
      const exchange = everywhere ? 'amq.fanout' : '';
      return { address: this.#producer.address(exchange, new RoutingKey(queue, DOT)), message };
    });
    this.#waiting.push([set, set.sent.length]);
    this.#producer.prepareHalf(messages, { group: set.group, id: set.id }, CONFIRM);
    this.log.push(`prepare ${set.id}: ${messages.length}`);
  }

  /** What the journal does not know of stands between the entries it knows. */
  #publishNoise(): void {
    const address = this.#producer.address('', new RoutingKey(this.#prng.pick(QUEUES)[0], DOT));
    this.log.push(`noise to ${address.key.text}`);
    this.#producer.publish(address, messageOf(NOISE, 10, 0), 0);
  }

  #finish(set: HalfSet, op: HalfOp): void {
    try {
      this.#client.finishHalf(set.group, set.id, op, (error) => {
        assert.equal(error, undefined);
        this.log.push(`${op} ${set.id} is durable`);
        set.ended = op;
      });
    } catch (error) {
      assert(error instanceof CoreError);
      if (error.code === 'precondition-failed') assert(set.asked !== undefined && set.asked !== op);
      else assert(error.code === 'not-found' && set.mayBeGone, `${set.id}: ${error.message}`);
      return;
    }
    this.log.push(`${op} ${set.id}`);
    assert(set.asked === undefined || set.asked === op, `${set.id} took both ends`);
    set.asked = op;
  }

  #answer(id: string, messages: number): boolean {
    const set = this.#sets.get(id) as HalfSet;
    assert(set.asked === undefined, `${id} is asked about after its end`);
    assert.equal(messages, set.sent.length);
    if (set.answer !== undefined && !this.#auditing) this.#finish(set, set.answer);
    return true;
  }

  /** Take everything out of a queue, for good. */
  async #take(queue: string): Promise<void> {
    const onDeliveries = (batch: DeliveryBatch): void => {
      while (batch.next()) {
        const id = idOf(batch.message);
        if (id === NOISE) continue;
        const [set, sent] = this.#sent.get(id) as readonly [HalfSet, Sent];
        assert.equal(set.asked, 'commit', `${id} of ${set.id} is seen, and was not committed`);
        assert(!sent.taken.has(queue) && sent.queues.includes(queue), `${id} is seen twice`);
        this.log.push(`take ${id} of ${set.id} from ${queue}`);
        sent.taken.add(queue);
      }
    };
    const subscription = this.#client.subscribe(queue, { credit: 1e9, settled: true }, { onDeliveries });
    await this.#drained(subscription);
    subscription.close();
  }

  async #drained(subscription: ReturnType<Client['subscribe']>): Promise<void> {
    let done = false;
    // What is on its way to the disk comes too; and what was taken is gone for good.
    const settled = (): void =>
      subscription.afterDurable(() => {
        done = true;
      });
    subscription.drain(settled);
    await this.#clock.run(() => done);
    assert(done);
  }

  // ---- Checks -----------------------------------------------------------------------------------------------------

  /** After a start: what is there, and is it what must be there? */
  async #audit(): Promise<void> {
    this.#auditing = true;
    // What was delayed comes to light.
    await this.#clock.advance(DELAY_MS_MAX + 1);
    const found = new Set<string>();
    for (const [queue] of QUEUES) {
      const onDeliveries = (batch: DeliveryBatch): void => {
        while (batch.next()) {
          const id = idOf(batch.message);
          if (id === NOISE) continue;
          assert(!found.has(`${id} ${queue}`), `${id} is twice in ${queue}`);
          found.add(`${id} ${queue}`);
        }
      };
      const subscription = this.#client.subscribe(queue, { credit: 1e9 }, { onDeliveries });
      await this.#drained(subscription);
      subscription.close();
    }
    const open = new Map(this.#machine.broker.admin.halves.list('/').map((info) => [info.id, info]));
    for (const set of this.#sets.values()) this.#auditSet(set, open.get(set.id), found);
    this.#auditing = false;
  }

  #auditSet(set: HalfSet, info: HalfInfo | undefined, found: ReadonlySet<string>): void {
    const { id, sent } = set;
    let there = 0;
    let all = 0;
    for (const one of sent) {
      for (const queue of one.queues) {
        all++;
        const isThere = found.has(`${one.id} ${queue}`);
        if (isThere || one.taken.has(queue)) there++;
        assert(!(isThere && one.taken.has(queue)), `${one.id} of ${id} is back in ${queue}`);
      }
    }
    if (info !== undefined) {
      assert.equal(set.ended, undefined, `${id} had ended for good and is open`);
      assert.equal(there, 0, `${there} messages of ${id} are seen, and it is open`);
      assert(info.messages >= set.confirmed && info.messages <= sent.length, `${id} has ${info.messages} messages`);
      // The rest was not on disk.
      for (const lost of sent.splice(info.messages)) this.#sent.delete(lost.id);
      set.asked = undefined;
      return;
    }
    assert(there === 0 || there === all, `${there} of ${all} messages of ${id} are there`);
    if (there > 0) {
      assert.notEqual(set.ended, 'rollback', `${id} was rolled back`);
      assert.equal(set.asked, 'commit', `${id} was not committed`);
    } else {
      assert(set.ended !== 'commit' || sent.length === 0, `${id} was committed and is gone`);
      assert(set.confirmed === 0 || set.asked === 'rollback', `${id} is gone: ${set.asked}`);
      if (set.confirmed === 0 && set.ended === undefined) set.mayBeGone = true;
      if (set.asked === undefined) sent.length = 0;
    }
  }
}
