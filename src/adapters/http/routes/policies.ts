/** Policies, live settings of queues, and dry runs of both (docs/policies.md). */
import type { FastifyInstance } from 'fastify';
import { CoreError, type PolicyInfo, type PolicySettings, type RulesPreview } from '../../../core/index.ts';
import { checkText } from '../../json-message.ts';
import { hubToJson, type Json, jsonToNamed, namedToJson } from '../../json-value.ts';
import type { HttpContext } from '../context.ts';
import { type ListQuery, listQuery, object, POLICY, PREVIEW, page, pageOf, query } from '../schemas.ts';

interface PolicyBody {
  pattern: string;
  priority?: number;
  definition: { [name: string]: Json };
}

const FLAG = { type: 'boolean', default: false } as const;
const KIND = { operator: FLAG } as const;
const CHANGE = { ...KIND, dry_run: FLAG } as const;
const POLICY_BODY = object(
  { pattern: { type: 'string' }, priority: { type: 'integer' }, definition: { type: 'object' } },
  ['pattern', 'definition'],
);

interface Kind {
  operator: boolean;
}
interface Change extends Kind {
  dry_run: boolean;
}

export function policyRoutes(app: FastifyInstance, context: HttpContext): void {
  type Named = { Params: { policy: string } };
  app.get<{ Querystring: ListQuery & Kind }>(
    '/policies',
    { schema: { querystring: listQuery(context.limits, KIND), response: { 200: pageOf(POLICY) } } },
    async (request) => {
      const { policies } = context.broker.admin;
      const { total, items } = page(policies.list(context.vhost(request), request.query), request.query);
      return { total, items: items.map(policyJson) };
    },
  );
  app.get<Named & { Querystring: Kind }>(
    '/policies/:policy',
    { schema: { querystring: query(KIND), response: { 200: POLICY } } },
    async (request) => {
      const { policy: name } = request.params;
      const policy = context.broker.admin.policies.get(context.vhost(request), name, request.query);
      if (policy === undefined) throw new CoreError('not-found', `policy '${name}'`);
      return policyJson(policy);
    },
  );
  app.put<Named & { Querystring: Change; Body: PolicyBody }>(
    '/policies/:policy',
    { schema: { querystring: query(CHANGE), body: POLICY_BODY, response: { 200: PREVIEW } } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { policy: name } = request.params;
      checkText(name, 'the policy name');
      const { policies } = context.broker.admin;
      const settings = settingsOf(request.body);
      if (request.query.dry_run) return previewJson(await policies.previewSet(vhost, name, settings, request.query));
      await policies.set(vhost, name, settings, request.query);
      return reply.code(204).send();
    },
  );
  app.delete<Named & { Querystring: Change }>(
    '/policies/:policy',
    { schema: { querystring: query(CHANGE), response: { 200: PREVIEW } } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { policies } = context.broker.admin;
      const { policy: name } = request.params;
      if (request.query.dry_run) return previewJson(await policies.previewRemove(vhost, name, request.query));
      await policies.remove(vhost, name, request.query);
      return reply.code(204).send();
    },
  );
  app.put<{ Params: { queue: string }; Querystring: { dry_run: boolean }; Body: { [name: string]: Json } }>(
    '/queues/:queue/rules',
    { schema: { querystring: query({ dry_run: FLAG }), body: { type: 'object' }, response: { 200: PREVIEW } } },
    async (request, reply) => {
      const vhost = context.adminVhost(request);
      const { policies } = context.broker.admin;
      const rules = jsonToNamed(request.body);
      const { queue } = request.params;
      if (request.query.dry_run) return previewJson(await policies.previewQueueRules(vhost, queue, rules));
      await policies.setQueueRules(vhost, queue, rules);
      return reply.code(204).send();
    },
  );
}

function settingsOf({ pattern, priority = 0, definition }: PolicyBody): PolicySettings {
  return { pattern, priority, definition: jsonToNamed(definition) };
}

function policyJson(policy: PolicyInfo): object {
  return { ...policy, applies_to: 'queues', definition: namedToJson(Object.entries(policy.definition)) };
}

function previewJson({ overLength, overRing, items, ...sums }: RulesPreview): object {
  return {
    ...sums,
    over_length: overLength,
    over_ring: overRing,
    items: items.map(({ changes, messages, ...item }) => ({
      ...item,
      messages: messages.map(({ messageId, receivedAtMs, ...message }) => ({
        ...message,
        message_id: messageId,
        received_at_ms: receivedAtMs,
      })),
      over_length: item.overLength,
      over_ring: item.overRing,
      operator_policy: item.operatorPolicy,
      dead_letter_exchange: item.deadLetterExchange,
      changes: changes.map(({ rule, before, after }) => ({
        rule,
        before: before === undefined ? null : hubToJson(before),
        after: after === undefined ? null : hubToJson(after),
      })),
    })),
  };
}
