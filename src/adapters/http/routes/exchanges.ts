/** Exchanges: list, inspect, declare, delete. */
import type { FastifyInstance } from 'fastify';
import { CoreError, type ExchangeInfo, type ExchangeKindName, type ExchangeSettings } from '../../../core/index.ts';
import { checkText } from '../../json-message.ts';
import { type Json, jsonToNamed, namedToJson } from '../../json-value.ts';
import { exchangeOf } from '../../targets.ts';
import type { HttpContext } from '../context.ts';
import { EXCHANGE, type ListQuery, listQuery, NAME, object, page, pageOf, query } from '../schemas.ts';

interface ExchangeBody {
  kind: ExchangeKindName;
  durable?: boolean;
  auto_delete?: boolean;
  internal?: boolean;
  alternate?: string;
  arguments?: { [name: string]: Json };
}

const EXCHANGE_BODY = object(
  {
    kind: { enum: ['direct', 'fanout', 'topic', 'headers'] },
    durable: { type: 'boolean' },
    auto_delete: { type: 'boolean' },
    internal: { type: 'boolean' },
    alternate: NAME,
    arguments: { type: 'object' },
  },
  ['kind'],
);

export function exchangeRoutes(app: FastifyInstance, context: HttpContext): void {
  type Named = { Params: { exchange: string } };
  app.get<{ Querystring: ListQuery }>(
    '/exchanges',
    { schema: { querystring: listQuery(context.limits), response: { 200: pageOf(EXCHANGE) } } },
    async (request) => {
      const { total, items } = page(context.broker.admin.exchanges(context.vhost(request)), request.query);
      return { total, items: items.map(exchangeJson) };
    },
  );
  app.get<Named>(
    '/exchanges/:exchange',
    { schema: { querystring: query(), response: { 200: EXCHANGE } } },
    async (request) => exchangeJson(known(context, context.vhost(request), exchangeOf(request.params.exchange))),
  );
  app.put<Named & { Body: ExchangeBody }>(
    '/exchanges/:exchange',
    { schema: { querystring: query(), body: EXCHANGE_BODY, response: { '2xx': EXCHANGE } } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { exchange } = request.params;
      checkText(exchange, 'the exchange name');
      const { admin } = context.broker;
      const isNew = admin.exchange(vhost, exchange) === undefined;
      await admin.declareExchange(vhost, exchange, settingsOf(request.body));
      return reply.code(isNew ? 201 : 200).send(exchangeJson(known(context, vhost, exchange)));
    },
  );
  app.delete<Named & { Querystring: { if_unused?: boolean } }>(
    '/exchanges/:exchange',
    { schema: { querystring: query({ if_unused: { type: 'boolean' } }) } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const ifUnused = request.query.if_unused ?? false;
      await context.broker.admin.deleteExchange(vhost, request.params.exchange, { ifUnused });
      return reply.code(204).send();
    },
  );
}

function settingsOf(body: ExchangeBody): ExchangeSettings {
  const settings: ExchangeSettings = {
    kind: body.kind,
    durable: body.durable ?? true,
    autoDelete: body.auto_delete ?? false,
    internal: body.internal ?? false,
    arguments: jsonToNamed(body.arguments ?? {}),
  };
  if (body.alternate !== undefined) settings.alternate = body.alternate;
  return settings;
}

function known(context: HttpContext, vhost: string, name: string): ExchangeInfo {
  const info = context.broker.admin.exchange(vhost, name);
  if (info === undefined) throw new CoreError('not-found', `exchange ${name} in virtual host ${vhost}`);
  return info;
}

function exchangeJson(info: ExchangeInfo): object {
  return { ...info, auto_delete: info.autoDelete, arguments: namedToJson(Object.entries(info.arguments)) };
}
