/**
 * A virtual host: exchanges, queues, the bindings between them. Changes of what survives a restart are written to the
 * journal here, right where they are made; replay makes the same changes through `Topology` and writes nothing.
 */
import type { Client } from './client.ts';
import type { DelaySlot } from './delay/slot.ts';
import type { Arguments, ExchangeSettings, QueueSettings } from './door.ts';
import type { Engine } from './engine.ts';
import { CoreError } from './errors.ts';
import { Router, type Binding as RouterBinding, type Destination as RouterDestination } from './exchange/router.ts';
import type { Exchange } from './exchange-entity.ts';
import { bindingFilter } from './filter/binding.ts';
import type { Pattern } from './message.ts';
import type { RuleTable } from './policy/effective.ts';
import { Policies, type Policy } from './policy/policies.ts';
import { writeLiveRules, writePolicy } from './policy/stored.ts';
import type { EntryLog } from './queue/entry-log.ts';
import type { Lane } from './queue/lane.ts';
import type { Queue } from './queue/queue.ts';
import { RECORD, writeBinding, writeExchange, writeLog, writeQueue } from './records.ts';
import type { Subscription } from './subscription.ts';
import type { Tap } from './tap.ts';
import { TlvWriter } from './tlv.ts';
import type { Topic } from './topic/topic.ts';
import type { Topology } from './topology.ts';

export type Binding = RouterBinding<Queue, Topic, Tap, Exchange>;
export type Destination = RouterDestination<Queue, Topic, Tap, Exchange>;

const record = new TlvWriter();

export class Vhost {
  readonly engine: Engine;
  readonly topology: Topology;
  readonly id: number;
  readonly name: string;
  readonly router: Router<Queue, Topic, Tap, Exchange>;
  readonly queues = new Map<string, Queue>();
  /** No topic has the name of a queue. */
  readonly topics = new Map<string, Topic>();
  readonly policies = new Policies();
  readonly clients = new Set<Client>();
  readonly counters = { published: 0, unroutable: 0, delivered: 0, completed: 0, dropped: 0 };

  constructor(topology: Topology, id: number, name: string) {
    this.topology = topology;
    this.engine = topology.engine;
    this.id = id;
    this.name = name;
    const { routeCacheEntriesMax, exchangeHopsMax } = this.engine.limits;
    const findQueue = (queue: string): Queue | undefined => this.queues.get(queue);
    const findTopic = (topic: string): Topic | undefined => this.topics.get(topic);
    this.router = new Router({ findQueue, findTopic, routeCacheEntriesMax, exchangeHopsMax });
  }

  /** The queue of a name, for a client. Throws `not-found`, `resource-locked` (exclusive to another client). */
  queueFor(name: string, client: Client | undefined): Queue {
    const queue = this.queues.get(name);
    if (queue === undefined) throw new CoreError('not-found', `queue '${name}' in virtual host '${this.name}'`);
    if (queue.owner !== undefined && queue.owner !== client) {
      throw new CoreError('resource-locked', `queue '${name}' is exclusive to another connection`);
    }
    return queue;
  }

  /** The topic of a name. Throws `not-found`. */
  topicOf(name: string): Topic {
    const topic = this.topics.get(name);
    if (topic === undefined) throw new CoreError('not-found', `topic '${name}' in virtual host '${this.name}'`);
    return topic;
  }

  // ---- Changes, live ----------------------------------------------------------------------------------------------

  declareExchange(name: string, settings: ExchangeSettings): Exchange {
    const id = this.topology.nextId();
    if (settings.durable) {
      writeExchange(record.reset(), id, this.id, name, settings);
      this.engine.append(RECORD.exchangeDeclare, record);
    }
    return this.topology.addExchange(this, id, name, settings, false);
  }

  deleteExchange(exchange: Exchange): void {
    if (exchange.logged) {
      record.reset().u32(exchange.id);
      this.engine.append(RECORD.exchangeDelete, record);
    }
    for (const binding of this.topology.removeExchange(this, exchange)) {
      if (binding.source !== exchange) this.unbound(binding.source);
    }
  }

  declareQueue(name: string, settings: QueueSettings, owner: Client | undefined): Queue {
    const id = this.topology.nextId();
    const queue = this.topology.addQueue(this, id, name, settings, undefined, settings.exclusive ? owner : undefined);
    queue.applyRules(this.policies.effectiveFor(queue));
    if (queue.logged) {
      writeQueue(record.reset(), id, this.id, name, settings);
      this.engine.append(RECORD.queueDeclare, record);
    }
    if (settings.exclusive) owner?.owns(queue);
    return queue;
  }

  /** Give a queue the lane of one more priority level. */
  openLane(queue: Queue, level: number): Lane {
    const lane = this.topology.addLane(queue, this.topology.nextId(), level);
    this.#opened(lane);
    return lane;
  }

  /** Give a queue a slot for delayed messages. */
  openSlot(queue: Queue, startMs: number): DelaySlot {
    const slot = this.topology.addSlot(queue, this.topology.nextId(), startMs);
    this.#opened(slot);
    return slot;
  }

  #opened(log: EntryLog): void {
    if (!log.logged) return;
    writeLog(record.reset(), log);
    this.engine.append(RECORD.openLog, record);
  }

  /** A slot is needed no more; what is still in it goes too. */
  closeSlot(slot: DelaySlot): void {
    if (slot.logged) {
      this.engine.flushSettlements();
      record.reset().u32(slot.id);
      this.engine.append(RECORD.closeLog, record);
    }
    this.topology.removeSlot(slot);
  }

  /** Delete a queue with its messages; its consumers are told. */
  deleteQueue(queue: Queue): void {
    if (queue.deleted) return;
    // When the journal has failed nothing is promised any more, and clients must still be able to leave.
    if (queue.logged && this.engine.failure === undefined) {
      record.reset().u32(queue.id);
      this.engine.append(RECORD.queueDelete, record);
    }
    const subscriptions = queue.takers.all();
    const gone = this.topology.removeQueue(this, queue);
    queue.owner?.ownsNoMore(queue);
    for (const subscription of subscriptions) subscription.end('not-found');
    for (const binding of gone) this.unbound(binding.source);
  }

  /** Delete a topic with its messages; its readers are told. */
  deleteTopic(topic: Topic): void {
    if (topic.deleted) return;
    for (const binding of this.topology.topics.delete(topic)) this.unbound(binding.source);
  }

  setPolicy(policy: Policy): void {
    writePolicy(record.reset(), this.id, policy);
    this.engine.append(RECORD.policySet, record);
    this.policies.set(policy);
  }

  removePolicy({ name, isOperator }: Policy): void {
    record.reset().u32(this.id).flag(isOperator).text(name);
    this.engine.append(RECORD.policyDelete, record);
    this.policies.remove(name, isOperator);
  }

  setLiveRules(queue: Queue, rules: RuleTable): void {
    if (queue.logged) {
      writeLiveRules(record.reset(), queue, rules);
      this.engine.append(RECORD.liveRules, record);
    }
    this.policies.setLive(queue, rules);
  }

  /** A subscription ended, or (`holds`) takes no more and keeps its deliveries. */
  detach(queue: Queue, subscription: Subscription, holds: boolean): void {
    if (queue.detach(subscription, holds) && !queue.deleted) this.deleteQueue(queue);
  }

  bind(source: Exchange, to: Destination, pattern: Pattern, args: Arguments): void {
    const binding = this.router.bind(source, to, pattern, args, bindingFilter(args, this.engine.limits));
    if (binding === undefined || !survives(binding)) return;
    writeBinding(record.reset(), binding);
    this.engine.append(RECORD.bind, record);
  }

  unbind(source: Exchange, target: Queue | Topic | Exchange, pattern: Pattern, args: Arguments): void {
    const binding = this.router.unbind(source, target, pattern, args);
    if (binding === undefined) return;
    if (survives(binding)) {
      writeBinding(record.reset(), binding);
      this.engine.append(RECORD.unbind, record);
    }
    this.unbound(source);
  }

  /** A binding of an exchange is gone: so is the exchange, if that was its last one and it goes with them. */
  unbound(source: Exchange): void {
    if (!source.settings.autoDelete || this.router.get(source.name) !== source) return;
    if (this.router.bindingCount(source) === 0) this.deleteExchange(source);
  }
}

/** Whether a binding is kept over a restart: when both its ends are. */
export function survives(binding: Destination & { readonly source: Exchange }): boolean {
  return binding.source.logged && binding.kind !== 'tap' && binding.target.logged;
}
