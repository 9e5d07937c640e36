/** What becomes of messages without anybody asking: they expire, are too many, die, and go on to other queues. */
import { strict as assert } from 'node:assert';
import type { Knowledge } from './knowledge.ts';
import { QUIET_MS } from './knowledge.ts';
import type { ModelQueue } from './model-queue.ts';
import { dropsBefore } from './order.ts';
import {
  Entry,
  isCycle,
  isPlace,
  type Lineage,
  NOWHERE,
  type Place,
  type Reason,
  type Span,
  type Whereabouts,
  withDeath,
} from './place.ts';

/** The broker reads the clock once a turn. */
export const TURN_MS = 2;

type HeirFacts = Pick<Entry, 'fromTick' | 'fromMs' | 'isLate' | 'ownExpiryMs' | 'key' | 'deaths' | 'gaveUpTick'>;

export class Fates {
  readonly #knowledge: Knowledge;
  #passedMs = -1;
  #passedChanges = -1;
  /** The tick of the last look: what happens on its own may have happened since. */
  #passedTick = 0;
  /** The time of the look before. */
  #sinceMs = 0;

  constructor(knowledge: Knowledge) {
    this.#knowledge = knowledge;
  }

  /** Time has passed. */
  pass(): void {
    const knowledge = this.#knowledge;
    const now = knowledge.world.now();
    if (now === this.#passedMs && knowledge.changes === this.#passedChanges) return;
    this.#sinceMs = this.#passedMs;
    this.#passedMs = now;
    knowledge.settleDown();
    // Also the places that messages may have gone to meanwhile, of themselves or because others came.
    this.#ageAll(now, (lineage, place) => knowledge.narrow(lineage, (other) => other !== place));
    this.#passedChanges = knowledge.changes;
    this.#passedTick = knowledge.tick();
  }

  /** @param onLeft called with what must have left its place */
  #ageAll(now: number, onLeft: (lineage: Lineage, place: Whereabouts) => void): void {
    const knowledge = this.#knowledge;
    for (let before = -1; before !== knowledge.changes; ) {
      before = knowledge.changes;
      for (const lineage of knowledge.lineages.values()) {
        for (const place of lineage.places) if (this.#age(lineage, place, now)) onLeft(lineage, place);
      }
    }
  }

  /** Answers true when a message cannot be in this place any more. */
  #age(lineage: Lineage, place: Whereabouts, now: number): boolean {
    if (!isPlace(place) || place.state === 'out') return false;
    if (place.state === 'limbo') return this.#onward(lineage, place, now);
    if (place.state === 'deferred') return this.#retry(lineage, place, now);
    if (place.state === 'delayed') return this.#due(lineage, place, now);
    if (place.entry.expiresFromMs - TURN_MS <= now) this.mayDie(place, 'expired');
    const { redrive } = place.entry.queue;
    // "What comes in later, perhaps because it has died again, is left to the next redrive."
    if (redrive === undefined || place.entry.fromTick >= redrive.tick) return false;
    if (this.#knowledge.widen(lineage, [this.#moved(place, redrive.target)])) this.#crowd(lineage);
    return false;
  }

  /** What came back is ready again when its time has come. */
  #retry(lineage: Lineage, place: Place, now: number): boolean {
    const [fromMs, toMs] = place.dueMs as Span;
    if (now < fromMs - TURN_MS) return false;
    const { entry, returns, failures } = place;
    if (this.#knowledge.widen(lineage, [{ entry, returns, failures, state: 'ready', fromMs, toMs: now }])) {
      this.crowd(entry.queue);
    }
    return now - toMs >= QUIET_MS;
  }

  /** A delayed message comes in when its time has come, as the last one. */
  #due(lineage: Lineage, place: Place, now: number): boolean {
    const { entry } = place;
    const [dueMs] = place.dueMs as Span;
    if (now < dueMs || entry.isVisible === 'no') return false;
    // What became durable too late comes when it is, and what a restart found is not told apart.
    const isPunctual = lineage.confirmedMs <= dueMs || !entry.queue.logged;
    const due = isPunctual ? { ms: dueMs, tick: entry.fromTick } : undefined;
    const arrival = {
      fromTick: this.#passedTick,
      toTick: Number.POSITIVE_INFINITY,
      fromMs: dueMs,
      toMs: Number.POSITIVE_INFINITY,
    };
    const level = Math.min(lineage.priority, entry.queue.rules.maxPriority);
    const arrived = new Entry({ ...entry, level, ...arrival, isVisible: 'perhaps', due });
    const ready: Place = { ...place, entry: arrived, state: 'ready', fromMs: dueMs, toMs: dueMs };
    const places = entry.queue.handsOn ? [ready, ...this.#afterlife(ready, 'maxlen', undefined)] : [ready];
    if (this.#knowledge.widen(lineage, places)) this.#crowd(lineage);
    const sinceMs = Math.max(dueMs, place.fromMs, this.#knowledge.world.busyMs());
    return now - sinceMs >= QUIET_MS;
  }

  /** What was given up goes on: to wherever its rule leads now. */
  #onward(lineage: Lineage, limbo: Place, now: number): boolean {
    if (this.#knowledge.widen(lineage, this.#heirs(limbo, undefined))) this.#crowd(lineage);
    // As long as it may not have been given up yet, that may be about to happen.
    const mayBegin = lineage.places.some((other) => {
      return isPlace(other) && other !== limbo && (other.entry === limbo.entry || isHeir(limbo.entry, other.entry));
    });
    if (mayBegin) limbo.toMs = now;
    return limbo.entry.queue.rules.deadLetter?.keeps !== true && now - limbo.toMs >= QUIET_MS;
  }

  /** The broker ends in order: until then, time has passed as ever. */
  end(): void {
    this.#ageAll(this.#knowledge.world.now(), () => {});
  }

  // ---- Dying ------------------------------------------------------------------------------------------------------

  /** A message is given up, for certain, at its only place. */
  die(place: Place, reason: Reason): void {
    const { lineage } = place.entry;
    this.#knowledge.put(lineage, this.#afterlife(place, reason, this.#knowledge.tick()));
    this.#crowd(lineage);
  }

  /** A message is perhaps given up. */
  mayDie(place: Place, reason: Reason): void {
    const { lineage } = place.entry;
    if (mayBeDead(place, reason)) return;
    if (this.#knowledge.widen(lineage, this.#afterlife(place, reason, undefined))) this.#crowd(lineage);
  }

  /** Where a message may be that a queue has given up: kept for now, or on. */
  #afterlife(place: Place, reason: Reason, gaveUpTick: number | undefined): Whereabouts[] {
    if (isDeleted(place.entry.queue, reason)) return [NOWHERE];
    const now = this.#knowledge.world.now();
    // What happens on its own may have happened before this was looked at.
    const early = Math.max(place.fromMs, reason === 'expired' ? place.entry.expiresFromMs : this.#sinceMs);
    const fromMs = gaveUpTick === undefined ? Math.min(now, early) : now;
    const limbo: Place = { ...place, state: 'limbo', reason, fromMs, toMs: now };
    return [limbo, ...this.#heirs(limbo, gaveUpTick)];
  }

  /** Where a message goes that is in limbo. */
  #heirs({ entry, reason, fromMs }: Place, gaveUpTick: number | undefined): Whereabouts[] {
    const rule = entry.queue.rules.deadLetter;
    assert(rule !== undefined && reason !== undefined);
    const name = rule.key ?? entry.key;
    const target = rule.exchange === '' ? this.#knowledge.queues.get(name) : undefined;
    if (target === undefined) return rule.keeps ? [] : [NOWHERE];
    const deaths = withDeath(entry.deaths, entry.queue.name, reason);
    if (isCycle(deaths, name)) return [NOWHERE];
    const place = this.#heir(entry, target, {
      fromTick: gaveUpTick ?? this.#passedTick,
      fromMs,
      isLate: rule.keeps,
      ownExpiryMs: Number.POSITIVE_INFINITY,
      key: name,
      deaths,
      gaveUpTick,
    });
    if (!target.refuses || !target.isBounded) return [place];
    // It may be full.
    if (target.handsOn) return [place, ...this.#afterlife(place, 'maxlen', undefined)];
    return rule.keeps ? [place] : [place, NOWHERE];
  }

  /** Where a message is that is moved to another queue on request: its history and its own time to live go with it. */
  #moved({ entry, fromMs }: Place, target: ModelQueue): Place {
    return this.#heir(entry, target, {
      fromTick: this.#passedTick,
      fromMs: Math.max(fromMs, this.#sinceMs),
      isLate: true,
      ownExpiryMs: entry.ownExpiryMs,
      key: entry.key,
      deaths: entry.deaths,
      gaveUpTick: undefined,
    });
  }

  /** A message in the queue to which another one handed it on. */
  #heir(parent: Entry, queue: ModelQueue, facts: HeirFacts): Place {
    const { lineage } = parent;
    const entry = new Entry({
      ...facts,
      lineage,
      queue,
      level: Math.min(lineage.priority, queue.rules.maxPriority),
      toTick: Number.POSITIVE_INFINITY,
      toMs: Number.POSITIVE_INFINITY,
      isVisible: 'perhaps',
      wasDelayed: false,
      due: undefined,
      agesFromMs: undefined,
      parent,
    });
    const { fromMs } = facts;
    return { entry, state: 'ready', returns: [0, 0], failures: [0, 0], fromMs, toMs: fromMs };
  }

  // ---- Too many ---------------------------------------------------------------------------------------------------

  /** A queue has so many ready messages: if they are too many, the first go. Answers how many are left. */
  dropHead(queue: ModelQueue, ready: number): number {
    const excess = ready - queue.rules.maxLength;
    // How many bytes these are is known to within some.
    if (queue.rules.maxBytes !== Number.POSITIVE_INFINITY) {
      this.crowd(queue);
      return ready;
    }
    // Others are on their way, perhaps, and there will be too many then.
    if (excess <= 0) this.crowd(queue);
    if (queue.refuses || excess <= 0) return ready;
    const candidates = this.#droppable(queue, excess);
    if (candidates.length === excess) {
      for (const place of candidates) {
        this.#knowledge.narrow(place.entry.lineage, (other) => other === place);
        this.die(place, 'maxlen');
      }
    } else for (const place of candidates) this.mayDie(place, 'maxlen');
    this.crowd(queue);
    return queue.rules.maxLength;
  }

  /** A message that may have come to queues on its own may have driven others out. */
  #crowd(lineage: Lineage): void {
    for (const place of lineage.places) {
      if (isPlace(place) && place.state === 'ready') this.crowd(place.entry.queue);
    }
  }

  /** A queue may have more messages than it may. */
  crowd(queue: ModelQueue): void {
    const { maxLength, maxBytes } = queue.rules;
    if (queue.refuses || !queue.isBounded) return;
    const excess = this.#knowledge.bounds(queue, 'ready')[1] - maxLength;
    const excessBytes = maxBytes === Number.POSITIVE_INFINITY ? 0 : this.#knowledge.readyBytes(queue)[1] - maxBytes;
    if (excess <= 0 && excessBytes <= 0) return;
    for (const one of this.#droppable(queue, excess, excessBytes)) this.mayDie(one, 'maxlen');
  }

  /** The places that may be among the first to be dropped until `count` are gone, and `bytes`. */
  #droppable(queue: ModelQueue, count: number, bytes = 0): Place[] {
    const places: Place[] = [];
    const sure: Entry[] = [];
    for (const lineage of queue.lineages) {
      const ready = lineage.placesIn(queue, 'ready');
      places.push(...ready);
      if (lineage.isSure && ready[0] !== undefined) sure.push(ready[0].entry);
    }
    return places.filter(({ entry }) => {
      const before = sure.filter((other) => dropsBefore(other, entry));
      return before.length < count || before.reduce((sum, other) => sum + other.bytes[0], 0) < bytes;
    });
  }
}

/** It is known that a message may have been given up, or deleted; where it goes on to is looked at as time passes. */
function mayBeDead({ entry, returns, failures }: Place, reason: Reason): boolean {
  const { lineage, queue, history } = entry;
  if (isDeleted(queue, reason)) return lineage.places.includes(NOWHERE);
  return lineage.placesIn(queue, 'limbo').some((limbo) => {
    const isSame = limbo.reason === reason && limbo.entry.history === history;
    return isSame && covers(limbo.returns, returns) && covers(limbo.failures, failures);
  });
}

/** What a queue gives up is no dead letter. */
function isDeleted({ rules }: ModelQueue, reason: Reason): boolean {
  return rules.deadLetter === undefined || (rules.isRing && reason === 'maxlen');
}

function covers(outer: Span, inner: Span): boolean {
  return outer[0] <= inner[0] && inner[1] <= outer[1];
}

/** Whether an entry may come of another one by deaths in between. */
function isHeir(heir: Entry, entry: Entry): boolean {
  for (let parent = heir.parent; parent !== undefined; parent = parent.parent) if (parent === entry) return true;
  return false;
}
