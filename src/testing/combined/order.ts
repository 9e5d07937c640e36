/**
 * The order rule, as docs/order.md has it: of two entries of one queue that can both be delivered to a consumer, which goes first.
 * `true` only where that is certain; entries whose time of arrival is not known exactly may go either way.
 */
import type { Entry } from './place.ts';

/** Of the entries of one queue: higher levels first; in a level, as they came. What comes back has its old place. */
export function goesBefore(a: Entry, b: Entry): boolean {
  return sureLevels(a, b) && (a.level === b.level ? cameBefore(a, b) : a.level > b.level);
}

/** What a queue that is too long drops first: lower levels; in a level, what came first. */
export function dropsBefore(a: Entry, b: Entry): boolean {
  return sureLevels(a, b) && (a.level === b.level ? cameBefore(a, b) : a.level < b.level);
}

function sureLevels(a: Entry, b: Entry): boolean {
  return a.isLevelSure && b.isLevelSure;
}

function cameBefore(a: Entry, b: Entry): boolean {
  if (a.toTick < b.fromTick) return true;
  // "By the time they are due, to the millisecond; at the same millisecond in the order of arrival."
  if (a.due !== undefined && b.due !== undefined) {
    return a.due.ms === b.due.ms ? a.due.tick < b.due.tick : a.due.ms < b.due.ms;
  }
  // "Dead letters of one queue leave in the order in which it gave them up."
  const sameSource = a.parent !== undefined && a.parent.queue === b.parent?.queue && !a.isLate && !b.isLate;
  if (!sameSource || a.gaveUpTick === undefined || b.gaveUpTick === undefined) return false;
  return a.gaveUpTick < b.gaveUpTick;
}
