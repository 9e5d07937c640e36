/**
 * What other rules would do to queues, without doing it: how many messages they would give up. Looks at queues in slices, and
 * at bodies only where expiry asks for it, a bounded number of them. A queue in use goes on changing meanwhile: the
 * figures are those of the moment it was looked at.
 */
import type { Engine } from '../engine.ts';
import { hubOf } from '../hub.ts';
import { exchangeName, keyText, Message } from '../message.ts';
import { BodyWindow } from '../queue/body-window.ts';
import { expiryOf } from '../queue/expiry.ts';
import type { Lane } from '../queue/lane.ts';
import type { Queue } from '../queue/queue.ts';
import { Slices } from '../slices.ts';
import type { PreviewedMessage, QueuePreview, RuleChange, RulesPreview } from './door.ts';
import type { Effective } from './effective.ts';

/** Entries looked at between two looks at the clock. */
const STRIDE = 1024;
/** Queues whose messages are shown. */
const SHOWN_QUEUES_MAX = 100;

/** What would go because there is too much of it. */
interface Trimmed {
  readonly dropped: Map<Lane, number>;
  overLength: number;
  overRing: number;
}

export class Preview {
  readonly #engine: Engine;
  readonly #slices: Slices;
  readonly #view = new Message();
  /** Bodies that may still be read. */
  #bodiesLeft: number;
  /** Messages to be shown of the queue in turn, for each reason. */
  #shownMax = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#slices = new Slices(engine.clock, engine.limits.sliceMs);
    this.#bodiesLeft = engine.limits.previewBodiesMax;
  }

  /** @param effectiveOf what would be in force for a queue */
  async of(queues: Iterable<Queue>, effectiveOf: (queue: Queue) => Effective): Promise<RulesPreview> {
    const preview: RulesPreview = {
      ...{ queues: 0, overLength: 0, overRing: 0, expired: 0, abandoned: 0, exact: true },
      items: [],
    };
    for (const queue of queues) {
      if (this.#slices.over) await this.#slices.next();
      if (queue.deleted) continue;
      const effective = effectiveOf(queue);
      const changes = changesBetween(queue.effective, effective);
      if (changes.length === 0 && queue.effective.policy === effective.policy) continue;
      this.#shownMax = preview.queues < SHOWN_QUEUES_MAX ? this.#engine.limits.previewMessagesMax : 0;
      const item = await this.#queue(queue, effective, changes);
      preview.queues++;
      preview.overLength += item.overLength;
      preview.overRing += item.overRing;
      preview.expired += item.expired;
      preview.abandoned += item.abandoned;
      preview.exact &&= item.exact;
      if (preview.items.length < this.#engine.limits.listItemsMax) preview.items.push(item);
    }
    return preview;
  }

  async #queue(queue: Queue, effective: Effective, changes: RuleChange[]): Promise<QueuePreview> {
    const { rules, policy, operatorPolicy, problems } = effective;
    const { ready } = queue;
    const messages: PreviewedMessage[] = [];
    const { dropped, overLength, overRing } = await this.#trimmed(queue, effective, messages);
    const { expired, exact } = await this.#expired(queue, effective, dropped, messages);
    const abandoned = rules.deadLetter === undefined ? queue.givenUp : 0;
    const deadLetterExchange = rules.deadLetter?.exchange;
    return {
      ...{ queue: queue.name, changes, policy, operatorPolicy, ready, overLength, overRing, expired, messages },
      ...{ exact, abandoned, deadLetterExchange, problems },
    };
  }

  /** How many messages of each lane the maximum length and the ring size would make go, as `Bound.trim` chooses them. */
  async #trimmed(queue: Queue, { rules }: Effective, messages: PreviewedMessage[]): Promise<Trimmed> {
    const trimmed: Trimmed = { dropped: new Map(), overLength: 0, overRing: 0 };
    const { overflow, maxLength, maxLengthBytes, ringSize } = rules;
    const hasBytes = maxLengthBytes !== Number.POSITIVE_INFINITY;
    const first: number[] = [];
    let count = queue.ready;
    let bytes = hasBytes ? queue.bytes - queue.lanes.unreadyBytes : 0;
    for (const lane of [...queue.lanes.all].reverse()) {
      let looked = 0;
      for (const position of lane.ready()) {
        const overflows = overflow === 'drop-head' && (count > maxLength || bytes > maxLengthBytes);
        if (!overflows && count <= ringSize) break;
        count--;
        if (hasBytes) bytes -= lane.lengthOf(position);
        if (overflows) trimmed.overLength++;
        else trimmed.overRing++;
        trimmed.dropped.set(lane, ++looked);
        if (first.length < this.#shownMax) first.push(lane.offset + position);
        if (looked % STRIDE === 0 && this.#slices.over) await this.#slices.next();
      }
    }
    const window = await BodyWindow.read(queue, first.values());
    this.#bodiesLeft -= window.positions.length;
    for (let n = 0; n < window.positions.length; n++) {
      messages.push(this.#show(window, n, n < trimmed.overLength ? 'maxlen' : 'ring'));
    }
    return trimmed;
  }

  /** How many of the others would have expired, as `Expiry.run` finds them. */
  async #expired(
    queue: Queue,
    { rules }: Effective,
    dropped: ReadonlyMap<Lane, number>,
    messages: PreviewedMessage[],
  ): Promise<{ expired: number; exact: boolean }> {
    let expired = 0;
    const looksAtHead =
      queue.expires || rules.messageTtlMs !== Number.POSITIVE_INFINITY || queue.rules.deadLetter !== rules.deadLetter;
    if (!looksAtHead) return { expired, exact: true };
    for (const lane of queue.lanes.all) {
      const positions = after(lane.ready(), dropped.get(lane) ?? 0, lane.offset);
      for (let goesOn = true; goesOn; ) {
        if (this.#bodiesLeft <= 0) return { expired, exact: false };
        const window = await BodyWindow.read(queue, positions);
        const { length } = window.positions;
        goesOn = length > 0;
        this.#bodiesLeft -= length;
        for (let n = 0; n < length && goesOn; n++) {
          window.show(n, this.#view);
          goesOn = expiryOf(this.#view, rules.messageTtlMs) <= this.#engine.now();
          if (goesOn && ++expired <= this.#shownMax) messages.push(this.#show(window, n, 'expired'));
        }
      }
    }
    return { expired, exact: true };
  }

  #show(window: BodyWindow, n: number, reason: PreviewedMessage['reason']): PreviewedMessage {
    const view = this.#view;
    const bytes = window.show(n, view);
    const { messageId: id } = hubOf(this.#engine.formats, view);
    const messageId = typeof id === 'string' ? id : undefined;
    const { priority, receivedAtMs } = view;
    return { reason, exchange: exchangeName(view), key: keyText(view), messageId, priority, bytes, receivedAtMs };
  }
}

/** Positions in the queue of a lane's ready entries, without the first `count`. */
function* after(ready: Iterable<number>, count: number, offset: number): IterableIterator<number> {
  let n = 0;
  for (const position of ready) if (n++ >= count) yield position + offset;
}

function changesBetween(before: Effective, after: Effective): RuleChange[] {
  if (before.table === after.table) return [];
  const names = new Set([...Object.keys(before.table), ...Object.keys(after.table)]);
  return [...names]
    .map((rule) => ({ rule, before: before.table[rule], after: after.table[rule] }))
    .filter((change) => change.before !== change.after);
}
