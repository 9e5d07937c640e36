/** A queue of the model: its rules, and the messages that are or may be in it. */
import type { Arguments, Subscription } from '../../core/index.ts';
import type { Lineage, Span } from './place.ts';
import { type ModelRules, modelRules } from './rules.ts';

export class ModelQueue {
  readonly name: string;
  /** It and its persistent messages survive a restart. */
  readonly logged: boolean;
  readonly arguments: Arguments;
  rules: ModelRules;
  /** Messages that are or may be in it. */
  readonly lineages = new Set<Lineage>();
  consumers: ModelConsumer[] = [];
  /** Ids of messages that came, in order: when each did, and whether it is certain that it is remembered. */
  ids: {
    readonly id: string;
    readonly lineage: Lineage;
    readonly ms: number;
    isSure: boolean;
    readonly survives: boolean;
  }[] = [];
  /** When the broker ended a consumer last: what that one had is free since then. */
  releasedMs = 0;
  /** Its messages are being moved to another queue: those that came before this tick of the model. */
  redrive: { readonly target: ModelQueue; readonly tick: number } | undefined;
  /** When somebody used it last, if nobody does so now: not before, and not after. */
  usedMs: Span;
  /** When those are due that were replaced while they waited: until then a purge counts them. */
  ghostsMs: number[] = [];
  /** It has had messages in groups, or consumers with filters: not everybody may have everything. */
  isSelective = false;

  constructor(name: string, logged: boolean, args: Arguments, nowMs: number) {
    this.name = name;
    this.logged = logged;
    this.arguments = args;
    this.rules = modelRules(args);
    this.usedMs = [nowMs, nowMs];
  }

  /** Somebody consumes it, or waits for a message. */
  get isUsed(): boolean {
    return this.consumers.some((one) => isUser(one) && !(one.pull && one.mayBePaused));
  }

  get mayBeUsed(): boolean {
    return this.consumers.some(isUser);
  }

  /** It may be full. */
  get isBounded(): boolean {
    return Math.min(this.rules.maxLength, this.rules.maxBytes) < Number.POSITIVE_INFINITY;
  }

  get refuses(): boolean {
    return this.rules.overflow !== 'drop-head';
  }

  /** It hands on what it refuses. */
  get handsOn(): boolean {
    return this.rules.overflow === 'reject-publish-dlx' && this.rules.deadLetter !== undefined;
  }
}

/** A subscription to a queue. */
export interface ModelConsumer {
  readonly queue: ModelQueue;
  readonly subscription: Subscription;
  readonly priority: number;
  readonly pull: boolean;
  /** It takes messages of this colour only. */
  readonly color: number | undefined;
  /** Its deliveries are complete as they are handed out. */
  readonly settled: boolean;
  /** How long it may keep a delivery; Infinity = for ever. */
  readonly timeoutMs: number;
  credit: number;
  /** It left a batch unfinished: it may or may not be offered more. */
  mayBePaused: boolean;
  isOver: boolean;
  /** By number of delivery. */
  readonly out: Map<number, Lineage>;
}

/** Its queue is in use: cancelled consumers do not count, nor those that take on request and have not asked. */
export function isUser({ pull, credit, isOver }: ModelConsumer): boolean {
  return !isOver && (!pull || credit > 0);
}

/** Whether its filter lets a message pass. */
export function matches({ color }: ModelConsumer, lineage: Lineage): boolean {
  return color === undefined || color === lineage.color;
}

/** Whether it would take a message now, for certain. */
export function surelyTakes(consumer: ModelConsumer): boolean {
  return !consumer.isOver && !consumer.mayBePaused && consumer.credit > 0;
}
