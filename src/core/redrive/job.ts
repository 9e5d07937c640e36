/** One redrive: goes through the ready messages of a queue once and moves them, in slices and no faster than asked. */
import { compileFilter, type Filter } from '../filter/filter.ts';
import { hubSource } from '../filter/source.ts';
import { hubOf } from '../hub.ts';
import { exchangeName, FLAG_RETAIN, keyText, Message } from '../message.ts';
import { moveTo } from '../moving.ts';
import { BodyWindow } from '../queue/body-window.ts';
import { expiryOf } from '../queue/expiry.ts';
import type { Queue } from '../queue/queue.ts';
import { Slices } from '../slices.ts';
import { readStored, rewrite } from '../stored-message.ts';
import type { RedriveInfo, RedriveOptions, RedriveState } from './door.ts';
import { Rate } from './rate.ts';
import { type Destination, type FindTarget, toExchange, toOrigin, toQueue } from './target.ts';

/** Until a full queue, or an alarm, is looked at again. */
const WAIT_MS = 200;

/** What became of one message: `stuck` asks to be tried again. */
type Outcome = 'moved' | 'skipped' | 'gone' | 'stuck';

export class Redrive {
  readonly id: number;
  readonly queue: Queue;
  readonly #options: RedriveOptions;
  readonly #find: FindTarget;
  readonly #filter: Filter | undefined;
  readonly #rate: Rate;
  readonly #slices: Slices;
  readonly #view = new Message();
  readonly #startedAtMs: number;
  #state: RedriveState = 'running';
  #reason: string | undefined;
  #endedAtMs: number | undefined;
  #moved = 0;
  #skipped = 0;
  /** Ready messages when it began, and those of them looked at. */
  readonly #found: number;
  #seen = 0;

  /** Throws what is wrong with the filter. */
  constructor(id: number, queue: Queue, options: RedriveOptions) {
    const { engine, vhost } = queue;
    const { to, filter, ratePerSecond = Number.POSITIVE_INFINITY } = options;
    this.id = id;
    this.queue = queue;
    this.#options = options;
    if (to === undefined) this.#find = toOrigin(vhost);
    else this.#find = 'queue' in to ? toQueue(vhost, to.queue) : toExchange(vhost, to.exchange, to.key);
    this.#filter = filter === undefined ? undefined : compileFilter(filter, engine.limits);
    this.#rate = new Rate(engine.clock, ratePerSecond);
    this.#slices = new Slices(engine.clock, engine.limits.sliceMs);
    this.#startedAtMs = engine.clock.now();
    this.#found = queue.ready;
  }

  get ended(): boolean {
    return this.#endedAtMs !== undefined;
  }

  info(): RedriveInfo {
    return {
      ...this.#options,
      id: this.id,
      queue: this.queue.name,
      state: this.#state,
      moved: this.#moved,
      skipped: this.#skipped,
      left: Math.max(0, this.#found - this.#seen),
      startedAtMs: this.#startedAtMs,
      endedAtMs: this.#endedAtMs,
      reason: this.#reason,
    };
  }

  /** Go to the end, or until it is cancelled. Never rejects. */
  async run(): Promise<void> {
    // What comes in later, perhaps because it died once more, is not this job's.
    const parts = this.queue.lanes.all.map((lane) => ({ lane, end: lane.ring.tail }));
    try {
      for (const { lane, end } of parts) await this.#drain(below(lane.ready(), end, lane.offset));
      if (!this.ended) this.#seen = this.#found;
      this.#end('done');
    } catch (error) {
      const { message } = error as Error;
      this.queue.engine.log('error', 'a redrive failed', { queue: this.queue.name, error: message });
      this.#end('failed', message);
    }
  }

  cancel(): void {
    this.#end('cancelled');
  }

  #end(state: RedriveState, reason?: string): void {
    if (this.ended) return;
    this.#state = state;
    this.#reason = reason;
    this.#endedAtMs = this.queue.engine.clock.now();
  }

  // ---- Many messages ----------------------------------------------------------------------------------------------

  async #drain(positions: Iterator<number>): Promise<void> {
    while (this.#goesOn()) {
      const window = await BodyWindow.read(this.queue, positions);
      if (window.positions.length === 0) return;
      for (let n = 0; n < window.positions.length && this.#goesOn(); n++) {
        let outcome = await this.#inTime(window, n);
        while (outcome === 'stuck' && this.#goesOn()) {
          await this.#pause(WAIT_MS);
          outcome = await this.#inTime(window, n);
        }
        if (outcome === 'moved' || !this.ended) this.#count(outcome);
      }
    }
  }

  /** Whether there is more to do: says so too when the queue or the broker has gone. */
  #goesOn(): boolean {
    const { deleted, engine } = this.queue;
    if (deleted) this.#end('failed', 'the queue was deleted');
    if (engine.closed || engine.failure !== undefined) this.#end('failed', 'the broker stops');
    if (this.#moved >= (this.#options.max ?? Number.POSITIVE_INFINITY)) this.#end('done');
    return !this.ended;
  }

  #count(outcome: Outcome): void {
    this.#seen++;
    if (outcome === 'moved') this.#moved++;
    if (outcome === 'skipped') this.#skipped++;
  }

  /** One message, when it is its turn. */
  async #inTime(window: BodyWindow, n: number): Promise<Outcome> {
    if (this.#slices.over) await this.#slices.next();
    const waitMs = this.#rate.waitMs();
    if (waitMs > 0) await this.#sleep(waitMs);
    return this.#goesOn() ? this.#one(window, n) : 'gone';
  }

  async #pause(ms: number): Promise<void> {
    this.#state = 'waiting';
    await this.#sleep(ms);
    if (!this.ended) {
      this.#state = 'running';
      this.#reason = undefined;
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.queue.engine.clock.after(ms, resolve));
  }

  // ---- One message ------------------------------------------------------------------------------------------------

  #one(window: BodyWindow, n: number): Outcome {
    const { queue } = this;
    const { engine } = queue;
    const view = this.#view;
    const position = window.positions[n] as number;
    const lane = queue.laneAt(position);
    if (!lane.isReady(position - lane.offset)) return 'gone';
    const length = window.show(n, view);
    // It is for the queue to give it up.
    if (expiryOf(view, queue.rules.messageTtlMs) <= engine.now()) return 'skipped';
    if (this.#filter !== undefined && !this.#matches(this.#filter)) return 'skipped';
    const destination = this.#find(view);
    const targets = destination === undefined ? [] : [...destination.logged, ...destination.transient];
    if (destination === undefined || targets.includes(queue)) return 'skipped';
    const full = targets.find((target) => target.bound?.refuses(length));
    if (full !== undefined) return this.#stuck(`queue '${full.name}' is full`);
    if (engine.blockedBy !== undefined) return this.#stuck(engine.blockedBy);
    if (engine.journal.pressed) return this.#stuck('the disk is behind');
    this.#move(position, destination);
    return 'moved';
  }

  #stuck(reason: string): Outcome {
    this.#reason = reason;
    return 'stuck';
  }

  #matches(filter: Filter): boolean {
    const view = this.#view;
    const { receivedAtMs } = view;
    const facts = { key: keyText(view), exchange: exchangeName(view), receivedAtMs };
    return filter.matches(hubSource(hubOf(this.queue.engine.formats, view), facts));
  }

  #move(position: number, { logged, transient, topics, taps, exchange, key }: Destination): void {
    const { queue } = this;
    const { engine } = queue;
    const flags = this.#view.flags & ~FLAG_RETAIN;
    const stored = rewrite(this.#view, { exchange: Buffer.from(exchange), key, flags, enteredAtMs: engine.now() });
    const lane = queue.laneAt(position);
    queue.withdraw(lane, position - lane.offset);
    if (taps.length > 0) {
      const shown = new Message();
      readStored(shown, stored, 0, stored.length);
      shown.id = engine.bodies.nextId();
      for (const tap of taps) tap.deliver(shown);
    }
    moveTo({ logged, transient, topics }, stored, queue, position);
    this.#rate.took();
  }
}

/** Positions in the queue of a lane's ready entries before `end`. */
function* below(ready: Iterable<number>, end: number, offset: number): IterableIterator<number> {
  for (const position of ready) {
    if (position >= end) return;
    yield position + offset;
  }
}
