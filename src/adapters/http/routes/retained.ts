/** Retained last values of topics. */
import type { FastifyInstance, FastifyReply } from 'fastify';
import {
  type Client,
  CoreError,
  literalPattern,
  type Message,
  type Pattern,
  parseKey,
  parsePattern,
} from '../../../core/index.ts';
import { checkText, messageJson } from '../../json-message.ts';
import { TOPIC_EXCHANGE, topicTarget } from '../../targets.ts';
import type { HttpContext } from '../context.ts';
import { pageLimit, query } from '../schemas.ts';
import { writeMessageHeaders } from './leases.ts';

const SLASH = 0x2f;
const JSON_TYPE = 'application/json; charset=utf-8';

export function retainedRoutes(app: FastifyInstance, context: HttpContext): void {
  app.get<{ Params: { '*': string } }>('/topics/*', { schema: { querystring: query() } }, async (request, reply) => {
    const topic = topicTarget(request.params['*']).key;
    const pattern = literalPattern(parseKey(topic, SLASH, context.limits));
    const asJson = request.headers.accept?.startsWith('application/json') === true;
    let body: Buffer | string | undefined;
    await context.withClient(request, (client) =>
      eachRetained(client.client, pattern, (message) => {
        body = asJson ? messageJson(context.broker, message) : rawBody(context, reply, message);
      }),
    );
    if (body === undefined) throw new CoreError('not-found', `${topic} has no retained value`);
    if (asJson) reply.header('content-type', JSON_TYPE).header('cache-control', 'no-store');
    return reply.send(body);
  });
  app.get<{ Querystring: { pattern: string; limit: number } }>(
    '/retained',
    {
      schema: {
        querystring: query({
          limit: pageLimit(context.limits),
          pattern: { type: 'string', maxLength: 65_535, default: '#' },
        }),
      },
    },
    async (request, reply) => {
      const pattern = topicPattern(context, request.query.pattern);
      const items: string[] = [];
      let bytes = 0;
      await context.withClient(request, (client) =>
        eachRetained(client.client, pattern, (message) => {
          bytes += message.bodyEnd - message.bodyStart;
          const room = items.length < request.query.limit && bytes <= context.limits.leaseBytesMax;
          if (room) items.push(messageJson(context.broker, message));
        }),
      );
      return reply.header('content-type', JSON_TYPE).header('cache-control', 'no-store').send(`{"items":[${items}]}`);
    },
  );
}

/** A topic filter as subscribers write it. Throws `invalid-argument`, `limit-exceeded`. */
function topicPattern(context: HttpContext, text: string): Pattern {
  checkText(text, 'the pattern');
  return parsePattern(text, SLASH, '+', '#', { hidesDollar: true, strict: true, limits: context.limits });
}

function rawBody(context: HttpContext, reply: FastifyReply, message: Message): Buffer {
  writeMessageHeaders(context, reply, message);
  return Buffer.from(message.bytes.subarray(message.bodyStart, message.bodyEnd));
}

/** Show each retained value that matches; resolves after the last. */
function eachRetained(client: Client, pattern: Pattern, each: (message: Message) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const tap = client.tap({ onMessage: () => true });
    try {
      tap.retained(TOPIC_EXCHANGE, pattern, each, () => {
        tap.close();
        resolve();
      });
    } catch (error) {
      tap.close();
      reject(error);
    }
  });
}
