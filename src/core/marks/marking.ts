/**
 * The marks of a message that is on its way to queues that remember ids or keep last values: worked out once, written into its
 * stored form so that replay finds them, and told to the queues that took it.
 *
 *     entry of `ext`: tag u8 (10 message id, 11 last value), length u8, fingerprint 16 bytes, ids of queues u32 ...
 */
import { readU32, writeU32 } from '../bytes.ts';
import { CoreError } from '../errors.ts';
import type { FilterSource } from '../filter/filter.ts';
import { hubSource, type MessageFacts } from '../filter/source.ts';
import type { HubProperties, HubValue, Message } from '../message.ts';
import type { Plan } from '../plan.ts';
import type { EntryLog } from '../queue/entry-log.ts';
import { Lane } from '../queue/lane.ts';
import type { Queue } from '../queue/queue.ts';
import { EXT_DEDUP, EXT_ENTERED_AT, EXT_LAST_VALUE, extOf, hasExt, receivedAt } from '../stored-message.ts';
import { PRINT_BYTES, type Print, printOf, readPrint, samePrint, writePrint } from './print.ts';
import { replayedDedup, replayedLastValues } from './queue-marks.ts';

/** Where a message says which id repeats of it have, if that is not its message id. */
const DEDUP_HEADER = 'x-deduplication-id';
/** Queues named by one entry. */
const QUEUES_MAX = Math.floor((255 - PRINT_BYTES) / 4);
/** Of an entry, before the queues: tag, length, fingerprint. */
const HEAD_BYTES = 2 + PRINT_BYTES;
/** All entries of one message. */
const EXT_BYTES_MAX = 60_000;
const NOTHING = Buffer.alloc(0);

/** A fingerprint and the queues it is for. */
interface Mark {
  readonly tag: number;
  readonly print: Print;
  readonly queues: Queue[];
}

/** The marks of one message. */
export class MessageMarks {
  /** Where it goes: not to queues that have seen its id. */
  readonly plan: Plan;
  /** It goes to fewer queues than it was routed to. */
  readonly isRepeat: boolean;
  /** To be written into the message. */
  readonly ext: Buffer;
  readonly #marks: readonly Mark[];

  /** @throws CoreError `limit-exceeded` when a queue keeps too many last values already */
  constructor(routed: Plan, message: Message, hub: HubProperties, facts: MessageFacts, nowMs: number) {
    const id = printOf(idOf(hub));
    const source = hubSource(hub, facts);
    const marks: Mark[] = [];
    const repeats: Queue[] = [];
    for (const queue of routed.queues) {
      if (id !== undefined && queue.marks?.dedup?.has(id, nowMs)) repeats.push(queue);
      else markFor(queue, id, source, marks);
    }
    this.isRepeat = repeats.length > 0;
    this.plan = this.isRepeat ? routed.without(repeats) : routed;
    this.ext = message.durable ? encode(marks) : NOTHING;
    this.#marks = marks;
  }

  /** To be called before the message comes to its queues: a bound does not count it beside the one it replaces. */
  begin(): void {
    for (const { tag, queues } of this.#marks)
      if (tag === EXT_LAST_VALUE) for (const { bound } of queues) bound?.wait();
  }

  /** The message has come to the queues of `plan`. */
  end(plan: Plan, message: Message, nowMs: number): void {
    for (const { tag, print, queues } of this.#marks) {
      for (const queue of queues) {
        const came = plan.queues.includes(queue);
        if (tag === EXT_LAST_VALUE) {
          if (came) becameLast(queue, print, message);
          queue.bound?.goOn();
        } else if (came) {
          queue.marks?.dedup?.add(print, nowMs, message.durable && queue.logged);
        }
      }
    }
  }
}

/** The id by which a message is known to be a repeat. An empty one is none: many clients send it when nobody set one. */
function idOf({ annotations, messageId }: HubProperties): HubValue | undefined {
  return [annotations.get(DEDUP_HEADER), messageId].find((id) => id !== undefined && !isEmpty(id));
}

function isEmpty(id: HubValue): boolean {
  return (typeof id === 'string' || Buffer.isBuffer(id)) && id.length === 0;
}

/** Add the marks of a message for one queue. */
function markFor(queue: Queue, id: Print | undefined, source: FilterSource, marks: Mark[]): void {
  const { dedup, lastValues } = queue.marks ?? {};
  if (dedup !== undefined && id !== undefined) addMark(marks, EXT_DEDUP, id, queue);
  const print = lastValues?.printOf(source);
  if (lastValues === undefined || print === undefined) return;
  if (!lastValues.hasRoomFor(print)) {
    const { lastValuesPerQueueMax } = queue.engine.limits;
    throw new CoreError('limit-exceeded', `queue '${queue.name}' keeps the last of ${lastValuesPerQueueMax} values`);
  }
  addMark(marks, EXT_LAST_VALUE, print, queue);
}

function addMark(marks: Mark[], tag: number, print: Print, queue: Queue): void {
  const same = marks.find((mark) => mark.tag === tag && samePrint(mark.print, print));
  if (same === undefined) marks.push({ tag, print, queues: [queue] });
  else same.queues.push(queue);
}

function becameLast(queue: Queue, print: Print, message: Message): void {
  const log = queue.entryFor(message);
  const here = log.ring.tail - 1;
  // What waits elsewhere first is no last value; neither is what was dropped as it came.
  if (log instanceof Lane && log.ring.next(here) === here) queue.marks?.lastValues?.came(print, log.offset + here);
}

/** Marks as entries of `ext`, for the queues that a restart keeps. */
function encode(marks: readonly Mark[]): Buffer {
  let length = 0;
  for (const { queues } of marks) length += queues.length * 4 + Math.ceil(queues.length / QUEUES_MAX) * HEAD_BYTES;
  if (length > EXT_BYTES_MAX) {
    throw new CoreError('limit-exceeded', 'one message for too many queues that remember ids or keep last values');
  }
  const ext = Buffer.allocUnsafe(length);
  let at = 0;
  for (const { tag, print, queues } of marks) {
    let start = at;
    for (const { logged, id } of queues) {
      if (!logged) continue;
      if (at === start || at - start === HEAD_BYTES + QUEUES_MAX * 4) {
        start = at;
        ext[at] = tag;
        writePrint(print, ext, at + 2);
        at += HEAD_BYTES;
      }
      writeU32(ext, at, id);
      at += 4;
      ext[start + 1] = at - start - 2;
    }
  }
  return ext.subarray(0, at);
}

/** Replay put the stored message `bytes[at, ...)` into `logs`, as the last one of each: tell their queues of its marks. */
export function replayMarks(bytes: Buffer, at: number, logs: readonly EntryLog[]): void {
  if (!hasExt(bytes, at)) return;
  const { start, end } = extOf(bytes, at);
  let cameMs = receivedAt(bytes, at);
  for (let entry = start; entry < end; ) {
    const tag = bytes[entry] as number;
    const value = entry + 2;
    entry = value + (bytes[entry + 1] as number);
    if (tag === EXT_ENTERED_AT) cameMs = bytes.readDoubleLE(value);
    if (tag !== EXT_DEDUP && tag !== EXT_LAST_VALUE) continue;
    const print = readPrint(bytes, value);
    for (let id = value + PRINT_BYTES; id < entry; id += 4) {
      const log = logs.find(({ queue }) => queue.id === readU32(bytes, id));
      if (log === undefined) continue;
      if (tag === EXT_DEDUP) replayedDedup(log.queue).add(print, cameMs, true);
      else if (log instanceof Lane) replayedLastValues(log.queue).replayCame(print, log.offset + log.ring.tail - 1);
    }
  }
}
