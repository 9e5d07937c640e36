/** Connections of all protocols: list and close. For administrators. */
import type { FastifyInstance } from 'fastify';
import { type ClientInfo, CoreError } from '../../../core/index.ts';
import type { HttpContext } from '../context.ts';
import { CONNECTION, type ListQuery, listQuery, page, pageOf, query } from '../schemas.ts';

export function connectionRoutes(app: FastifyInstance, context: HttpContext): void {
  app.get<{ Querystring: ListQuery }>(
    '/connections',
    { schema: { querystring: listQuery(context.limits), response: { 200: pageOf(CONNECTION) } } },
    async (request) => {
      context.requireAdministrator(request);
      const clients = context.broker.admin.clients(request.query.vhost);
      const named = clients.map((client) => ({ name: client.clientId, client }));
      const { total, items } = page(named, request.query);
      return { total, items: items.map(({ client }) => connectionJson(client)) };
    },
  );
  app.delete<{ Params: { id: number }; Querystring: { reason?: string } }>(
    '/connections/:id',
    {
      schema: {
        params: { type: 'object', properties: { id: { type: 'integer', minimum: 1 } } },
        querystring: query({ reason: { type: 'string', maxLength: 200 } }),
      },
    },
    async (request, reply) => {
      context.requireAdministrator(request);
      const { admin } = context.broker;
      const { id } = request.params;
      if (!admin.clients().some((client) => client.id === id)) throw new CoreError('not-found', `connection ${id}`);
      admin.closeClient(id, request.query.reason ?? 'closed by an administrator');
      return reply.code(204).send();
    },
  );
}

function connectionJson(info: ClientInfo): object {
  return { ...info, client_id: info.clientId, connected_at_ms: info.connectedAtMs };
}
