/** connection.blocked: during a resource alarm a connection that publishes is told so and not read from. */
import type { SessionPeer } from './host.ts';

export class Blocking {
  readonly #session: SessionPeer;
  /** The alarm in force. */
  #alarm: string | undefined;
  #publishes = false;
  #blocked = false;

  constructor(session: SessionPeer, alarm: string | undefined) {
    this.#session = session;
    this.#alarm = alarm;
  }

  /** The connection publishes: from now on alarms concern it. */
  publishing(): void {
    this.#publishes = true;
    this.#block();
  }

  onAlarm(reason: string): void {
    this.#alarm = reason;
    this.#block();
  }

  onAlarmOver(): void {
    this.#alarm = undefined;
    if (!this.#blocked) return;
    this.#blocked = false;
    if (this.#session.capable('connection.blocked')) this.#session.send(0, 'connection.unblocked', {});
    this.#session.release(this);
  }

  #block(): void {
    if (this.#alarm === undefined || !this.#publishes || this.#blocked) return;
    this.#blocked = true;
    if (this.#session.capable('connection.blocked')) {
      this.#session.send(0, 'connection.blocked', { reason: this.#alarm });
    }
    this.#session.hold(this);
  }
}
