/** What a queue knows of messages by a mark of theirs: ids it has seen, and which one is the newest of a value. */
import type { Queue } from '../queue/queue.ts';
import type { QueueRules } from '../queue/rules.ts';
import { DedupWindow } from './dedup-window.ts';
import { LastValues } from './last-values.ts';

export class QueueMarks {
  dedup: DedupWindow | undefined;
  lastValues: LastValues | undefined;
}

function remembersIds({ dedupWindowMs, dedupCountMax }: QueueRules): boolean {
  return Math.min(dedupWindowMs, dedupCountMax) < Number.POSITIVE_INFINITY;
}

/** What a queue needs for its rules, with what it has already; undefined when they ask for nothing of the kind. */
export function marksFor(queue: Queue): QueueMarks | undefined {
  const { rules, marks } = queue;
  const { lastValueKey } = rules;
  const { markedQueues } = queue.vhost.topology;
  if (!remembersIds(rules) && lastValueKey === undefined) {
    if (marks !== undefined) markedQueues.delete(queue);
    return undefined;
  }
  markedQueues.add(queue);
  const { dedup, lastValues } = marks ?? {};
  const next = marks ?? new QueueMarks();
  next.dedup = remembersIds(rules) ? (dedup ?? new DedupWindow(queue)) : undefined;
  if (lastValueKey === undefined) next.lastValues = undefined;
  else if (lastValues?.key !== lastValueKey) next.lastValues = takenOver(lastValues, queue, lastValueKey);
  return next;
}

/** What replay has found is of the key the queue has now. */
function takenOver(found: LastValues | undefined, queue: Queue, key: string): LastValues {
  if (found === undefined || found.key !== undefined) return new LastValues(queue, key);
  found.key = key;
  return found;
}

/** The ids a queue has seen, in replay, where its rules are not known yet. */
export function replayedDedup(queue: Queue): DedupWindow {
  queue.marks ??= new QueueMarks();
  queue.marks.dedup ??= new DedupWindow(queue);
  return queue.marks.dedup;
}

/** The same for last values. */
export function replayedLastValues(queue: Queue): LastValues {
  queue.marks ??= new QueueMarks();
  queue.marks.lastValues ??= new LastValues(queue, undefined);
  return queue.marks.lastValues;
}
