/** Publishes in JSON that stand in a list: in a batch, and in a transaction (docs/transactions.md). */
import { type Address, type Broker, MANDATORY, Message, type OffsetCommit, type Transaction } from '../core/index.ts';
import { bodyOf, fillMessage, type JsonPublish, PUBLISH_PROPERTIES } from './json-message.ts';
import { type AddressBook, type JsonTarget, TARGET_ONE_OF, TARGET_PROPERTIES, targetOf } from './targets.ts';

/** Publishes of one request, at most. */
export const ITEMS_MAX = 10_000;

/** A message and where it goes. */
export interface JsonItem extends JsonPublish, JsonTarget {
  mandatory?: boolean;
}

export const JSON_ITEM = {
  type: 'object',
  additionalProperties: false,
  properties: { ...PUBLISH_PROPERTIES, ...TARGET_PROPERTIES, mandatory: { type: 'boolean' } },
  oneOf: TARGET_ONE_OF,
} as const;

/** It matters to the publisher whether anybody takes the message: it says so, or names a queue. */
export function isMandatory(item: JsonItem): boolean {
  return item.mandatory === true || item.queue !== undefined;
}

/** `fillMessage` fills it and the core copies it before the call returns: one is enough. */
const view = new Message();

/** How far a group has come in a topic. */
export interface JsonOffset {
  group: string;
  stream: string;
  partition: number;
  offset: number;
  metadata?: string;
}

const count = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const;
export const JSON_OFFSET = {
  type: 'object',
  additionalProperties: false,
  required: ['group', 'stream', 'partition', 'offset'],
  properties: {
    ...{ group: { type: 'string' }, stream: { type: 'string' }, partition: count, offset: count },
    metadata: { type: 'string' },
  },
} as const;

/** Make offsets part of a transaction. Throws what `Transaction.commitOffsets` does. */
export function holdOffsets(transaction: Transaction, offsets: readonly JsonOffset[]): void {
  const groups = new Map<string, OffsetCommit[]>();
  for (const { group, stream, ...rest } of offsets) {
    const others = groups.get(group);
    if (others === undefined) groups.set(group, [{ topic: stream, ...rest }]);
    else others.push({ topic: stream, ...rest });
  }
  for (const [group, commits] of groups) transaction.commitOffsets(group, commits);
}

/** Make publishes part of a transaction. Throws what `Transaction.publish` does, and `not-found`, `invalid-argument`. */
export function holdPublishes(
  broker: Broker,
  transaction: Transaction,
  addresses: AddressBook,
  items: readonly JsonItem[],
  nowMs: number,
): void {
  for (const item of items) {
    const address: Address = addresses.find(targetOf(item));
    fillMessage(broker, view, item, bodyOf(item), nowMs);
    transaction.publish(address, view, isMandatory(item) ? MANDATORY : 0);
  }
}
