/** Looking at the delayed messages of a queue, and finding one by its handle. */
import { TRANSIENT_BODY } from '../bodies.ts';
import { CoreError } from '../errors.ts';
import type { Queue } from '../queue/queue.ts';
import type { DelayedInfo } from './door.ts';
import { handleOf, parseHandle } from './handle.ts';
import type { DelaySlot } from './slot.ts';

/** Entries looked at in one step. */
const STEP_ENTRIES = 4096;

/** The place of a delayed message. */
export interface DelayedPlace {
  readonly slot: DelaySlot;
  readonly position: number;
}

/** Where the message of a handle waits. Throws `invalid-argument`, `not-found`. */
export function findDelayed(queue: Queue, text: string): DelayedPlace {
  const { dueMs, logId, position } = handleFrom(text);
  const slot = queue.delays?.slots.find(({ id }) => id === logId);
  if (slot !== undefined && slot.ring.body(position) !== 0 && slot.dueMs(position) === dueMs) return { slot, position };
  throw new CoreError(
    'not-found',
    `no delayed message ${text} in queue '${queue.name}': it was due, or it was cancelled`,
  );
}

function handleFrom(text: string): { dueMs: number; logId: number; position: number } {
  const handle = parseHandle(text);
  if (handle === undefined) throw new CoreError('invalid-argument', `'${text}' is no handle of a delayed message`);
  return handle;
}

/**
 * The delayed messages that come next, in the order in which they will: at most `max`, behind the one of the handle `after`
 * if there is one. Each is found by looking through its whole slot, in slices. Throws `invalid-argument`.
 */
export async function listDelayed(queue: Queue, max: number, after?: string): Promise<DelayedInfo[]> {
  const from = after === undefined ? undefined : handleFrom(after);
  const found: DelayedInfo[] = [];
  await queue.engine.background.run(collect(queue, max, from, found));
  return found;
}

function* collect(
  queue: Queue,
  max: number,
  after: { readonly dueMs: number; readonly position: number } | undefined,
  found: DelayedInfo[],
): Generator<void, void, undefined> {
  for (const slot of [...(queue.delays?.slots ?? [])]) {
    if (found.length === max) return;
    if (after !== undefined && slot.endMs <= after.dueMs) continue;
    // Behind one that is due before the slot begins, everything in it is.
    const begin = after === undefined ? undefined : { due: after.dueMs - slot.startMs, position: after.position };
    const search = slot.list(max - found.length, begin);
    while (!search.step(STEP_ENTRIES)) yield;
    const { found: heap } = search.end();
    for (; heap.size > 0; heap.pop()) {
      if (slot.ring.body(heap.position) !== 0) found.push(infoOf(slot, heap.position));
    }
  }
}

function infoOf(slot: DelaySlot, position: number): DelayedInfo {
  return {
    handle: handleOf(slot, position),
    dueMs: slot.dueMs(position),
    priority: slot.level(position),
    bytes: slot.lengthOf(position),
    durable: slot.logged && (slot.ring.info(position) & TRANSIENT_BODY) === 0,
  };
}
