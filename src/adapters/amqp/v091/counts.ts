/**
 * The headers that tell a consumer how often it or others have had a message before (names as RabbitMQ's quorum queues have
 * them). They belong to the delivery, not to the message, so they are put into a copy of its properties.
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

/** The properties of a message that was handed out before, with how often, and how often it had failed. */
export function withCounts(head: PropertyBytes, batch: DeliveryBatch): Buffer {
  ACQUIRED.writeUInt32BE(batch.redeliveries, ACQUIRED.length - 4);
  FAILED.writeUInt32BE(batch.failures, FAILED.length - 4);
  ACQUIRED.copy(FIELDS, 0);
  FAILED.copy(FIELDS, ACQUIRED.length);
  return withHeaders(head, FIELDS);
}
