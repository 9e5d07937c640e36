/** Virtual hosts: list, create, delete. For administrators. */
import type { FastifyInstance } from 'fastify';
import { checkText } from '../../json-message.ts';
import type { HttpContext } from '../context.ts';
import { type ListQuery, listQuery, page, pageOf, query, VHOST_INFO } from '../schemas.ts';

export function vhostRoutes(app: FastifyInstance, context: HttpContext): void {
  type Named = { Params: { name: string } };
  app.get<{ Querystring: ListQuery }>(
    '/vhosts',
    { schema: { querystring: listQuery(context.limits), response: { 200: pageOf(VHOST_INFO) } } },
    async (request) => {
      context.requireAdministrator(request);
      return page(context.broker.admin.vhosts(), request.query);
    },
  );
  app.put<Named>('/vhosts/:name', { schema: { querystring: query() } }, async (request, reply) => {
    context.requireAdministrator(request);
    const { name } = request.params;
    checkText(name, 'the name of the virtual host');
    await context.broker.admin.createVhost(name);
    return reply.code(204).send();
  });
  app.delete<Named>('/vhosts/:name', { schema: { querystring: query() } }, async (request, reply) => {
    context.requireAdministrator(request);
    await context.broker.admin.deleteVhost(request.params.name);
    return reply.code(204).send();
  });
}
