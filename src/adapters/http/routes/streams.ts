/** Topics over HTTP, where they are called streams (`/v1/topics` publishes to the topic exchange): make, append, read. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  CoreError,
  Message,
  type MessageOrigin,
  type ShareDeadLetter,
  type ShareGroupInfo,
  type ShareSettings,
  type ShareStart,
  type TopicInfo,
  type TopicSettings,
} from '../../../core/index.ts';
import { DEAD_LETTER } from '../../dead-letter.ts';
import { bodyOf, fillMessage, type JsonPublish, PUBLISH_PROPERTIES } from '../../json-message.ts';
import { queueTarget } from '../../targets.ts';
import type { HttpClient } from '../clients.ts';
import type { HttpContext } from '../context.ts';
import { httpError } from '../errors.ts';
import { refuseReserved } from '../reserved.ts';
import { COUNT, type ListQuery, listQuery, NAME, object, PARTITION, page, query } from '../schemas.ts';
import { type PageQuery, pageQuery, partitionOf, readPage, recordJson } from '../stream-page.ts';

/** Messages of one append. */
const APPEND_MAX = 10_000;

interface StreamBody {
  partitions?: number;
  retention_ms?: number;
  retention_bytes?: number;
  file_bytes?: number;
  compact?: boolean;
  compact_lag_ms?: number;
  tombstone_ms?: number;
}

const STREAM_BODY = {
  ...object({
    ...{ partitions: COUNT, retention_ms: COUNT, retention_bytes: COUNT, file_bytes: COUNT },
    ...{ compact: { type: 'boolean' }, compact_lag_ms: COUNT, tombstone_ms: COUNT },
  }),
  type: ['object', 'null'],
};

/** Settings and what they are called here. */
const SETTINGS = [
  ['retentionMs', 'retention_ms'],
  ['retentionBytes', 'retention_bytes'],
  ['fileBytes', 'file_bytes'],
  ['compact', 'compact'],
  ['compactLagMs', 'compact_lag_ms'],
  ['tombstoneMs', 'tombstone_ms'],
] as const;

interface Item extends JsonPublish {
  partition?: number;
  group?: string;
  sequence?: number;
}

const ITEM = object({
  ...PUBLISH_PROPERTIES,
  partition: PARTITION,
  group: { type: 'string', maxLength: 255 },
  sequence: COUNT,
});

/** Settings of a share group. */
interface ShareBody {
  from?: ShareStart;
  dead_letter?: ShareDeadLetter;
}

const SHARE_BODY = {
  ...object({ from: { enum: ['first', 'next'] }, dead_letter: DEAD_LETTER }),
  type: ['object', 'null'],
};

type Named = { Params: { stream: string } };
type Numbered = { Params: { stream: string; partition: number } };

export function streamRoutes(app: FastifyInstance, context: HttpContext): void {
  app.get<{ Querystring: ListQuery }>(
    '/streams',
    { schema: { querystring: listQuery(context.limits) } },
    async (request) => {
      const { total, items } = page(context.broker.admin.topics.list(context.vhost(request)), request.query);
      return { total, items: items.map(streamJson) };
    },
  );
  app.get<Named>('/streams/:stream', { schema: { querystring: query() } }, async (request) =>
    streamJson(known(context, context.vhost(request), request.params.stream)),
  );
  app.put<Named & { Querystring: { alter?: boolean }; Body: StreamBody | null }>(
    '/streams/:stream',
    { schema: { querystring: query({ alter: { type: 'boolean' } }), body: STREAM_BODY } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { stream } = request.params;
      refuseReserved(stream);
      const { topics } = context.broker.admin;
      const settings = settingsOf(request.body ?? {});
      const isNew = topics.get(vhost, stream) === undefined;
      const change = request.query.alter === true ? topics.alter : topics.create;
      const info = await change.call(topics, vhost, stream, settings);
      return reply.code(isNew ? 201 : 200).send(streamJson(info));
    },
  );
  app.delete<Named>('/streams/:stream', { schema: { querystring: query() } }, async (request, reply) => {
    await context.broker.admin.topics.delete(context.adminVhost(request), request.params.stream);
    return reply.code(204).send();
  });
  app.delete<Numbered & { Querystring: { before: number } }>(
    '/streams/:stream/partitions/:partition/messages',
    {
      schema: {
        params: object({ stream: NAME, partition: PARTITION }),
        querystring: { ...query({ before: COUNT }), required: ['before'] },
      },
    },
    async (request) => {
      const { stream, partition } = request.params;
      const vhost = context.adminVhost(request);
      return { start: await context.broker.admin.topics.truncate(vhost, stream, partition, request.query.before) };
    },
  );
  app.get<Named & { Querystring: ListQuery }>(
    '/streams/:stream/groups',
    { schema: { querystring: listQuery(context.limits) } },
    async (request) => {
      const groups = context.broker.admin.topics.shareGroups(context.vhost(request), request.params.stream);
      const { total, items } = page(groups, request.query);
      return { total, items: items.map(shareGroupJson) };
    },
  );
  app.put<{ Params: { stream: string; group: string }; Body: ShareBody | null }>(
    '/streams/:stream/groups/:group',
    { schema: { querystring: query(), body: SHARE_BODY } },
    async (request) => {
      const { stream, group } = request.params;
      const { from: start = 'next', dead_letter: deadLetter } = request.body ?? {};
      const settings: ShareSettings = deadLetter === undefined ? { start } : { start, deadLetter };
      const { topics } = context.broker.admin;
      return shareGroupJson(await topics.setShareGroup(context.adminVhost(request), stream, group, settings));
    },
  );
  app.delete<{ Params: { stream: string; group: string } }>(
    '/streams/:stream/groups/:group',
    { schema: { querystring: query() } },
    async (request, reply) => {
      const { stream, group } = request.params;
      await context.broker.admin.topics.deleteShareGroup(context.adminVhost(request), stream, group);
      return reply.code(204).send();
    },
  );
  messageRoutes(app, context);
  producerRoutes(app, context);
}

// ---- Messages -----------------------------------------------------------------------------------------------------

function messageRoutes(app: FastifyInstance, context: HttpContext): void {
  const { limits } = context;
  app.post<Named & { Querystring: { producer?: number; epoch?: number }; Body: Item[] }>(
    '/streams/:stream/messages',
    {
      schema: {
        querystring: query({ producer: COUNT, epoch: COUNT }),
        body: { type: 'array', maxItems: APPEND_MAX, items: ITEM },
      },
    },
    async (request) => {
      const { stream } = request.params;
      known(context, context.vhost(request), stream);
      const { producer: id, epoch = 0 } = request.query;
      const origin = id === undefined ? undefined : { id, epoch };
      const results = await context.withClient(request, (client) =>
        Promise.all(request.body.map((item) => append(context, client, stream, item, origin))),
      );
      return { confirmed: results.filter((result) => 'offset' in result).length, results };
    },
  );
  app.get<Numbered & { Querystring: PageQuery }>(
    '/streams/:stream/partitions/:partition/messages',
    {
      schema: {
        params: object({ stream: NAME, partition: PARTITION }),
        querystring: pageQuery(limits),
      },
    },
    (request, reply) => read(context, request, reply),
  );
}

/** `publish` fills it and the core copies it before the call returns: one is enough. */
const view = new Message();

async function append(
  context: HttpContext,
  client: HttpClient,
  stream: string,
  item: Item,
  origin: MessageOrigin | undefined,
): Promise<{ partition: number; offset: number } | { error: string; message: string }> {
  try {
    const body = bodyOf(item);
    const nowMs = context.options.clock.now();
    return await client.append(queueTarget(stream), view, (message) => {
      fillMessage(context.broker, message, item, body, nowMs);
      withGroup(message, item.group ?? '');
      message.partition = item.partition ?? -1;
      message.sequence = item.sequence ?? -1;
      message.origin = origin;
    });
  } catch (error) {
    return httpError(error).body;
  }
}

/** Put a group id in front of what the message has. */
function withGroup(message: Message, group: string): void {
  const bytes = Buffer.from(group);
  const shift = bytes.length;
  message.groupStart = 0;
  message.groupEnd = shift;
  if (shift === 0) return;
  message.bytes = Buffer.concat([bytes, message.bytes]);
  message.headStart += shift;
  message.headEnd += shift;
  message.bodyStart += shift;
  message.bodyEnd += shift;
}

async function read(
  context: HttpContext,
  request: FastifyRequest<Numbered & { Querystring: PageQuery }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { stream, partition } = request.params;
  const { max, wait_ms: waitMs, ...place } = request.query;
  const { broker, options, limits } = context;
  const messages: string[] = [];
  let bytes = 0;
  let next = -1;
  const from = await context.withClient(request, ({ client }) => {
    const around = { broker, client, clock: options.clock, response: reply.raw };
    return readPage({ stream, partition, place, waitMs }, around, (batch) => {
      const text = recordJson(broker, batch.offset, batch.message);
      messages.push(text);
      bytes += text.length;
      next = batch.offset + Math.max(1, batch.sealed);
      return messages.length < max && bytes < limits.leaseBytesMax;
    });
  });
  const { start, durableEnd } = partitionOf(broker.admin.topics.get(context.vhost(request), stream), partition);
  return reply
    .header('content-type', 'application/json; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(`{"next":${next < 0 ? from : next},"start":${start},"end":${durableEnd},"messages":[${messages.join(',')}]}`);
}

// ---- Producers ----------------------------------------------------------------------------------------------------

function producerRoutes(app: FastifyInstance, context: HttpContext): void {
  app.post<{ Body: { name?: string } | null }>(
    '/producers',
    {
      schema: {
        querystring: query(),
        body: { ...object({ name: { type: 'string', maxLength: 255 } }), type: ['object', 'null'] },
      },
    },
    (request) => context.broker.admin.topics.openOrigin(context.vhost(request), request.body?.name),
  );
  app.get<{ Querystring: ListQuery }>(
    '/producers',
    { schema: { querystring: listQuery(context.limits) } },
    async (request) => page(context.broker.admin.topics.origins(context.vhost(request)), request.query),
  );
  app.delete<{ Params: { producer: string } }>(
    '/producers/:producer',
    { schema: { querystring: query() } },
    async (request, reply) => {
      await context.broker.admin.topics.deleteOrigin(context.adminVhost(request), request.params.producer);
      return reply.code(204).send();
    },
  );
}

// ---- JSON ---------------------------------------------------------------------------------------------------------

function known(context: HttpContext, vhost: string, name: string): TopicInfo {
  const info = context.broker.admin.topics.get(vhost, name);
  if (info === undefined) throw new CoreError('not-found', `stream ${name} in virtual host ${vhost}`);
  return info;
}

function settingsOf(body: StreamBody): TopicSettings {
  const settings: TopicSettings = { partitions: body.partitions ?? 1 };
  for (const [name, member] of SETTINGS) {
    const value = body[member];
    if (value !== undefined) Object.assign(settings, { [name]: value });
  }
  return settings;
}

function streamJson(info: TopicInfo): object {
  return {
    name: info.name,
    ...Object.fromEntries(SETTINGS.map(([name, member]) => [member, info[name]])),
    published: info.published,
    partitions: info.details.map(({ durableEnd, ...rest }) => ({ ...rest, durable_end: durableEnd })),
  };
}

function shareGroupJson({ deadLetter, deadLettered, ...rest }: ShareGroupInfo): object {
  return { ...rest, dead_letter: deadLetter ?? null, dead_lettered: deadLettered };
}
