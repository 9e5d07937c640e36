/** Bindings: list, make, remove. */
import type { FastifyInstance } from 'fastify';
import { type BindingInfo, type BindingTarget, type Pattern, parsePattern } from '../../../core/index.ts';
import { checkText } from '../../json-message.ts';
import { type Json, jsonToNamed, namedToJson } from '../../json-value.ts';
import type { HttpContext } from '../context.ts';
import { BINDING, type ListQuery, listQuery, NAME, object, page, pageOf, query } from '../schemas.ts';

/** What a binding leads to: one of these. */
interface Ends {
  queue?: string | undefined;
  exchange?: string | undefined;
  stream?: string | undefined;
}

interface BindingBody extends Ends {
  source: string;
  key?: string;
  separator?: '.' | '/';
  arguments?: { [name: string]: Json };
}

const BINDING_BODY = {
  ...object(
    {
      source: NAME,
      queue: NAME,
      exchange: NAME,
      stream: NAME,
      key: { type: 'string' },
      separator: { enum: ['.', '/'] },
      arguments: { type: 'object' },
    },
    ['source'],
  ),
  oneOf: [{ required: ['queue'] }, { required: ['exchange'] }, { required: ['stream'] }],
};

export function bindingRoutes(app: FastifyInstance, context: HttpContext): void {
  app.get<{ Querystring: ListQuery & Ends }>(
    '/bindings',
    {
      schema: {
        querystring: bindingQuery(listQuery(context.limits)),
        response: { 200: pageOf(BINDING) },
      },
    },
    async (request) => {
      const { queue, exchange, stream } = request.query;
      const target = (queue ?? exchange ?? stream) === undefined ? undefined : targetOf(request.query);
      const all = context.broker.admin.bindings(context.vhost(request), target);
      const named = all.map((binding) => ({ name: binding.source, binding }));
      const { total, items } = page(named, request.query);
      return { total, items: items.map(({ binding }) => bindingJson(binding)) };
    },
  );
  app.post<{ Body: BindingBody }>(
    '/bindings',
    { schema: { querystring: query(), body: BINDING_BODY } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { source, arguments: args = {} } = request.body;
      const pattern = patternOf(context, request.body);
      await context.broker.admin.bind(vhost, source, targetOf(request.body), pattern, jsonToNamed(args));
      return reply.code(204).send();
    },
  );
  app.post<{ Body: BindingBody }>(
    '/bindings/delete',
    { schema: { querystring: query(), body: BINDING_BODY } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { source, arguments: args = {} } = request.body;
      const pattern = patternOf(context, request.body);
      await context.broker.admin.unbind(vhost, source, targetOf(request.body), pattern, jsonToNamed(args));
      return reply.code(204).send();
    },
  );
}

/** A listing's query, and the target whose bindings are wanted. */
function bindingQuery(list: object): object {
  const { properties } = list as { properties: object };
  return { ...list, properties: { ...properties, queue: NAME, exchange: NAME, stream: NAME } };
}

function targetOf({ queue, exchange, stream }: Ends): BindingTarget {
  if (queue !== undefined) return { kind: 'queue', name: queue };
  if (stream !== undefined) return { kind: 'topic', name: stream };
  return { kind: 'exchange', name: exchange ?? '' };
}

/** With the separator `.` wildcards are `*` and `#`, as in AMQP; with `/` they are `+` and `#`, as in MQTT. */
function patternOf(context: HttpContext, body: BindingBody): Pattern {
  const text = body.key ?? '';
  checkText(text, 'the key');
  const { limits } = context;
  if (body.separator !== '/') return parsePattern(text, 0x2e, '*', '#', { limits });
  return parsePattern(text, 0x2f, '+', '#', { limits, strict: true, hidesDollar: true });
}

function bindingJson(info: BindingInfo): object {
  return {
    source: info.source,
    target: info.target,
    key: info.pattern.text,
    separator: String.fromCharCode(info.pattern.separator),
    arguments: namedToJson(Object.entries(info.arguments)),
  };
}
