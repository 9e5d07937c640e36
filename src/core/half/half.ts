/** A half message: one or several stored messages that nobody sees until their producer commits them, all or none. */
import type { CoreError } from '../errors.ts';
import type { HalfInfo, HalfOp } from './door.ts';
import type { ProducerGroup } from './producer-group.ts';
import type { Scheduled } from './schedule.ts';

/** One message of a half. */
export interface HalfPart {
  /** Row of its stored form in the logged table: one reference of it is the half's. */
  readonly row: number;
  readonly mandatory: boolean;
  /** Partition its publisher wants on a topic; -1 = the broker chooses. */
  readonly partition: number;
}

/** What changes of an open half. Replaced, never changed: a checkpoint holds on to old ones. */
export interface HalfState {
  readonly half: Half;
  readonly parts: readonly HalfPart[];
  /** How often its producers were asked. */
  readonly checks: number;
  /** When they are asked again, wall clock; Infinity: never, it is parked. */
  readonly nextCheckMs: number;
}

/** What stays the same of a half. */
export interface HalfFacts {
  /** Names it in records. */
  readonly number: number;
  readonly id: string;
  readonly preparedAtMs: number;
  readonly checkEveryMs: number;
  readonly checksMax: number;
}

/** Told that a half has ended, and that this is written, if not yet durable; or why it has not. */
export type Ended = (error: CoreError | undefined) => void;

export class Half implements Scheduled {
  readonly group: ProducerGroup;
  readonly facts: HalfFacts;
  state: HalfState;
  /** How it ended. It is kept for a while, so that ending it twice is no mistake. */
  outcome: HalfOp | undefined;
  /** It is being committed: who waits for the end of that. */
  committing: Ended[] | undefined;
  /** A question about it is under way or about to be asked. */
  asking = false;
  dueMs = 0;
  heapAt = -1;

  constructor(group: ProducerGroup, facts: HalfFacts, parts: readonly HalfPart[], nextCheckMs: number, checks = 0) {
    this.group = group;
    this.facts = facts;
    this.state = { half: this, parts, checks, nextCheckMs };
  }

  get parked(): boolean {
    return this.state.nextCheckMs === Number.POSITIVE_INFINITY;
  }

  /** Bytes of its messages, as stored. */
  get bytes(): number {
    const { logged } = this.group.vhost.engine.bodies;
    return this.state.parts.reduce((sum, { row }) => sum + logged.length(row), 0);
  }

  /** For messages to people. */
  get name(): string {
    return `half message '${this.facts.id}' of producer group '${this.group.name}'`;
  }

  info(): HalfInfo {
    const { id, preparedAtMs, checksMax } = this.facts;
    const { parts, checks, nextCheckMs } = this.state;
    return {
      ...{ id, preparedAtMs, checks, checksMax },
      group: this.group.name,
      messages: parts.length,
      bytes: this.bytes,
      nextCheckMs: this.parked ? undefined : nextCheckMs,
    };
  }
}
