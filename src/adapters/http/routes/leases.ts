/** Leasing messages from a queue, and settling them. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CoreError, keyText, type Message, type SettleOp } from '../../../core/index.ts';
import { deliverAt, WAIT, type Wait } from '../../deliver-at.ts';
import { deliveryJson, messageJsonTail, topicOf } from '../../json-message.ts';
import type { HttpContext } from '../context.ts';
import type { Lease, LeaseRequest, Range } from '../leases.ts';
import { writeHeaders } from '../properties.ts';
import { NAME, object, query } from '../schemas.ts';

interface LeaseQuery {
  max: number;
  wait_ms: number;
  lease_ms: number;
  /** The queue is a topic, and this one of its share groups; where it begins when it is new. */
  group?: string;
  from: 'first' | 'next';
  filter?: string;
  tags?: string;
}

/** How a settling route is called, and what it does. */
const SETTLES: readonly (readonly [path: string, op: SettleOp])[] = [
  ['ack', 'complete'],
  ['requeue', 'requeue'],
  ['discard', 'discard'],
];

export function leaseRoutes(app: FastifyInstance, context: HttpContext): void {
  const { limits } = context;
  const leaseMs = { type: 'integer', minimum: 1, maximum: limits.leaseMsMax, default: limits.leaseMsDefault };
  app.post<{ Params: { queue: string }; Querystring: LeaseQuery }>(
    '/queues/:queue/lease',
    {
      schema: {
        querystring: query({
          max: { type: 'integer', minimum: 1, maximum: limits.leaseMessagesMax, default: 1 },
          wait_ms: { type: 'integer', minimum: 0, maximum: limits.leaseWaitMsMax, default: 0 },
          lease_ms: leaseMs,
          group: NAME,
          from: { enum: ['first', 'next'], default: 'next' },
          filter: { type: 'string' },
          tags: { type: 'string' },
        }),
      },
    },
    (request, reply) =>
      request.headers.accept?.startsWith('application/octet-stream') === true
        ? leaseRaw(context, request, reply)
        : leaseJson(context, request, reply),
  );
  settleRoutes(app, context);
  app.post<{ Params: { id: string }; Querystring: { lease_ms: number } }>(
    '/leases/:id/extend',
    {
      schema: {
        querystring: query({ lease_ms: leaseMs }),
        response: { 200: object({ expires_at_ms: { type: 'number' }, remaining: { type: 'integer' } }) },
      },
    },
    (request) =>
      withLease(context, request, async (lease) => {
        const { leases } = context.serving;
        leases.extend(lease, request.query.lease_ms);
        return { expires_at_ms: lease.expiresAtMs, remaining: leases.remaining(lease) };
      }),
  );
}

function settleRoutes(app: FastifyInstance, context: HttpContext): void {
  const schema = {
    querystring: query({
      deliveries: { type: 'string', maxLength: 8192 },
      failed: { type: 'boolean' },
      ...WAIT,
    }),
    response: { 200: object({ settled: { type: 'integer' }, remaining: { type: 'integer' } }) },
  };
  for (const [path, op] of SETTLES) {
    app.post<{ Params: { id: string }; Querystring: Wait & { deliveries?: string; failed?: boolean } }>(
      `/leases/:id/${path}`,
      { schema },
      (request) => {
        const { deliveries, failed } = request.query;
        const operation = settleOp(op, failed);
        const deliverAtMs = deliverAt(context.options.clock, request.query);
        const ranges = deliveries === undefined ? undefined : parseRanges(deliveries);
        return withLease(context, request, async (lease) => {
          const { leases } = context.serving;
          const settled = await leases.settle(lease, ranges, operation, deliverAtMs);
          return { settled, remaining: leases.remaining(lease) };
        });
      },
    );
  }
}

/** What `op` does when its deliveries have failed, or not. Throws `invalid-argument`. */
export function settleOp(op: SettleOp, failed = false): SettleOp {
  if (!failed) return op;
  if (op !== 'requeue') throw new CoreError('invalid-argument', 'only what is requeued can be failed');
  return 'modify';
}

/** Delivery numbers and ranges of them: `1-3,7`. Throws `invalid-argument`. */
export function parseRanges(text: string): Range[] {
  return text.split(',').map((part) => {
    const match = /^\s*(\d{1,9})(?:-(\d{1,9}))?\s*$/.exec(part);
    if (match === null) throw new CoreError('invalid-argument', `deliveries: ${part} is no number or range like 1-3`);
    const first = Number(match[1]);
    return [first, match[2] === undefined ? first : Number(match[2])];
  });
}

function withLease<T>(
  context: HttpContext,
  request: FastifyRequest<{ Params: { id: string } }>,
  task: (lease: Lease) => Promise<T>,
): Promise<T> {
  return context.withClient(request, (client) => task(context.serving.leases.find(request.params.id, client)));
}

type LeaseCall = FastifyRequest<{ Params: { queue: string }; Querystring: LeaseQuery }>;

/** Take messages for a request; a requester that goes away meanwhile gets none. */
async function take(
  context: HttpContext,
  request: LeaseCall,
  reply: FastifyReply,
  messagesMax: number,
  onMessage: LeaseRequest['onMessage'],
): Promise<Lease | undefined> {
  const gone = new AbortController();
  const onClose = () => gone.abort();
  reply.raw.once('close', onClose);
  try {
    const { wait_ms: waitMs, lease_ms: leaseMs, group, from: start, filter, tags } = request.query;
    const share = group === undefined ? {} : { share: { group, start } };
    return await context.withClient(request, (client) =>
      context.serving.leases.take(
        client,
        { queue: request.params.queue, messagesMax, waitMs, leaseMs, filter, tags, onMessage, ...share },
        gone.signal,
      ),
    );
  } finally {
    reply.raw.off('close', onClose);
  }
}

async function leaseJson(context: HttpContext, request: LeaseCall, reply: FastifyReply): Promise<FastifyReply> {
  const { broker } = context;
  const messages: string[] = [];
  const lease = await take(context, request, reply, request.query.max, (batch) => {
    messages.push(`{"delivery":${batch.deliveryId},${deliveryJson(batch)},${messageJsonTail(broker, batch.message)}`);
  });
  const head = lease === undefined ? '"lease":null' : `"lease":"${lease.id}","expires_at_ms":${lease.expiresAtMs}`;
  // Written by hand: every message is JSON text already.
  return reply
    .header('content-type', 'application/json; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(`{${head},"messages":[${lease === undefined ? '' : messages.join(',')}]}`);
}

/** One message as it is: its body is the response's. */
async function leaseRaw(context: HttpContext, request: LeaseCall, reply: FastifyReply): Promise<FastifyReply> {
  let body: Buffer | undefined;
  const lease = await take(context, request, reply, 1, ({ message, redeliveries, failures, groupFirst }) => {
    body = Buffer.from(message.bytes.subarray(message.bodyStart, message.bodyEnd));
    writeMessageHeaders(context, reply, message);
    reply.header('x-redeliveries', redeliveries).header('x-failures', failures);
    if (groupFirst) reply.header('x-group-first', 'true');
  });
  if (lease === undefined) {
    for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name);
    return reply.header('cache-control', 'no-store').code(204).send();
  }
  return reply.header('x-lease', lease.id).header('x-lease-expires-at-ms', lease.expiresAtMs).send(body);
}

/** Key and properties of a message, as response headers of its raw body. */
export function writeMessageHeaders(context: HttpContext, reply: FastifyReply, message: Message): void {
  context.quarantine(reply).header('content-type', 'application/octet-stream');
  for (const [name, value] of writeHeaders(context.broker.hub(message))) reply.header(name, value);
  reply.header('x-key', encodeURI(keyText(message))).header('x-topic', encodeURI(topicOf(message)));
}
