/**
 * All virtual hosts, and every exchange and queue by its number: the changes themselves, without checks, answers or records.
 * Both the live broker and replay make them here.
 */
import { strict as assert } from 'node:assert';
import type { Client } from './client.ts';
import { Delays } from './delay/delays.ts';
import { DelaySlot } from './delay/slot.ts';
import type { ExchangeSettings, QueueSettings } from './door.ts';
import type { Engine } from './engine.ts';
import { CoreError } from './errors.ts';
import { Exchange } from './exchange-entity.ts';
import { Halves } from './half/halves.ts';
import type { Deferrals } from './queue/deferrals.ts';
import type { EntryLog } from './queue/entry-log.ts';
import { Lane } from './queue/lane.ts';
import { Queue } from './queue/queue.ts';
import { SharedSettings } from './queue/shared-settings.ts';
import { Redrives } from './redrive/redrives.ts';
import { Roster } from './roster.ts';
import type { EntryRing } from './slab/entry-ring.ts';
import type { RingStore } from './slab/ring-store.ts';
import type { Topic } from './topic/topic.ts';
import { Topics } from './topic/topics.ts';
import { type Binding, Vhost } from './vhost.ts';

/** The exchanges every virtual host is born with, in the order of their numbers: part of the disk format. */
const PREDECLARED = [
  ['', 'direct'],
  ['amq.direct', 'direct'],
  ['amq.fanout', 'fanout'],
  ['amq.topic', 'topic'],
  ['amq.headers', 'headers'],
  ['amq.match', 'headers'],
] as const;

export class Topology {
  readonly engine: Engine;
  readonly vhosts = new Map<string, Vhost>();
  readonly vhostsById = new Map<number, Vhost>();
  readonly queuesById = new Map<number, Queue>();
  /** Entry logs by number, but for those that have the number of their queue. */
  readonly #entryLogs = new Map<number, EntryLog>();
  /** Those of them that survive a restart. */
  readonly loggedLogs = new Roster<EntryLog>();
  /** Those that survive a restart. */
  readonly loggedQueues = new Roster<Queue>();
  /** Queues that know something of messages by their marks. */
  readonly markedQueues = new Set<Queue>();
  readonly exchangesById = new Map<number, Exchange>();
  /** The virtual host of each exchange, by the exchange's number. */
  readonly homes = new Map<number, Vhost>();
  readonly topics: Topics;
  readonly halves: Halves;
  readonly redrives: Redrives;
  readonly #settings = new SharedSettings();
  /** Of queues in which messages wait to be handed out again. */
  readonly deferring = new Set<Deferrals>();
  #lastId = 0;

  constructor(engine: Engine) {
    this.engine = engine;
    this.topics = new Topics(this);
    this.halves = new Halves(this);
    this.redrives = new Redrives(this);
  }

  /** A number for a new object. Numbers are never used again. */
  nextId(): number {
    return ++this.#lastId;
  }

  get lastId(): number {
    return this.#lastId;
  }

  /** Replay met this number. */
  used(id: number): void {
    if (id > this.#lastId) this.#lastId = id;
  }

  /** What a stored binding leads to. */
  target(kind: 'queue' | 'exchange' | 'topic', id: number): Queue | Exchange | Topic | undefined {
    if (kind === 'queue') return this.queuesById.get(id);
    return kind === 'topic' ? this.topics.topic(id) : this.exchangesById.get(id);
  }

  /** The virtual host of a name. Throws `not-found`. */
  vhost(name: string): Vhost {
    const vhost = this.vhosts.get(name);
    if (vhost === undefined) throw new CoreError('not-found', `virtual host '${name}'`);
    return vhost;
  }

  /** @param id its exchanges have the numbers that follow */
  addVhost(id: number, name: string): Vhost {
    const vhost = new Vhost(this, id, name);
    this.vhosts.set(name, vhost);
    this.vhostsById.set(id, vhost);
    for (const [n, [exchange, kind]] of PREDECLARED.entries()) {
      const settings = { kind, durable: true, autoDelete: false, internal: false, arguments: {} };
      this.addExchange(vhost, id + 1 + n, exchange, settings, true);
    }
    this.used(id + PREDECLARED.length);
    return vhost;
  }

  removeVhost(vhost: Vhost): void {
    for (const queue of [...vhost.queues.values()]) this.removeQueue(vhost, queue);
    for (const topic of [...vhost.topics.values()]) this.topics.remove(topic);
    for (const exchange of [...vhost.router.exchanges()]) this.removeExchange(vhost, exchange);
    this.topics.groups.removeVhost(vhost);
    this.topics.origins.removeVhost(vhost);
    this.halves.removeVhost(vhost);
    this.vhosts.delete(vhost.name);
    this.vhostsById.delete(vhost.id);
  }

  addExchange(vhost: Vhost, id: number, name: string, settings: ExchangeSettings, predeclared: boolean): Exchange {
    const exchange = new Exchange(this.engine, id, name, settings, predeclared);
    vhost.router.add(exchange);
    this.exchangesById.set(id, exchange);
    this.homes.set(id, vhost);
    this.used(id);
    return exchange;
  }

  /** Answers the bindings that went with it. */
  removeExchange(vhost: Vhost, exchange: Exchange): Binding[] {
    this.exchangesById.delete(exchange.id);
    this.homes.delete(exchange.id);
    exchange.dropRetained();
    return vhost.router.delete(exchange);
  }

  /** @param ring of a queue found in a checkpoint */
  addQueue(vhost: Vhost, id: number, name: string, settings: QueueSettings, ring?: EntryRing, owner?: Client): Queue {
    assert(!vhost.queues.has(name), 'one queue a name');
    const rings = this.#rings(settings.durable && !settings.exclusive);
    const queue = new Queue(vhost, id, name, this.#settings.of(settings), ring ?? rings.create(), owner);
    vhost.queues.set(name, queue);
    this.queuesById.set(id, queue);
    if (queue.logged) this.loggedQueues.add(queue);
    this.used(id);
    vhost.router.changed();
    return queue;
  }

  #rings(logged: boolean): RingStore {
    const { loggedIndex, transientIndex } = this.engine.bodies;
    return logged ? loggedIndex.rings : transientIndex.rings;
  }

  /** Give a queue the lane of one more level. @param ring of a lane found in a checkpoint */
  addLane(queue: Queue, id: number, level: number, ring?: EntryRing): Lane {
    const lane = new Lane(queue, id, ring ?? this.#rings(queue.logged).create(), level);
    queue.lanes.add(lane);
    this.#addLog(lane);
    return lane;
  }

  /** Give a queue a slot for delayed messages. @param ring of a slot found in a checkpoint */
  addSlot(queue: Queue, id: number, startMs: number, ring?: EntryRing): DelaySlot {
    const delays = Delays.of(queue);
    const slot = new DelaySlot(delays, queue, id, ring ?? this.#rings(queue.logged).create(), startMs);
    delays.add(slot);
    this.#addLog(slot);
    return slot;
  }

  /** A slot goes; what is still in it goes too, in the background. */
  removeSlot(slot: DelaySlot): void {
    slot.queue.delays?.forget(slot);
    this.#entryLogs.delete(slot.id);
    if (slot.logged) this.loggedLogs.remove(slot);
    void this.engine.background.run(this.engine.bodies.destroy(slot.ring));
  }

  #addLog(log: EntryLog): void {
    this.#entryLogs.set(log.id, log);
    if (log.logged) this.loggedLogs.add(log);
    this.used(log.id);
  }

  /** The entry log of a number. */
  entryLog(id: number): EntryLog | undefined {
    return this.queuesById.get(id)?.base ?? this.#entryLogs.get(id);
  }

  /** The lane of a number, or undefined when that is none of a lane. */
  lane(id: number): Lane | undefined {
    const log = this.entryLog(id);
    return log instanceof Lane ? log : undefined;
  }

  /** All entry logs of all queues. */
  *entryLogs(): IterableIterator<EntryLog> {
    for (const queue of this.queuesById.values()) yield queue.base;
    yield* this.#entryLogs.values();
  }

  /** Answers the bindings that went with it. Its messages go in the background. */
  removeQueue(vhost: Vhost, queue: Queue): Binding[] {
    vhost.queues.delete(queue.name);
    this.queuesById.delete(queue.id);
    vhost.policies.live.delete(queue);
    this.markedQueues.delete(queue);
    if (queue.logged) this.loggedQueues.remove(queue);
    for (const log of queue.entryLogs()) {
      if (this.#entryLogs.delete(log.id) && log.logged) this.loggedLogs.remove(log);
    }
    const gone = vhost.router.unbindAll(queue);
    vhost.router.changed();
    queue.destroy();
    return gone;
  }
}
