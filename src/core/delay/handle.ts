/** Handles name delayed messages for people and clients: when it is due, the entry log and the position in it, in base 36. */
import type { DelaySlot } from './slot.ts';

/** What a handle says. */
export interface Handle {
  readonly dueMs: number;
  readonly logId: number;
  readonly position: number;
}

export function handleOf(slot: DelaySlot, position: number): string {
  return [slot.dueMs(position), slot.id, position].map((part) => part.toString(36)).join('-');
}

/** Undefined when it is none. */
export function parseHandle(text: string): Handle | undefined {
  if (!/^[0-9a-z]{1,11}-[0-9a-z]{1,7}-[0-9a-z]{1,11}$/.test(text)) return undefined;
  const [dueMs, logId, position] = text.split('-').map((part) => Number.parseInt(part, 36)) as [number, number, number];
  return { dueMs, logId, position };
}
