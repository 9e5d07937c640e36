/** Judges deliveries: whether a message may be handed out, to that consumer, now and before all others. */
import { strict as assert } from 'node:assert';
import { TURN_MS } from './fates.ts';
import { isAt, type Knowledge, QUIET_MS } from './knowledge.ts';
import { type ModelConsumer, type ModelQueue, matches, surelyTakes } from './model-queue.ts';
import { goesBefore } from './order.ts';
import { type Entry, isPlace, type Lineage, NOWHERE, type Place, type Span, tell } from './place.ts';

/** What a consumer sees of a delivery. */
export interface Delivery {
  readonly id: number;
  readonly history: string;
  readonly returns: number;
  readonly failures: number;
}

export class Judge {
  readonly #knowledge: Knowledge;

  constructor(knowledge: Knowledge) {
    this.#knowledge = knowledge;
  }

  #lineage(id: number): Lineage {
    const lineage = this.#knowledge.lineages.get(id);
    assert(lineage !== undefined, `nobody published ${id}`);
    return lineage;
  }

  /** A message is handed out: may it be? */
  delivered(consumer: ModelConsumer, { id, history, returns, failures }: Delivery): Lineage {
    const { queue } = consumer;
    const lineage = this.#lineage(id);
    const what = `${queue.name} -> ${id}`;
    const place = lineage.placesIn(queue, 'ready').find(({ entry }) => entry.history === history);
    assert(place !== undefined, `${what} [${history}]: it can only be ${tell(lineage.places)}`);
    const { entry } = place;
    const now = this.#knowledge.world.now();
    assert(entry.isVisible !== 'no', `${what}: it is not durable yet`);
    assert(isWithin(returns, place.returns), `${what}: it came back ${place.returns} times, not ${returns}`);
    assert(isWithin(failures, place.failures), `${what}: it failed ${place.failures} times, not ${failures}`);
    // "A time to live of 0 means: to a consumer that is ready, or not at all."
    const atOnce = returns === 0 && entry.expiresFromMs <= entry.fromMs;
    assert(atOnce || now < entry.expiresToMs + TURN_MS, `${what}: it expired ${now - entry.expiresToMs} ms ago`);
    this.#knowledge.judge(entry);
    const before = this.#surelyBefore(entry, consumer);
    assert(before === undefined, `${what}: ${before?.id} goes before it`);
    assert(matches(consumer, lineage), `${what}: the filter of the consumer does not let it pass`);
    this.#checkTurn(consumer, lineage, what);
    this.#checkHeld(consumer, lineage, what);
    entry.toTick = Math.min(entry.toTick, this.#knowledge.tick());
    entry.toMs = Math.min(entry.toMs, now);
    entry.isVisible = 'yes';
    const counts: Pick<Place, 'returns' | 'failures'> = { returns: [returns, returns], failures: [failures, failures] };
    const out: Place = { ...place, state: 'out', ...counts, fromMs: now, toMs: now };
    this.#knowledge.put(lineage, consumer.settled ? [NOWHERE] : [out]);
    consumer.credit--;
    if (consumer.pull && consumer.credit === 0) queue.usedMs = [now, now];
    return lineage;
  }

  /** A message that certainly can be delivered, and certainly goes before an entry. */
  #surelyBefore(entry: Entry, consumer: ModelConsumer): Lineage | undefined {
    for (const other of entry.queue.lineages) {
      // Another group may be somebody else's.
      const mayHave = matches(consumer, other) && (other.group === 0 || other.group === entry.lineage.group);
      if (
        other !== entry.lineage &&
        mayHave &&
        this.#isDeliverable(other, entry.queue, (one) => goesBefore(one, entry))
      )
        return other;
    }
    return undefined;
  }

  /** It is in the queue, can be handed out now, and is such as `is` says: all of that for certain. */
  #isDeliverable(lineage: Lineage, queue: ModelQueue, is: (entry: Entry) => boolean): boolean {
    const now = this.#knowledge.world.now();
    return lineage.places.every((place) => {
      if (!isAt(place, queue, 'ready') || !isPlace(place)) return false;
      return place.entry.isVisible === 'yes' && now < place.entry.expiresFromMs - TURN_MS && is(place.entry);
    });
  }

  /** "Among consumers: highest priority with credit first"; those that take on request go before all others. */
  #checkTurn(consumer: ModelConsumer, lineage: Lineage, what: string): void {
    // Where not everybody may have everything, one that waits for the disk is passed over.
    if (consumer.queue.isSelective || consumer.pull) return;
    for (const other of consumer.queue.consumers) {
      if (other === consumer || !surelyTakes(other) || !matches(other, lineage)) continue;
      assert(!other.pull, `${what}: somebody asked for a message, and a consumer gets it`);
      assert(other.priority <= consumer.priority, `${what}: a consumer of a higher priority has credit`);
    }
  }

  /** Nobody else works on a message of its group, or of a queue that serves one consumer at a time. */
  #checkHeld(consumer: ModelConsumer, lineage: Lineage, what: string): void {
    const { rules, consumers } = consumer.queue;
    for (const other of consumers) {
      if (other === consumer) continue;
      if (rules.singleActive) {
        assert.equal(other.out.size, 0, `${what}: another consumer holds messages`);
        assert(other.isOver || other.priority <= consumer.priority, `${what}: a consumer of a higher priority waits`);
      }
      if (lineage.group === 0) continue;
      for (const held of other.out.values()) {
        assert(held.group !== lineage.group, `${what}: another consumer holds ${held.id} of its group`);
      }
    }
  }

  /** Nothing has happened for a while: nothing is left that somebody would take. */
  checkNothingStuck(): void {
    const now = this.#knowledge.world.now();
    for (const queue of this.#knowledge.queues.values()) {
      if (queue.rules.singleActive || now - queue.releasedMs < QUIET_MS) continue;
      for (const lineage of queue.lineages) {
        const takes = (one: ModelConsumer): boolean => surelyTakes(one) && matches(one, lineage);
        const isWanted = lineage.group === 0 ? queue.consumers.some(takes) : queue.consumers.every(takes);
        const isOld = lineage.places.every((place) => isPlace(place) && now - place.toMs >= QUIET_MS);
        const stuck =
          isWanted && isOld && queue.consumers.length > 0 && this.#isDeliverable(lineage, queue, () => true);
        assert(!stuck, `${queue.name}: ${lineage.id} could be delivered, and is not`);
      }
    }
  }

  /** "It is noticed after the time and at most a quarter of it later." */
  checkTimeouts(): void {
    for (const { consumers, name } of this.#knowledge.queues.values()) {
      for (const { timeoutMs, out } of consumers) {
        for (const lineage of out.values()) {
          const heldMs = this.#knowledge.world.now() - lineage.out.fromMs;
          assert(
            heldMs <= timeoutMs * 1.25 + TURN_MS,
            `${name}: ${lineage.id} is out for ${heldMs} ms of ${timeoutMs}`,
          );
        }
      }
    }
  }
}

/** A count, with what is known of it. */
function isWithin(count: number, [least, most]: Span): boolean {
  return least <= count && count <= most;
}
