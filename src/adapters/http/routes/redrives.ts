/** Redrives: moving messages out of a queue again (docs/redrive.md). */
import type { FastifyInstance } from 'fastify';
import { CoreError, type RedriveInfo, type RedriveOptions } from '../../../core/index.ts';
import { exchangeOf } from '../../targets.ts';
import type { HttpContext } from '../context.ts';
import { type ListQuery, NAME, object, pageLimit, pageOf, query, REDRIVE } from '../schemas.ts';

interface RedriveBody {
  to?: { queue?: string; exchange?: string; key?: string };
  filter?: string;
  rate_per_second?: number;
  max?: number;
}

const REDRIVE_BODY = {
  ...object({
    to: {
      type: 'object',
      oneOf: [object({ queue: NAME }, ['queue']), object({ exchange: NAME, key: { type: 'string' } }, ['exchange'])],
    },
    filter: { type: 'string' },
    rate_per_second: { type: 'number' },
    max: { type: 'integer' },
  }),
  type: ['object', 'null'],
};

export function redriveRoutes(app: FastifyInstance, context: HttpContext): void {
  type Numbered = { Params: { redrive: number } };
  const one = { querystring: query(), params: object({ redrive: { type: 'integer' } }), response: { 200: REDRIVE } };
  app.post<{ Params: { queue: string }; Body: RedriveBody | null }>(
    '/queues/:queue/redrive',
    { schema: { querystring: query(), body: REDRIVE_BODY, response: { 202: REDRIVE } } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { redrives } = context.broker.admin;
      const started = await redrives.start(vhost, request.params.queue, optionsOf(request.body ?? {}));
      return reply.code(202).send(redriveJson(started));
    },
  );
  app.get<{ Querystring: Pick<ListQuery, 'limit' | 'offset'> }>(
    '/redrives',
    {
      schema: {
        querystring: query({
          limit: pageLimit(context.limits),
          offset: { type: 'integer', minimum: 0, default: 0 },
        }),
        response: { 200: pageOf(REDRIVE) },
      },
    },
    async (request) => {
      const all = context.broker.admin.redrives.list(context.vhost(request));
      const { offset, limit } = request.query;
      return { total: all.length, items: all.slice(offset, offset + limit).map(redriveJson) };
    },
  );
  app.get<Numbered>('/redrives/:redrive', { schema: one }, async (request) => {
    const { redrive } = request.params;
    const info = context.broker.admin.redrives.get(context.vhost(request), redrive);
    if (info === undefined) throw new CoreError('not-found', `redrive ${redrive}`);
    return redriveJson(info);
  });
  app.delete<Numbered>('/redrives/:redrive', { schema: one }, async (request) => {
    const vhost = context.adminVhost(request);
    return redriveJson(await context.broker.admin.redrives.cancel(vhost, request.params.redrive));
  });
}

function optionsOf({ to, filter, rate_per_second: ratePerSecond, max }: RedriveBody): RedriveOptions {
  const options: RedriveOptions = {};
  if (to?.queue !== undefined) options.to = { queue: to.queue };
  if (to?.exchange !== undefined) {
    const exchange = exchangeOf(to.exchange);
    options.to = to.key === undefined ? { exchange } : { exchange, key: to.key };
  }
  if (filter !== undefined) options.filter = filter;
  if (ratePerSecond !== undefined) options.ratePerSecond = ratePerSecond;
  if (max !== undefined) options.max = max;
  return options;
}

function redriveJson(info: RedriveInfo): object {
  const { ratePerSecond, startedAtMs, endedAtMs, ...others } = info;
  return { ...others, rate_per_second: ratePerSecond, started_at_ms: startedAtMs, ended_at_ms: endedAtMs };
}
