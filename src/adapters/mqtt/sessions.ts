/**
 * Who is connected under which client id, and what a persistent session keeps in this process while it is away. The
 * rest of a session (its subscriptions and messages) is a queue and its bindings, and lives in the core.
 */

/** Packet ids of a session without a connection. Lost with the process, and with it only: see docs/protocols/mqtt.md. */
export interface Away {
  /** QoS 1 deliveries the client has not acknowledged, in order. */
  readonly sentIds: Uint16Array;
  /** QoS 2 publishes received and not yet released. */
  readonly receivedIds: ReadonlySet<number>;
}

export interface Named {
  readonly user: string;
}

export class SessionTable<S extends Named> {
  readonly #live = new Map<string, S>();
  readonly #away = new Map<string, Away>();

  static key(vhost: string, clientId: string): string {
    return `${vhost}\u0000${clientId}`;
  }

  live(key: string): S | undefined {
    return this.#live.get(key);
  }

  /** `session` holds the client id from now on; the one before has been ended. */
  enter(key: string, session: S): void {
    this.#live.set(key, session);
  }

  /** `session` is over. One that was taken over has no hold on the client id any more. @param away what to keep of it */
  leave(key: string, session: S, away: Away | undefined): void {
    if (this.#live.get(key) !== session) return;
    this.#live.delete(key);
    if (away !== undefined && away.sentIds.length + away.receivedIds.size > 0) this.#away.set(key, away);
  }

  /** Take back what was kept of a session. */
  takeAway(key: string): Away | undefined {
    const away = this.#away.get(key);
    this.#away.delete(key);
    return away;
  }
}
