/** What this server is and how it is doing. */
import type { FastifyInstance } from 'fastify';
import type { HttpContext } from '../context.ts';
import { query } from '../schemas.ts';

export function infoRoutes(app: FastifyInstance, context: HttpContext): void {
  app.get('/info', { schema: { querystring: query() } }, async (request) => {
    const login = context.login(request);
    const about = {
      name: 'JunctionMQ',
      version: context.options.version,
      user: login.user,
      vhost: context.vhost(request),
    };
    if (!login.administrator) return about;
    const { journal, volatileBytes, blockedBy, connections } = context.broker.admin.info();
    return {
      ...about,
      blocked_by: blockedBy ?? null,
      connections,
      leases: context.serving.leases.count,
      volatile_bytes: volatileBytes,
      journal: {
        segments: journal.segments,
        bytes: journal.bytes,
        live_bytes: journal.liveBytes,
        durable_batch: journal.durableBatch,
        checkpoint_batch: journal.checkpointBatch,
      },
    };
  });
}
