/** The control plane: declare, bind, delete, purge, list. Checks and answers are here; the changes are `Vhost`'s. */
import type { Client } from './client.ts';
import { DelayAdmin } from './delay/admin.ts';
import { bindingInfo, exchangeInfo, queueInfo, vhostInfo } from './describe.ts';
import type {
  Admin as AdminDoor,
  Arguments,
  BindingInfo,
  BindingTarget,
  BrokerInfo,
  Client as ClientDoor,
  ClientInfo,
  ConsumerInfo,
  DeferredInfo,
  ExchangeInfo,
  ExchangeSettings,
  QueueInfo,
  QueueSettings,
  TransactionInfo,
  VhostInfo,
} from './door.ts';
import type { Engine } from './engine.ts';
import { CoreError } from './errors.ts';
import type { Exchange } from './exchange-entity.ts';
import { HalfAdmin } from './half/admin.ts';
import { MessageIdsAdmin } from './marks/admin.ts';
import type { Pattern } from './message.ts';
import { checkName } from './names.ts';
import { PolicyAdmin } from './policy/admin.ts';
import { purge } from './queue/purge.ts';
import type { Queue } from './queue/queue.ts';
import { checkRules } from './queue/rules.ts';
import { RECORD } from './records.ts';
import { RedriveAdmin } from './redrive/admin.ts';
import { checkSameExchange, checkSameQueue } from './same.ts';
import { MessageGroupAdmin } from './selection/admin.ts';
import { TlvWriter } from './tlv.ts';
import { TopicAdmin } from './topic/admin.ts';
import type { Topic } from './topic/topic.ts';
import type { Topology } from './topology.ts';
import { type Destination, survives, type Vhost } from './vhost.ts';

const RESERVED_PREFIX = 'amq.';

interface DeleteQueueOptions {
  ifUnused?: boolean;
  ifEmpty?: boolean;
  owner?: ClientDoor;
}

export class Admin implements AdminDoor {
  readonly halves: HalfAdmin;
  readonly delays: DelayAdmin;
  readonly messageGroups: MessageGroupAdmin;
  readonly #engine: Engine;
  readonly #topology: Topology;
  readonly #clients: ReadonlyMap<number, Client>;
  readonly policies: PolicyAdmin;
  readonly topics: TopicAdmin;
  readonly redrives: RedriveAdmin;
  readonly messageIds: MessageIdsAdmin;

  constructor(topology: Topology, clients: ReadonlyMap<number, Client>) {
    this.#engine = topology.engine;
    this.#topology = topology;
    this.#clients = clients;
    this.halves = new HalfAdmin(topology);
    this.delays = new DelayAdmin(topology);
    this.messageGroups = new MessageGroupAdmin(topology);
    this.policies = new PolicyAdmin(topology);
    this.messageIds = new MessageIdsAdmin(topology);
    this.topics = new TopicAdmin(topology);
    this.redrives = new RedriveAdmin(topology);
  }

  // ---- Virtual hosts ----------------------------------------------------------------------------------------------

  async createVhost(name: string): Promise<void> {
    checkName(name, 'virtual host', this.#engine.limits);
    if (!this.#topology.vhosts.has(name)) this.addVhost(name);
    await this.#engine.whenDurable();
  }

  /** Make a virtual host and write it down. */
  addVhost(name: string): Vhost {
    const id = this.#topology.nextId();
    const record = new TlvWriter().u32(id).text(name);
    this.#engine.append(RECORD.vhostCreate, record);
    return this.#topology.addVhost(id, name);
  }

  async deleteVhost(name: string): Promise<void> {
    const vhost = this.#vhost(name);
    for (const client of [...vhost.clients]) client.closeBy('not-found', `virtual host '${name}' was deleted`);
    for (const queue of [...vhost.queues.values()]) vhost.deleteQueue(queue);
    for (const topic of [...vhost.topics.values()]) vhost.deleteTopic(topic);
    this.#engine.append(RECORD.vhostDelete, new TlvWriter().u32(vhost.id));
    this.#topology.removeVhost(vhost);
    await this.#engine.whenDurable();
  }

  vhosts(): VhostInfo[] {
    return [...this.#topology.vhosts.values()].map(vhostInfo);
  }

  // ---- Exchanges --------------------------------------------------------------------------------------------------

  async declareExchange(vhostName: string, name: string, settings: ExchangeSettings): Promise<void> {
    const vhost = this.#vhost(vhostName);
    const known = vhost.router.get(name);
    if (known !== undefined) {
      checkSameExchange(known, settings);
    } else {
      checkName(name, 'exchange', this.#engine.limits);
      if (name.startsWith(RESERVED_PREFIX))
        throw new CoreError('access-refused', `names that start with '${RESERVED_PREFIX}' are reserved`);
      const { exchangesPerVhostMax } = this.#engine.limits;
      if (vhost.router.size >= exchangesPerVhostMax) {
        throw new CoreError('limit-exceeded', `${exchangesPerVhostMax} exchanges in virtual host '${vhostName}'`);
      }
      vhost.declareExchange(name, settings);
    }
    if (settings.durable) await this.#engine.whenDurable();
  }

  async deleteExchange(vhostName: string, name: string, options: { ifUnused?: boolean } = {}): Promise<void> {
    const vhost = this.#vhost(vhostName);
    const exchange = exchangeOf(vhost, name);
    if (exchange.predeclared) throw new CoreError('access-refused', `exchange '${name}' belongs to the broker`);
    if (options.ifUnused === true && vhost.router.bindingCount(exchange) > 0) {
      throw new CoreError('in-use', `exchange '${name}' has bindings`);
    }
    vhost.deleteExchange(exchange);
    if (exchange.logged) await this.#engine.whenDurable();
  }

  exchange(vhostName: string, name: string): ExchangeInfo | undefined {
    const vhost = this.#vhost(vhostName);
    const exchange = vhost.router.get(name);
    return exchange === undefined ? undefined : exchangeInfo(vhost, exchange);
  }

  exchanges(vhostName: string): ExchangeInfo[] {
    const vhost = this.#vhost(vhostName);
    return [...vhost.router.exchanges()].map((exchange) => exchangeInfo(vhost, exchange));
  }

  // ---- Queues -----------------------------------------------------------------------------------------------------

  async declareQueue(vhostName: string, name: string, settings: QueueSettings, owner?: ClientDoor): Promise<QueueInfo> {
    const vhost = this.#vhost(vhostName);
    const client = owner as Client | undefined;
    let queue = vhost.queues.get(name);
    if (queue !== undefined) {
      vhost.queueFor(name, client);
      checkSameQueue(queue, settings);
    } else {
      checkName(name, 'queue', this.#engine.limits);
      if (vhost.topics.has(name)) throw new CoreError('already-exists', `'${name}' is a topic`);
      checkRules(name, settings.arguments);
      if (settings.exclusive && client === undefined) {
        throw new CoreError('invalid-argument', 'an exclusive queue needs a client to belong to');
      }
      const { queuesPerVhostMax } = this.#engine.limits;
      if (vhost.queues.size >= queuesPerVhostMax) {
        throw new CoreError('limit-exceeded', `${queuesPerVhostMax} queues in virtual host '${vhostName}'`);
      }
      queue = vhost.declareQueue(name, settings, client);
    }
    queue.used();
    const info = queueInfo(queue);
    if (queue.logged) await this.#engine.whenDurable();
    return info;
  }

  async deleteQueue(vhostName: string, name: string, options: DeleteQueueOptions = {}): Promise<number> {
    const vhost = this.#vhost(vhostName);
    const queue = vhost.queueFor(name, options.owner as Client | undefined);
    if (options.ifUnused === true && queue.consumers.count > 0)
      throw new CoreError('in-use', `queue '${name}' has consumers`);
    const count = queue.ready + queue.deferred + (queue.delays?.count ?? 0);
    if (options.ifEmpty === true && count + queue.unsettled > 0) {
      throw new CoreError('not-empty', `queue '${name}' holds ${count + queue.unsettled} messages`);
    }
    vhost.deleteQueue(queue);
    // Also for a volatile one: an earlier queue of that name may have gone by itself, and that must not be undone now.
    await this.#engine.whenDurable();
    return count;
  }

  async purgeQueue(vhostName: string, name: string, owner?: ClientDoor): Promise<number> {
    const queue = this.#vhost(vhostName).queueFor(name, owner as Client | undefined);
    const { count, done } = purge(queue);
    await done;
    this.#engine.flushSettlements();
    if (queue.logged) await this.#engine.whenDurable();
    return count;
  }

  queue(vhostName: string, name: string): QueueInfo | undefined {
    const queue = this.#vhost(vhostName).queues.get(name);
    return queue === undefined ? undefined : queueInfo(queue);
  }

  queues(vhostName: string): QueueInfo[] {
    return [...this.#vhost(vhostName).queues.values()].map(queueInfo);
  }

  queueNames(vhostName: string): string[] {
    return [...this.#vhost(vhostName).queues.keys()];
  }

  deferred(vhostName: string, name: string, count: number): DeferredInfo[] {
    return this.#queue(vhostName, name).deferrals?.first(count) ?? [];
  }

  async releaseDeferred(vhostName: string, name: string): Promise<number> {
    const queue = this.#queue(vhostName, name);
    const count = queue.deferrals?.releaseAll() ?? 0;
    this.#engine.flushSettlements();
    if (queue.logged) await this.#engine.whenDurable();
    return count;
  }

  consumers(vhostName: string, name: string): ConsumerInfo[] {
    return this.#queue(vhostName, name)
      .consumers.all()
      .map((consumer) => consumer.info());
  }

  endConsumer(vhostName: string, name: string, client: number, tag: string): void {
    const { consumers } = this.#queue(vhostName, name);
    const consumer = consumers.all().find((one) => one.tag === tag && one.clientId === client);
    if (consumer === undefined) throw new CoreError('not-found', `consumer '${tag}' of client ${client} on '${name}'`);
    consumer.end('closed-by-operator');
  }

  #queue(vhostName: string, name: string): Queue {
    const queue = this.#vhost(vhostName).queues.get(name);
    if (queue === undefined) throw new CoreError('not-found', `queue '${name}' in virtual host '${vhostName}'`);
    return queue;
  }

  // ---- Bindings ---------------------------------------------------------------------------------------------------

  async bind(
    vhostName: string,
    source: string,
    target: BindingTarget,
    pattern: Pattern,
    args: Arguments,
    owner?: ClientDoor,
  ): Promise<void> {
    const vhost = this.#vhost(vhostName);
    const exchange = exchangeOf(vhost, source);
    if (source === '') throw new CoreError('access-refused', 'the default exchange cannot be bound');
    const { bindingsPerVhostMax } = this.#engine.limits;
    if (vhost.router.bindings >= bindingsPerVhostMax) {
      throw new CoreError('limit-exceeded', `${bindingsPerVhostMax} bindings in virtual host '${vhostName}'`);
    }
    const to = this.#target(vhost, target, owner);
    vhost.bind(exchange, to, pattern, args);
    if (survives({ ...to, source: exchange })) await this.#engine.whenDurable();
  }

  async unbind(
    vhostName: string,
    source: string,
    target: BindingTarget,
    pattern: Pattern,
    args: Arguments,
    owner?: ClientDoor,
  ): Promise<void> {
    const vhost = this.#vhost(vhostName);
    const exchange = exchangeOf(vhost, source);
    if (source === '') throw new CoreError('access-refused', 'the default exchange cannot be unbound');
    const to = this.#target(vhost, target, owner);
    if (to.kind !== 'tap') vhost.unbind(exchange, to.target, pattern, args);
    if (survives({ ...to, source: exchange })) await this.#engine.whenDurable();
  }

  bindings(vhostName: string, target?: BindingTarget): BindingInfo[] {
    const vhost = this.#vhost(vhostName);
    if (target === undefined) {
      return [...vhost.router.exchanges()].flatMap((exchange) =>
        vhost.router.bindingsFrom(exchange).flatMap(bindingInfo),
      );
    }
    const to = find(vhost, target);
    return to === undefined ? [] : vhost.router.bindingsTo(to).flatMap(bindingInfo);
  }

  #target(vhost: Vhost, target: BindingTarget, owner: ClientDoor | undefined): Destination {
    if (target.kind === 'queue')
      return { kind: 'queue', target: vhost.queueFor(target.name, owner as Client | undefined) };
    if (target.kind === 'topic') return { kind: 'topic', target: vhost.topicOf(target.name) };
    if (target.name === '') throw new CoreError('access-refused', 'the default exchange cannot be bound');
    return { kind: 'exchange', target: exchangeOf(vhost, target.name) };
  }

  // ---- The rest ---------------------------------------------------------------------------------------------------

  clients(vhost?: string): ClientInfo[] {
    const all = [...this.#clients.values()];
    return all.filter((client) => vhost === undefined || client.vhost === vhost).map((client) => client.info());
  }

  transactions(vhost?: string): TransactionInfo[] {
    const open = [...this.#clients.values()].flatMap((client) => client.transactions());
    const infos = open.map((transaction) => transaction.info()).filter((info) => info !== undefined);
    return infos.filter((info) => vhost === undefined || info.vhost === vhost).sort((a, b) => a.sinceMs - b.sinceMs);
  }

  rollbackTransaction(id: number): void {
    for (const client of this.#clients.values()) {
      const found = client.transactions().find((transaction) => transaction.info()?.id === id);
      if (found === undefined) continue;
      found.abort('the transaction was rolled back by an operator');
      return;
    }
    throw new CoreError('not-found', `open transaction ${id}`);
  }

  closeClient(id: number, detail: string): void {
    const client = this.#clients.get(id);
    if (client === undefined) throw new CoreError('not-found', `client ${id}`);
    client.closeBy('closed-by-operator', detail);
  }

  retainedKeys(vhostName: string, exchange: string, pattern?: Pattern): string[] {
    return exchangeOf(this.#vhost(vhostName), exchange)
      .retained(pattern)
      .map((entry) => entry.key.text);
  }

  info(): BrokerInfo {
    const { journal, bodies, blockedBy } = this.#engine;
    return {
      journal: { ...journal.figures(), liveBytes: bodies.logged.totalBytes },
      volatileBytes: bodies.arena.liveBytes,
      blockedBy,
      connections: this.#clients.size,
    };
  }

  #vhost(name: string): Vhost {
    return this.#topology.vhost(name);
  }
}

function find(vhost: Vhost, { kind, name }: BindingTarget): Queue | Topic | Exchange | undefined {
  if (kind === 'queue') return vhost.queues.get(name);
  return kind === 'topic' ? vhost.topics.get(name) : vhost.router.get(name);
}

function exchangeOf(vhost: Vhost, name: string): Exchange {
  const exchange = vhost.router.get(name);
  if (exchange === undefined) throw new CoreError('not-found', `exchange '${name}' in virtual host '${vhost.name}'`);
  return exchange;
}
