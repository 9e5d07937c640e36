/** A redrive at work: goes through the ready messages of a queue once and moves them, in slices and no faster than asked. */
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
import type { Job } from './job.ts';
import { Rate } from './rate.ts';
import type { Redrives } from './redrives.ts';
import { type Destination, type FindTarget, toExchange, toOrigin, toQueue } from './target.ts';

/** Until a full queue, or an alarm, is looked at again. */
const WAIT_MS = 200;

/** What became of one message: `stuck` asks to be tried again. */
type Outcome = 'moved' | 'skipped' | 'gone' | 'stuck';

export class Runner {
  readonly #job: Job;
  readonly #queue: Queue;
  readonly #redrives: Redrives;
  readonly #find: FindTarget;
  readonly #filter: Filter | undefined;
  readonly #rate: Rate;
  readonly #slices: Slices;
  readonly #view = new Message();

  /** Throws what is wrong with the filter. */
  constructor(job: Job, queue: Queue, redrives: Redrives) {
    const { engine, vhost } = queue;
    const { to, filter, ratePerSecond = Number.POSITIVE_INFINITY } = job.task.options;
    this.#job = job;
    this.#queue = queue;
    this.#redrives = redrives;
    if (to === undefined) this.#find = toOrigin(vhost);
    else this.#find = 'queue' in to ? toQueue(vhost, to.queue) : toExchange(vhost, to.exchange, to.key);
    this.#filter = filter === undefined ? undefined : compileFilter(filter, engine.limits);
    this.#rate = new Rate(engine.clock, ratePerSecond);
    this.#slices = new Slices(engine.clock, engine.limits.sliceMs);
  }

  /** Ready messages that are there to be looked at. */
  count(): number {
    let count = 0;
    for (const positions of this.#parts()) for (const _ of positions) count++;
    return count;
  }

  /** Go to the end, until it is cancelled, or as long as the broker does. Never rejects. */
  async run(): Promise<void> {
    const job = this.#job;
    try {
      for (const positions of this.#parts()) await this.#drain(positions);
      if (this.#isStopped) return;
      if (!job.ended) job.seen = job.found;
      this.#redrives.end(job, 'done');
    } catch (error) {
      if (this.#isStopped) return;
      const { message } = error as Error;
      this.#queue.engine.log('error', 'a redrive failed', { queue: this.#queue.name, error: message });
      this.#redrives.end(job, 'failed', message);
    }
  }

  /** Positions of ready messages, the queue's first ones first. */
  #parts(): IterableIterator<number>[] {
    const ends = new Map(this.#job.task.ends.map(({ logId, end }) => [logId, end]));
    return this.#queue.lanes.all.map((lane) => below(lane.ready(), ends.get(lane.id) ?? 0, lane.offset));
  }

  get #isStopped(): boolean {
    const { engine } = this.#queue;
    return engine.closed || engine.failure !== undefined;
  }

  // ---- Many messages ----------------------------------------------------------------------------------------------

  async #drain(positions: Iterator<number>): Promise<void> {
    while (this.#goesOn()) {
      const window = await BodyWindow.read(this.#queue, positions);
      if (window.positions.length === 0) return;
      for (let n = 0; n < window.positions.length && this.#goesOn(); n++) {
        let outcome = await this.#inTime(window, n);
        while (outcome === 'stuck' && this.#goesOn()) {
          await this.#pause(WAIT_MS);
          outcome = await this.#inTime(window, n);
        }
        if (outcome === 'moved' || !this.#job.ended) this.#count(outcome);
      }
    }
  }

  /** Whether there is more to do: says so too when the queue has gone, or there is enough. */
  #goesOn(): boolean {
    if (this.#isStopped) return false;
    const job = this.#job;
    if (this.#queue.deleted) this.#redrives.end(job, 'failed', 'the queue was deleted');
    if (job.moved >= (job.task.options.max ?? Number.POSITIVE_INFINITY)) this.#redrives.end(job, 'done');
    return !job.ended;
  }

  #count(outcome: Outcome): void {
    this.#job.seen++;
    if (outcome === 'skipped') this.#job.skipped++;
  }

  /** One message, when it is its turn. */
  async #inTime(window: BodyWindow, n: number): Promise<Outcome> {
    if (this.#slices.over) await this.#slices.next();
    const waitMs = this.#rate.waitMs();
    if (waitMs > 0) await this.#sleep(waitMs);
    return this.#goesOn() ? this.#one(window, n) : 'gone';
  }

  async #pause(ms: number): Promise<void> {
    const job = this.#job;
    job.state = 'waiting';
    await this.#sleep(ms);
    if (job.ended) return;
    job.state = 'running';
    job.reason = undefined;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#queue.engine.clock.after(ms, resolve));
  }

  // ---- One message ------------------------------------------------------------------------------------------------

  #one(window: BodyWindow, n: number): Outcome {
    const queue = this.#queue;
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
    this.#job.reason = reason;
    return 'stuck';
  }

  #matches(filter: Filter): boolean {
    const view = this.#view;
    const { receivedAtMs } = view;
    const facts = { key: keyText(view), exchange: exchangeName(view), receivedAtMs };
    return filter.matches(hubSource(hubOf(this.#queue.engine.formats, view), facts));
  }

  #move(position: number, { logged, transient, topics, taps, exchange, key }: Destination): void {
    const queue = this.#queue;
    const { engine } = queue;
    const flags = this.#view.flags & ~FLAG_RETAIN;
    const stored = rewrite(this.#view, { exchange: Buffer.from(exchange), key, flags, enteredAtMs: engine.now() });
    const lane = queue.laneAt(position);
    this.#redrives.moving(this.#job, queue);
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
