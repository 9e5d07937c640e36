/**
 * Messages that a share group has given up, on their way to its dead letter exchange. The topic keeps them, so what arrives there is
 * a copy. It is logged first, and then that the message is done: a crash in between sends it once more, none is lost. While
 * nobody takes one it stays here, and counts as open in its group.
 */
import { afterDeath, type DeathReason, encodeHistory, isCycle } from '../../death.ts';
import type { ShareDeadLetter } from '../../door.ts';
import type { Engine } from '../../engine.ts';
import { FLAG_DIED, FLAG_RETAIN, Message } from '../../message.ts';
import { copyTo } from '../../moving.ts';
import { type Destination, type FindTarget, toExchange } from '../../redrive/target.ts';
import { Slices } from '../../slices.ts';
import { readStored, rewrite } from '../../stored-message.ts';
import type { Frames } from '../frames.ts';
import type { Topic } from '../topic.ts';
import type { Topics } from '../topics.ts';
import type { SharePart } from './part.ts';

interface GivenUp {
  readonly part: SharePart;
  readonly offset: number;
  readonly reason: DeathReason;
}

/** After a failed read. */
const RETRY_MS = 5_000;
/** Until a disk that is behind is looked at again. */
const PRESSED_MS = 200;

export class ShareDeadLetters {
  readonly rule: ShareDeadLetter;
  /** Messages that have arrived since the start. */
  count = 0;
  readonly #topics: Topics;
  readonly #topic: Topic;
  readonly #engine: Engine;
  readonly #find: FindTarget;
  readonly #exchange: Buffer;
  readonly #slices: Slices;
  readonly #view = new Message();
  #waiting: GivenUp[] = [];
  /** Of those in front, so many were tried in vain one after the other. */
  #stuck = 0;
  #running = false;
  #closed = false;

  constructor(topics: Topics, topic: Topic, rule: ShareDeadLetter) {
    this.rule = rule;
    this.#topics = topics;
    this.#topic = topic;
    this.#engine = topic.vhost.engine;
    this.#find = toExchange(topic.vhost, rule.exchange, rule.key);
    this.#exchange = Buffer.from(rule.exchange);
    this.#slices = new Slices(this.#engine.clock, this.#engine.limits.sliceMs);
  }

  add(part: SharePart, offset: number, reason: DeathReason): void {
    this.#waiting.push({ part, offset, reason });
    if (!this.#running) void this.#run();
  }

  /** Go on no more. Answers what has not arrived. */
  close(): GivenUp[] {
    this.#closed = true;
    return this.#waiting;
  }

  get #goesOn(): boolean {
    return !this.#closed && !this.#engine.closed && this.#engine.failure === undefined && this.#waiting.length > 0;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    this.#running = true;
    // Not inside the settlement that has given it up.
    await this.#sleep(0);
    while (this.#goesOn) {
      const waitMs = await this.#sendSome();
      if (waitMs > 0) await this.#sleep(waitMs);
    }
    this.#running = false;
  }

  #sleep(ms: number): Promise<void> {
    const { clock } = this.#engine;
    return new Promise((resolve) => (ms === 0 ? clock.soon(resolve) : clock.after(ms, resolve)));
  }

  /** Those in front that are in one block. Answers milliseconds to wait before the next ones. */
  async #sendSome(): Promise<number> {
    const { part, offset } = this.#waiting[0] as GivenUp;
    const { partition } = part;
    if (offset < partition.start) {
      this.#leave(offset, part);
      return 0;
    }
    const frames = this.#topics.batches.cursor(partition);
    try {
      const block = await this.#topics.block(partition, offset);
      try {
        if (block.end <= offset) throw new Error('nothing is there');
        while (this.#goesOn) {
          const first = this.#waiting[0] as GivenUp;
          if (first.part !== part || first.offset < block.base || first.offset >= block.end) break;
          if (this.#engine.journal.pressed || this.#engine.blockedBy !== undefined) return PRESSED_MS;
          if (this.#slices.over) await this.#slices.next();
          if (!this.#goesOn) break;
          if (frames.ended || frames.offset > first.offset) block.show(frames, first.offset);
          else frames.seek(first.offset);
          if (!this.#sendOrPutBack(first, frames)) return this.#pauseMs();
        }
      } finally {
        block.leave();
      }
      return 0;
    } catch (error) {
      if (!this.#goesOn || partition.deleted) return 0;
      const fields = { topic: this.#topic.name, partition: partition.number, offset, error: (error as Error).message };
      this.#engine.log('error', 'dead letters of a share group cannot be read; trying again', fields);
      return RETRY_MS;
    }
  }

  /** When all were tried in vain, wait. */
  #pauseMs(): number {
    if (this.#stuck < this.#waiting.length) return 0;
    this.#stuck = 0;
    return this.#engine.limits.deadLetterRetryMs;
  }

  /** False: nobody takes it now. It goes behind the others. */
  #sendOrPutBack(first: GivenUp, frames: Frames): boolean {
    const { offset, part, reason } = first;
    // Retention or compaction may have removed it.
    const isThere = !frames.ended && frames.offset === offset;
    if (isThere && !this.#send(frames, reason)) {
      this.#waiting.push(this.#waiting.shift() as GivenUp);
      this.#stuck++;
      return false;
    }
    this.#leave(offset, part);
    return true;
  }

  #leave(offset: number, part: SharePart): void {
    this.#stuck = 0;
    this.#waiting.shift();
    part.gone([offset]);
  }

  /** The message that `frames` show. */
  #send({ bytes, start, after }: Frames, reason: DeathReason): boolean {
    const view = this.#view;
    const nowMs = this.#engine.now();
    readStored(view, bytes, start, after);
    const found = this.#find(view);
    if (found === undefined) return false;
    const history = afterDeath(view, this.#topic.name, reason, nowMs, undefined);
    const isOpen = ({ name }: { readonly name: string }): boolean => !isCycle(history, name);
    const [logged, transient] = [found.logged.filter(isOpen), found.transient.filter(isOpen)];
    const topics = found.topics.filter(isOpen);
    if ([...logged, ...transient].some((queue) => queue.bound?.refuses(after - start))) return false;
    const flags = (view.flags & ~FLAG_RETAIN) | FLAG_DIED;
    const deaths = encodeHistory(history);
    const stored = rewrite(view, { exchange: this.#exchange, key: found.key, flags, enteredAtMs: nowMs, deaths });
    if (found.taps.length > 0) this.#tell(found, stored);
    copyTo({ logged, transient, topics }, stored, this.#engine);
    this.count++;
    return true;
  }

  #tell({ taps }: Destination, stored: Buffer): void {
    readStored(this.#view, stored, 0, stored.length);
    this.#view.id = this.#engine.bodies.nextId();
    for (const tap of taps) tap.deliver(this.#view);
  }
}
