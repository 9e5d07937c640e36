/** The message ids that queues remember: look one up, count them, forget them (docs/queue-rules.md "Repeats"). */
import type { FastifyInstance } from 'fastify';
import type { HttpContext } from '../context.ts';
import { object, query } from '../schemas.ts';

export function messageIdRoutes(app: FastifyInstance, context: HttpContext): void {
  type Named = { Params: { queue: string } };
  app.get<Named & { Querystring: { id?: string } }>(
    '/queues/:queue/message-ids',
    {
      schema: {
        querystring: query({ id: { type: 'string' } }),
        response: { 200: object({ count: { type: 'integer' }, remembered: { type: 'boolean' } }) },
      },
    },
    async (request) => {
      const { messageIds } = context.broker.admin;
      const { queue } = request.params;
      const { id } = request.query;
      const vhost = context.vhost(request);
      const count = messageIds.count(vhost, queue);
      return id === undefined ? { count } : { count, remembered: messageIds.has(vhost, queue, id) };
    },
  );
  app.delete<Named>('/queues/:queue/message-ids', { schema: { querystring: query() } }, async (request, reply) => {
    await context.broker.admin.messageIds.forget(context.adminVhost(request), request.params.queue);
    return reply.code(204).send();
  });
}
