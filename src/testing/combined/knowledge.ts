/** What the model knows: the places each message may be in now, and those it may fall back to. What is seen rules some out. */
import { strict as assert } from 'node:assert';
import type { RestartKind } from '../script.ts';
import type { ModelQueue } from './model-queue.ts';
import {
  type Entry,
  isPlace,
  type Lineage,
  NOWHERE,
  type Place,
  type PlaceState,
  type Span,
  samePlace,
  UNPUBLISHED,
  type Whereabouts,
} from './place.ts';

/** So many milliseconds after the last confirm, and without a crash, the broker has done what it was about to do, and it is on disk. */
export const QUIET_MS = 40;

/** What the model may ask the broker and the world. */
export interface World {
  now(): number;
  /** Whether the broker says that there is such a queue. */
  exists(queue: string): boolean;
  /** Messages that the broker says are ready. */
  ready(queue: string): number;
  /** Whether the broker says that a message with this id is a repeat. */
  isRepeat(queue: string, id: string): boolean;
  /** When a publisher last waited for a confirm: until then the disk was busy. */
  busyMs(): number;
}

export class Knowledge {
  readonly world: World;
  readonly queues = new Map<string, ModelQueue>();
  readonly lineages = new Map<number, Lineage>();
  #tick = 0;
  #changes = 0;

  constructor(world: World) {
    this.world = world;
  }

  /** Something is known that is no change of places. */
  learn(): void {
    this.#changes++;
  }

  /** A point in the order of all that happens. */
  tick(): number {
    return ++this.#tick;
  }

  get lastTick(): number {
    return this.#tick;
  }

  /** Numbers every change of a message's places. */
  get changes(): number {
    return this.#changes;
  }

  // ---- Changes ----------------------------------------------------------------------------------------------------

  /** A message may be in these places now, and nowhere else; what it leaves may still be what the disk has. */
  put(lineage: Lineage, places: readonly Whereabouts[]): void {
    const untilMs = this.world.now();
    const serial = ++this.#changes;
    const left = lineage.places.filter(isPlace).filter((place) => !places.includes(place));
    lineage.past = [...lineage.past, ...left.map((place) => ({ place, untilMs, serial }))];
    for (const place of left) place.entry.queue.lineages.delete(lineage);
    lineage.places = places;
    for (const place of places) if (isPlace(place)) place.entry.queue.lineages.add(lineage);
    assert(places.length > 0, `${lineage.id} is in none of the places it may be in`);
  }

  /** A message may be in more places. */
  widen(lineage: Lineage, more: readonly Whereabouts[]): boolean {
    const all = merged([...lineage.places, ...more]);
    if (all.length === lineage.places.length && all.every((place) => lineage.places.includes(place))) return false;
    this.put(lineage, all);
    return true;
  }

  /** It was seen that a message is in one of these of its places. */
  narrow(lineage: Lineage, is: (place: Whereabouts) => boolean): void {
    const left = lineage.places.filter(is);
    if (left.length < lineage.places.length) this.put(lineage, left);
  }

  /** What was before the change `serial` is no longer what the disk has. */
  forget(lineage: Lineage, serial: number): void {
    lineage.past = lineage.past.filter((past) => past.serial > serial);
  }

  /** Time passes: what was long ago is on disk. */
  settleDown(): void {
    const now = this.world.now();
    const isQuiet = now - this.world.busyMs() >= QUIET_MS;
    for (const lineage of this.lineages.values()) {
      if (isQuiet && lineage.past.some(({ untilMs }) => now - untilMs >= QUIET_MS)) {
        lineage.past = lineage.past.filter(({ untilMs }) => now - untilMs < QUIET_MS);
      }
      const only = lineage.places[0];
      if (lineage.isSure && only !== undefined && isPlace(only)) this.#settlePlace(only, now, isQuiet);
      // Nothing brings it back.
      if (lineage.past.length === 0 && lineage.places.every((place) => !isPlace(place)))
        this.lineages.delete(lineage.id);
    }
  }

  /** It is there, so it has come. */
  #settlePlace({ entry }: Place, now: number, isQuiet: boolean): void {
    if (entry.toMs > now) {
      entry.toMs = now;
      entry.toTick = this.#tick;
    }
    if (isQuiet && entry.isVisible === 'perhaps' && now - entry.toMs >= QUIET_MS) entry.isVisible = 'yes';
  }

  // ---- Counts -----------------------------------------------------------------------------------------------------

  /** Between how many messages are in a queue in a state. */
  bounds(queue: ModelQueue, ...states: readonly PlaceState[]): Span {
    let least = 0;
    let most = 0;
    for (const { places } of queue.lineages) {
      const isThere = (place: Whereabouts): boolean => states.some((state) => isAt(place, queue, state));
      if (places.some(isThere)) most++;
      if (places.every(isThere)) least++;
    }
    return [least, most];
  }

  /** Between how many bytes are ready in a queue. */
  readyBytes(queue: ModelQueue): Span {
    let least = 0;
    let most = 0;
    for (const lineage of queue.lineages) {
      const sizes = lineage.placesIn(queue, 'ready').map(({ entry }) => entry.bytes);
      if (sizes.length === lineage.places.length) least += Math.min(...sizes.map(([from]) => from));
      if (sizes.length > 0) most += Math.max(...sizes.map(([, to]) => to));
    }
    return [least, most];
  }

  /** Compare the counts of ready messages with what the broker says, and learn from them. */
  compare(): void {
    for (let again = true; again; ) {
      again = false;
      for (const queue of this.queues.values()) if (this.#compare(queue)) again = true;
    }
  }

  #compare(queue: ModelQueue): boolean {
    const [least, most] = this.bounds(queue, 'ready');
    const ready = this.world.ready(queue.name);
    assert(least <= ready && ready <= most, `${queue.name}: ${ready} are ready, it must be ${least} to ${most}`);
    if (least === most || (ready > least && ready < most)) return false;
    for (const lineage of [...queue.lineages]) {
      if (lineage.placesIn(queue, 'ready').length === 0 || lineage.isSurely(queue, 'ready')) continue;
      this.narrow(lineage, (place) => isAt(place, queue, 'ready') === (ready === most));
    }
    return true;
  }

  // ---- Units ------------------------------------------------------------------------------------------------------

  /** An entry was seen: so units that it was part of have happened, or have not. */
  judge(entry: Entry): void {
    for (const unit of entry.lineage.units) {
      const happened = unit.published.includes(entry.lineage);
      if (!happened && !unit.removed.includes(entry)) continue;
      if (unit.happened === happened) continue;
      assert(
        unit.happened === undefined,
        `a part of what happens as a whole did${happened ? '' : ' not'}: ${entry.lineage.id}`,
      );
      unit.happened = happened;
      for (const { places, id } of unit.published) {
        const isMeant = (place: Whereabouts): boolean => (place === UNPUBLISHED) !== happened;
        const one = this.lineages.get(id);
        if (one !== undefined && places.some(isMeant)) this.narrow(one, isMeant);
      }
    }
  }

  // ---- Restarts ---------------------------------------------------------------------------------------------------

  /** The broker ended and was started again. */
  restarted(how: RestartKind): void {
    for (const [name, queue] of this.queues) if (!queue.logged) this.queues.delete(name);
    for (const lineage of this.lineages.values()) {
      const past = how === 'clean' ? [] : lineage.past.map(({ place }) => place);
      const found = [...lineage.places, ...past].map((place) => this.#afterRestart(lineage, place));
      this.put(lineage, merged(found));
      lineage.past = [];
      if (lineage.isSure) continue;
      // What may have gone on may do so again, and come later then.
      for (const place of lineage.places) if (isPlace(place)) place.entry.comesAgain();
    }
  }

  #afterRestart(lineage: Lineage, place: Whereabouts): Whereabouts {
    if (!isPlace(place)) return place;
    if (!place.entry.queue.logged || !lineage.persistent) return NOWHERE;
    const { entry } = place;
    entry.isVisible = 'yes';
    const state = place.state === 'out' ? 'ready' : place.state;
    // Whoever had it may have given it back as the broker ended.
    const returns: Span = [place.returns[0], place.returns[1] + 1];
    return { ...place, state, returns, toMs: this.world.now() };
  }
}

export function isAt(place: Whereabouts, queue: ModelQueue, state: PlaceState): boolean {
  return isPlace(place) && place.entry.queue === queue && place.state === state;
}

/** The same places are one, whose counts may be those of either. */
function merged(places: readonly Whereabouts[]): Whereabouts[] {
  const different: Whereabouts[] = [];
  for (const place of places) {
    const at = different.findIndex((other) => samePlace(other, place));
    const known = different[at];
    if (known === undefined) different.push(place);
    else if (isPlace(known) && isPlace(place)) different[at] = either(known, place);
  }
  return different;
}

function either(known: Place, place: Place): Place {
  const returns = span(known.returns, place.returns);
  const failures = span(known.failures, place.failures);
  const isKnown = same(returns, known.returns) && same(failures, known.failures);
  return isKnown ? known : { ...known, returns, failures };
}

function span(a: Span, b: Span): Span {
  return [Math.min(a[0], b[0]), Math.max(a[1], b[1])];
}

function same(a: Span, b: Span): boolean {
  return a[0] === b[0] && a[1] === b[1];
}
