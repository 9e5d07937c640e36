/**
 * The model of a broker with rules: every message, where it may be, and what may happen to it. Written from docs/queue-rules.md
 * and docs/order.md, as plainly as possible; it shares no code with the core. What the broker does on its own, and when, the
 * model does not predict: it keeps all possibilities, and each delivery, count and confirm rules some out. None left is a fault.
 */
import { strict as assert } from 'node:assert';
import type { RestartKind } from '../script.ts';
import { Fates, TURN_MS } from './fates.ts';
import { type Delivery, Judge } from './judge.ts';
import { isAt, Knowledge, QUIET_MS, type World } from './knowledge.ts';
import type { ModelConsumer, ModelQueue } from './model-queue.ts';
import {
  Entry,
  isPlace,
  Lineage,
  NOWHERE,
  type Place,
  type Span,
  storedBytes,
  tell,
  UNPUBLISHED,
  type Unit,
  type Whereabouts,
} from './place.ts';
import type { ModelRules } from './rules.ts';

export interface Published {
  readonly id: number;
  readonly persistent: boolean;
  readonly priority: number;
  /** Infinity = none of its own. */
  readonly ttlMs: number;
  /** 0 = none. */
  readonly delayMs: number;
  /** From when a time to live of its queue counts, if not from when it comes. */
  readonly agesFromMs?: number | undefined;
  /** Of body and properties. */
  readonly bytes: number;
  readonly color: number;
  readonly group: number;
  /** 0 = none. */
  readonly slot: number;
  /** Its message id; empty = none. */
  readonly dedupId: string;
}

export interface PublishedHow {
  /** Messages that are ready in the queue before; what the broker says now, if it is not known. */
  readonly before?: number | undefined;
  /** What it is part of. */
  readonly unit?: Unit;
  /** It may come a moment later. */
  readonly isOpen?: boolean;
}

/** What became of a publish. */
export interface Outcome {
  /** Its publisher must get a refusal; undefined: may get one. */
  readonly refused: boolean | undefined;
  /** Messages that are ready in the queue then. */
  readonly ready: number;
}

export class Model {
  readonly knowledge: Knowledge;
  readonly #world: World;
  readonly #fates: Fates;
  readonly #judge: Judge;
  #observedMs = 0;
  #unusedMs = 0;

  constructor(world: World) {
    this.#world = world;
    this.knowledge = new Knowledge(world);
    this.#fates = new Fates(this.knowledge);
    this.#judge = new Judge(this.knowledge);
  }

  /** Time has passed, or the counts are to be looked at. */
  observe(): void {
    this.#observedMs = this.#world.now();
    for (const queue of this.knowledge.queues.values()) this.#checkUnused(queue);
    this.#judge.checkTimeouts();
    this.#fates.pass();
    this.knowledge.compare();
  }

  /** "A queue without consumers that nobody has declared again for so long is deleted." */
  #checkUnused(queue: ModelQueue): void {
    const { name, rules } = queue;
    const now = this.#world.now();
    if (queue.isUsed) queue.usedMs = [now, now];
    else if (queue.mayBeUsed) queue.usedMs = [queue.usedMs[0], now];
    const [mostMs, leastMs] = queue.usedMs.map((ms) => now - ms) as [number, number];
    if (this.#world.exists(name)) {
      assert(leastMs <= rules.expiresMs + TURN_MS, `${name}: nobody has used it for ${leastMs} ms, and it is there`);
      return;
    }
    assert(mostMs + 1 >= rules.expiresMs, `${name} is gone, unused for ${mostMs} ms`);
    this.#unusedMs = now;
    this.deleted(queue);
  }

  /** When it was seen last that a queue is gone because nobody used it. */
  get unusedMs(): number {
    return this.#unusedMs;
  }

  // ---- Publishing -------------------------------------------------------------------------------------------------

  /** A message is about to be published to a queue. */
  publish(queue: ModelQueue, published: Published, how: PublishedHow = {}): Outcome {
    const { before = this.#world.ready(queue.name), unit, isOpen = false } = how;
    this.#fates.pass();
    const { knowledge } = this;
    const now = this.#world.now();
    const { persistent, priority, ttlMs, delayMs } = published;
    const lineage = new Lineage(published);
    knowledge.lineages.set(lineage.id, lineage);
    // What happens as a whole is refused as a whole.
    const refused = unit === undefined ? this.isFull(queue, [published], before) : false;
    if (this.#isRepeat(queue, published)) {
      knowledge.put(lineage, [NOWHERE]);
      return { refused: refused === false ? false : undefined, ready: before };
    }
    if (refused === true && !queue.handsOn) {
      knowledge.put(lineage, [NOWHERE]);
      return { refused, ready: before };
    }
    if (published.dedupId !== '' && queue.rules.dedup !== undefined) {
      const survives = persistent && queue.logged;
      queue.ids.push({ id: published.dedupId, lineage, ms: now, isSure: refused === false, survives });
    }
    const waits = persistent && queue.logged;
    const tick = knowledge.tick();
    const entry = new Entry({
      lineage,
      queue,
      level: Math.min(priority, queue.rules.maxPriority),
      fromTick: tick,
      toTick: isOpen ? Number.POSITIVE_INFINITY : tick,
      fromMs: now,
      toMs: isOpen ? Number.POSITIVE_INFINITY : now,
      // What is not logged waits for what is before it.
      // What comes a moment later may also be told of later than it is there.
      isVisible: !isOpen && (waits || unit !== undefined) ? 'no' : 'perhaps',
      isLate: false,
      wasDelayed: delayMs > 0,
      due: undefined,
      agesFromMs: published.agesFromMs,
      // "Time to live, its own and the queue's: counts from when it is due."
      ownExpiryMs: now + delayMs + ttlMs,
      key: queue.name,
      deaths: [],
      parent: undefined,
      gaveUpTick: undefined,
    });
    const unused: Pick<Place, 'returns' | 'failures'> = { returns: [0, 0], failures: [0, 0] };
    const ready: Place = { entry, state: 'ready', ...unused, fromMs: now, toMs: now };
    const place: Place = delayMs === 0 ? ready : { ...ready, state: 'delayed', dueMs: [now + delayMs, now + delayMs] };
    knowledge.put(lineage, [place]);
    if (waits) lineage.past = [{ place: UNPUBLISHED, untilMs: Number.POSITIVE_INFINITY, serial: 0 }];
    if (unit !== undefined) {
      unit.published.push(lineage);
      lineage.units.push(unit);
    }
    if (refused === true) this.#fates.die(place, 'maxlen');
    else if (refused === undefined && queue.handsOn) this.#fates.mayDie(place, 'maxlen');
    else if (refused === undefined) knowledge.widen(lineage, [UNPUBLISHED]);
    if (refused !== false) return { refused, ready: before };
    if (delayMs > 0) return { refused, ready: before };
    if (isOpen) this.#fates.crowd(queue);
    const replaced = queue.rules.keepsLast && lineage.slot !== 0 ? this.#replace(lineage, queue) : 0;
    if (isOpen) return { refused, ready: before };
    return { refused, ready: this.#fates.dropHead(queue, before + 1 - replaced) };
  }

  /** Whether a queue that refuses has no room for messages; undefined: that is not known. @param before ready messages in it */
  isFull(queue: ModelQueue, coming: readonly Published[], before: number): boolean | undefined {
    const { maxLength, maxBytes } = queue.rules;
    const now = coming.filter(({ delayMs }) => delayMs === 0);
    if (!queue.refuses || now.length === 0) return false;
    if (before + now.length > maxLength) return true;
    if (maxBytes === Number.POSITIVE_INFINITY) return false;
    const [least, most] = this.knowledge.readyBytes(queue);
    const sizes = now.map(({ bytes }) => storedBytes(bytes));
    if (sizes.reduce((sum, [size]) => sum + size, least) > maxBytes) return true;
    return sizes.reduce((sum, [, size]) => sum + size, most) > maxBytes ? undefined : false;
  }

  /** "A message whose id it remembers is a repeat." */
  #isRepeat(queue: ModelQueue, { dedupId }: Published): boolean {
    const { dedup } = queue.rules;
    if (dedupId === '' || dedup === undefined) return false;
    const says = this.#world.isRepeat(queue.name, dedupId);
    const now = this.#world.now();
    const known = queue.ids.filter(({ id, ms }) => id === dedupId && now - ms < dedup.windowMs);
    if (known.length === 0) assert(!says, `${queue.name}: no message with the id ${dedupId} came within the window`);
    const last = queue.ids.slice(-dedup.count);
    const isSure = known.some((one) => one.isSure && last.includes(one));
    if (isSure) assert(says, `${queue.name}: the id ${dedupId} came among the last ${dedup.count}`);
    return says;
  }

  /** "A newer one takes the older one out, unless somebody is just holding it." Answers how many ready ones go. */
  #replace(lineage: Lineage, queue: ModelQueue): number {
    let ready = 0;
    for (const older of [...queue.lineages]) {
      // Delayed messages and those from other queues are normal ones.
      const isMeant = (place: Whereabouts): boolean =>
        isPlace(place) && place.entry.queue === queue && place.entry.parent === undefined && !place.entry.wasDelayed;
      if (older === lineage || older.slot !== lineage.slot || !older.places.some(isMeant)) continue;
      older.isReplaced = true;
      const goes = (place: Whereabouts): boolean =>
        isMeant(place) && (isAt(place, queue, 'ready') || isAt(place, queue, 'deferred'));
      if (!older.places.some(goes)) continue;
      if (older.isSurely(queue, 'ready')) ready++;
      for (const { dueMs } of older.placesIn(queue, 'deferred')) queue.ghostsMs.push(dueMs?.[1] ?? 0);
      this.knowledge.put(older, [...older.places.filter((place) => !goes(place) && place !== NOWHERE), NOWHERE]);
    }
    return ready;
  }

  /** The broker says that a message is as safe as was asked. */
  confirmed(id: number, isRefused = false): void {
    const lineage = this.knowledge.lineages.get(id);
    if (lineage === undefined) return;
    const { places } = lineage;
    if (places.includes(UNPUBLISHED) && !lineage.isSure) {
      this.knowledge.narrow(lineage, (place) => (place === UNPUBLISHED) === isRefused);
    }
    lineage.confirmedMs = this.#world.now();
    this.knowledge.learn();
    for (const place of [...lineage.places, ...lineage.past.map((past) => past.place)]) {
      if (!isPlace(place) || place.entry.isVisible !== 'no') continue;
      // What is not logged may have to wait for what is before it.
      place.entry.isVisible = lineage.persistent && place.entry.queue.logged ? 'yes' : 'perhaps';
    }
    lineage.past = lineage.past.filter(({ place }) => isPlace(place));
  }

  // ---- Deliveries -------------------------------------------------------------------------------------------------

  /** A message is handed out: may it be? */
  delivered(consumer: ModelConsumer, delivery: Delivery): Lineage {
    this.#fates.pass();
    return this.#judge.delivered(consumer, delivery);
  }

  /** Nothing has happened for a while: nothing is left that somebody would take. */
  checkNothingStuck(): void {
    this.#judge.checkNothingStuck();
  }

  // ---- Settling ---------------------------------------------------------------------------------------------------

  /** Done. Answers what to call when that is durable. */
  completed(lineage: Lineage): () => void {
    this.knowledge.put(lineage, [NOWHERE]);
    return this.#forGood(lineage);
  }

  /** Rejected. Answers what to call when that is durable. */
  rejected(lineage: Lineage): () => void {
    this.#fates.pass();
    this.#fates.die(lineage.out, 'rejected');
    return this.#forGood(lineage);
  }

  /** Back to its place. @param ready messages in the queue before it. Answers how many there are then. */
  returned(lineage: Lineage, ready: number, failed: boolean): number {
    this.#fates.pass();
    const place = lineage.out;
    const { queue } = place.entry;
    const back = this.#back(place, failed);
    if (failed && back.failures[0] > queue.rules.deliveryLimit) {
      this.#fates.die(place, 'delivery_limit');
      return ready;
    }
    if (lineage.isReplaced && place.entry.parent === undefined) {
      this.knowledge.put(lineage, [NOWHERE]);
      return ready;
    }
    this.knowledge.put(lineage, [back]);
    return back.state === 'deferred' ? ready : this.#fates.dropHead(queue, ready + 1);
  }

  /** A consumer has kept something for too long: all it has is back. */
  timedOut(consumer: ModelConsumer): void {
    this.#fates.pass();
    const { queue, timeoutMs, out } = consumer;
    queue.releasedMs = this.#world.now();
    const heldMs = this.#world.now() - Math.min(...[...out.values()].map((lineage) => lineage.out.fromMs));
    assert(timeoutMs <= heldMs + 1, `a consumer that may keep deliveries for ${timeoutMs} ms is ended after ${heldMs}`);
    for (const lineage of out.values()) {
      const isDeleted = lineage.isReplaced && lineage.out.entry.parent === undefined;
      if (isDeleted) this.knowledge.put(lineage, [NOWHERE]);
      else this.#giveBack(lineage, this.#world.now());
    }
  }

  /** What a delivery becomes that comes back. */
  #back(place: Place, failed: boolean, sinceMs = this.#world.now()): Place {
    const { rules } = place.entry.queue;
    const now = this.#world.now();
    const returns: Span = [place.returns[0] + 1, place.returns[1] + 1];
    const failures: Span = failed ? [place.failures[0] + 1, place.failures[1] + 1] : place.failures;
    const waitsMs = retryMs(rules, failed, failed ? failures[0] : returns[0]);
    const back: Place = { ...place, state: 'ready', returns, failures, fromMs: sinceMs, toMs: now };
    return waitsMs === 0 ? back : { ...back, state: 'deferred', dueMs: [sinceMs + waitsMs, now + waitsMs] };
  }

  #forGood(lineage: Lineage): () => void {
    const serial = this.knowledge.changes;
    return () => this.knowledge.forget(lineage, serial);
  }

  /** All that is ready is deleted; answers between how many that is. */
  purged(queue: ModelQueue): Span {
    this.#fates.pass();
    const states = ['ready', 'deferred', 'delayed'] as const;
    const [least, most] = this.knowledge.bounds(queue, ...states);
    const now = this.#world.now();
    const bounds: Span = [least, most + queue.ghostsMs.filter((ms) => ms >= now - QUIET_MS).length];
    for (const lineage of [...queue.lineages]) {
      const left = lineage.places.filter((place) => !states.some((state) => isAt(place, queue, state)));
      if (left.length < lineage.places.length)
        this.knowledge.put(lineage, left.includes(NOWHERE) ? left : [...left, NOWHERE]);
    }
    return bounds;
  }

  // ---- Queues -----------------------------------------------------------------------------------------------------

  /** Other rules hold for a queue. */
  altered(queue: ModelQueue, rules: ModelRules): void {
    this.#fates.pass();
    queue.rules = rules;
    for (const lineage of queue.lineages) {
      if (lineage.isSure) continue;
      for (const { entry } of lineage.placesIn(queue, 'ready')) entry.isLevelSure = false;
    }
    this.knowledge.learn();
    this.#fates.crowd(queue);
  }

  /** Whether a message that may be ready in a queue has been in another one, or may be. Two visits could not be told apart. */
  hasBeenIn(queue: ModelQueue, other: ModelQueue): boolean {
    this.#fates.pass();
    const states = ['ready', 'deferred', 'delayed', 'out', 'limbo'] as const;
    return [...queue.lineages].some((lineage) => {
      const isIn = states.some((state) => lineage.placesIn(other, state).length > 0);
      return isIn || lineage.places.some((place) => isPlace(place) && hasAncestorIn(place.entry, other));
    });
  }

  /** All that is ready in a queue is being moved. Answers what to call when nothing of that is left there. */
  redrives(queue: ModelQueue, target: ModelQueue): () => void {
    const startedMs = this.#world.now();
    const sure = [...queue.lineages].filter((lineage) => lineage.isSurely(queue, 'ready'));
    const entries = sure.flatMap((lineage) => lineage.placesIn(queue, 'ready')).map(({ entry }) => entry);
    const ready = new Set(entries.filter(({ isVisible }) => isVisible === 'yes'));
    this.knowledge.learn();
    this.#fates.pass();
    queue.redrive = { target, tick: this.knowledge.lastTick };
    this.knowledge.learn();
    return () => {
      this.#fates.pass();
      for (const lineage of [...queue.lineages]) {
        const isLeft = (place: Place): boolean => ready.has(place.entry) && place.toMs < startedMs;
        const left = lineage.placesIn(queue, 'ready').filter(isLeft);
        if (left.length > 0) this.knowledge.narrow(lineage, (place) => !left.includes(place as Place));
      }
    };
  }

  /** That is over. */
  redriven(queue: ModelQueue): void {
    this.#fates.pass();
    queue.redrive = undefined;
  }

  declared(queue: ModelQueue): void {
    this.#fates.pass();
    this.knowledge.queues.set(queue.name, queue);
  }

  /** A queue is gone, with all that is in it. */
  deleted(queue: ModelQueue): void {
    this.#fates.pass();
    this.knowledge.queues.delete(queue.name);
    for (const lineage of [...queue.lineages]) {
      const left = lineage.places.filter((place) => !isPlace(place) || place.entry.queue !== queue);
      this.knowledge.put(lineage, left.includes(NOWHERE) ? left : [...left, NOWHERE]);
      // The driver waits until that is durable.
      lineage.past = [];
    }
  }

  /** The broker ended, and is there again. To be told of the end beforehand: `observe`. */
  restarted(how: RestartKind): void {
    if (how !== 'clean') this.#doubt();
    if (how === 'clean') {
      // Before an orderly end everybody gives back what he has.
      for (const lineage of this.knowledge.lineages.values()) this.#giveBack(lineage, this.#observedMs);
      this.#fates.end();
    }
    for (const lineage of this.knowledge.lineages.values()) {
      // If the newer message is lost, the older one is the last.
      if (lineage.isReplaced) this.knowledge.widen(lineage, [NOWHERE]);
      lineage.isReplaced = false;
    }
    this.knowledge.restarted(how);
    for (const queue of this.knowledge.queues.values()) {
      queue.consumers = [];
      // "After a restart the time begins again."
      queue.usedMs = [how === 'clean' ? queue.usedMs[0] : this.#observedMs, this.#world.now()];
      queue.ids = queue.ids.filter((one) => one.survives);
      // What was handed out is back.
      this.#fates.crowd(queue);
    }
  }

  /** Somebody gives back what he has, at some time since. */
  #giveBack(lineage: Lineage, sinceMs: number): void {
    const place = lineage.places[0];
    if (place === undefined || !isPlace(place) || place.state !== 'out') return;
    this.knowledge.put(lineage, [this.#back(place, false, sinceMs)]);
    this.#fates.crowd(place.entry.queue);
  }

  /** Ids of messages that were not confirmed may be forgotten, with them. */
  #doubt(): void {
    for (const queue of this.knowledge.queues.values()) {
      for (const one of queue.ids) if (one.lineage.confirmedMs === Number.POSITIVE_INFINITY) one.isSure = false;
    }
  }

  // ---- Units ------------------------------------------------------------------------------------------------------

  /** A delivery is settled as part of a unit. */
  removed(unit: Unit, lineage: Lineage): void {
    unit.removed.push(lineage.out.entry);
    lineage.units.push(unit);
  }

  /** A unit is durable. */
  happened(unit: Unit): void {
    unit.happened = true;
    for (const lineage of unit.published) this.confirmed(lineage.id);
  }

  /** Everything was looked for: what was not found must be gone. */
  checkNothingLost(): void {
    for (const { id, places } of this.knowledge.lineages.values()) {
      const isFound = places.some((place) => !isPlace(place) || isKept(place)) || places.every(isOut);
      assert(isFound, `${id} is lost: it can only be ${tell(places)}`);
    }
  }
}

/** How long what came back waits. @param count of failures for a failure, else of returns */
function retryMs({ retry }: ModelRules, failed: boolean, count: number): number {
  const isMeant = retry.type === 'all' || retry.type === (failed ? 'failed' : 'returned');
  return isMeant ? Math.min(retry.minMs * count, retry.maxMs) : 0;
}

function isOut(place: Whereabouts): boolean {
  return isPlace(place) && place.state === 'out';
}

/** Its queue keeps it, as long as its dead letter exchange is not there: which it never is. */
function isKept(place: Place): boolean {
  const rule = place.entry.queue.rules.deadLetter;
  return place.state === 'limbo' && rule?.keeps === true && rule.exchange !== '';
}

function hasAncestorIn(entry: Entry, queue: ModelQueue): boolean {
  for (let parent = entry.parent; parent !== undefined; parent = parent.parent) if (parent.queue === queue) return true;
  return false;
}
