/** Health, for load balancers and supervisors: no login, no JSON schema, no broker needed. */
import type { FastifyInstance } from 'fastify';
import type { HttpContext } from '../context.ts';

export function healthRoutes(app: FastifyInstance, context: HttpContext): void {
  // The process runs and answers. An alarm or a long recovery is no reason to restart it.
  app.get('/health/live', async (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ status: 'live' }),
  );
  app.get('/health/ready', async (_request, reply) => {
    const ready = context.options.ready();
    reply.header('cache-control', 'no-store').code(ready ? 200 : 503);
    return { status: ready ? 'ready' : 'not ready' };
  });
}
