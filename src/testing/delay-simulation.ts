/**
 * The model test of delayed messages: random delays, cancels, fires, clock jumps and crashes on simulated disk and clock. The model
 * is two lists a queue: what waits, by due time and then arrival, and what is ready, in the order in which it became so. One seed
 * gives one run.
 */
import { strict as assert } from 'node:assert';
import {
  type Arguments,
  type Client,
  CONFIRM,
  type CoreError,
  FLAG_DURABLE,
  type Producer,
  RoutingKey,
} from '../core/index.ts';
import { Prng } from './prng.ts';
import { idOf, messageOf } from './sim-broker.ts';
import type { SimClock } from './sim-clock.ts';
import { type Ended, SimMachine } from './sim-machine.ts';

const HOUR_MS = 3_600_000;
/** Longer than a write takes. */
const QUIET_MS = 20;
/** The wall clock is looked at so often. */
const NOTICED_MS = 30_100;

/** Queues and their arguments: one without, one with priorities. */
const QUEUES: ReadonlyMap<string, Arguments> = new Map<string, Arguments>([
  ['plain', {}],
  ['levels', { 'x-max-priority': 3 }],
]);

/** With a question mark: the broker died while it was being done. */
type State = 'waiting' | 'ready' | 'gone' | 'fired?' | 'cancelled?';

interface Entry {
  readonly id: number;
  readonly queue: string;
  readonly persistent: boolean;
  readonly dueMs: number;
  readonly level: number;
  readonly handle: string | undefined;
  confirmed: boolean;
  state: State;
  /** Place among those that became ready. */
  turn: number;
}

export class DelaySimulation {
  /** What happened, line by line. */
  readonly log: string[] = [];
  readonly #prng: Prng;
  readonly #machine: SimMachine;
  readonly #clock: SimClock;
  readonly #entries = new Map<number, Entry>();
  #client!: Client;
  #producer!: Producer;
  /** Messages whose confirm is awaited, in order. */
  #asked: number[] = [];
  #confirmed = 0;
  #lastId = 0;
  #turns = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    this.#machine = new SimMachine({ seed, limits: { delayedNearMin: 4 } });
    this.#clock = this.#machine.clock;
  }

  /** Do `steps` random things; rejects at the first that is not as it must be. */
  async run(steps: number): Promise<void> {
    await this.#open();
    for (const [name, args] of QUEUES) await this.#machine.declare(name, args);
    for (let n = 0; n < steps; n++) await this.#step();
    await this.#restart('clean');
    await this.#jump(100 * HOUR_MS);
    for (const name of QUEUES.keys()) await this.#drain(name, true);
    for (const entry of this.#entries.values()) assert.equal(entry.state, 'gone', `${entry.id} was never delivered`);
    await this.#machine.end('clean');
  }

  get #admin() {
    return this.#machine.broker.admin;
  }

  async #step(): Promise<void> {
    const prng = this.#prng;
    const weights = {
      publish: 30,
      wait: 20,
      cancel: 6,
      fire: 6,
      drain: 12,
      list: 4,
      jump: 5,
      purge: 1,
      checkpoint: 3,
      restart: 4,
    };
    const what = prng.weighted(weights);
    const name = prng.pick([...QUEUES.keys()]);
    if (what === 'publish') await this.#publish(name);
    else if (what === 'wait') await this.#advance(prng.chance(0.3) ? prng.between(1, 2000) : prng.between(1, 60));
    else if (what === 'cancel' || what === 'fire') await this.#byHand(what);
    else if (what === 'drain') await this.#drain(name, prng.chance(0.7));
    else if (what === 'list') await this.#list(name);
    else if (what === 'jump') await this.#jump(prng.pick([-5, -1, 0.01, 1, 3, 8]) * HOUR_MS);
    else if (what === 'purge') await this.#purge(name);
    else if (what === 'checkpoint') await this.#drive(this.#machine.checkpoint());
    else await this.#restart(prng.pick(['clean', 'kill', 'crash'] as const));
  }

  // ---- Life and death, and time -----------------------------------------------------------------------------------

  async #open(): Promise<void> {
    await this.#machine.start();
    this.#client = this.#machine.connect();
    this.#producer = this.#client.producer({ onConfirm: (upTo) => this.#onConfirm(upTo) });
    this.#asked = [];
    this.#confirmed = 0;
  }

  async #restart(how: Ended): Promise<void> {
    this.log.push(`restart ${how}`);
    await this.#machine.end(how);
    if (this.#prng.chance(0.3)) this.#clock.epochMs += this.#prng.between(1, 5) * HOUR_MS;
    for (const entry of this.#entries.values()) if (!entry.persistent) entry.state = 'gone';
    await this.#open();
    await this.#advance(QUIET_MS);
    for (const name of QUEUES.keys()) await this.#resolve(name);
  }

  /** What was under way when the broker ended is known now. */
  async #resolve(name: string): Promise<void> {
    const held = await this.#hold(name);
    const listed = await this.#drive(this.#admin.delays.list('/', name, { limit: 1e6 }));
    const waiting = new Set(listed.map(({ handle }) => handle));
    const ready = new Set(held.ids);
    held.close();
    // What was not confirmed may be lost.
    this.#checkOrder(
      held.ids,
      this.#ready(name).filter(({ id }) => ready.has(id)),
    );
    for (const entry of this.#of(name)) {
      const { id, handle, state, confirmed } = entry;
      const isWaiting = handle !== undefined && waiting.has(handle);
      assert(!(isWaiting && ready.has(id)), `${id} waits, and is ready`);
      const found: State = isWaiting ? 'waiting' : ready.has(id) ? 'ready' : 'gone';
      const mayBe =
        !confirmed || (found === 'gone' ? state === 'cancelled?' : state === 'cancelled?' || state === 'fired?');
      assert(found === state || mayBe, `${id} is ${found} after a restart, and was ${state}`);
      entry.state = found;
    }
    for (const id of held.ids) (this.#entries.get(id) as Entry).turn = ++this.#turns;
  }

  /** Let time pass; what becomes due meanwhile is ready. */
  async #advance(ms: number): Promise<void> {
    await this.#clock.advance(ms);
    await this.#becomeDue();
  }

  async #drive<T>(promise: Promise<T>): Promise<T> {
    try {
      return await this.#clock.drive(promise);
    } finally {
      await this.#becomeDue();
    }
  }

  /** Answers whether anything became due. */
  async #becomeDue(): Promise<boolean> {
    const waiting = [...this.#entries.values()].filter(({ state }) => state === 'waiting');
    // A timer may come a fraction of a millisecond later than the clock shows.
    while (waiting.some(({ dueMs }) => dueMs === this.#clock.now())) await this.#clock.advance(1);
    const now = this.#clock.now();
    const due = waiting.filter(({ dueMs }) => dueMs <= now);
    for (const entry of due.sort(inOrder)) {
      entry.turn = ++this.#turns;
      entry.state = 'ready';
    }
    return due.length > 0;
  }

  async #jump(ms: number): Promise<void> {
    this.log.push(`jump ${ms}`);
    await this.#advance(QUIET_MS);
    this.#clock.epochMs += ms;
    await this.#advance(ms > 0 ? NOTICED_MS : QUIET_MS);
  }

  // ---- What is done -----------------------------------------------------------------------------------------------

  async #publish(queue: string): Promise<void> {
    const prng = this.#prng;
    const address = this.#producer.address('', new RoutingKey(queue, 0x2e));
    const count = prng.chance(0.1) ? prng.between(50, 300) : prng.between(1, 10);
    const now = this.#clock.now();
    for (let left = count; left > 0; left--) {
      const id = ++this.#lastId;
      const persistent = prng.chance(0.85);
      const delayMs = prng.weighted({ none: 2, soon: 6, later: 3, far: 1 });
      const dueMs =
        now +
        {
          none: prng.between(-10, 0),
          soon: prng.between(1, 100),
          later: prng.between(1, HOUR_MS),
          far: prng.between(1, 30 * HOUR_MS),
        }[delayMs];
      const level = prng.below(6);
      const message = messageOf(id, prng.chance(0.1) ? 1000 : 20, persistent ? FLAG_DURABLE : 0);
      message.deliverAtMs = dueMs;
      message.priority = level;
      this.#producer.publish(address, message, CONFIRM);
      this.#asked.push(id);
      const [handle] = this.#producer.lastDelayed;
      const isReady = dueMs <= now;
      assert.equal(handle === undefined, isReady);
      const kept = queue === 'levels' ? Math.min(level, 3) : 0;
      const state = isReady ? 'ready' : 'waiting';
      const turn = isReady ? ++this.#turns : 0;
      this.#entries.set(id, { id, queue, persistent, dueMs, level: kept, handle, confirmed: false, state, turn });
    }
    this.log.push(`${queue} <- ${count} up to ${this.#lastId}`);
    // Some brokers die in the moment of the publish.
    if (prng.chance(0.05)) await this.#restart(prng.pick(['kill', 'crash'] as const));
    else await this.#advance(QUIET_MS);
    // Many take several writes; what is due waits for them, and what is published meanwhile would come first.
    while (this.#machine.internals.engine.undurable !== 0) await this.#advance(1);
  }

  #onConfirm(upTo: number): void {
    for (; this.#confirmed < upTo; this.#confirmed++) {
      const entry = this.#entries.get(this.#asked[this.#confirmed] as number);
      if (entry !== undefined) entry.confirmed = true;
    }
  }

  async #byHand(what: 'cancel' | 'fire'): Promise<void> {
    const prng = this.#prng;
    const known = [...this.#entries.values()].filter(({ handle, state }) => handle !== undefined && state !== 'gone');
    const entry = known.length === 0 ? undefined : prng.pick(known);
    if (entry?.handle === undefined) return;
    this.log.push(`${what} ${entry.id}, ${entry.state}`);
    // Firing waits for the journal: nothing is to become due meanwhile.
    while (this.#machine.internals.engine.undurable !== 0) await this.#advance(1);
    const before = entry.state;
    const call = this.#admin.delays[what]('/', entry.queue, entry.handle);
    if (before === 'waiting' && prng.chance(0.3)) {
      call.catch(() => {});
      entry.state = what === 'cancel' ? 'cancelled?' : 'fired?';
      await this.#restart(prng.pick(['kill', 'crash'] as const));
      return;
    }
    const turn = ++this.#turns;
    if (before === 'waiting' && what === 'cancel') entry.state = 'gone';
    const code = await this.#drive(
      call.then(
        () => 'done',
        (error: CoreError) => error.code,
      ),
    );
    if (code === 'done') {
      assert.equal(before, 'waiting');
      if (what === 'fire') Object.assign(entry, { state: 'ready', turn });
    } else {
      assert.equal(code, 'not-found');
      // It may become due while firing it waits for the journal.
      assert(before !== 'waiting' || (what === 'fire' && this.#entries.get(entry.id)?.state === 'ready'));
    }
    await this.#advance(QUIET_MS);
  }

  async #purge(name: string): Promise<void> {
    const held = this.#of(name).filter(({ state }) => state !== 'gone');
    assert.equal(await this.#drive(this.#admin.purgeQueue('/', name)), held.length);
    for (const entry of held) entry.state = 'gone';
    this.log.push(`purge ${name}`);
    await this.#advance(QUIET_MS);
  }

  // ---- Checks -----------------------------------------------------------------------------------------------------

  #of(name: string): Entry[] {
    return [...this.#entries.values()].filter(({ queue }) => queue === name);
  }

  /** The expected ones are there; those of one level in the order in which they became ready. */
  #checkOrder(ids: readonly number[], expected: readonly Entry[]): void {
    const inTurn = expected.toSorted((a, b) => a.turn - b.turn);
    for (const level of [0, 1, 2, 3]) {
      const ofLevel = new Set(inTurn.filter((entry) => entry.level === level).map(({ id }) => id));
      assert.deepEqual(
        ids.filter((id) => ofLevel.has(id)),
        [...ofLevel],
      );
    }
  }

  #ready(name: string): Entry[] {
    return this.#of(name).filter(({ state }) => state === 'ready');
  }

  async #list(name: string): Promise<void> {
    const expected = this.#of(name)
      .filter(({ state }) => state === 'waiting')
      .sort(inOrder);
    const listed = await this.#drive(this.#admin.delays.list('/', name, { limit: 1e6 }));
    assert.deepEqual(
      listed.map(({ handle }) => handle),
      expected.map(({ handle }) => handle),
    );
    assert.equal(this.#admin.queue('/', name)?.delayed, expected.length);
    const half = Math.floor(expected.length / 2);
    const after = expected[half - 1]?.handle;
    if (after === undefined) return;
    const page = await this.#drive(this.#admin.delays.list('/', name, { limit: 3, after }));
    assert.deepEqual(
      page.map(({ handle }) => handle),
      expected.slice(half, half + 3).map(({ handle }) => handle),
    );
  }

  /** Take everything that is ready: it must be what the model has, in its order. */
  async #drain(name: string, completes: boolean): Promise<void> {
    const before = this.#ready(name).sort((a, b) => b.level - a.level || a.turn - b.turn);
    const held = await this.#hold(name);
    this.log.push(`${name} -> ${held.ids.length}`);
    assert.deepEqual(
      held.ids.filter((id) => before.some((entry) => entry.id === id)),
      before.map(({ id }) => id),
    );
    const expected = this.#ready(name);
    assert.equal(held.ids.length, expected.length);
    this.#checkOrder(held.ids, expected);
    if (!completes) {
      held.close();
    } else {
      await held.complete();
      for (const entry of expected) entry.state = 'gone';
    }
  }

  /** Everything that is ready, in the order of delivery. */
  async #hold(name: string): Promise<{ ids: number[]; close: () => void; complete: () => Promise<void> }> {
    const ids: number[] = [];
    const subscription = this.#client.subscribe(
      name,
      { credit: 1e9 },
      {
        onDeliveries: (batch) => {
          while (batch.next()) ids.push(idOf(batch.message));
        },
      },
    );
    // What becomes due while bodies are read is handed out too.
    do await this.#clock.run(() => (this.#admin.queue('/', name)?.ready ?? 0) === 0);
    while (await this.#becomeDue());
    return {
      ids,
      close: () => subscription.close(),
      complete: async () => {
        if (ids.length > 0) subscription.settle(1, ids.length, 'complete');
        await this.#drive(new Promise<void>((done) => subscription.afterDurable(done)));
        subscription.close();
      },
    };
  }
}

function inOrder(a: Entry, b: Entry): number {
  return a.dueMs - b.dueMs || a.id - b.id;
}
