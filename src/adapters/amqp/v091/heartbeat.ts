/** Heartbeats both ways (specification 4.2.7): we send when nothing else was sent, and give up on a silent peer. */
import type { Clock, Timer } from '../../../core/index.ts';
import type { Connection } from '../../connection.ts';
import { HEARTBEAT } from './codec.ts';

/** The clock ticks twice per interval; a peer silent for two intervals is gone. */
const TICKS_PER_INTERVAL = 2;
const SILENT_TICKS_MAX = 2 * TICKS_PER_INTERVAL;

export class Heartbeat {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #tickMs: number;
  /** Reading is paused by ourselves: silence proves nothing. */
  readonly #deaf: () => boolean;
  readonly #onSilent: () => void;
  #timer: Timer | undefined;
  #bytesIn = 0;
  #bytesOut = 0;
  #silentTicks = 0;

  constructor(connection: Connection, clock: Clock, seconds: number, deaf: () => boolean, onSilent: () => void) {
    this.#connection = connection;
    this.#clock = clock;
    this.#tickMs = (seconds * 1000) / TICKS_PER_INTERVAL;
    this.#deaf = deaf;
    this.#onSilent = onSilent;
    this.#next();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #next(): void {
    this.#timer = this.#clock.after(this.#tickMs, () => this.#tick());
  }

  #tick(): void {
    const { bytesIn, bytesOut } = this.#connection;
    const silent = bytesIn === this.#bytesIn && !this.#deaf();
    this.#silentTicks = silent ? this.#silentTicks + 1 : 0;
    this.#bytesIn = bytesIn;
    if (this.#silentTicks >= SILENT_TICKS_MAX) {
      this.stop();
      this.#onSilent();
      return;
    }
    if (bytesOut === this.#bytesOut) this.#connection.send(HEARTBEAT, 0, HEARTBEAT.length);
    this.#bytesOut = bytesOut;
    this.#next();
  }
}
