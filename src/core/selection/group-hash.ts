/** The number under which a message's group is known in the index of bodies, so that choosing reads no bodies. */
import { Message } from '../message.ts';
import { hasExt, readStored } from '../stored-message.ts';
import { murmur2 } from '../topic/partitioner.ts';

/**
 * 1 to 65535, or 0 when the message is in no group. Written to disk in the flags of body rows: never to be changed.
 * @param message with `bytes` and the group's range filled in
 */
export function groupHash({ bytes, groupStart, groupEnd }: Message): number {
  if (groupStart === groupEnd) return 0;
  return hashOf(bytes, groupStart, groupEnd);
}

/** The same for an id as text. */
export function groupHashOf(id: string): number {
  const bytes = Buffer.from(id);
  return hashOf(bytes, 0, bytes.length);
}

function hashOf(bytes: Buffer, start: number, end: number): number {
  return murmur2(bytes, start, end) >>> 16 || 1;
}

const view = new Message();

/** `groupHash` of the message whose stored form begins at `bytes[at]`. */
export function storedGroupHash(bytes: Buffer, at: number): number {
  if (!hasExt(bytes, at)) return 0;
  readStored(view, bytes, at, bytes.length);
  return groupHash(view);
}
