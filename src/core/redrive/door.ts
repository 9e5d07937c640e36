/** What the control plane offers for moving messages out of a queue again: out of one for dead letters, above all. */

export interface RedriveOptions {
  /** Where they go: to a queue, or to an exchange with a routing key (without one: their own). Not given: each goes to the queue
   *  it died in first, with the exchange and routing key it had there. */
  to?: { queue: string } | { exchange: string; key?: string };
  /** Only messages that meet this condition (docs/filters.md). */
  filter?: string;
  /** Moved a second, at most. */
  ratePerSecond?: number;
  /** Moved in all, at most. */
  max?: number;
}

/** `waiting`: a queue it goes to is full, or publishers are blocked. It goes on by itself. */
export type RedriveState = 'running' | 'waiting' | 'done' | 'cancelled' | 'failed';

export interface RedriveInfo extends RedriveOptions {
  id: number;
  queue: string;
  state: RedriveState;
  /** Messages that are elsewhere now. */
  moved: number;
  /** Looked at and left where they are: the filter, nowhere to go, or expired. */
  skipped: number;
  /** Still to be looked at, of those that were there when it began. */
  left: number;
  startedAtMs: number;
  endedAtMs: number | undefined;
  /** Why it waits or has failed. */
  reason: string | undefined;
}

/**
 * Redrives: jobs that move ready messages of a queue, in order, those that were there when the job began. Each move is one record
 * of the journal: a crash finds the message in one of the queues, never in both and never in none. A job of a durable queue goes
 * on after a restart. Promises resolve when that is on disk.
 */
export interface RedriveAdmin {
  /** Throws `not-found` (virtual host, queue, target), `invalid-argument`, `in-use` (one is under way there), `limit-exceeded`. */
  start(vhost: string, queue: string, options?: RedriveOptions): Promise<RedriveInfo>;
  /** Those under way, and the newest `redrivesKeptMax` that have ended; the newest first. */
  list(vhost: string): RedriveInfo[];
  get(vhost: string, id: number): RedriveInfo | undefined;
  /** End one. What it has moved stays moved. Throws `not-found`. */
  cancel(vhost: string, id: number): Promise<RedriveInfo>;
}
