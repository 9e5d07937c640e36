/** Consumer groups of topics: their offsets, and their members (docs/topics.md "Members over HTTP"). */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { CoreError, type GroupInfo, type GroupStrategy, type TopicPartition } from '../../../core/index.ts';
import type { HttpContext } from '../context.ts';
import type { Membership } from '../members.ts';
import { COUNT, type ListQuery, listQuery, NAME, object, PARTITION, page, query } from '../schemas.ts';

const PLACES_MAX = 10_000;
const STREAMS_MAX = 1_000;
/** What ids of members begin with when they have no name. */
const MEMBER_NAME = 'http';
const MEMBER_NAME_LENGTH_MAX = 100;

interface Place {
  stream: string;
  partition: number;
}

interface PlacedOffset extends Place {
  offset: number;
  metadata?: string;
}

type Group = { Params: { group: string } };
type Member = { Params: { group: string; member: string } };

const PLACE = { stream: NAME, partition: PARTITION };
const OFFSETS = {
  type: 'array',
  maxItems: PLACES_MAX,
  items: object({ ...PLACE, offset: COUNT, metadata: { type: 'string' } }, ['stream', 'partition', 'offset']),
};
const PLACES = { type: ['array', 'null'], maxItems: PLACES_MAX, items: object(PLACE, ['stream', 'partition']) };

const count = { type: 'number' } as const;
const place = { stream: { type: 'string' }, partition: count };
const MEMBER = object({
  member: { type: 'string' },
  epoch: count,
  session_ms: count,
  assigned: { type: 'array', items: object({ ...place, offset: count }) },
  revoked: { type: 'array', items: object(place) },
});

export function consumerGroupRoutes(app: FastifyInstance, context: HttpContext): void {
  const topics = () => context.broker.admin.topics;
  app.get<{ Querystring: ListQuery }>(
    '/groups',
    { schema: { querystring: listQuery(context.limits) } },
    async (request) => {
      const { total, items } = page(topics().groups(context.vhost(request)), request.query);
      return { total, items: items.map(groupJson) };
    },
  );
  app.get<Group>('/groups/:group', { schema: { querystring: query() } }, async (request) => {
    const vhost = context.vhost(request);
    const info = topics().group(vhost, request.params.group);
    if (info === undefined) throw new CoreError('not-found', `group ${request.params.group} in virtual host ${vhost}`);
    return groupJson(info);
  });
  app.put<Group & { Body: PlacedOffset[] }>(
    '/groups/:group/offsets',
    { schema: { querystring: query(), body: OFFSETS } },
    async (request, reply) => {
      await topics().setOffsets(context.vhost(request), request.params.group, request.body.map(placed));
      return reply.code(204).send();
    },
  );
  app.delete<Group>('/groups/:group', { schema: { querystring: query() } }, async (request, reply) => {
    await topics().deleteGroup(context.adminVhost(request), request.params.group);
    return reply.code(204).send();
  });
  memberRoutes(app, context);
}

// ---- Members ------------------------------------------------------------------------------------------------------

interface JoinBody {
  streams: string[];
  strategy?: GroupStrategy;
  session_ms: number;
  name: string;
}

function memberRoutes(app: FastifyInstance, context: HttpContext): void {
  const { limits } = context;
  const { groupSessionMsDefault, groupSessionMsMax, leaseWaitMsMax } = limits;
  const sessionMs = { type: 'integer', minimum: 1, maximum: groupSessionMsMax, default: groupSessionMsDefault };
  app.post<Group & { Body: JoinBody }>(
    '/groups/:group/members',
    {
      schema: {
        querystring: query(),
        body: object(
          {
            streams: { type: 'array', minItems: 1, maxItems: STREAMS_MAX, items: NAME },
            strategy: { enum: ['range', 'round-robin', 'cooperative-sticky'] },
            session_ms: sessionMs,
            name: { type: 'string', minLength: 1, maxLength: MEMBER_NAME_LENGTH_MAX, default: MEMBER_NAME },
          },
          ['streams'],
        ),
        response: { 201: MEMBER },
      },
    },
    async (request, reply) => {
      const { group } = request.params;
      const { streams, strategy, session_ms, name } = request.body;
      const options = { topics: streams, ...(strategy === undefined ? {} : { strategy }) };
      const member = await context.withClient(request, (client) =>
        context.serving.members.join(client, name, { group, options, sessionMs: session_ms }),
      );
      return reply.code(201).send(memberJson(member));
    },
  );
  app.post<Member & { Querystring: { epoch: number; wait_ms: number } }>(
    '/groups/:group/members/:member/heartbeat',
    {
      schema: {
        querystring: query({
          epoch: { ...COUNT, default: 0 },
          wait_ms: { type: 'integer', minimum: 0, maximum: leaseWaitMsMax, default: 0 },
        }),
        response: { 200: MEMBER },
      },
    },
    async (request, reply) => {
      const gone = new AbortController();
      const onClose = () => gone.abort();
      reply.raw.once('close', onClose);
      try {
        return await withMember(context, request, async (member) => {
          await member.news(request.query.epoch, request.query.wait_ms, gone.signal);
          return memberJson(member);
        });
      } finally {
        reply.raw.off('close', onClose);
      }
    },
  );
  app.put<Member & { Querystring: { epoch: number }; Body: PlacedOffset[] }>(
    '/groups/:group/members/:member/offsets',
    { schema: { querystring: { ...query({ epoch: COUNT }), required: ['epoch'] }, body: OFFSETS } },
    async (request, reply) => {
      const offsets = request.body.map(placed);
      await withMember(context, request, (member) => member.commit(request.query.epoch, offsets));
      return reply.code(204).send();
    },
  );
  app.post<Member & { Body: Place[] | null }>(
    '/groups/:group/members/:member/release',
    { schema: { querystring: query(), body: PLACES, response: { 200: MEMBER } } },
    (request) =>
      withMember(context, request, async (member) => {
        member.release(request.body?.map(placed));
        return memberJson(member);
      }),
  );
  app.delete<Member>('/groups/:group/members/:member', { schema: { querystring: query() } }, async (request, reply) => {
    await withMember(context, request, async (member) => member.leave('fenced'));
    return reply.code(204).send();
  });
}

/** Do something as the member a request names. */
function withMember<T>(
  context: HttpContext,
  request: FastifyRequest<Member>,
  task: (member: Membership) => Promise<T>,
): Promise<T> {
  const { group, member } = request.params;
  return context.withClient(request, (client) => task(context.serving.members.find(client, group, member)));
}

// ---- JSON ---------------------------------------------------------------------------------------------------------

function placed<T extends Place>({ stream, ...rest }: T): Omit<T, 'stream'> & { topic: string } {
  return { topic: stream, ...rest };
}

function placeJson({ topic, partition }: TopicPartition): Place {
  return { stream: topic, partition };
}

function memberJson(member: Membership): object {
  return {
    member: member.id,
    epoch: member.epoch,
    session_ms: member.sessionMs,
    // Where the group is in each, if it was there before.
    assigned: member.assigned.map((one) => ({ ...placeJson(one), offset: member.committed(one) })),
    revoked: member.revoked.map(placeJson),
  };
}

function groupJson({ offsets, ...rest }: GroupInfo): object {
  return {
    ...rest,
    offsets: offsets.map(({ topic, committedAtMs, ...more }) => ({
      stream: topic,
      ...more,
      committed_at_ms: committedAtMs,
    })),
  };
}
