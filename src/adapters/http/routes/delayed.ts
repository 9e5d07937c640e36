/** Delayed messages of a queue: list, cancel, fire now. */
import type { FastifyInstance } from 'fastify';
import { delayedJson } from '../../delay.ts';
import type { HttpContext } from '../context.ts';
import { object, pageLimit, query } from '../schemas.ts';

type Queue = { Params: { queue: string } };
type Handle = { Params: { queue: string; handle: string } };

const DELAYED = object({
  handle: { type: 'string' },
  due_ms: { type: 'number' },
  priority: { type: 'number' },
  bytes: { type: 'number' },
  persistent: { type: 'boolean' },
});

export function delayedRoutes(app: FastifyInstance, context: HttpContext): void {
  app.get<Queue & { Querystring: { after?: string; limit: number } }>(
    '/queues/:queue/delayed',
    {
      schema: {
        querystring: query({ after: { type: 'string', maxLength: 64 }, limit: pageLimit(context.limits) }),
        response: { 200: object({ items: { type: 'array', items: DELAYED } }) },
      },
    },
    async (request) => {
      const { after, limit } = request.query;
      const page = after === undefined ? { limit } : { limit, after };
      const items = await context.broker.admin.delays.list(context.vhost(request), request.params.queue, page);
      return { items: items.map(delayedJson) };
    },
  );
  app.delete<Handle>(
    '/queues/:queue/delayed/:handle',
    { schema: { querystring: query(), response: { 200: object({ cancelled: { type: 'boolean' } }) } } },
    async (request) => {
      const { queue, handle } = request.params;
      await context.broker.admin.delays.cancel(context.vhost(request), queue, handle);
      return { cancelled: true };
    },
  );
  app.post<Handle>(
    '/queues/:queue/delayed/:handle/fire',
    { schema: { querystring: query(), response: { 200: object({ fired: { type: 'boolean' } }) } } },
    async (request) => {
      const { queue, handle } = request.params;
      await context.broker.admin.delays.fire(context.vhost(request), queue, handle);
      return { fired: true };
    },
  );
}
