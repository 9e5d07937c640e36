/**
 * The control plane of the door: settings, what `broker.admin` does, and what it shows. Promises are fine here.
 */
import type { DelayAdmin } from './delay/door.ts';
import type { Client, Identity } from './door.ts';
import type { HalfAdmin } from './half/door.ts';
import type { MessageIdsAdmin } from './marks/door.ts';
import type { HubValue, Pattern } from './message.ts';
import type { PolicyAdmin } from './policy/door.ts';
import type { RedriveAdmin } from './redrive/door.ts';
import type { MessageGroupAdmin } from './selection/door.ts';
import type { TopicAdmin } from './topic/door.ts';
import type { TransactionInfo } from './transaction/door.ts';

export type ExchangeKindName = 'direct' | 'fanout' | 'topic' | 'headers';
export type Arguments = { readonly [name: string]: HubValue };

/** Binding argument of every kind of exchange: a condition that messages must meet, as text (docs/filters.md). */
export const FILTER_ARGUMENT = 'x-filter';
/** The same for a tag filter. With a condition beside it, both must let a message pass. */
export const FILTER_TAGS_ARGUMENT = 'x-filter-tags';

export interface ExchangeSettings {
  kind: ExchangeKindName;
  durable: boolean;
  autoDelete: boolean;
  /** Only exchange-to-exchange bindings may publish to it. */
  internal: boolean;
  /** Exchange that gets what this one cannot route. */
  alternate?: string;
  arguments: Arguments;
}

export interface QueueSettings {
  durable: boolean;
  autoDelete: boolean;
  /** Belongs to the declaring client and goes with it. */
  exclusive: boolean;
  arguments: Arguments;
}

export type BindingTarget = { kind: 'queue' | 'exchange' | 'topic'; name: string };

export interface BindingInfo {
  source: string;
  target: BindingTarget;
  pattern: Pattern;
  arguments: Arguments;
}

export interface QueueInfo extends QueueSettings {
  name: string;
  /** What is in force, by the names of arguments without `x-`: from arguments, live settings and policies. */
  rules: Arguments;
  /** Settings made after it was declared (`PolicyAdmin.setQueueRules`). */
  liveRules: Arguments;
  /** The policy and the operator policy that are for it. */
  policy: string | undefined;
  operatorPolicy: string | undefined;
  /** Rules that have no effect, and why. */
  problems: readonly string[];
  /** Deliverable messages. */
  ready: number;
  /** Messages whose time has not come. */
  delayed: number;
  /** Handed out and not settled. */
  unsettled: number;
  /** Came back, and wait to be handed out again. */
  deferred: number;
  consumers: number;
  /** Body bytes of all its messages. */
  bytes: number;
  /** Process-lifetime counters. */
  published: number;
  delivered: number;
  redelivered: number;
  completed: number;
  /** Given up (rejected, expired, ...): handed on to the dead letter exchange, or deleted. */
  deadLettered: number;
  dropped: number;
}

/** A message that came back and waits to be handed out again. */
export interface DeferredInfo {
  /** Wall-clock time. */
  dueMs: number;
  /** How often it was handed out, and how often of these it had failed. */
  redeliveries: number;
  failures: number;
  /** Level of priority it is in. */
  priority: number;
  /** As stored. */
  bytes: number;
}

/** A consumer of a queue. */
export interface ConsumerInfo extends Identity {
  tag: string;
  /** Number of its client. */
  client: number;
  priority: number;
  weight: number;
  exclusive: boolean;
  /** Tags and condition of what it takes; none: it takes everything. */
  filters: string[];
  /** It is served when it has credit; false while the queue serves another one. */
  active: boolean;
  /** Its deliveries count as settled at once. */
  settled: boolean;
  unsettled: number;
  /** Deliveries it may be given; Infinity = no limit of its own. */
  credit: number;
  /** Milliseconds it may keep a delivery; Infinity = for ever. */
  timeoutMs: number;
}

export interface ExchangeInfo extends ExchangeSettings {
  name: string;
  bindings: number;
  retained: number;
  published: number;
}

export interface VhostInfo {
  name: string;
  connections: number;
  exchanges: number;
  queues: number;
  bindings: number;
  /** Ready and unsettled messages of all queues, and their body bytes. */
  messages: number;
  bytes: number;
  /** Process-lifetime counters. */
  published: number;
  unroutable: number;
  delivered: number;
  completed: number;
  dropped: number;
}

export interface ClientInfo extends Identity {
  id: number;
  vhost: string;
  connectedAtMs: number;
  subscriptions: number;
  unsettled: number;
  published: number;
  delivered: number;
}

export interface BrokerInfo {
  /** Journal figures in bytes and counts. */
  journal: { segments: number; bytes: number; liveBytes: number; durableBatch: number; checkpointBatch: number };
  volatileBytes: number;
  blockedBy: string | undefined;
  connections: number;
}

/** Promises resolve when the effect is durable (at once for volatile objects). Effects are visible in memory at once. */
export interface Admin {
  readonly halves: HalfAdmin;
  readonly delays: DelayAdmin;
  readonly messageGroups: MessageGroupAdmin;
  /** Policies and live settings of queues. */
  readonly policies: PolicyAdmin;
  /** Messages moved out of a queue again. */
  readonly redrives: RedriveAdmin;
  readonly topics: TopicAdmin;
  /** Message ids that queues remember. */
  readonly messageIds: MessageIdsAdmin;

  createVhost(name: string): Promise<void>;
  deleteVhost(name: string): Promise<void>;
  vhosts(): VhostInfo[];

  /** Same settings again: fine. Different ones: `already-exists`. The names of `amq.*` are reserved: `access-refused`. */
  declareExchange(vhost: string, name: string, settings: ExchangeSettings): Promise<void>;
  deleteExchange(vhost: string, name: string, options?: { ifUnused?: boolean }): Promise<void>;
  exchange(vhost: string, name: string): ExchangeInfo | undefined;
  exchanges(vhost: string): ExchangeInfo[];

  /** `owner` is needed for exclusive queues, and lets the owner see its own. Throws `already-exists`, `resource-locked`. */
  declareQueue(vhost: string, name: string, settings: QueueSettings, owner?: Client): Promise<QueueInfo>;
  /** Resolves to the number of messages deleted with it. */
  deleteQueue(
    vhost: string,
    name: string,
    options?: { ifUnused?: boolean; ifEmpty?: boolean; owner?: Client },
  ): Promise<number>;
  /** Delete all ready messages; resolves to their number. */
  purgeQueue(vhost: string, name: string, owner?: Client): Promise<number>;
  queue(vhost: string, name: string): QueueInfo | undefined;
  queues(vhost: string): QueueInfo[];
  /** Of all queues: cheap also where there are very many. */
  queueNames(vhost: string): string[];
  /** The first `count` messages of a queue that wait to be tried again, the next one first. Throws `not-found`. */
  deferred(vhost: string, queue: string, count: number): DeferredInfo[];
  /** Hand out at once what waits to be tried again; resolves to its number. Throws `not-found`. */
  releaseDeferred(vhost: string, queue: string): Promise<number>;
  /** The consumers of a queue, those of the highest priority first. Throws `not-found`. */
  consumers(vhost: string, queue: string): ConsumerInfo[];
  /** End a consumer, by the number of its client and its tag: it is told, and what it holds is requeued. Throws `not-found`. */
  endConsumer(vhost: string, queue: string, client: number, tag: string): void;

  bind(
    vhost: string,
    source: string,
    target: BindingTarget,
    pattern: Pattern,
    args: Arguments,
    owner?: Client,
  ): Promise<void>;
  unbind(
    vhost: string,
    source: string,
    target: BindingTarget,
    pattern: Pattern,
    args: Arguments,
    owner?: Client,
  ): Promise<void>;
  /** All bindings of a virtual host, or those leading to one target. */
  bindings(vhost: string, target?: BindingTarget): BindingInfo[];

  clients(vhost?: string): ClientInfo[];
  /** Open transactions that hold something, the oldest first. */
  transactions(vhost?: string): TransactionInfo[];
  /** Roll a transaction back; its owner learns of it at its next call. Throws `not-found`. */
  rollbackTransaction(id: number): void;
  /** Close a client's connection. */
  closeClient(id: number, detail: string): void;
  /** Keys of the retained last values of an exchange that match, for listings. */
  retainedKeys(vhost: string, exchange: string, pattern?: Pattern): string[];
  info(): BrokerInfo;
}
