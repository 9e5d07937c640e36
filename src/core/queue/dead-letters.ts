/**
 * The messages a queue has given up and that are on their way to its dead letter exchange, in the order in which it gave them
 * up. One step takes a message out of this queue and puts it into others: it is one record of the journal, so a crash finds it
 * here or there, never in both and never in neither. A body that has left memory is read back first; until then, and while
 * nobody takes the message (`at-least-once`), the entry stays in the ring with the reason in its info, which is logged.
 */
import { afterDeath, encodeHistory, isCycle, reasonOf } from '../death.ts';
import type { Dispatched } from '../engine.ts';
import type { Exchange } from '../exchange-entity.ts';
import { hubOf } from '../hub.ts';
import { FLAG_DIED, FLAG_RETAIN, keyText, Message, RoutingKey } from '../message.ts';
import { moveTo } from '../moving.ts';
import { type Plan, planOf } from '../plan.ts';
import { readStored, rewrite } from '../stored-message.ts';
import { BodyWindow } from './body-window.ts';
import type { Claim } from './bound.ts';
import { givenUpFor } from './entry-info.ts';
import type { Queue } from './queue.ts';
import type { DeadLetterRule } from './rules.ts';

/** After a failed read. */
const RETRY_MS = 5_000;
/** Given-up entries in front of the list before it is moved together. */
const TRIM_ENTRIES = 1024;
/** Messages on their way at which a queue that is being emptied waits for them. */
const CROWDED_ENTRIES = 65_536;

/** The message that is on its way is still counted. */
const LEAVING: Claim = { messages: -1, bytes: 0 };

/** All messages on their way are looked at through this one view, one at a time. */
const view = new Message();

export class DeadLetters implements Dispatched {
  awake = false;
  readonly #queue: Queue;
  #rule: DeadLetterRule | undefined;
  #exchange: Buffer = Buffer.alloc(0);
  #key: RoutingKey | undefined;
  /** Positions, from `#head` on. */
  readonly #waiting: number[] = [];
  #head = 0;
  /** Entries of `#waiting` before this index are in the journal as given up. */
  #marked = 0;
  /** Nobody takes them now. */
  #held: number[] = [];
  #retrying = false;
  #loading = false;

  constructor(queue: Queue) {
    this.#queue = queue;
  }

  /** Go by the queue's rule as it is now. Without one what is on its way is deleted. */
  ruleChanged(): void {
    const rule = this.#queue.rules.deadLetter;
    this.#rule = rule;
    this.#exchange = Buffer.from(rule?.exchange ?? '');
    this.#key = rule?.key === undefined ? undefined : new RoutingKey(rule.key, 0x2e);
    this.#retryHeld();
  }

  /** Messages on their way. */
  get count(): number {
    return this.#waiting.length - this.#head + this.#held.length;
  }

  /** There are so many that no more should be added just to make the queue shorter. It is woken when there are fewer. */
  get crowded(): boolean {
    return this.count >= CROWDED_ENTRIES;
  }

  /** The queue has given up a message; its reason is in the entry's info. */
  add(position: number): void {
    this.#waiting.push(position);
    this.#queue.engine.wake(this);
  }

  /** Make what was given up so far part of what a restart knows. */
  log(): void {
    this.dispatch(Number.POSITIVE_INFINITY);
    this.mark();
  }

  /** The same, without handing on what can be handed on. */
  mark(): void {
    for (let at = Math.max(this.#head, this.#marked); at < this.#waiting.length; at++) {
      this.#logGivenUp(this.#waiting[at] as number);
    }
    this.#marked = this.#waiting.length;
  }

  /** Log that a message was given up, because it stays here for now. */
  #logGivenUp(position: number): void {
    const lane = this.#queue.laneAt(position);
    lane.logInfo(position - lane.offset);
  }

  dispatch(budget: number): boolean {
    const { engine } = this.#queue;
    const { bodies } = engine;
    for (let left = budget; left > 0; left--) {
      if (this.#queue.deleted || this.#loading || this.#head === this.#waiting.length) return false;
      const position = this.#waiting[this.#head] as number;
      const row = this.#queue.body(position);
      const table = bodies.table(this.#queue.info(position));
      if (!bodies.locate(table.segment(row), table.offset(row))) {
        this.#load();
        return false;
      }
      const { bytes, start } = bodies.located;
      const length = table.length(row);
      readStored(view, bytes, start, start + length);
      this.#next();
      this.#send(position, length);
    }
    return true;
  }

  #next(): void {
    if (this.count === CROWDED_ENTRIES) this.#queue.engine.wake(this.#queue);
    this.#head++;
    // Moving the rest down costs as much as it is long: at most as much as was taken from in front of it.
    const { length } = this.#waiting;
    if (this.#head < length && (this.#head < TRIM_ENTRIES || this.#head * 2 < length)) return;
    this.#waiting.splice(0, this.#head);
    this.#marked = Math.max(0, this.#marked - this.#head);
    this.#head = 0;
  }

  // ---- One message ------------------------------------------------------------------------------------------------

  /** Hand on the message in `view`. @param length of its stored form */
  #send(position: number, length: number): void {
    const queue = this.#queue;
    const { engine, vhost } = queue;
    const rule = this.#rule;
    if (rule === undefined) {
      queue.dropGivenUp(position);
      return;
    }
    view.id = engine.bodies.nextId();
    const exchange = vhost.router.get(rule.exchange);
    const key = this.#key ?? new RoutingKey(keyText(view), view.separator);
    const plan = exchange === undefined ? undefined : this.#planFor(exchange, key);
    if (plan === undefined) {
      this.#unwanted(position, rule);
      return;
    }
    const ttlMs = view.expiresAtMs === 0 ? undefined : (hubOf(engine.formats, view).ttlMs ?? undefined);
    const history = afterDeath(view, queue.name, reasonOf(givenUpFor(queue.info(position))), engine.now(), ttlMs);
    // A queue that is its own target has one message less by then.
    const refuses = (target: Queue): boolean =>
      target.bound?.refuses(length, target === queue ? LEAVING : undefined) === true;
    const isOpen = (target: Queue): boolean => {
      const isFull = target.bound?.handsOn !== true && refuses(target);
      return !isFull && !isCycle(history, target.name);
    };
    if (rule.strategy === 'at-least-once' && plan.queues.some(refuses)) {
      this.#unwanted(position, rule);
      return;
    }
    const logged = plan.logged.filter(isOpen);
    const transient = plan.transient.filter(isOpen);
    const { topics } = plan;
    if (logged.length + transient.length + topics.length + plan.taps.length === 0) {
      queue.dropGivenUp(position);
      return;
    }
    const flags = (view.flags & ~FLAG_RETAIN) | FLAG_DIED;
    const deaths = encodeHistory(history);
    const stored = rewrite(view, { exchange: this.#exchange, key, flags, enteredAtMs: engine.now(), deaths });
    if (plan.taps.length > 0) this.#tell(plan, stored);
    queue.deadLettered++;
    moveTo({ logged, transient, topics }, stored, queue, position);
  }

  /** Where a message goes, or undefined when nobody is there. */
  #planFor(exchange: Exchange, key: RoutingKey): Plan | undefined {
    const { engine, vhost } = this.#queue;
    const properties = () => hubOf(engine.formats, view);
    const plan = planOf(vhost.router.route(exchange, key, properties, view.receivedAtMs));
    return plan.leadsNowhere ? undefined : plan;
  }

  #tell(plan: Plan, stored: Buffer): void {
    readStored(view, stored, 0, stored.length);
    for (const tap of plan.taps) tap.deliver(view);
  }

  /** There is no such exchange, or it leads nowhere. */
  #unwanted(position: number, { strategy }: DeadLetterRule): void {
    if (strategy === 'at-most-once') {
      this.#queue.dropGivenUp(position);
      return;
    }
    this.#logGivenUp(position);
    this.#held.push(position);
    if (this.#retrying) return;
    this.#retrying = true;
    const { engine } = this.#queue;
    engine.clock.after(engine.limits.deadLetterRetryMs, () => {
      this.#retrying = false;
      this.#retryHeld();
    });
  }

  #retryHeld(): void {
    const held = this.#held;
    this.#held = [];
    for (const one of held) this.add(one);
  }

  // ---- Reading back -----------------------------------------------------------------------------------------------

  /** Read the next bodies; they are sent when they are there. */
  #load(): void {
    const { engine, name } = this.#queue;
    this.#loading = true;
    BodyWindow.read(this.#queue, this.#onTheirWay()).then(
      (window) => {
        this.#loading = false;
        this.#sendLoaded(window);
      },
      (error: Error) => {
        engine.log('error', 'dead letters of a queue cannot be read; trying again', {
          queue: name,
          error: error.message,
        });
        engine.clock.after(RETRY_MS, () => {
          this.#loading = false;
          engine.wake(this);
        });
      },
    );
  }

  *#onTheirWay(): Generator<number, void> {
    for (let at = this.#head; at < this.#waiting.length; at++) yield this.#waiting[at] as number;
  }

  #sendLoaded(window: BodyWindow): void {
    const { engine } = this.#queue;
    for (const [n, position] of window.positions.entries()) {
      if (this.#queue.deleted || engine.failure !== undefined || engine.closed) return;
      const length = window.show(n, view);
      this.#next();
      this.#send(position, length);
    }
    engine.wake(this);
  }
}

/** Go on with what a queue had given up when the broker ended. */
export function resumeGivenUp(queue: Queue, deadLetters: DeadLetters | undefined): void {
  for (const lane of queue.lanes.all) {
    for (const here of lane.givenUp()) {
      queue.bound?.left(lane.lengthOf(here));
      if (deadLetters === undefined) queue.dropGivenUp(lane.offset + here);
      else deadLetters.add(lane.offset + here);
    }
  }
}
