/** Who consumes a queue, and what waits to be handed out again. */
import type { FastifyInstance } from 'fastify';
import type { ConsumerInfo, DeferredInfo } from '../../../core/index.ts';
import type { HttpContext } from '../context.ts';
import { CONSUMER, DEFERRED, type ListQuery, listQuery, object, page, pageLimit, pageOf, query } from '../schemas.ts';

type Named = { Params: { queue: string } };

export function consumerRoutes(app: FastifyInstance, context: HttpContext): void {
  app.get<Named & { Querystring: ListQuery }>(
    '/queues/:queue/consumers',
    { schema: { querystring: listQuery(context.limits), response: { 200: pageOf(CONSUMER) } } },
    async (request) => {
      const consumers = context.broker.admin.consumers(context.vhost(request), request.params.queue);
      const named = consumers.map((consumer) => ({ name: consumer.tag, consumer }));
      const { total, items } = page(named, request.query);
      return { total, items: items.map(({ consumer }) => consumerJson(consumer)) };
    },
  );
  app.delete<Named & { Querystring: { connection: number; tag: string } }>(
    '/queues/:queue/consumers',
    {
      schema: {
        querystring: {
          ...query({ connection: { type: 'integer' }, tag: { type: 'string' } }),
          required: ['connection', 'tag'],
        },
      },
    },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { connection, tag } = request.query;
      context.broker.admin.endConsumer(vhost, request.params.queue, connection, tag);
      return reply.code(204).send();
    },
  );
  app.get<Named & { Querystring: { limit: number } }>(
    '/queues/:queue/deferred',
    { schema: { querystring: query({ limit: pageLimit(context.limits) }), response: { 200: pageOf(DEFERRED) } } },
    async (request) => {
      const vhost = context.vhost(request);
      const { queue } = request.params;
      const items = context.broker.admin.deferred(vhost, queue, request.query.limit);
      return { total: context.broker.admin.queue(vhost, queue)?.deferred, items: items.map(deferredJson) };
    },
  );
  app.post<Named>(
    '/queues/:queue/deferred/release',
    { schema: { querystring: query(), response: { 200: object({ messages: { type: 'integer' } }) } } },
    async (request) => {
      const vhost = context.adminVhost(request);
      return { messages: await context.broker.admin.releaseDeferred(vhost, request.params.queue) };
    },
  );
}

/** What is without limit is null: JSON has no word for it. */
function consumerJson(info: ConsumerInfo): object {
  const { client, clientId, credit, timeoutMs } = info;
  return {
    ...info,
    connection: client,
    client_id: clientId,
    credit: Number.isFinite(credit) ? credit : null,
    timeout_ms: Number.isFinite(timeoutMs) ? timeoutMs : null,
  };
}

function deferredJson(info: DeferredInfo): object {
  return { ...info, due_ms: info.dueMs };
}
