/** Delayed messages, as adapters see them. */

/** A message whose time has not come. */
export interface DelayedInfo {
  /** Names it, until it is due. */
  handle: string;
  dueMs: number;
  priority: number;
  /** As stored: body, properties and names. */
  bytes: number;
  /** It survives a restart. */
  durable: boolean;
}

/** A page of a list of delayed messages. */
export interface DelayedPage {
  /** Begin behind the message of this handle, which may be gone. */
  after?: string;
  /** Default 100. */
  limit?: number;
}

/** The control plane of delayed messages. */
export interface DelayAdmin {
  /** Delayed messages of a queue, in the order in which they are due. Throws `not-found`, `invalid-argument` (handle). */
  list(vhost: string, queue: string, page?: DelayedPage): Promise<DelayedInfo[]>;
  /** Delete a delayed message. Throws `invalid-argument` (no handle), `not-found` (no such message, or it was due). */
  cancel(vhost: string, queue: string, handle: string): Promise<void>;
  /** Let a delayed message be due now. Throws as `cancel`. */
  fire(vhost: string, queue: string, handle: string): Promise<void>;
}
