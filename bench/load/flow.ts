/**
 * A flow: one publisher and those who receive every message of it. Closed loop: at most `window` messages are between the
 * publisher and its slowest receiver (or confirm), so a server is never asked to hold more than that, none may be dropped, and
 * what is counted is what came out at the other end.
 */
import { performance } from 'node:perf_hooks';
import type { Latencies } from './measure.ts';
import type { MessageRing } from './ring.ts';

/** One end that counts: a subscriber, or the confirms of the publisher. */
export class Arrivals {
  count = 0;
}

export interface FlowOptions {
  readonly ring: MessageRing;
  readonly write: (bytes: Buffer) => void;
  /** Messages under way at most; not more than the ring holds. */
  readonly window: number;
  /** Those who get every message. The latency is that of the first. */
  readonly arrivals: readonly Arrivals[];
  readonly latencies: Latencies;
}

export class Flow {
  readonly #options: FlowOptions;
  /** Least number of messages worth a write while others are under way. */
  readonly #burst: number;
  /** One message in each burst is timed: its number and when it was written. */
  readonly #timedAt: { number: number; ms: number }[] = [];
  sent = 0;

  constructor(options: FlowOptions) {
    if (options.window > options.ring.count) throw new Error('the window is larger than the ring');
    this.#options = options;
    this.#burst = Math.max(1, options.window >> 3);
  }

  /** Messages that have reached everyone. */
  get done(): number {
    let least = this.sent;
    for (const arrival of this.#options.arrivals) if (arrival.count < least) least = arrival.count;
    return least;
  }

  /** Messages received by the first `receivers` together. */
  received(receivers: number): number {
    let sum = 0;
    for (const arrival of this.#options.arrivals.slice(0, receivers)) sum += arrival.count;
    return sum;
  }

  /** Send what the window allows, up to `limit` messages in all. To be called whenever something arrived. */
  pump(limit: number): void {
    const room = Math.min(this.#options.window - (this.sent - this.done), limit - this.sent);
    if (room <= 0 || (room < this.#burst && this.sent !== this.done)) return;
    this.sendNow(room);
  }

  /** Send `count` messages. @param dueMs when they should have been sent: the latency counts from then. */
  sendNow(count: number, dueMs = performance.now()): void {
    this.#timedAt.push({ number: this.sent + Math.ceil(Math.random() * count), ms: dueMs });
    this.#options.ring.send(this.#options.write, this.sent, count);
    this.sent += count;
  }

  /** To be called after the first receiver's count grew. */
  time(): void {
    const received = (this.#options.arrivals[0] as Arrivals).count;
    let now = 0;
    let known = 0;
    for (const timed of this.#timedAt) {
      if (timed.number > received) break;
      now ||= performance.now();
      this.#options.latencies.add(now - timed.ms);
      known++;
    }
    if (known > 0) this.#timedAt.splice(0, known);
  }
}
