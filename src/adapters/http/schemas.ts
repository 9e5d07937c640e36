/** JSON schemas that more than one route uses. */
import type { Limits } from '../../core/index.ts';

/** `?vhost=`, which every route under `/v1` takes. */
const VHOST = { vhost: { type: 'string', minLength: 1, maxLength: 255 } } as const;

/** An object schema that refuses members it does not know. */
export function object(properties: object, required: readonly string[] = []): object {
  return { type: 'object', additionalProperties: false, required, properties };
}

/** A query string: the members given and `vhost`. */
export function query(properties: object = {}): object {
  return object({ ...VHOST, ...properties });
}

/** `?limit=` of a listing. */
export function pageLimit(limits: Limits): object {
  return { type: 'integer', minimum: 0, maximum: limits.listItemsMax, default: Math.min(1000, limits.listItemsMax) };
}

/** The query of a listing: part of the names, and a page. @param members of this one */
export function listQuery(limits: Limits, members: object = {}): object {
  return query({
    ...members,
    name: { type: 'string', maxLength: 255 },
    limit: pageLimit(limits),
    offset: { type: 'integer', minimum: 0, default: 0 },
  });
}

export interface ListQuery {
  vhost?: string;
  name?: string;
  limit: number;
  offset: number;
}

/** One page of a list of named things. */
export function page<T extends { name: string }>(all: readonly T[], asked: ListQuery): { total: number; items: T[] } {
  const wanted = asked.name;
  const matching = wanted === undefined ? all : all.filter((item) => item.name.includes(wanted));
  return { total: matching.length, items: matching.slice(asked.offset, asked.offset + asked.limit) };
}

const text = { type: 'string' } as const;
const count = { type: 'number' } as const;
const flag = { type: 'boolean' } as const;
const args = { type: 'object', additionalProperties: true } as const;
const texts = { type: 'array', items: text } as const;

/** Response schemas: what is not named here is not sent. */
export const QUEUE = {
  type: 'object',
  properties: {
    name: text,
    durable: flag,
    auto_delete: flag,
    exclusive: flag,
    arguments: args,
    rules: args,
    live_rules: args,
    policy: text,
    operator_policy: text,
    problems: texts,
    ready: count,
    delayed: count,
    unsettled: count,
    deferred: count,
    consumers: count,
    bytes: count,
    published: count,
    delivered: count,
    redelivered: count,
    completed: count,
    dead_lettered: count,
    dropped: count,
  },
} as const;

export const CONSUMER = {
  type: 'object',
  properties: {
    tag: text,
    connection: count,
    user: text,
    client_id: text,
    protocol: text,
    peer: text,
    priority: count,
    weight: count,
    exclusive: flag,
    filters: { type: 'array', items: text },
    active: flag,
    settled: flag,
    unsettled: count,
    credit: { type: ['number', 'null'] },
    timeout_ms: { type: ['number', 'null'] },
  },
} as const;

export const POLICY = {
  type: 'object',
  properties: {
    name: text,
    operator: flag,
    pattern: text,
    applies_to: text,
    priority: count,
    definition: args,
  },
} as const;

const CHANGES_SUMS = { over_length: count, over_ring: count, expired: count, abandoned: count, exact: flag } as const;

/** What a dry run answers. */
export const PREVIEW = {
  type: 'object',
  properties: {
    queues: count,
    ...CHANGES_SUMS,
    items: {
      type: 'array',
      items: object({
        queue: text,
        // Values are whatever rules have; null is none.
        changes: { type: 'array', items: { type: 'object', additionalProperties: true } },
        policy: text,
        operator_policy: text,
        ready: count,
        ...CHANGES_SUMS,
        messages: {
          type: 'array',
          items: object({
            reason: text,
            exchange: text,
            key: text,
            message_id: text,
            priority: count,
            bytes: count,
            received_at_ms: count,
          }),
        },
        dead_letter_exchange: text,
        problems: texts,
      }),
    },
  },
} as const;

export const REDRIVE = {
  type: 'object',
  properties: {
    id: count,
    queue: text,
    to: { type: 'object', properties: { queue: text, exchange: text, key: text } },
    filter: text,
    rate_per_second: count,
    max: count,
    state: text,
    moved: count,
    skipped: count,
    left: count,
    started_at_ms: count,
    ended_at_ms: count,
    reason: text,
  },
} as const;

export const DEFERRED = {
  type: 'object',
  properties: { due_ms: count, redeliveries: count, failures: count, priority: count, bytes: count },
} as const;

export const EXCHANGE = {
  type: 'object',
  properties: {
    name: text,
    kind: text,
    durable: flag,
    auto_delete: flag,
    internal: flag,
    alternate: text,
    arguments: args,
    bindings: count,
    retained: count,
    published: count,
  },
} as const;

export const BINDING = {
  type: 'object',
  properties: {
    source: text,
    target: object({ kind: text, name: text }),
    key: text,
    separator: text,
    arguments: args,
  },
} as const;

export const VHOST_INFO = {
  type: 'object',
  properties: {
    name: text,
    connections: count,
    exchanges: count,
    queues: count,
    bindings: count,
    messages: count,
    bytes: count,
    published: count,
    unroutable: count,
    delivered: count,
    completed: count,
    dropped: count,
  },
} as const;

export const CONNECTION = {
  type: 'object',
  properties: {
    id: count,
    user: text,
    client_id: text,
    protocol: text,
    peer: text,
    vhost: text,
    connected_at_ms: count,
    subscriptions: count,
    unsettled: count,
    published: count,
    delivered: count,
  },
} as const;

/** A page of items. */
export function pageOf(item: object): object {
  return { type: 'object', properties: { total: count, items: { type: 'array', items: item } } };
}

/** A number of something, or an offset. */
export const COUNT = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;
/** Number of a partition. */
export const PARTITION = { type: 'integer', minimum: 0, maximum: 1_000_000 } as const;

/** A path or query member that names a queue, exchange or virtual host. */
export const NAME = { type: 'string', minLength: 1, maxLength: 255 } as const;
