/** The frames a client may send: their schemas, and the check that turns text into one of them. */
import { Ajv, type ValidateFunction } from 'ajv';
import { CoreError, type GroupStrategy } from '../../core/index.ts';
import { DEAD_LETTER } from '../dead-letter.ts';
import { WAIT, type Wait } from '../deliver-at.ts';
import { HALF_NAME, type JsonPrepare, PREPARE_PROPERTIES } from '../json-half.ts';
import { type JsonPublish, PUBLISH_PROPERTIES } from '../json-message.ts';
import { ITEMS_MAX, JSON_ITEM, JSON_OFFSET, type JsonItem, type JsonOffset } from '../json-transaction.ts';
import { type JsonTarget, TARGET_ONE_OF, TARGET_PROPERTIES } from '../targets.ts';

/** Names a request, chosen by the client and sent back with its answer. */
export type FrameId = string | number;

export interface LoginFrame {
  op: 'login';
  id?: FrameId;
  user: string;
  password: string;
  vhost?: string;
}
export interface SubscribeFrame {
  op: 'subscribe';
  id: FrameId;
  /** A topic filter: `+` one level, `#` the rest. */
  topic?: string;
  /** For `topic`: another exchange than the one of topics. */
  exchange?: string;
  /** For `topic`: send the retained last values first. Default true. */
  retained?: boolean;
  /** For `topic` and `queue`: a condition that messages must meet. */
  filter?: string;
  /** For `topic` and `queue`: the tags that messages must have one of. */
  tags?: string;
  /** A topic to read from a place on: `from`, `offset`, `time_ms` or `last_n`. */
  stream?: string;
  /** For `stream`: take messages together with others of this share group, and settle them. */
  group?: string;
  /** For `group`, when it is new: where what it gives up goes. */
  dead_letter?: { exchange: string; key?: string };
  partition?: number;
  from?: 'first' | 'last' | 'next';
  offset?: number;
  time_ms?: number;
  last_n?: number;
  queue?: string;
  /** For `queue`: how many deliveries may be unsettled at a time. For `stream`: how many messages may come; without it, all. */
  credit?: number;
  /** For `queue`: consumers of higher priority are served first. */
  priority?: number;
  /** For `queue`: its share among consumers of its priority. */
  weight?: number;
  /** For `queue`: milliseconds a delivery may be unsettled; -1 = for ever. */
  timeout_ms?: number;
}
export interface JsonPlace {
  stream: string;
  partition: number;
}
export interface MemberOffset extends JsonPlace {
  offset: number;
  metadata?: string;
}
/** Become a member of a consumer group, called `id` from then on. */
export interface MemberFrame {
  op: 'member';
  id: FrameId;
  group: string;
  streams: string[];
  strategy?: GroupStrategy;
}
/** What a member has done: how far it has come, and what it gives up. */
export interface OffsetsFrame {
  op: 'offsets';
  id?: FrameId;
  sub: FrameId;
  offsets: MemberOffset[];
}
export interface ReleaseFrame {
  op: 'release';
  id?: FrameId;
  sub: FrameId;
  /** Default: all that was asked back. */
  partitions?: JsonPlace[];
}
export interface UnsubscribeFrame {
  op: 'unsubscribe';
  id?: FrameId;
  sub: FrameId;
}
export interface CreditFrame {
  op: 'credit';
  id?: FrameId;
  sub: FrameId;
  credit: number;
}
/** The times are for `requeue`: not to come again before. */
export interface SettleFrame extends Wait {
  op: 'ack' | 'requeue' | 'discard';
  id?: FrameId;
  sub: FrameId;
  delivery?: number;
  deliveries?: (number | [first: number, last: number])[];
  /** For `requeue`: it counts as a failure. */
  failed?: boolean;
}
/** Deliveries of a share group have all of their time again. */
export interface RenewFrame {
  op: 'renew';
  id?: FrameId;
  sub: FrameId;
  delivery?: number;
  deliveries?: (number | [first: number, last: number])[];
}
export interface PublishFrame extends JsonPublish, JsonTarget {
  op: 'publish';
  id?: FrameId;
  mandatory?: boolean;
}
export interface TransactionFrame {
  op: 'transaction';
  id: FrameId;
  publishes?: JsonItem[];
  settlements?: Omit<SettleFrame, 'id'>[];
  /** How far groups have come in topics. */
  offsets?: JsonOffset[];
}
/** Prepare messages that nobody sees until they are committed. */
export interface PrepareFrame extends JsonPrepare {
  op: 'prepare';
  id?: FrameId;
  group: string;
}
/** End a half message. */
export interface HalfEndFrame {
  op: 'commit' | 'rollback';
  id?: FrameId;
  group: string;
  half: string;
}
/** Be asked about the half messages of a producer group, or no longer. */
export interface GroupFrame {
  op: 'join' | 'leave';
  id?: FrameId;
  group: string;
}
/** Delayed messages of a queue: list them. */
export interface ListDelayedFrame {
  op: 'delayed';
  id: FrameId;
  queue: string;
  /** Behind this handle. */
  after?: string;
  limit?: number;
}
/** One delayed message: it is not to come at all, or now. */
export interface EndDelayFrame {
  op: 'cancel' | 'fire';
  id: FrameId;
  queue: string;
  handle: string;
}
export type DelayedFrame = ListDelayedFrame | EndDelayFrame;
export interface PingFrame {
  op: 'ping';
  id?: FrameId;
}
export type ClientFrame =
  | LoginFrame
  | SubscribeFrame
  | MemberFrame
  | OffsetsFrame
  | ReleaseFrame
  | UnsubscribeFrame
  | CreditFrame
  | SettleFrame
  | RenewFrame
  | PublishFrame
  | TransactionFrame
  | PrepareFrame
  | HalfEndFrame
  | GroupFrame
  | DelayedFrame
  | PingFrame;

const ID_LENGTH_MAX = 64;
const CREDIT_MAX = 65_535;
const RANGES_MAX = 10_000;
const STREAMS_MAX = 1_000;
const HANDLE_LENGTH_MAX = 64;

const id = {
  anyOf: [
    { type: 'string', maxLength: ID_LENGTH_MAX },
    { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
  ],
};
const name = { type: 'string', minLength: 1, maxLength: 255 };
const delivery = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER };

const count = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER };
// Members of a subscribe frame that only some kinds of subscription have.
const FOR_TOPICS = { exchange: false, retained: false };
const FOR_QUEUES = { priority: false, weight: false, timeout_ms: false };
// And those that a share group leaves no choice of.
const FOR_READERS = { partition: false, offset: false, time_ms: false, last_n: false };
const FOR_STREAMS = { group: false, dead_letter: false, from: false, ...FOR_READERS };

function frame(properties: object, required: readonly string[] = []): object {
  return {
    type: 'object',
    additionalProperties: false,
    required: ['op', ...required],
    properties: { op: { type: 'string' }, id, ...properties },
  };
}

/** Partitions, each with what else is said of it. */
function places(properties: object = {}, required: readonly string[] = []): object {
  const items = {
    type: 'object',
    additionalProperties: false,
    required: ['stream', 'partition', ...required],
    properties: { stream: name, partition: count, ...properties },
  };
  return { type: 'array', maxItems: RANGES_MAX, items };
}

const deliveries = {
  type: 'array',
  maxItems: RANGES_MAX,
  items: { anyOf: [delivery, { type: 'array', minItems: 2, maxItems: 2, items: delivery }] },
};

/** What goes with `requeue`. */
const requeueing = { failed: { type: 'boolean' }, ...WAIT };

const someDeliveries = { oneOf: [{ required: ['delivery'] }, { required: ['deliveries'] }] };

function settle(properties: object = {}): object {
  return { ...frame({ sub: id, delivery, deliveries, ...properties }, ['sub']), ...someDeliveries };
}

/** A settlement in a transaction. */
const settlement = {
  type: 'object',
  additionalProperties: false,
  required: ['op', 'sub'],
  properties: {
    op: { enum: ['ack', 'requeue', 'discard'] },
    ...{ sub: id, delivery, deliveries, ...requeueing },
  },
  ...someDeliveries,
};
const handle = { type: 'string', maxLength: HANDLE_LENGTH_MAX };
const endDelay = frame({ queue: name, handle }, ['id', 'queue', 'handle']);
const halfEnd = frame({ group: HALF_NAME, half: HALF_NAME }, ['group', 'half']);

const SCHEMAS: readonly (readonly [ClientFrame['op'], object])[] = [
  ['login', frame({ user: { type: 'string' }, password: { type: 'string' }, vhost: name }, ['user', 'password'])],
  [
    'subscribe',
    {
      ...frame(
        {
          topic: { type: 'string', minLength: 1, maxLength: 65_535 },
          exchange: name,
          retained: { type: 'boolean' },
          filter: { type: 'string' },
          tags: { type: 'string' },
          stream: name,
          group: name,
          dead_letter: DEAD_LETTER,
          partition: count,
          from: { enum: ['first', 'last', 'next'] },
          offset: count,
          time_ms: count,
          last_n: count,
          queue: name,
          credit: { type: 'integer', minimum: 0, maximum: CREDIT_MAX },
          priority: { type: 'integer' },
          weight: { type: 'integer' },
          timeout_ms: { type: 'integer' },
        },
        ['id'],
      ),
      oneOf: [{ required: ['topic'] }, { required: ['queue'] }, { required: ['stream'] }],
      dependencies: {
        queue: { properties: { ...FOR_TOPICS, ...FOR_STREAMS } },
        stream: { properties: { ...FOR_TOPICS, filter: false, tags: false, ...FOR_QUEUES } },
        group: { properties: { ...FOR_READERS, from: { enum: ['first', 'next'] } } },
        topic: { properties: { credit: false, ...FOR_QUEUES, ...FOR_STREAMS } },
        dead_letter: ['group'],
      },
    },
  ],
  [
    'member',
    frame(
      {
        group: name,
        streams: { type: 'array', minItems: 1, maxItems: STREAMS_MAX, items: name },
        strategy: { enum: ['range', 'round-robin', 'cooperative-sticky'] },
      },
      ['id', 'group', 'streams'],
    ),
  ],
  [
    'offsets',
    frame({ sub: id, offsets: places({ offset: count, metadata: { type: 'string' } }, ['offset']) }, [
      'sub',
      'offsets',
    ]),
  ],
  ['release', frame({ sub: id, partitions: places() }, ['sub'])],
  ['unsubscribe', frame({ sub: id }, ['sub'])],
  ['credit', frame({ sub: id, credit: { type: 'integer', minimum: 0, maximum: CREDIT_MAX } }, ['sub', 'credit'])],
  ['ack', settle()],
  ['requeue', settle(requeueing)],
  ['discard', settle()],
  ['renew', settle()],
  [
    'publish',
    { ...frame({ ...PUBLISH_PROPERTIES, ...TARGET_PROPERTIES, mandatory: { type: 'boolean' } }), oneOf: TARGET_ONE_OF },
  ],
  [
    'transaction',
    frame(
      {
        publishes: { type: 'array', maxItems: ITEMS_MAX, items: JSON_ITEM },
        settlements: { type: 'array', maxItems: ITEMS_MAX, items: settlement },
        offsets: { type: 'array', maxItems: ITEMS_MAX, items: JSON_OFFSET },
      },
      ['id'],
    ),
  ],
  ['prepare', frame({ ...PREPARE_PROPERTIES, group: HALF_NAME }, ['group', 'messages'])],
  ['commit', halfEnd],
  ['rollback', halfEnd],
  ['join', frame({ group: HALF_NAME }, ['group'])],
  ['leave', frame({ group: HALF_NAME }, ['group'])],
  ['delayed', frame({ queue: name, after: handle, limit: count }, ['id', 'queue'])],
  ['cancel', endDelay],
  ['fire', endDelay],
  ['ping', frame({})],
];

const ajv = new Ajv({ allowUnionTypes: true, strictTuples: false, strictRequired: false });
const VALIDATORS: ReadonlyMap<string, ValidateFunction> = new Map(
  SCHEMAS.map(([op, schema]) => [op, ajv.compile(schema)]),
);

/** A frame that is refused, with its id when that could be read, so that the client knows which one. */
export class FrameError extends CoreError {
  readonly id: FrameId | undefined;

  constructor(code: 'malformed-frame' | 'invalid-argument' | 'not-supported', detail: string, frameId?: FrameId) {
    super(code, detail);
    this.id = frameId;
  }
}

/** The frame a text holds. Throws `FrameError`. */
export function parseFrame(text: string): ClientFrame {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new FrameError('malformed-frame', 'a frame is one JSON object');
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new FrameError('malformed-frame', 'a frame is one JSON object');
  }
  const { op, id: given } = parsed as { op?: unknown; id?: unknown };
  const frameId = isFrameId(given) ? given : undefined;
  const validate = typeof op === 'string' ? VALIDATORS.get(op) : undefined;
  if (validate === undefined) throw new FrameError('not-supported', `op ${shortly(op)}`, frameId);
  if (!validate(parsed)) {
    const problem = validate.errors?.[0];
    const where = problem?.instancePath === '' ? 'the frame' : problem?.instancePath.slice(1).replaceAll('/', '.');
    const what = problem?.keyword === 'false schema' ? 'does not go with the other members' : problem?.message;
    throw new FrameError('invalid-argument', `${where} ${what ?? 'is wrong'}`, frameId);
  }
  return parsed as ClientFrame;
}

function isFrameId(value: unknown): value is FrameId {
  return (typeof value === 'string' && value.length <= ID_LENGTH_MAX) || Number.isSafeInteger(value);
}

function shortly(value: unknown): string {
  return String(typeof value === 'string' ? value : JSON.stringify(value)).slice(0, 50);
}
