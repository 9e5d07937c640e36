/** Half messages, as adapters see them (docs/half-messages.md). Part of the door: `core/door.ts` gives them out. */
import type { Address } from '../door.ts';
import type { CoreError } from '../errors.ts';
import type { Message } from '../message.ts';

/** How a half ends. */
export type HalfOp = 'commit' | 'rollback';

/** One message of a half, on its way in. */
export interface HalfMessage {
  readonly address: Address;
  readonly message: Message;
  /** The half cannot be committed while nobody takes this message. */
  readonly mandatory?: boolean;
}

export interface HalfSettings {
  /** The producer group, a name within the virtual host: whoever names it may finish its halves and be asked about them. */
  readonly group: string;
  /** Chosen by the producer. Preparing more under the id of a half that is open adds to it. */
  readonly id: string;
  /** Milliseconds until its producers are asked for the first time, and between two times: with the first message, or never. */
  readonly firstCheckMs?: number;
  readonly checkEveryMs?: number;
  /** How often they are asked until it is parked; 0: never. */
  readonly checksMax?: number;
}

/** Asks a producer what became of a half. Valid only inside the call it is passed to, as the messages are. */
export interface HalfCheck {
  readonly vhost: string;
  readonly group: string;
  readonly id: string;
  /** Counted from 1 to `checksMax`. */
  readonly check: number;
  readonly checksMax: number;
  readonly preparedAtMs: number;
  readonly messages: number;
  /** Take the next message, as it was prepared; false when there is none. */
  next(): boolean;
  /** Reused view: valid until the next call of `next`. */
  readonly message: Message;
}

export interface CheckerHandlers {
  /**
   * Say what became of a half, by `client.finishHalf`, now or later; or do not, and be asked again. Must not throw. Answer
   * false when there is no room for the question: it goes to another member of the group.
   */
  onCheck(check: HalfCheck): boolean;
}

/** A member of a producer group that can be asked. Ends with its client. */
export interface HalfChecker {
  readonly group: string;
  close(): void;
}

/**
 * Asks at the address that was registered for a group. Resolves when that has been answered, or will not be; never rejects.
 * The check is valid until the first `await`.
 */
export type HalfCaller = (address: string, check: HalfCheck) => Promise<void>;

/** A half that is open. */
export interface HalfInfo {
  readonly group: string;
  readonly id: string;
  readonly messages: number;
  /** Of its messages, as stored. */
  readonly bytes: number;
  readonly preparedAtMs: number;
  /** How often its producers were asked. */
  readonly checks: number;
  readonly checksMax: number;
  /** When they are asked again; undefined: it is parked, and waits for somebody to commit it or drop it. */
  readonly nextCheckMs: number | undefined;
}

export interface ProducerGroupInfo {
  readonly name: string;
  /** Halves that are open, and those of them that are parked. */
  readonly halves: number;
  readonly parked: number;
  /** Members that can be asked. */
  readonly checkers: number;
  /** Where to ask when none of these can be. */
  readonly callback: string | undefined;
}

/** Half messages in the control plane. Promises resolve when the effect is durable. */
export interface HalfAdmin {
  /** The open halves of a virtual host, or of one of its groups, the oldest first. Throws `not-found` (virtual host). */
  list(vhost: string, group?: string): HalfInfo[];
  get(vhost: string, group: string, id: string): HalfInfo | undefined;
  /** Show the messages of an open half; each view is valid only during the call. Rejects with `not-found`. */
  messages(vhost: string, group: string, id: string, each: (message: Message) => void): Promise<void>;
  /** Commit or drop a half, parked or not. Rejects as `Client.finishHalf` says. */
  finish(vhost: string, group: string, id: string, op: HalfOp): Promise<void>;
  groups(vhost: string): ProducerGroupInfo[];
  /** Where to ask about the halves of a group when no member can be asked; undefined: nowhere. The text is its caller's business. */
  setCallback(vhost: string, group: string, address: string | undefined): Promise<void>;
  /** Who asks at such addresses. One; given by the adapter that can. */
  setCaller(caller: HalfCaller): void;
}

/** What became of a request: undefined = it is durable. */
export type HalfDone = (error: CoreError | undefined) => void;
