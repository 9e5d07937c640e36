/**
 * Publishing: from an address straight to taps, journal and queues. The route of an address is worked out once and kept
 * until the topology changes; a message costs one copy of its bytes and no object.
 */
import { strict as assert } from 'node:assert';
import { TRANSIENT_BODY } from './bodies.ts';
import { writeU32 } from './bytes.ts';
import type { Client } from './client.ts';
import { Confirms } from './confirms.ts';
import { checkDelay } from './delay/delays.ts';
import { delayInfo } from './delay/info.ts';
import {
  type Address,
  type Appended,
  CONFIRM,
  type HalfMessage,
  type HalfOp,
  type HalfSettings,
  MANDATORY,
  type Producer as ProducerDoor,
  type ProducerHandlers,
  type TransactionOptions,
} from './door.ts';
import type { Engine } from './engine.ts';
import { CoreError } from './errors.ts';
import { type Bag, bagAdd, bagItems, bagRemove } from './exchange/bag.ts';
import type { Exchange } from './exchange-entity.ts';
import { hubOf } from './hub.ts';
import { MessageMarks } from './marks/marking.ts';
import { FLAG_DURABLE, FLAG_RETAIN, type HubProperties, type Message, type RoutingKey } from './message.ts';
import { entryLogs, type Plan, planOf } from './plan.ts';
import type { EntryLog } from './queue/entry-log.ts';
import type { Queue } from './queue/queue.ts';
import { PUBLISH_RETAIN, PUBLISH_TARGET_SET, RECORD } from './records.ts';
import { groupHash } from './selection/group-hash.ts';
import { GROUP_BYTES_MAX } from './stored-message.ts';
import type { Tap } from './tap.ts';
import { Target } from './target.ts';
import { FRAME_BYTES_MAX } from './topic/frames.ts';
import type { Partition } from './topic/partition.ts';
import { NEW } from './topic/sequences.ts';
import type { Topic } from './topic/topic.ts';
import { Transaction } from './transaction/transaction.ts';
import type { Vhost } from './vhost.ts';

const NO_MARKS = Buffer.alloc(0);

export class Producer implements ProducerDoor {
  readonly #engine: Engine;
  readonly #vhost: Vhost;
  readonly #client: Client;
  readonly #handlers: ProducerHandlers;
  readonly #confirms: Confirms;
  readonly #lengthMax: number;
  lastPartition = -1;
  lastOffset = -1;
  /** Where the message being published goes, one of each topic. */
  readonly #partitions: Partition[] = [];
  /** Queues in which the delayed message published last waits. */
  #waitsIn: readonly Queue[] = [];
  #closed = false;
  /** Of the message in hand, from `prepare` to `enter`. */
  #marks: MessageMarks | undefined;
  /** Those that are open. */
  #transactions: Bag<Transaction>;

  constructor(client: Client, handlers: ProducerHandlers) {
    this.#engine = client.engine;
    this.#vhost = client.home;
    this.#client = client;
    this.#handlers = handlers;
    this.#confirms = new Confirms(client.engine, handlers);
    this.#lengthMax = Math.min(client.engine.limits.messageBytesMax, FRAME_BYTES_MAX);
  }

  address(exchange: string, key: RoutingKey): Address {
    const { limits } = this.#engine;
    if (key.bytes.length > limits.routingKeyBytesMax || key.levels.length > limits.routingKeyLevelsMax) {
      throw new CoreError('invalid-argument', 'the routing key has too many bytes or levels');
    }
    return new Target(this.#exchange(exchange), key, this.#client);
  }

  #exchange(name: string): Exchange {
    const exchange = this.#vhost.router.get(name);
    if (exchange === undefined)
      throw new CoreError('not-found', `exchange '${name}' in virtual host '${this.#vhost.name}'`);
    if (exchange.settings.internal) throw new CoreError('access-refused', `exchange '${name}' is internal`);
    return exchange;
  }

  publish(address: Address, message: Message, options: number): boolean {
    const length = this.lengthOf(address, message);
    const engine = this.#engine;
    if (engine.blockedBy !== undefined) engine.takeInAlarm(length);
    const plan = this.prepare(address, message, length);
    if (message.sequence >= 0 && this.#isRepeated(plan, message)) {
      // The first one may still be on its way to the disk.
      if ((options & CONFIRM) !== 0) this.#confirms.askStaged(this.#vhost.topology.topics.stage, false);
      return this.#mayGoOn();
    }
    const refused = plan.guarded.length > 0 && plan.refuses(length);
    const batch = this.enter(address, message, length, refused ? plan.withRoomFor(length) : plan);
    if (plan.leadsNowhere) this.unroutable(address, message, options);
    if ((options & CONFIRM) !== 0) {
      if (plan.topics.length === 0) this.#confirms.ask(batch, refused);
      else this.#confirms.askStaged(this.#vhost.topology.topics.stage, refused);
    }
    return this.#mayGoOn();
  }

  appendBatch(address: Address, batch: Message, options: number): Appended {
    const target = address as Target;
    const engine = this.#engine;
    const { stage, batches } = this.#vhost.topology.topics;
    const length = this.lengthOf(address, batch);
    const plan = this.prepare(address, batch, length);
    if (plan.leadsNowhere)
      throw new CoreError('unroutable', `exchange '${address.exchange}', key '${address.key.text}'`);
    if (!plan.isOneTopic || (batch.flags & FLAG_RETAIN) !== 0) {
      throw new CoreError('invalid-argument', 'a batch goes to one topic and nowhere else');
    }
    const { count, unpacked } = batches.check(target.template, batch);
    if (engine.blockedBy !== undefined) engine.takeInAlarm(length);
    if (batch.sequence >= 0 && this.#isRepeated(plan, batch, count)) {
      if ((options & CONFIRM) !== 0) this.#confirms.askStaged(stage, false);
      return { partition: this.lastPartition, offset: this.lastOffset, count, goesOn: this.#mayGoOn() };
    }
    const partition = this.#partitions[0] as Partition;
    const offset = partition.end;
    const logged = stage.appendBatch(partition, target.template, batch, length, count);
    batches.appended(partition, offset, unpacked);
    this.#client.published += count;
    this.#vhost.counters.published += count;
    target.resolved.published += count;
    this.lastPartition = partition.number;
    this.lastOffset = offset;
    if ((options & CONFIRM) !== 0) this.#confirms.ask(logged, false);
    return { partition: partition.number, offset, count, goesOn: this.#mayGoOn() };
  }

  #mayGoOn(): boolean {
    const engine = this.#engine;
    if (engine.blockedBy === undefined && !engine.journal.pressed) return true;
    engine.pause(this);
    return false;
  }

  /** Bytes of a message as it is stored. Throws `message-too-large`, `invalid-argument`. */
  lengthOf(address: Address, message: Message): number {
    // `assert` makes an array of its arguments, for every message.
    if (this.#closed || !(address instanceof Target))
      assert.fail('publish on a closed producer, or to an address of somebody else');
    const length = address.template.lengthOf(message);
    if (length > this.#lengthMax)
      throw new CoreError('message-too-large', `${length} bytes; ${this.#lengthMax} are allowed`);
    if (message.deliverAtMs !== 0) checkDelay(message, this.#engine.now());
    if (message.groupEnd - message.groupStart > GROUP_BYTES_MAX)
      throw new CoreError('invalid-argument', `a group id has more than ${GROUP_BYTES_MAX} bytes`);
    return length;
  }

  /** Where a message goes. Throws what makes it refused as a whole; nothing has been done with it then. */
  prepare(address: Address, message: Message, length: number): Plan {
    const target = address as Target;
    let { plan } = target;
    if (plan === undefined || plan.version !== this.#vhost.router.version) plan = this.#route(target, message);
    if ((message.flags & FLAG_RETAIN) !== 0) this.#checkRetain(target, message);
    if (message.deliverAtMs !== 0 && this.#waits(message, plan)) plan = plan.delayed(target.exchange, target.key.text);
    if (plan.topics.length > 0) this.#choosePartitions(plan.topics, target, message, length);
    return plan.marked || this.#marks !== undefined ? this.#mark(target, message, plan) : plan;
  }

  /** Work out the marks of a message. Answers the plan without queues that know the message already. */
  #mark(target: Target, message: Message, plan: Plan): Plan {
    this.#marks = undefined;
    if (!plan.marked) return plan;
    const { exchange, key } = target;
    const nowMs = this.#engine.now();
    const facts = { exchange, key: key.text, receivedAtMs: nowMs };
    this.#marks = new MessageMarks(plan, message, this.#headersOf(target, message), facts, nowMs);
    return this.#marks.plan;
  }

  /** Whether a message is to wait: then its handles can be asked for. */
  #waits({ deliverAtMs }: Message, plan: Plan): boolean {
    const waits = deliverAtMs > this.#engine.now();
    this.#waitsIn = waits ? plan.queues : [];
    return waits;
  }

  get lastDelayed(): readonly string[] {
    return this.#waitsIn.map((queue) => queue.delays?.lastHandle ?? '');
  }

  /** Give a message to everybody in its plan, which was prepared right before. Answers the batch that makes it durable in queues
   *  and as last value, or 0; for topics it is staged. */
  enter(address: Address, message: Message, length: number, plan: Plan): number {
    const target = address as Target;
    this.#client.published++;
    this.#vhost.counters.published++;
    target.resolved.published++;
    const { queues, taps } = plan;
    if (taps.length > 0) this.#tell(taps, target, message);
    if (message.expiresAtMs !== 0) for (const queue of queues) queue.expires = true;
    if (message.groupEnd !== message.groupStart) for (const queue of queues) queue.mindGroups();
    const retain = (message.flags & FLAG_RETAIN) !== 0;
    if (plan.topics.length > 0) this.#append(target, message, length);
    if (this.#marks !== undefined) return this.#enterMarked(this.#marks, plan, target, message, length);
    return queues.length > 0 || retain ? this.#store(plan, target, message, length) : 0;
  }

  /** The same for queues that go by marks of the message. */
  #enterMarked(marks: MessageMarks, plan: Plan, target: Target, message: Message, length: number): number {
    const engine = this.#engine;
    this.#marks = undefined;
    message.marks = marks.ext;
    marks.begin();
    let batch = 0;
    if (plan.queues.length > 0 || (message.flags & FLAG_RETAIN) !== 0)
      batch = this.#store(plan, target, message, length + marks.ext.length);
    marks.end(plan, message, engine.now());
    message.marks = NO_MARKS;
    // The message it repeats may still be on its way to the disk.
    return marks.isRepeat ? Math.max(batch, engine.undurable) : batch;
  }

  /** Several publishes and settlements that take effect together; see the door. */
  transaction(options: TransactionOptions = {}): Transaction {
    assert(!this.#closed, 'a transaction on a closed producer');
    const transaction = new Transaction(this.#client, this, options, () => {
      this.#transactions = bagRemove(this.#transactions, transaction);
    });
    this.#transactions = bagAdd(this.#transactions, transaction);
    return transaction;
  }

  transactions(): Transaction[] {
    return bagItems(this.#transactions);
  }

  // ---- Half messages ----------------------------------------------------------------------------------------------

  prepareHalf(messages: readonly HalfMessage[], settings: HalfSettings, options: number): boolean {
    const engine = this.#engine;
    let bytes = 0;
    const prepared = messages.map(({ address, message, mandatory = false }) => {
      bytes += this.lengthOf(address, message);
      if ((message.flags & FLAG_RETAIN) === 0) return { template: (address as Target).template, message, mandatory };
      throw new CoreError(
        'invalid-argument',
        'a half message cannot be retained: it has no value until it is committed',
      );
    });
    if (engine.blockedBy !== undefined) engine.takeInAlarm(bytes);
    const batch = this.#vhost.topology.halves.prepare(this.#vhost, prepared, settings);
    this.#client.published += messages.length;
    if ((options & CONFIRM) !== 0) this.#confirms.ask(batch, false);
    return this.#mayGoOn();
  }

  finishHalf(group: string, id: string, op: HalfOp, options: number): void {
    const engine = this.#engine;
    const { halves } = this.#vhost.topology;
    const half = halves.ending(this.#vhost, group, id, op);
    const asks = (options & CONFIRM) !== 0;
    if (half === undefined) {
      if (asks) this.#confirms.ask(engine.undurable, false);
      return;
    }
    const n = asks ? this.#confirms.hold() : 0;
    halves.end(half, op, (error) => {
      if (asks) this.#confirms.release(n, engine.undurable, error !== undefined);
    });
  }

  // ---- Routing ----------------------------------------------------------------------------------------------------

  /** Work the route of an address out again. */
  #route(target: Target, message: Message): Plan {
    const exchange = this.#exchange(target.resolved.name);
    target.resolved = exchange;
    const { router } = this.#vhost;
    const now = this.#engine.now();
    const plan = planOf(router.route(exchange, target.key, () => this.#headersOf(target, message), now));
    target.plan = plan;
    return plan;
  }

  #headersOf(target: Target, message: Message): HubProperties {
    target.template.complete(message, this.#engine.now());
    return hubOf(this.#engine.formats, message);
  }

  #checkRetain(target: Target, message: Message): void {
    if (message.bodyEnd > message.bodyStart && !target.resolved.hasRoomFor(target.key)) {
      const { retainedPerExchangeMax } = this.#engine.limits;
      throw new CoreError('limit-exceeded', `${retainedPerExchangeMax} retained last values on '${target.exchange}'`);
    }
  }

  #tell(taps: readonly Tap[], target: Target, message: Message): void {
    message.id = this.#engine.bodies.nextId();
    target.template.complete(message, this.#engine.now());
    for (let n = 0; n < taps.length; n++) (taps[n] as Tap).deliver(message);
  }

  /** Nobody takes a message: tell its publisher if that was asked for. */
  unroutable(address: Address, message: Message, options: number): void {
    this.#vhost.counters.unroutable++;
    if ((options & MANDATORY) === 0) return;
    message.id = this.#engine.bodies.nextId();
    (address as Target).template.complete(message, this.#engine.now());
    this.#handlers.onReturn?.(message, 'unroutable');
  }

  // ---- Storing ----------------------------------------------------------------------------------------------------

  /** Store the body once and enter it into the queues. Answers the batch that makes it durable, or 0. */
  #store(plan: Plan, target: Target, message: Message, length: number): number {
    const { bodies } = this.#engine;
    const { queues } = plan;
    const retain = (message.flags & FLAG_RETAIN) !== 0;
    const keep = retain && message.bodyEnd > message.bodyStart;
    const durable = (message.flags & FLAG_DURABLE) !== 0;
    const clearedIn = retain && !keep ? this.#clear(target) : 0;
    if (durable && (plan.logged.length > 0 || (keep && target.resolved.logged))) {
      return this.#log(plan, target, message, length, keep);
    }
    const refs = queues.length + (keep ? 1 : 0);
    if (refs === 0) return clearedIn;
    const row = bodies.addTransient(target.template, message, length, this.#engine.now(), refs);
    const lanes = plan.choosy ? entryLogs(queues, message) : plan.lanes;
    const info = plan.isDelayed ? delayInfo(message, this.#engine.now()) : 0;
    for (let n = 0; n < lanes.length; n++) (lanes[n] as EntryLog).pushTransient(row, length, info);
    return keep ? this.#retain(target, row, TRANSIENT_BODY) : clearedIn;
  }

  /** Before anything is done with the message: its publisher may have asked for a partition that is not there. */
  #choosePartitions(topics: readonly Topic[], { exchange, key }: Target, message: Message, length: number): void {
    const partitions = this.#partitions;
    // Setting the length of an array costs as much as all the rest of this.
    if (partitions.length > topics.length) partitions.length = topics.length;
    for (let n = 0; n < topics.length; n++) partitions[n] = (topics[n] as Topic).choose(message, exchange, key, length);
  }

  /**
   * Whether a message (or a batch of so many) with a sequence number was appended before; it counts as published, and `lastOffset` is
   * the offset it got (-1: that is not remembered any more). Throws `out-of-order`, `fenced`, `invalid-argument`.
   */
  #isRepeated({ topics }: Plan, { origin, sequence, partition }: Message, count = 1): boolean {
    if (origin === undefined || partition < 0 || topics.length !== 1 || !Number.isSafeInteger(sequence)) {
      throw new CoreError(
        'invalid-argument',
        'a sequence number needs its producer, a partition, and exactly one topic',
      );
    }
    const { origins } = this.#vhost.topology.topics;
    origins.check(origin);
    const target = this.#partitions[0] as Partition;
    const where = () => `partition ${partition} of topic '${target.topic.name}'`;
    const offset = target.sequences.check(origin, sequence, where, count);
    if (offset === NEW) return false;
    this.lastPartition = partition;
    this.lastOffset = Math.max(offset, -1);
    return true;
  }

  /** Append to the partitions chosen. */
  #append(target: Target, message: Message, length: number): void {
    const partitions = this.#partitions;
    const { stage } = this.#vhost.topology.topics;
    for (let n = 0; n < partitions.length; n++) {
      const partition = partitions[n] as Partition;
      this.lastPartition = partition.number;
      this.lastOffset = partition.end;
      stage.append(partition, target.template, message, length);
    }
  }

  /** Write a PUBLISH record; enter the message into all queues of the plan. Answers the record's batch. */
  #log(plan: Plan, target: Target, message: Message, length: number, keep: boolean): number {
    const engine = this.#engine;
    const { journal, bodies } = engine;
    const { transient } = plan;
    const logged = plan.choosy ? entryLogs(plan.logged, message) : plan.loggedLanes;
    const info = plan.isDelayed ? delayInfo(message, engine.now()) : 0;
    const keepLogged = keep && target.resolved.logged;
    for (let n = 0; n < logged.length; n++) (logged[n] as EntryLog).beforeLogged();
    const set = plan.targetSet(engine, logged);
    const header = 4 + (keepLogged ? 4 : 0) + (set === 0 ? logged.length * 4 : 4);
    let at = journal.append(RECORD.publish, header + length);
    const { bytes, segment } = journal;
    const offset = journal.offset + header;
    const count = set === 0 ? logged.length : 0;
    const bits = (keepLogged ? PUBLISH_RETAIN : 0) | (set === 0 ? 0 : PUBLISH_TARGET_SET);
    writeU32(bytes, at, count | (bits << 16));
    at += 4;
    if (keepLogged) {
      writeU32(bytes, at, target.resolved.id);
      at += 4;
    }
    if (set !== 0) {
      writeU32(bytes, at, set);
      at += 4;
    }
    for (let n = 0; n < count; n++, at += 4) writeU32(bytes, at, (logged[n] as EntryLog).id);
    target.template.write(message, engine.now(), bytes, at);
    const batch = engine.wrote();
    const refs = logged.length + (keepLogged ? 1 : 0);
    const group = groupHash(message);
    const row = bodies.logged.add(segment, offset, length, refs, group);
    for (let n = 0; n < logged.length; n++) (logged[n] as EntryLog).pushLogged(row, length, batch, info);
    // Entries that a restart forgets have a row of their own, so that counts in logged rows are those of logged entries.
    const others = transient.length + (keep && !keepLogged ? 1 : 0);
    if (others === 0) return keep ? this.#retain(target, row, 0, batch) : batch;
    const other = bodies.transient.add(segment, offset, length, others, group);
    const lanes = plan.choosy ? entryLogs(transient, message) : plan.transientLanes;
    for (let n = 0; n < lanes.length; n++) (lanes[n] as EntryLog).pushTransient(other, length, info);
    if (!keep) return batch;
    return keepLogged ? this.#retain(target, row, 0, batch) : this.#retain(target, other, TRANSIENT_BODY, batch);
  }

  /** Make a stored body the last value of its key. Answers the batch to wait for. */
  #retain(target: Target, row: number, info: number, batch = 0): number {
    const old = target.resolved.retain(target.key, { row, info });
    const forgets = old !== undefined && (old.info & TRANSIENT_BODY) === 0 && (info & TRANSIENT_BODY) !== 0;
    if (forgets) return target.resolved.logForget(target.key);
    // What it replaces may have been told to forget a durable value by a record that is still on its way: wait for that.
    return batch === 0 ? this.#engine.undurable : batch;
  }

  /** Delete the last value of a key. Answers the batch to wait for. */
  #clear(target: Target): number {
    const old = target.resolved.forget(target.key);
    if (old === undefined || (old.info & TRANSIENT_BODY) !== 0) return this.#engine.undurable;
    return target.resolved.logForget(target.key);
  }

  /** Publishing may go on. */
  drained(): void {
    if (!this.#closed) this.#handlers.onDrain?.();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const transaction of this.transactions()) transaction.close();
    this.#confirms.close();
    this.#engine.forget(this);
    this.#client.leftBy(this);
  }
}
