/** Publishing: to a topic, to an exchange, to a queue, and many at once. A 2xx comes after the message is durable. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CoreError, Message } from '../../../core/index.ts';
import type { DelayNames } from '../../delay.ts';
import { bodyOf, fillMessage, type JsonPublish } from '../../json-message.ts';
import { ITEMS_MAX, isMandatory, JSON_ITEM, type JsonItem } from '../../json-transaction.ts';
import { exchangeTarget, queueTarget, type Target, targetOf, topicTarget } from '../../targets.ts';
import type { HttpClient, Published } from '../clients.ts';
import type { HttpContext } from '../context.ts';
import { httpError } from '../errors.ts';
import { DELAY_HEADERS, readHeaders } from '../properties.ts';
import { NAME, object, query } from '../schemas.ts';

interface PublishQuery {
  vhost?: string;
  persistent?: boolean;
  retain?: boolean;
  mandatory?: boolean;
}

const FLAGS = {
  persistent: { type: 'boolean' },
  retain: { type: 'boolean' },
  mandatory: { type: 'boolean' },
} as const;

const HANDLES = { type: 'array', items: { type: 'string' } } as const;
const PUBLISHED = object({ routed: { type: 'boolean' }, delayed: HANDLES });
const EMPTY = Buffer.alloc(0);
/** `publish` fills it and the core copies it before the call returns: one is enough. */
const view = new Message();

/** Raw bodies: any content type is taken as it is. */
export function publishRoutes(app: FastifyInstance, context: HttpContext): void {
  const response = { 200: PUBLISHED };
  app.post<{ Params: { '*': string }; Querystring: PublishQuery }>(
    '/topics/*',
    { schema: { querystring: query(FLAGS), response } },
    (request, reply) => publishRaw(context, request, reply, topicTarget(request.params['*'])),
  );
  app.post<{ Params: { exchange: string; '*': string }; Querystring: PublishQuery & { separator?: string } }>(
    '/publish/:exchange/*',
    { schema: { querystring: query({ ...FLAGS, separator: { enum: ['.', '/'] } }), response } },
    (request, reply) => {
      const { exchange, '*': key } = request.params;
      return publishRaw(context, request, reply, exchangeTarget(exchange, key, request.query.separator));
    },
  );
  app.post<{ Querystring: PublishQuery & { exchange: string; key?: string; separator?: string } }>(
    '/publish',
    {
      schema: {
        querystring: {
          ...query({ ...FLAGS, exchange: NAME, key: { type: 'string' }, separator: { enum: ['.', '/'] } }),
          required: ['exchange'],
        },
        response,
      },
    },
    (request, reply) => {
      const { exchange, key, separator } = request.query;
      return publishRaw(context, request, reply, exchangeTarget(exchange, key ?? '', separator));
    },
  );
  app.post<{ Params: { queue: string }; Querystring: PublishQuery }>(
    '/queues/:queue/messages',
    { schema: { querystring: query(FLAGS), response } },
    (request, reply) => {
      request.query.mandatory = true;
      return publishRaw(context, request, reply, queueTarget(request.params.queue));
    },
  );
}

/** Bodies in JSON: many messages, one answer with a result for each. */
export function batchRoutes(app: FastifyInstance, context: HttpContext): void {
  const item = object({
    routed: { type: 'boolean' },
    delayed: HANDLES,
    error: { type: 'string' },
    message: { type: 'string' },
  });
  app.post<{ Body: JsonItem[] }>(
    '/batch',
    {
      schema: {
        querystring: query(),
        body: { type: 'array', maxItems: ITEMS_MAX, items: JSON_ITEM },
        response: { 200: object({ confirmed: { type: 'integer' }, results: { type: 'array', items: item } }) },
      },
    },
    (request) =>
      context.withClient(request, async (client) => {
        const results = await Promise.all(request.body.map((entry) => publishItem(context, client, entry)));
        return { confirmed: results.filter((result) => !('error' in result)).length, results };
      }),
  );
}

async function publishItem(
  context: HttpContext,
  client: HttpClient,
  item: JsonItem,
): Promise<Published | { error: string; message: string }> {
  try {
    const body = bodyOf(item);
    const published = await publish(context, client, targetOf(item), item, body);
    if (isMandatory(item) && !published.routed) throw new CoreError('unroutable');
    return published;
  } catch (error) {
    return httpError(error).body;
  }
}

async function publishRaw(
  context: HttpContext,
  request: FastifyRequest<{ Querystring: PublishQuery }>,
  reply: FastifyReply,
  target: Target,
): Promise<Published> {
  const { persistent, retain, mandatory } = request.query;
  const said: JsonPublish = readHeaders(request.headers);
  if (persistent !== undefined) said.persistent = persistent;
  if (retain !== undefined) said.retain = retain;
  // The parser hands any body over as bytes; a request without one has none.
  const body = Buffer.isBuffer(request.body) ? request.body : EMPTY;
  const published = await context.withClient(request, (client) =>
    publish(context, client, target, said, body, DELAY_HEADERS),
  );
  if (mandatory === true && !published.routed) throw new CoreError('unroutable', target.key);
  reply.header('cache-control', 'no-store');
  return published;
}

function publish(
  context: HttpContext,
  client: HttpClient,
  target: Target,
  said: JsonPublish,
  body: Buffer,
  names?: DelayNames,
): Promise<Published> {
  return client.publish(target, view, (message) =>
    fillMessage(context.broker, message, said, body, context.options.clock.now(), names),
  );
}
