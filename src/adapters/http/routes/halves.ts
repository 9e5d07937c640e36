/** Half messages: prepare, commit, roll back, list, look into; producer groups and the addresses of their checks. */
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { CoreError, type HalfInfo, type HalfOp, type ProducerGroupInfo } from '../../../core/index.ts';
import { HALF_NAME, type JsonPrepare, PREPARE_PROPERTIES } from '../../json-half.ts';
import { checkText, messageJson } from '../../json-message.ts';
import type { HttpContext } from '../context.ts';
import { checkAddress } from '../half-caller.ts';
import { object, pageLimit, pageOf, query } from '../schemas.ts';

type Named = { Params: { group: string; half: string } };

const HALF = {
  type: 'object',
  properties: {
    group: { type: 'string' },
    half: { type: 'string' },
    messages: { type: 'number' },
    bytes: { type: 'number' },
    prepared_at_ms: { type: 'number' },
    checks: { type: 'number' },
    checks_max: { type: 'number' },
    parked: { type: 'boolean' },
    next_check_ms: { type: 'number' },
  },
} as const;
const GROUP = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    halves: { type: 'number' },
    parked: { type: 'number' },
    checkers: { type: 'number' },
    check_url: { type: 'string' },
  },
} as const;
/** How a route that ends a half is called, and what it does. */
const ENDS: readonly HalfOp[] = ['commit', 'rollback'];

export function halfRoutes(app: FastifyInstance, context: HttpContext): void {
  prepareRoute(app, context);
  for (const op of ENDS) {
    const schema = { querystring: query(), response: { 200: object({ ended: { type: 'string' } }) } };
    app.post<Named>(`/half-messages/:group/:half/${op}`, { schema }, (request) =>
      context.withClient(request, async (client) => {
        await client.finishHalf(request.params.group, request.params.half, op);
        return { ended: op };
      }),
    );
  }
  listRoutes(app, context);
  groupRoutes(app, context);
}

function prepareRoute(app: FastifyInstance, context: HttpContext): void {
  app.post<{ Params: { group: string }; Body: JsonPrepare }>(
    '/half-messages/:group',
    {
      schema: {
        querystring: query(),
        params: { type: 'object', properties: { group: HALF_NAME } },
        body: object(PREPARE_PROPERTIES, ['messages']),
        response: { 201: object({ group: { type: 'string' }, half: { type: 'string' } }) },
      },
    },
    (request, reply) =>
      context.withClient(request, async (client) => {
        const { group } = request.params;
        const half = request.body.half ?? randomUUID();
        checkText(group, 'the name of the producer group');
        checkText(half, 'the id of the half message');
        const nowMs = context.options.clock.now();
        await client.prepareHalf(request.body, { broker: context.broker, group, id: half, nowMs });
        return reply.code(201).send({ group, half });
      }),
  );
}

interface HalfQuery {
  group?: string;
  parked?: boolean;
  limit: number;
  offset: number;
}

function listRoutes(app: FastifyInstance, context: HttpContext): void {
  const querystring = query({
    group: HALF_NAME,
    parked: { type: 'boolean' },
    limit: pageLimit(context.limits),
    offset: { type: 'integer', minimum: 0, default: 0 },
  });
  app.get<{ Querystring: HalfQuery }>(
    '/half-messages',
    { schema: { querystring, response: { 200: pageOf(HALF) } } },
    async (request) => {
      const { group, parked, limit, offset } = request.query;
      const all = context.broker.admin.halves
        .list(context.vhost(request), group)
        .filter(({ nextCheckMs }) => parked === undefined || parked === (nextCheckMs === undefined));
      return { total: all.length, items: all.slice(offset, offset + limit).map(halfJson) };
    },
  );
  app.get<Named>('/half-messages/:group/:half', { schema: { querystring: query() } }, async (request, reply) => {
    const { halves } = context.broker.admin;
    const vhost = context.vhost(request);
    const { group, half } = request.params;
    const info = halves.get(vhost, group, half);
    if (info === undefined) throw new CoreError('not-found', `no open half message '${half}' of group '${group}'`);
    const messages: string[] = [];
    await halves.messages(vhost, group, half, (message) => messages.push(messageJson(context.broker, message)));
    const facts = JSON.stringify({ ...halfJson(info), messages: undefined }).slice(0, -1);
    return context
      .quarantine(reply)
      .type('application/json; charset=utf-8')
      .send(`${facts},"messages":[${messages.join(',')}]}`);
  });
}

function groupRoutes(app: FastifyInstance, context: HttpContext): void {
  type Grouped = { Params: { group: string } };
  const schema = { querystring: query() };
  app.get('/producer-groups', { schema: { ...schema, response: { 200: pageOf(GROUP) } } }, async (request) => {
    const groups = context.broker.admin.halves.groups(context.vhost(request));
    return { total: groups.length, items: groups.map(groupJson) };
  });
  app.put<Grouped & { Body: { url: string } }>(
    '/producer-groups/:group/check-url',
    { schema: { ...schema, body: object({ url: { type: 'string' } }, ['url']) } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      checkText(request.params.group, 'the name of the producer group');
      const address = checkAddress(request.body.url);
      await context.broker.admin.halves.setCallback(vhost, request.params.group, address);
      return reply.code(204).send();
    },
  );
  app.delete<Grouped>('/producer-groups/:group/check-url', { schema }, async (request, reply) => {
    const vhost = context.adminVhost(request);
    await context.broker.admin.halves.setCallback(vhost, request.params.group, undefined);
    return reply.code(204).send();
  });
}

function halfJson({ group, id, messages, bytes, preparedAtMs, checks, checksMax, nextCheckMs }: HalfInfo): object {
  return {
    ...{ group, half: id, messages, bytes, prepared_at_ms: preparedAtMs },
    ...{ checks, checks_max: checksMax, parked: nextCheckMs === undefined, next_check_ms: nextCheckMs },
  };
}

function groupJson({ name, halves, parked, checkers, callback }: ProducerGroupInfo): object {
  return { name, halves, parked, checkers, check_url: callback };
}
