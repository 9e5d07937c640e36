/** Transactions: publishes and settlements of leases in one request, all or none; and what is open, for administrators. */
import type { FastifyInstance } from 'fastify';
import type { SettleOp } from '../../../core/index.ts';
import { deliverAt, WAIT, type Wait } from '../../deliver-at.ts';
import {
  holdOffsets,
  holdPublishes,
  ITEMS_MAX,
  JSON_ITEM,
  JSON_OFFSET,
  type JsonItem,
  type JsonOffset,
} from '../../json-transaction.ts';
import type { HttpClient } from '../clients.ts';
import type { HttpContext } from '../context.ts';
import type { Lease } from '../leases.ts';
import { COUNT, type ListQuery, object, pageLimit, pageOf, query } from '../schemas.ts';
import { parseRanges, settleOp } from './leases.ts';

interface SettleItem extends Wait {
  lease: string;
  op: 'ack' | 'requeue' | 'discard';
  deliveries?: string;
  failed?: boolean;
}

/** With a member, it must hold the partition since `epoch`. */
interface MemberOffset extends JsonOffset {
  member?: string;
  epoch?: number;
}

interface TransactionBody {
  publishes: JsonItem[];
  settlements: SettleItem[];
  offsets: MemberOffset[];
}

const SETTLE_OPS: { readonly [O in SettleItem['op']]: SettleOp } = {
  ack: 'complete',
  requeue: 'requeue',
  discard: 'discard',
};

const SETTLE_ITEM = object(
  {
    lease: { type: 'string', maxLength: 64 },
    op: { enum: Object.keys(SETTLE_OPS) },
    deliveries: { type: 'string', maxLength: 8192 },
    failed: { type: 'boolean' },
    ...WAIT,
  },
  ['lease', 'op'],
);

const OFFSET = {
  ...JSON_OFFSET,
  properties: { ...JSON_OFFSET.properties, member: { type: 'string' }, epoch: COUNT },
  dependencies: { member: ['epoch'], epoch: ['member'] },
};

const BODY = object({
  publishes: { type: 'array', maxItems: ITEMS_MAX, items: JSON_ITEM, default: [] },
  settlements: { type: 'array', maxItems: ITEMS_MAX, items: SETTLE_ITEM, default: [] },
  offsets: { type: 'array', maxItems: ITEMS_MAX, items: OFFSET, default: [] },
});

const number = { type: 'number' } as const;
const text = { type: 'string' } as const;
const INFO = object({
  id: number,
  connection: number,
  user: text,
  vhost: text,
  publishes: number,
  settlements: number,
  bytes: number,
  since_ms: number,
});

export function transactionRoutes(app: FastifyInstance, context: HttpContext): void {
  const done = object({ published: { type: 'integer' }, settled: { type: 'integer' } });
  app.post<{ Body: TransactionBody }>(
    '/transactions',
    { schema: { querystring: query(), body: BODY, response: { 200: done } } },
    (request) =>
      context.withClient(request, async (client) => {
        const { leases } = context.serving;
        const { publishes, settlements, offsets } = request.body;
        const touched: Lease[] = [];
        let settled = 0;
        await client.transact((transaction, addresses) => {
          holdPublishes(context.broker, transaction, addresses, publishes, context.options.clock.now());
          holdOffsets(transaction, checkedOffsets(context, client, offsets));
          for (const { lease: id, op, deliveries, failed, ...wait } of settlements) {
            const lease = leases.find(id, client);
            const ranges = deliveries === undefined ? undefined : parseRanges(deliveries);
            const deliverAtMs = deliverAt(context.options.clock, wait);
            settled += leases.hold(transaction, lease, ranges, settleOp(SETTLE_OPS[op], failed), deliverAtMs);
            touched.push(lease);
          }
        });
        for (const lease of touched) leases.endIfSettled(lease);
        return { published: publishes.length, settled };
      }),
  );
  const paged = query({ limit: pageLimit(context.limits), offset: { type: 'integer', minimum: 0, default: 0 } });
  app.get<{ Querystring: Pick<ListQuery, 'limit' | 'offset'> }>(
    '/transactions',
    { schema: { querystring: paged, response: { 200: pageOf(INFO) } } },
    async (request) => {
      const all = context.broker.admin.transactions(context.adminVhost(request));
      const { limit, offset } = request.query;
      const items = all.slice(offset, offset + limit).map(({ clientId, sinceMs, ...info }) => ({
        ...info,
        connection: clientId,
        since_ms: sinceMs,
      }));
      return { total: all.length, items };
    },
  );
  app.delete<{ Params: { id: number } }>(
    '/transactions/:id',
    { schema: { querystring: query(), params: object({ id: { type: 'integer' } }) } },
    async (request, reply) => {
      context.requireAdministrator(request);
      context.broker.admin.rollbackTransaction(request.params.id);
      return reply.code(204).send();
    },
  );
}

/** What members commit. Throws `fenced` where one does not hold its partition. */
function checkedOffsets(context: HttpContext, client: HttpClient, offsets: readonly MemberOffset[]): JsonOffset[] {
  return offsets.map(({ member, epoch = 0, ...offset }) => {
    const { group, stream: topic, partition } = offset;
    if (member !== undefined) {
      context.serving.members.find(client, group, member).check(epoch, [{ topic, partition }]);
    }
    return offset;
  });
}
