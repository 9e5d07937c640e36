/** Message groups of a queue: whose they are, and taking one away from its consumer. */
import type { FastifyInstance } from 'fastify';
import type { HttpContext } from '../context.ts';
import { object, query } from '../schemas.ts';

type Queue = { Params: { queue: string } };
type Group = { Params: { queue: string; group: string } };

const count = { type: 'integer' } as const;
const PINNED = object({
  bucket: count,
  tag: { type: 'string' },
  connection: count,
  unsettled: count,
  ending: { type: 'boolean' },
});

export function groupRoutes(app: FastifyInstance, context: HttpContext): void {
  const groups = () => context.broker.admin.messageGroups;
  app.get<Queue>(
    '/queues/:queue/groups',
    {
      schema: {
        querystring: query(),
        response: { 200: object({ buckets: count, pinned: { type: 'array', items: PINNED } }) },
      },
    },
    async (request) => {
      const { buckets, pinned } = groups().info(context.vhost(request), request.params.queue);
      return { buckets, pinned: pinned.map(({ client, ...others }) => ({ ...others, connection: client })) };
    },
  );
  app.get<Group>(
    '/queues/:queue/groups/:group',
    { schema: { querystring: query(), response: { 200: object({ bucket: count }) } } },
    async (request) => {
      const { queue, group } = request.params;
      return { bucket: groups().bucketOf(context.vhost(request), queue, group) };
    },
  );
  app.delete<Group>(
    '/queues/:queue/groups/:group',
    { schema: { querystring: query(), response: { 200: object({ released: { type: 'boolean' } }) } } },
    async (request) => {
      const { queue, group } = request.params;
      return { released: groups().release(context.adminVhost(request), queue, group) };
    },
  );
}
