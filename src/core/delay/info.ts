/**
 * What the entry of a delayed message knows of it, in place of the counts of a message that was handed out (entry-info.ts):
 *
 *     31      25 24 23 22                    0
 *     | level    |T| l| ms since the slot's start |
 *
 * T is TRANSIENT_BODY; the message's priority lies around it, its lowest bit (l) below, the others above. A message that waits
 * was never handed out and cannot be given up, so it costs no more than one that is ready.
 */
import type { Message } from '../message.ts';

/** When the message is due. */
export const DUE_MASK: number = 2 ** 23 - 1;
/** Milliseconds of a slot: 2 h 20 min. */
export const SLOT_MS: number = DUE_MASK + 1;
const LOW_LEVEL_SHIFT = 23;
const HIGH_LEVEL_SHIFT = 25;

/** Info of the entries of a message as it comes into its queues: 0 when it does not wait there. */
export function delayInfo({ deliverAtMs, priority }: Message, nowMs: number): number {
  if (deliverAtMs === 0 || deliverAtMs <= nowMs) return 0;
  const level = ((priority & 1) << LOW_LEVEL_SHIFT) | ((priority >>> 1) << HIGH_LEVEL_SHIFT);
  return ((deliverAtMs % SLOT_MS) | level) >>> 0;
}

/** The priority of a delayed message. */
export function delayedLevel(info: number): number {
  return ((info >>> HIGH_LEVEL_SHIFT) << 1) | ((info >>> LOW_LEVEL_SHIFT) & 1);
}
