/** Queues: list, inspect, declare, delete, purge. */
import type { FastifyInstance } from 'fastify';
import { CoreError, type QueueInfo } from '../../../core/index.ts';
import { checkText } from '../../json-message.ts';
import { type Json, jsonToNamed, namedToJson } from '../../json-value.ts';
import type { HttpContext } from '../context.ts';
import { refuseReserved } from '../reserved.ts';
import { type ListQuery, listQuery, object, page, pageOf, QUEUE, query } from '../schemas.ts';

interface QueueBody {
  durable?: boolean;
  auto_delete?: boolean;
  arguments?: { [name: string]: Json };
}

const QUEUE_BODY = {
  ...object({
    durable: { type: 'boolean' },
    auto_delete: { type: 'boolean' },
    arguments: { type: 'object' },
  }),
  type: ['object', 'null'],
};
const DELETED = { 200: object({ messages: { type: 'integer' } }) };

export function queueRoutes(app: FastifyInstance, context: HttpContext): void {
  type Named = { Params: { queue: string } };
  app.get<{ Querystring: ListQuery }>(
    '/queues',
    { schema: { querystring: listQuery(context.limits), response: { 200: pageOf(QUEUE) } } },
    async (request) => {
      const vhost = context.vhost(request);
      const { admin } = context.broker;
      const names = admin.queueNames(vhost).map((name) => ({ name }));
      const { total, items } = page(names, request.query);
      return { total, items: items.flatMap(({ name }) => admin.queue(vhost, name) ?? []).map(queueJson) };
    },
  );
  app.get<Named>('/queues/:queue', { schema: { querystring: query(), response: { 200: QUEUE } } }, async (request) =>
    queueJson(known(context, context.vhost(request), request.params.queue)),
  );
  app.put<Named & { Body: QueueBody | null }>(
    '/queues/:queue',
    { schema: { querystring: query(), body: QUEUE_BODY, response: { '2xx': QUEUE } } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { queue } = request.params;
      checkText(queue, 'the queue name');
      refuseReserved(queue);
      const { admin } = context.broker;
      const body = request.body ?? {};
      const isNew = admin.queue(vhost, queue) === undefined;
      const info = await admin.declareQueue(vhost, queue, {
        durable: body.durable ?? true,
        autoDelete: body.auto_delete ?? false,
        exclusive: false,
        arguments: jsonToNamed(body.arguments ?? {}),
      });
      return reply.code(isNew ? 201 : 200).send(queueJson(info));
    },
  );
  app.delete<Named & { Querystring: { if_unused?: boolean; if_empty?: boolean } }>(
    '/queues/:queue',
    {
      schema: {
        querystring: query({ if_unused: { type: 'boolean' }, if_empty: { type: 'boolean' } }),
        response: DELETED,
      },
    },
    async (request) => {
      const vhost = context.adminVhost(request);
      const { if_unused: ifUnused = false, if_empty: ifEmpty = false } = request.query;
      return { messages: await context.broker.admin.deleteQueue(vhost, request.params.queue, { ifUnused, ifEmpty }) };
    },
  );
  app.delete<Named>(
    '/queues/:queue/messages',
    { schema: { querystring: query(), response: DELETED } },
    async (request) => {
      const vhost = context.adminVhost(request);
      return { messages: await context.broker.admin.purgeQueue(vhost, request.params.queue) };
    },
  );
}

function known(context: HttpContext, vhost: string, name: string): QueueInfo {
  const info = context.broker.admin.queue(vhost, name);
  if (info === undefined) throw new CoreError('not-found', `queue ${name} in virtual host ${vhost}`);
  return info;
}

function queueJson(info: QueueInfo): object {
  const args = namedToJson(Object.entries(info.arguments));
  return {
    ...info,
    auto_delete: info.autoDelete,
    dead_lettered: info.deadLettered,
    arguments: args,
    rules: namedToJson(Object.entries(info.rules)),
    live_rules: namedToJson(Object.entries(info.liveRules)),
    operator_policy: info.operatorPolicy,
  };
}
