/**
 * The headers that tell a consumer how often it or others have had a message before (names as RabbitMQ's quorum queues have
 * them), and that its group is new to it. They belong to the delivery, not to the message, so they are put into a copy of its
 * properties.
 */
import type { DeliveryBatch } from '../../../core/index.ts';
import { type PropertyBytes, withHeaders } from './properties.ts';

/** `redeliveries` and `failures` as fields of a header table: name, type `l`, value. */
const ACQUIRED = field('x-acquired-count');
const FAILED = field('x-delivery-count');
const FIELDS: Buffer = Buffer.allocUnsafeSlow(ACQUIRED.length + FAILED.length);

function field(name: string): Buffer {
  const bytes = Buffer.alloc(1 + name.length + 1 + 8);
  bytes[0] = name.length;
  bytes.write(`${name}l`, 1, 'latin1');
  return bytes;
}

/** `x-group-first`: true. */
const GROUP_FIRST: Buffer = Buffer.from('\x0dx-group-firstt\x01', 'latin1');

/** Whether a delivery has facts of its own. */
export function hasFacts({ redeliveries, groupFirst }: DeliveryBatch): boolean {
  return redeliveries > 0 || groupFirst;
}

/** The properties of a message with the facts of its delivery. */
export function withFacts(head: PropertyBytes, batch: DeliveryBatch): Buffer {
  const counted = batch.redeliveries > 0 ? withCounts(head, batch) : undefined;
  if (!batch.groupFirst) return counted ?? head.head.subarray(head.headStart, head.headEnd);
  const base = counted === undefined ? head : { head: counted, headStart: 0, headEnd: counted.length };
  return withHeaders(base, GROUP_FIRST);
}

/** How often it was handed out before, and how often it had failed. */
export function withCounts(head: PropertyBytes, batch: DeliveryBatch): Buffer {
  ACQUIRED.writeUInt32BE(batch.redeliveries, ACQUIRED.length - 4);
  FAILED.writeUInt32BE(batch.failures, FAILED.length - 4);
  ACQUIRED.copy(FIELDS, 0);
  FAILED.copy(FIELDS, ACQUIRED.length);
  return withHeaders(head, FIELDS);
}
