/**
 * The model of a broker with rules: every message, where it may be, and what may happen to it. Written from docs/queue-rules.md
 * and docs/order.md, as plainly as possible; it shares no code with the core. What the broker does on its own, and when, the
 * model does not predict: it keeps all possibilities, and each delivery, count and confirm rules some out. None left is a fault.
 */
import { strict as assert } from 'node:assert';
import type { RestartKind } from '../script.ts';
import { Fates } from './fates.ts';
import { isAt, Knowledge, type World } from './knowledge.ts';
import { type ModelConsumer, type ModelQueue, surelyTakes } from './model-queue.ts';
import { goesBefore } from './order.ts';
import { Entry, Lineage, NOWHERE, type Place, type Span, type Whereabouts } from './place.ts';

export interface Published {
  readonly id: number;
  readonly persistent: boolean;
  readonly priority: number;
  /** Infinity = none of its own. */
  readonly ttlMs: number;
}

export class Model {
  readonly knowledge: Knowledge;
  readonly #world: World;
  readonly #fates: Fates;

  constructor(world: World) {
    this.#world = world;
    this.knowledge = new Knowledge(world);
    this.#fates = new Fates(this.knowledge);
  }

  /** Time has passed, or the counts are to be looked at. */
  observe(): void {
    this.#fates.pass();
    this.knowledge.compare();
  }

  // ---- Publishing -------------------------------------------------------------------------------------------------

  /** A message is about to be published to a queue. Answers whether its publisher must get a refusal. */
  publish(queue: ModelQueue, { id, persistent, priority, ttlMs }: Published): boolean {
    this.#fates.pass();
    const { knowledge } = this;
    const now = this.#world.now();
    const ready = this.#world.ready(queue.name);
    const lineage = new Lineage(id, persistent, priority);
    knowledge.lineages.set(id, lineage);
    const refused = queue.refuses && ready >= queue.rules.maxLength;
    if (refused && !queue.handsOn) {
      knowledge.put(lineage, [NOWHERE]);
      return true;
    }
    const waits = persistent && queue.logged;
    const tick = knowledge.tick();
    const entry = new Entry({
      lineage,
      queue,
      level: Math.min(priority, queue.rules.maxPriority),
      fromTick: tick,
      toTick: tick,
      fromMs: now,
      toMs: now,
      // What is not logged waits for what is before it.
      isVisible: waits ? 'no' : queue.logged ? 'perhaps' : 'yes',
      isLate: false,
      ownExpiryMs: now + ttlMs,
      key: queue.name,
      deaths: [],
      parent: undefined,
      gaveUpTick: undefined,
    });
    const place: Place = { entry, state: 'ready', returns: [0, 0], fromMs: now, toMs: now };
    knowledge.put(lineage, [place]);
    if (waits) lineage.past = [{ place: NOWHERE, untilMs: Number.POSITIVE_INFINITY, serial: 0 }];
    if (refused) this.#fates.die(place, 'maxlen');
    else this.#fates.dropHead(queue, ready + 1);
    return refused;
  }

  /** The broker says that a message is as safe as was asked. */
  confirmed(id: number): void {
    const lineage = this.knowledge.lineages.get(id);
    if (lineage === undefined) return;
    const entries = [...lineage.places, ...lineage.past.map(({ place }) => place)];
    for (const place of entries) if (place !== NOWHERE && place.entry.isVisible === 'no') place.entry.isVisible = 'yes';
    lineage.past = lineage.past.filter(({ place }) => place !== NOWHERE);
  }

  #lineage(id: number): Lineage {
    const lineage = this.knowledge.lineages.get(id);
    assert(lineage !== undefined, `nobody published ${id}`);
    return lineage;
  }

  // ---- Deliveries -------------------------------------------------------------------------------------------------

  /** A message is handed out: may it be? */
  delivered(consumer: ModelConsumer, id: number, history: string, returns: number): Lineage {
    this.#fates.pass();
    const { queue } = consumer;
    const lineage = this.#lineage(id);
    const what = `${queue.name} -> ${id}`;
    const place = lineage.placesIn(queue, 'ready').find(({ entry }) => entry.history === history);
    assert(place !== undefined, `${what} [${history}]: it can only be ${tell(lineage.places)}`);
    const { entry } = place;
    const now = this.#world.now();
    assert(entry.isVisible !== 'no', `${what}: it is not durable yet`);
    const [least, most] = place.returns;
    assert(least <= returns && returns <= most, `${what}: it came back ${least} to ${most} times, not ${returns}`);
    // "A time to live of 0 means: to a consumer that is ready, or not at all."
    const atOnce = returns === 0 && entry.expiresFromMs <= entry.fromMs;
    assert(atOnce || now < entry.expiresToMs, `${what}: it expired ${now - entry.expiresToMs} ms ago`);
    const before = this.#surelyBefore(entry);
    assert(before === undefined, `${what}: ${before?.id} goes before it`);
    this.#checkTurn(consumer, what);
    entry.toTick = Math.min(entry.toTick, this.knowledge.tick());
    entry.toMs = Math.min(entry.toMs, now);
    entry.isVisible = 'yes';
    const out: Place = { ...place, state: 'out', returns: [returns, returns], fromMs: now, toMs: now };
    this.knowledge.put(lineage, consumer.settled ? [NOWHERE] : [out]);
    consumer.credit--;
    return lineage;
  }

  /** A message that certainly can be delivered, and certainly goes before an entry. */
  #surelyBefore(entry: Entry): Lineage | undefined {
    for (const other of entry.queue.lineages) {
      if (other !== entry.lineage && this.#isDeliverable(other, entry.queue, (one) => goesBefore(one, entry)))
        return other;
    }
    return undefined;
  }

  /** It is in the queue, can be handed out now, and is such as `is` says: all of that for certain. */
  #isDeliverable(lineage: Lineage, queue: ModelQueue, is: (entry: Entry) => boolean): boolean {
    const now = this.#world.now();
    return lineage.places.every((place) => {
      if (!isAt(place, queue, 'ready') || place === NOWHERE) return false;
      return place.entry.isVisible === 'yes' && now < place.entry.expiresFromMs && is(place.entry);
    });
  }

  /** "Among consumers: highest priority with credit first"; those that take on request go before all others. */
  #checkTurn(consumer: ModelConsumer, what: string): void {
    for (const other of consumer.queue.consumers) {
      if (other === consumer || consumer.pull || !surelyTakes(other)) continue;
      assert(!other.pull, `${what}: somebody asked for a message, and a consumer gets it`);
      assert(other.priority <= consumer.priority, `${what}: a consumer of a higher priority has credit`);
    }
  }

  /** Nothing has happened for a while: nothing is left that somebody would take. */
  checkNothingStuck(): void {
    this.observe();
    for (const queue of this.knowledge.queues.values()) {
      if (!queue.consumers.some(surelyTakes)) continue;
      for (const lineage of queue.lineages) {
        const stuck = this.#isDeliverable(lineage, queue, () => true);
        assert(!stuck, `${queue.name}: ${lineage.id} could be delivered, and is not`);
      }
    }
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
    this.#fates.die(outOf(lineage), 'rejected');
    return this.#forGood(lineage);
  }

  /** Back to its place. @param ready messages in the queue before it. Answers how many there are then. */
  returned(lineage: Lineage, ready: number): number {
    this.#fates.pass();
    const { entry, returns } = outOf(lineage);
    const back: Span = [returns[0] + 1, returns[1] + 1];
    const now = this.#world.now();
    this.knowledge.put(lineage, [{ entry, state: 'ready', returns: back, fromMs: now, toMs: now }]);
    return this.#fates.dropHead(entry.queue, ready + 1);
  }

  #forGood(lineage: Lineage): () => void {
    const serial = this.knowledge.changes;
    return () => this.knowledge.forget(lineage, serial);
  }

  /** All that is ready is deleted; answers between how many that is. */
  purged(queue: ModelQueue): Span {
    this.#fates.pass();
    const bounds = this.knowledge.bounds(queue, 'ready');
    for (const lineage of [...queue.lineages]) {
      const left = lineage.places.filter((place) => !isAt(place, queue, 'ready'));
      if (left.length < lineage.places.length)
        this.knowledge.put(lineage, left.includes(NOWHERE) ? left : [...left, NOWHERE]);
    }
    return bounds;
  }

  // ---- Queues -----------------------------------------------------------------------------------------------------

  declared(queue: ModelQueue): void {
    this.#fates.pass();
    this.knowledge.queues.set(queue.name, queue);
  }

  /** A queue is gone, with all that is in it. */
  deleted(queue: ModelQueue): void {
    this.#fates.pass();
    this.knowledge.queues.delete(queue.name);
    for (const lineage of [...queue.lineages]) {
      const left = lineage.places.filter((place) => place === NOWHERE || place.entry.queue !== queue);
      this.knowledge.put(lineage, left.includes(NOWHERE) ? left : [...left, NOWHERE]);
      // The driver waits until that is durable.
      lineage.past = [];
    }
  }

  /** The broker ended, and is there again. To be told of the end beforehand: `observe`. */
  restarted(how: RestartKind): void {
    if (how === 'clean') {
      // Before an orderly end everybody gives back what he has.
      for (const lineage of this.knowledge.lineages.values()) this.#giveBack(lineage);
      this.#fates.end();
    }
    this.knowledge.restarted(how);
    for (const queue of this.knowledge.queues.values()) {
      queue.consumers = [];
      // What was handed out is back.
      this.#fates.crowd(queue);
    }
  }

  #giveBack(lineage: Lineage): void {
    const place = lineage.places[0];
    if (place === undefined || place === NOWHERE || place.state !== 'out') return;
    this.knowledge.put(lineage, [{ ...place, state: 'ready' }]);
    this.#fates.crowd(place.entry.queue);
  }

  /** Everything was looked for: what was not found must be gone. */
  checkNothingLost(): void {
    for (const { id, places } of this.knowledge.lineages.values()) {
      const isFound = places.some((place) => place === NOWHERE || isKept(place)) || places.every(isOut);
      assert(isFound, `${id} is lost: it can only be ${tell(places)}`);
    }
  }
}

function isOut(place: Whereabouts): boolean {
  return place !== NOWHERE && place.state === 'out';
}

/** Its queue keeps it, as long as its dead letter exchange is not there: which it never is. */
function isKept(place: Place): boolean {
  const rule = place.entry.queue.rules.deadLetter;
  return place.state === 'limbo' && rule?.keeps === true && rule.exchange !== '';
}

function outOf(lineage: Lineage): Place {
  const place = lineage.places[0];
  assert(place !== undefined && place !== NOWHERE && lineage.isSure && place.state === 'out');
  return place;
}

function tell(places: readonly Whereabouts[]): string {
  return places
    .map((place) =>
      place === NOWHERE ? NOWHERE : `${place.state} in ${place.entry.queue.name} [${place.entry.history}]`,
    )
    .join(' or ');
}
