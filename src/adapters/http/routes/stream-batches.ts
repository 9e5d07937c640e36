/** Batches of messages in JSON lines, kept in a stream as they came, compressed or not (docs/topics.md "Batches over HTTP"). */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CoreError, Message } from '../../../core/index.ts';
import { BATCH_TYPE, codingOf, fillBatch } from '../../json-batch.ts';
import { JSON_FORMAT_ID } from '../../json-message.ts';
import { queueTarget } from '../../targets.ts';
import type { HttpContext } from '../context.ts';
import { COUNT, NAME, object, PARTITION, query } from '../schemas.ts';
import { type PageQuery, pageQuery, readPage, recordJson } from '../stream-page.ts';

interface Partition {
  Params: { stream: string; partition: number };
}

interface AppendQuery {
  producer?: number;
  epoch: number;
  sequence?: number;
}

/** Expects that only bodies of type BATCH_TYPE are parsed, to a buffer. */
export function streamBatchRoutes(app: FastifyInstance, context: HttpContext): void {
  const { limits } = context;
  const path = '/streams/:stream/partitions/:partition/batches';
  const params = object({ stream: NAME, partition: PARTITION });
  app.post<Partition & { Querystring: AppendQuery; Body: Buffer | null }>(
    path,
    {
      schema: {
        params,
        querystring: query({ producer: COUNT, epoch: { ...COUNT, default: 0 }, sequence: COUNT }),
        response: { 200: object({ partition: COUNT, offset: { type: 'integer' }, count: COUNT }) },
      },
    },
    (request) => append(context, request),
  );
  app.get<Partition & { Querystring: PageQuery }>(
    path,
    {
      schema: {
        params,
        querystring: pageQuery(limits),
      },
    },
    (request, reply) => read(context, request, reply),
  );
}

async function append(
  context: HttpContext,
  request: FastifyRequest<Partition & { Querystring: AppendQuery; Body: Buffer | null }>,
): Promise<object> {
  const { stream, partition } = request.params;
  const { producer: id, epoch, sequence = -1 } = request.query;
  if (context.broker.admin.topics.get(context.vhost(request), stream) === undefined) {
    throw new CoreError('not-found', `stream ${stream}`);
  }
  const batch = new Message();
  fillBatch(batch, request.body ?? Buffer.alloc(0), coding(request.headers['content-encoding']));
  batch.partition = partition;
  batch.sequence = sequence;
  if (id !== undefined) batch.origin = { id, epoch };
  const { offset, count } = await context.withClient(request, (client) =>
    client.appendBatch(queueTarget(stream), batch),
  );
  return { partition, offset, count };
}

/** Content codings have any case, and `identity` is none (RFC 9110, section 8.4.1). */
function coding(header = ''): string {
  const name = header.trim().toLowerCase();
  return name === 'identity' ? '' : name;
}

/** What one answer gives back. */
interface Given {
  readonly offset: number;
  readonly count: number;
  readonly next: number;
  readonly coding: string;
  readonly body: Buffer;
}

/** The batch with an offset, as it came; or the single messages there, up to the next batch, as a batch of their own. */
async function read(
  context: HttpContext,
  request: FastifyRequest<Partition & { Querystring: PageQuery }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { stream, partition } = request.params;
  const { max, wait_ms: waitMs, ...place } = request.query;
  const { broker, options, limits } = context;
  const lines: string[] = [];
  let bytes = 0;
  let first = -1;
  let next = -1;
  let batch: Given | undefined;
  const from = await context.withClient(request, ({ client }) => {
    const around = { broker, client, clock: options.clock, response: reply.raw };
    return readPage({ stream, partition, place, waitMs, sealed: JSON_FORMAT_ID }, around, (records) => {
      const { offset, sealed, message } = records;
      const isOurs = sealed > 0 && message.format === JSON_FORMAT_ID;
      if (isOurs && lines.length > 0) return false;
      if (lines.length === 0) first = offset;
      next = offset + Math.max(1, sealed);
      if (isOurs) {
        const body = Buffer.from(message.bytes.subarray(message.bodyStart, message.bodyEnd));
        batch = { offset, count: sealed, next, coding: codingOf(message), body };
        return false;
      }
      const line = `${recordJson(broker, offset, message)}\n`;
      lines.push(line);
      bytes += line.length;
      return lines.length < max && bytes < limits.leaseBytesMax;
    });
  });
  context.quarantine(reply);
  if (first < 0) return reply.header('x-next-offset', from).code(204).send();
  const given = batch ?? { offset: first, count: lines.length, next, coding: '', body: Buffer.from(lines.join('')) };
  if (given.coding !== '') reply.header('content-encoding', given.coding);
  return reply
    .header('content-type', BATCH_TYPE)
    .header('x-sealed', String(batch !== undefined))
    .header('x-offset', given.offset)
    .header('x-count', given.count)
    .header('x-next-offset', given.next)
    .send(given.body);
}
