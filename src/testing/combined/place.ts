/**
 * Where a message may be. From outside one cannot always know: it may have expired, or not have reached the disk before a crash.
 * So the model keeps all the places a message may be in, and each thing that is seen rules some out.
 */
import { strict as assert } from 'node:assert';
import type { ModelQueue } from './model-queue.ts';

export type Reason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit';

/** One line of a death history. */
export interface Death {
  readonly queue: string;
  readonly reason: Reason;
  readonly count: number;
}

/** An entry of a queue that a message has, had, or may have had: one identity, whatever becomes of it. */
export class Entry {
  readonly lineage: Lineage;
  readonly queue: ModelQueue;
  readonly level: number;
  /** False: the rules changed while it may have been on its way, and it may have another level. */
  isLevelSure = true;
  /** Ticks of the model between which it came into the queue. */
  readonly fromTick: number;
  toTick: number;
  /** Wall clock between which it came. */
  readonly fromMs: number;
  toMs: number;
  /** Whether it is durable, or needs not be. */
  isVisible: 'no' | 'perhaps' | 'yes';
  /** It may come much later than it was sent: its old queue keeps it until somebody takes it. */
  readonly isLate: boolean;
  /** It waited for its time in this queue. */
  readonly wasDelayed: boolean;
  /** Of such a message: when it was due, and the tick of its publish, if it was durable by then. */
  readonly due: { readonly ms: number; readonly tick: number } | undefined;
  /** From when its queue's time to live counts; undefined = from when it came. */
  readonly agesFromMs: number | undefined;
  /** When the message's own time to live ends; Infinity = never. */
  readonly ownExpiryMs: number;
  readonly key: string;
  /** The newest first. */
  readonly deaths: readonly Death[];
  /** The same as text: two entries of one message differ in it. */
  readonly history: string;
  /** The entry given up for this one, and the tick at which that was, if that is known. */
  readonly parent: Entry | undefined;
  gaveUpTick: number | undefined;

  constructor(
    facts: Omit<Entry, 'history' | 'bytes' | 'isLevelSure' | 'expiresFromMs' | 'expiresToMs' | 'comesAgain'>,
  ) {
    this.lineage = facts.lineage;
    this.queue = facts.queue;
    this.level = facts.level;
    this.fromTick = facts.fromTick;
    this.toTick = facts.toTick;
    this.fromMs = facts.fromMs;
    this.toMs = facts.toMs;
    this.isVisible = facts.isVisible;
    this.isLate = facts.isLate;
    this.wasDelayed = facts.wasDelayed;
    this.due = facts.due;
    this.agesFromMs = facts.agesFromMs;
    this.ownExpiryMs = facts.ownExpiryMs;
    this.key = facts.key;
    this.deaths = facts.deaths;
    this.history = historyText(facts.deaths);
    this.parent = facts.parent;
    this.gaveUpTick = facts.gaveUpTick;
    if (this.lineage.group !== 0) this.queue.isSelective = true;
  }

  /** It is not certain that it came: it may come once more. */
  comesAgain(): void {
    if (this.parent === undefined) return;
    this.toTick = Number.POSITIVE_INFINITY;
    this.toMs = Number.POSITIVE_INFINITY;
    this.gaveUpTick = undefined;
    this.isVisible = 'perhaps';
  }

  /** Its size as stored. */
  get bytes(): Span {
    return storedBytes(this.lineage.bytes, this.deaths.length);
  }

  /** It may have expired from this time on. */
  get expiresFromMs(): number {
    return Math.min(this.ownExpiryMs, (this.agesFromMs ?? this.fromMs) + this.queue.rules.ttlMs);
  }

  /** It has expired at this time at the latest. */
  get expiresToMs(): number {
    return Math.min(this.ownExpiryMs, (this.agesFromMs ?? this.toMs) + this.queue.rules.ttlMs);
  }
}

/** `delayed`: its time has not come yet. `ready`: to be handed out. `out`: handed out. `deferred`: came back, and waits to be tried
 *  again. `limbo`: given up, and still kept by the queue. */
export type PlaceState = 'delayed' | 'ready' | 'out' | 'deferred' | 'limbo';

/** Numbers between which something is. */
export type Span = readonly [number, number];

/** A state an entry may be in. */
export interface Place {
  readonly entry: Entry;
  readonly state: PlaceState;
  /** How often it came back. */
  readonly returns: Span;
  /** How many of these were failures. */
  readonly failures: Span;
  /** Of what is delayed or deferred: when it is ready. */
  readonly dueMs?: Span;
  /** When that may have begun: not before, and not after. */
  readonly fromMs: number;
  toMs: number;
  /** Why it is in limbo. */
  readonly reason?: Reason;
}

/** The message is in no queue. */
export const NOWHERE = 'nowhere';
/** It was never there: its publish was lost with a crash. */
export const UNPUBLISHED = 'unpublished';
export type Whereabouts = Place | typeof NOWHERE | typeof UNPUBLISHED;

export function isPlace(place: Whereabouts): place is Place {
  return typeof place !== 'string';
}

/** What happens as a whole or not at all. */
export interface Unit {
  /** Messages that it published. */
  readonly published: Lineage[];
  /** Entries that it took out of their queues. */
  readonly removed: Entry[];
  /** Whether it happened; undefined: that is not known, since the broker ended too early. */
  happened: boolean | undefined;
}

/** One message that somebody published to a queue. */
export class Lineage {
  readonly id: number;
  readonly persistent: boolean;
  readonly priority: number;
  /** Bytes of body and properties. */
  readonly bytes: number;
  /** What filters ask for. */
  readonly color: number;
  /** Message group; 0 = none. */
  readonly group: number;
  /** What last-value queues tell messages apart by; 0 = none. */
  readonly slot: number;
  /** A newer message has its slot: it does not come back. */
  isReplaced = false;
  /** When that it is durable was told; Infinity = not yet. */
  confirmedMs = Number.POSITIVE_INFINITY;
  /** Settlements and publishes that took effect with it, or not at all. */
  readonly units: Unit[] = [];
  /** It is in one of these. */
  places: readonly Whereabouts[] = [];
  /** What it may fall back to when the broker dies now, and until when that was so. */
  past: readonly { readonly place: Whereabouts; readonly untilMs: number; readonly serial: number }[] = [];

  constructor(facts: Pick<Lineage, 'id' | 'persistent' | 'priority' | 'bytes' | 'color' | 'group' | 'slot'>) {
    this.id = facts.id;
    this.persistent = facts.persistent;
    this.priority = facts.priority;
    this.bytes = facts.bytes;
    this.color = facts.color;
    this.group = facts.group;
    this.slot = facts.slot;
  }

  /** It is certain where it is. */
  get isSure(): boolean {
    return this.places.length === 1;
  }

  placesIn(queue: ModelQueue, state: PlaceState): Place[] {
    return this.places.filter((place): place is Place => {
      return isPlace(place) && place.entry.queue === queue && place.state === state;
    });
  }

  /** Where it is, as it is certain that somebody holds it. */
  get out(): Place {
    const place = this.places[0];
    assert(place !== undefined && isPlace(place) && this.isSure && place.state === 'out');
    return place;
  }

  /** It is certainly in a queue, in this state. */
  isSurely(queue: ModelQueue, state: PlaceState): boolean {
    return this.placesIn(queue, state).length === this.places.length;
  }
}

/** "Body, properties, names and some 30 bytes", and what became of it. @param bytes of body and properties */
export function storedBytes(bytes: number, deaths = 0): Span {
  return [bytes + 30, bytes + 120 + 400 * deaths];
}

/** The history after one more death. */
export function withDeath(deaths: readonly Death[], queue: string, reason: Reason): Death[] {
  const known = deaths.find((death) => death.queue === queue && death.reason === reason);
  const others = deaths.filter((death) => death !== known);
  return [{ queue, reason, count: (known?.count ?? 0) + 1 }, ...others];
}

export function historyText(deaths: readonly Death[]): string {
  return deaths.map(({ queue, reason, count }) => `${queue} ${reason} ${count}`).join(', ');
}

/** "A message that comes round to a queue which had given it up before is not put there again, unless somebody rejected it on
 *  the way." (docs/queue-rules.md) */
export function isCycle(deaths: readonly Death[], queue: string): boolean {
  const rejected = deaths.findIndex(({ reason }) => reason === 'rejected');
  const since = rejected < 0 ? deaths : deaths.slice(0, rejected);
  return since.some((death) => death.queue === queue);
}

export function samePlace(a: Whereabouts, b: Whereabouts): boolean {
  if (!isPlace(a) || !isPlace(b)) return a === b;
  if (a.state !== b.state || a.reason !== b.reason) return false;
  return a.entry.queue === b.entry.queue && a.entry.history === b.entry.history;
}

/** Places as text. */
export function tell(places: readonly Whereabouts[]): string {
  return places
    .map((place) =>
      !isPlace(place) ? NOWHERE : `${place.state} in ${place.entry.queue.name} [${place.entry.history}]`,
    )
    .join(' or ');
}
