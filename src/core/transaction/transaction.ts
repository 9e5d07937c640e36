/**
 * A transaction: what it holds in memory, and its commit. A commit first asks whether every part can be done, while nothing has
 * changed yet; then all of it goes into one batch of the journal, which a crash leaves whole or not at all. Deliverable is what
 * is durable, so its messages become visible in the same moment; those that are not logged wait for the batch as well.
 */
import { strict as assert } from 'node:assert';
import { writeU32 } from '../bytes.ts';
import type { Client } from '../client.ts';
import {
  type Address,
  CONFIRM,
  MANDATORY,
  type OffsetCommit,
  type SettleOp,
  type Subscription as SubscriptionDoor,
  type Transaction as TransactionDoor,
  type TransactionInfo,
  type TransactionOptions,
} from '../door.ts';
import type { Engine } from '../engine.ts';
import { CoreError } from '../errors.ts';
import { FLAG_RETAIN, kept, type Message } from '../message.ts';
import { entryLogs, type Plan } from '../plan.ts';
import type { Producer } from '../producer.ts';
import type { Claim } from '../queue/bound.ts';
import type { Queue } from '../queue/queue.ts';
import { RECORD } from '../records.ts';
import { Subscription } from '../subscription.ts';
import type { FoundCommit, Group } from '../topic/group.ts';
import { ShareSubscription } from '../topic/share/subscription.ts';

/** Memory of a held publish beside its bytes, and of a held range of settlements. */
const PUBLISH_BYTES = 512;
const SETTLEMENT_BYTES = 96;
// What the journal needs for a commit at most, so that all of it finds room in one batch: headers and fixed parts of records.
const RECORD_BYTES = 64;
/** A settled delivery that shares no range with another, and its share of its record's head. */
const SETTLED_BYTES = 40;
/** What a delivery that is to wait takes besides: its new counts, its time, and the heads of their records. */
const DEFERRED_BYTES = 48;
/** A queue among the targets of a message: its number, there and in a TARGETSET, a GAP, a LOG_OPEN, a mark of the message. */
const TARGET_BYTES = 112;

interface Publish {
  readonly address: Address;
  readonly message: Message;
  readonly options: number;
  /** Bytes as stored. */
  readonly length: number;
  readonly heldAtMs: number;
}

/** Deliveries `first` to `last`, of which `count` are unsettled. */
interface Settlement {
  readonly subscription: Subscription;
  readonly first: number;
  last: number;
  readonly op: SettleOp;
  readonly deliverAtMs: number;
  count: number;
}

/** Offsets of a consumer group. */
interface Offsets {
  readonly group: string;
  readonly offsets: readonly OffsetCommit[];
  /** Bytes of their record at most. */
  readonly bytes: number;
}

export class Transaction implements TransactionDoor {
  readonly #client: Client;
  readonly #engine: Engine;
  readonly #producer: Producer;
  readonly #options: TransactionOptions;
  readonly #closed: () => void;
  readonly #id: number;
  #publishes: Publish[] = [];
  #settlements: Settlement[] = [];
  #offsets: Offsets[] = [];
  #settled = 0;
  #bytes = 0;
  #sinceMs = 0;
  #isClosed = false;
  /** Why an operator has rolled it back; its owner does not know yet. */
  #aborted: string | undefined;

  /** @param closed called once, when it ends */
  constructor(client: Client, producer: Producer, options: TransactionOptions, closed: () => void) {
    this.#client = client;
    this.#engine = client.engine;
    this.#producer = producer;
    this.#options = options;
    this.#closed = closed;
    this.#id = client.engine.openTransactions.nextId();
  }

  // ---- Holding ----------------------------------------------------------------------------------------------------

  publish(address: Address, message: Message, options: number): void {
    this.#checkOpen();
    if (message.sequence >= 0) {
      throw new CoreError(
        'invalid-argument',
        'a message of a transaction has no sequence number: it is all or nothing',
      );
    }
    const length = this.#producer.lengthOf(address, message);
    this.#take(1, length + PUBLISH_BYTES);
    const heldAtMs = this.#engine.now();
    this.#publishes.push({ address, message: kept(message), options: options & ~CONFIRM, length, heldAtMs });
  }

  settle(subscription: SubscriptionDoor, first: number, last: number, op: SettleOp, deliverAtMs = 0): number {
    if (subscription instanceof ShareSubscription) {
      throw new CoreError('not-supported', 'settling messages of a share group in a transaction');
    }
    assert(subscription instanceof Subscription, 'a subscription of somebody else');
    this.#checkOpen();
    if (deliverAtMs !== 0) subscription.checkTime(op, deliverAtMs);
    const count = subscription.unsettledIn(first, last);
    if (count === 0) return 0;
    const before = this.#settlements.at(-1);
    const isAlike = before?.subscription === subscription && before.op === op && before.deliverAtMs === deliverAtMs;
    const goesOn = isAlike && before.last + 1 === first;
    this.#take(count, goesOn ? 0 : SETTLEMENT_BYTES);
    this.#settled += count;
    if (goesOn) {
      before.last = last;
      before.count += count;
    } else {
      this.#settlements.push({ subscription, first, last, op, deliverAtMs, count });
    }
    return count;
  }

  commitOffsets(group: string, offsets: readonly OffsetCommit[]): void {
    this.#checkOpen();
    const { home } = this.#client;
    home.topology.topics.groups.use(home, group, (one) => one.find(offsets));
    const texts = offsets.reduce(
      (sum, { metadata = '' }) => sum + Buffer.byteLength(metadata),
      Buffer.byteLength(group),
    );
    const bytes = texts + RECORD_BYTES * (offsets.length + 1);
    this.#take(offsets.length, bytes);
    this.#offsets.push({ group, offsets: offsets.map((one) => ({ ...one })), bytes });
  }

  /** The offsets with what they are about. Throws when some cannot be committed now. */
  #foundOffsets(): [Group, FoundCommit[]][] {
    const { home } = this.#client;
    const { groups } = home.topology.topics;
    const opened: Group[] = [];
    try {
      return this.#offsets.map(({ group: name, offsets }) => {
        const group = groups.open(home, name);
        opened.push(group);
        const found = group.find(offsets);
        group.checkFor(this.#client, found);
        return [group, found];
      });
    } catch (error) {
      for (const group of opened) groups.tidy(group);
      throw error;
    }
  }

  #checkOpen(): void {
    assert(!this.#isClosed, 'the transaction has ended');
    if (this.#aborted !== undefined) throw new CoreError('precondition-failed', this.#aborted);
  }

  /** Make room for `items` more. Throws `limit-exceeded`. */
  #take(items: number, bytes: number): void {
    const { limits, openTransactions } = this.#engine;
    const { transactionItemsMax, transactionBytesMax } = limits;
    if (this.#publishes.length + this.#settled + items > transactionItemsMax) {
      throw new CoreError(
        'limit-exceeded',
        `a transaction of more than ${transactionItemsMax} publishes and settlements`,
      );
    }
    if (this.#bytes + bytes > transactionBytesMax) {
      throw new CoreError('limit-exceeded', `a transaction of more than ${transactionBytesMax} bytes`);
    }
    openTransactions.take(bytes);
    this.#bytes += bytes;
    if (this.#sinceMs === 0) this.#sinceMs = this.#engine.now();
  }

  rollback(): void {
    this.#aborted = undefined;
    this.#forget();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#forget();
    this.#closed();
  }

  #forget(): void {
    this.#engine.openTransactions.giveBack(this.#bytes);
    this.#publishes = [];
    this.#settlements = [];
    this.#offsets = [];
    this.#settled = 0;
    this.#bytes = 0;
    this.#sinceMs = 0;
  }

  // ---- The operator's side ----------------------------------------------------------------------------------------

  /** What it holds; undefined when that is nothing. */
  info(): TransactionInfo | undefined {
    if (this.#sinceMs === 0) return undefined;
    const { id, identity, vhost } = this.#client;
    return {
      id: this.#id,
      clientId: id,
      user: identity.user,
      vhost,
      publishes: this.#publishes.length,
      settlements: this.#settled,
      bytes: this.#bytes,
      sinceMs: this.#sinceMs,
    };
  }

  /** Roll it back without its owner's asking, who is told at the next call. */
  abort(detail: string): void {
    this.#forget();
    this.#aborted = detail;
  }

  // ---- The commit -------------------------------------------------------------------------------------------------

  commit(done: () => void): void {
    this.#checkOpen();
    const engine = this.#engine;
    if (engine.failure !== undefined) throw engine.failure;
    this.#checkSettlements();
    const plans = this.#prepare();
    const offsets = this.#foundOffsets();
    this.#clearTheWay();
    const isLogged = offsets.length > 0 || this.#isLogged(plans);
    const apply = (): void => {
      this.#apply(plans, isLogged);
      for (const [group, found] of offsets) group.commit(found, group.epoch);
    };
    // What goes back to its queue at once would do so after a crash as well: no part of the batch, and seen when the rest is.
    const now = engine.now();
    const back = this.#settlements.filter((settlement) => goesBack(settlement, now));
    this.#settlements = this.#settlements.filter((settlement) => !goesBack(settlement, now));
    const finish = (): void => {
      for (const settlement of back) settle(settlement);
      done();
    };
    const batch = isLogged ? engine.journal.atomically(this.#recordBytes(plans), apply) : 0;
    if (!isLogged) apply();
    this.#forget();
    engine.afterBatch(batch, finish);
  }

  /** Every delivery is still there to be settled, and once only. */
  #checkSettlements(): void {
    const inOrder = new Map<Subscription, Settlement[]>();
    for (const settlement of this.#settlements) {
      const { subscription, first, last, count } = settlement;
      if (subscription.source.deleted) continue;
      if (subscription.unsettledIn(first, last) !== count) {
        const which = `deliveries ${first} to ${last} of queue '${subscription.queue}'`;
        throw new CoreError('unknown-delivery', `some of ${which} went back to it before the commit`);
      }
      const others = inOrder.get(subscription);
      if (others === undefined) inOrder.set(subscription, [settlement]);
      else others.push(settlement);
    }
    for (const settlements of inOrder.values()) checkDistinct(settlements);
  }

  /** The plan of each publish. Throws when one cannot be done. */
  #prepare(): Plan[] {
    const claims = new Map<Queue, Claim>();
    const plans = this.#publishes.map(({ address, message, options, length }, n) => {
      try {
        const plan = this.#producer.prepare(address, message, length);
        if (plan.leadsNowhere && (options & MANDATORY) !== 0 && this.#options.unroutable === 'refuse') {
          throw new CoreError('unroutable', `exchange '${address.exchange}', key '${address.key.text}'`);
        }
        for (const queue of plan.guarded) claim(claims, queue, length);
        return plan;
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        throw new CoreError(error.code, `publish ${n + 1} of the transaction: ${error.detail ?? ''}`, { cause: error });
      }
    });
    if (this.#engine.blockedBy !== undefined)
      this.#engine.takeInAlarm(this.#publishes.reduce((sum, one) => sum + one.length, 0));
    return plans;
  }

  /** Let everything that queues have collected go before: the batch holds nothing of unknown size. */
  #clearTheWay(): void {
    for (const { subscription, op } of this.#settlements) if (mayGiveUp(op)) subscription.source.logAllGivenUp();
    this.#engine.flushSettlements();
  }

  /** Part of it may survive a restart. */
  #isLogged(plans: readonly Plan[]): boolean {
    if (this.#settlements.some(({ subscription }) => subscription.source.logged)) return true;
    return this.#publishes.some(({ message }, n) => {
      const { logged, topics } = plans[n] as Plan;
      return topics.length > 0 || (message.durable && logged.length > 0) || (message.flags & FLAG_RETAIN) !== 0;
    });
  }

  #recordBytes(plans: readonly Plan[]): number {
    let bytes = RECORD_BYTES * (1 + this.#settlements.length) + SETTLED_BYTES * this.#settled;
    for (const { deliverAtMs, count } of this.#settlements) if (deliverAtMs !== 0) bytes += DEFERRED_BYTES * count;
    for (const { bytes: some } of this.#offsets) bytes += some;
    for (const [n, { length, address }] of this.#publishes.entries()) {
      const { queues, topics } = plans[n] as Plan;
      // As a message of queues (or in memory that is full), as one of topics, and the end of the last value before it.
      bytes += (RECORD_BYTES + length) * (1 + topics.length) + RECORD_BYTES + address.key.bytes.length;
      bytes += (queues.length + topics.length) * TARGET_BYTES;
    }
    return bytes;
  }

  /** Do it. @param isLogged into one batch, before which none of the messages is visible */
  #apply(plans: readonly Plan[], isLogged: boolean): void {
    const engine = this.#engine;
    if (isLogged) this.#mark();
    for (const settlement of this.#settlements) settle(settlement);
    engine.flushSettlements();
    if (isLogged) {
      const { openBatch } = engine.journal;
      for (const [n, { message }] of this.#publishes.entries()) {
        for (const log of entryLogs((plans[n] as Plan).queues, message)) log.hold(openBatch);
      }
    }
    const now = engine.now();
    for (const { address, message, length, options, heldAtMs } of this.#publishes) {
      // Its time to live begins now, or when its delay is over.
      if (message.expiresAtMs !== 0 && message.deliverAtMs === 0) message.expiresAtMs += now - heldAtMs;
      const plan = this.#producer.prepare(address, message, length);
      this.#producer.enter(address, message, length, plan);
      if (plan.leadsNowhere) this.#producer.unroutable(address, message, options);
    }
    engine.flushStaged();
  }

  #mark(): void {
    const { journal } = this.#engine;
    const at = journal.append(RECORD.transaction, 8);
    writeU32(journal.bytes, at, this.#publishes.length);
    writeU32(journal.bytes, at + 4, this.#settled);
    this.#engine.wrote();
  }
}

function goesBack({ op, deliverAtMs }: Settlement, now: number): boolean {
  return (op === 'requeue' || op === 'modify') && deliverAtMs <= now;
}

/** A failure may be one too many. */
function mayGiveUp(op: SettleOp): boolean {
  return op === 'discard' || op === 'modify';
}

function settle({ subscription, first, last, op, deliverAtMs }: Settlement): void {
  subscription.settle(first, last, op, deliverAtMs);
  if (mayGiveUp(op)) subscription.source.markGivenUp();
}

function checkDistinct(settlements: Settlement[]): void {
  settlements.sort((a, b) => a.first - b.first);
  for (let n = 1; n < settlements.length; n++) {
    const { subscription, first, last } = settlements[n] as Settlement;
    if (first > (settlements[n - 1] as Settlement).last) continue;
    const which = `deliveries ${first} to ${last} of queue '${subscription.queue}'`;
    throw new CoreError('invalid-argument', `some of ${which} are settled twice`);
  }
}

/** A message more for a queue. Throws `limit-exceeded` when the queue would refuse it. */
function claim(claims: Map<Queue, Claim>, queue: Queue, length: number): void {
  let claimed = claims.get(queue);
  if (claimed === undefined) {
    claimed = { messages: 0, bytes: 0 };
    claims.set(queue, claimed);
  }
  if (queue.bound?.refuses(length, claimed)) throw new CoreError('limit-exceeded', `queue '${queue.name}' is full`);
  claimed.messages++;
  claimed.bytes += length;
}
