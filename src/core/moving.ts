/** Messages that are stored already: from one queue into others, and into topics, in one record; or a copy of one. */
import { TRANSIENT_BODY } from './bodies.ts';
import { writeU32 } from './bytes.ts';
import type { Engine } from './engine.ts';
import { FLAG_DURABLE, Message } from './message.ts';
import { entryLogs, type Plan, targetSetOfOne } from './plan.ts';
import type { EntryLog } from './queue/entry-log.ts';
import type { Queue } from './queue/queue.ts';
import { MOVE_HEAD_BYTES, PUBLISH_TARGET_SET, RECORD } from './records.ts';
import { groupHash } from './selection/group-hash.ts';
import { readStored, receivedAt } from './stored-message.ts';
import type { Partition } from './topic/partition.ts';

const view = new Message();

type Destinations = Pick<Plan, 'logged' | 'transient' | 'topics'>;

/**
 * Enter a message in its stored form into queues and topics, and take the entry at `position` out of `source`.
 * @param to the queues, split as in a `Plan`, and the topics; there may be none
 */
export function moveTo(to: Destinations, stored: Buffer, source: Queue, position: number): void {
  enter(to, stored, source.engine, { source, position });
}

/** Enter a message in its stored form into queues and topics. Where it came from it stays. */
export function copyTo(to: Destinations, stored: Buffer, engine: Engine): void {
  enter(to, stored, engine, undefined);
}

/** The entry a message leaves. */
interface Leaving {
  readonly source: Queue;
  readonly position: number;
}

function enter(to: Destinations, stored: Buffer, engine: Engine, leaving: Leaving | undefined): void {
  readStored(view, stored, 0, stored.length);
  const durable = ((stored[1] as number) & FLAG_DURABLE) !== 0;
  const logged = durable ? to.logged : [];
  const others = durable ? to.transient : [...to.logged, ...to.transient];
  const group = groupHash(view);
  if (group !== 0) for (const queue of [...to.logged, ...to.transient]) queue.mindGroups();
  // First out, then in: the source may be among the targets, and have room for so many messages only.
  const logs = entryLogs(others, view);
  const partitions = to.topics.map((topic) => topic.chooseAgain(view, stored.length));
  if (logged.length + partitions.length === 0) leaving?.source.takeOut(leaving.position, false);
  else log(entryLogs(logged, view), partitions, stored, group, engine, leaving);
  if (logs.length === 0) return;
  const row = engine.bodies.keepTransient(stored, logs.length, group);
  for (const log of logs) log.pushTransient(row, stored.length, 0);
}

function log(
  targets: readonly EntryLog[],
  partitions: readonly Partition[],
  stored: Buffer,
  group: number,
  engine: Engine,
  leaving: Leaving | undefined,
): void {
  const { journal, bodies } = engine;
  const gone = leaving !== undefined && isLogged(leaving) ? leaving : undefined;
  for (const target of targets) target.beforeLogged();
  // What is staged for topics has its offsets, and goes before.
  if (partitions.length > 0) engine.flushStaged();
  const all = [...targets, ...partitions];
  const set = targetSetOfOne(engine, all);
  const header = (gone === undefined ? 0 : MOVE_HEAD_BYTES) + 4 + (set === 0 ? all.length * 4 : 4);
  const start = journal.append(gone === undefined ? RECORD.publish : RECORD.move, header + stored.length);
  const { bytes, segment } = journal;
  const offset = journal.offset + header;
  let at = start;
  if (gone !== undefined) {
    const lane = gone.source.laneAt(gone.position);
    writeU32(bytes, at, lane.id);
    bytes.writeDoubleLE(gone.position - lane.offset, at + 4);
    at += MOVE_HEAD_BYTES;
  }
  writeU32(bytes, at, set === 0 ? all.length : PUBLISH_TARGET_SET << 16);
  at += 4;
  if (set === 0) for (const [n, { id }] of all.entries()) writeU32(bytes, at + n * 4, id);
  else writeU32(bytes, at, set);
  stored.copy(bytes, start + header);
  const batch = engine.wrote();
  const row = bodies.logged.add(segment, offset, stored.length, all.length, group);
  leaving?.source.takeOut(leaving.position, true);
  for (const target of targets) target.pushLogged(row, stored.length, batch, 0);
  for (const partition of partitions) partition.loggedBare(row, stored.length, receivedAt(stored, 0), batch);
}

/** What was never logged needs no record that it is gone. */
function isLogged({ source, position }: Leaving): boolean {
  return source.logged && (source.info(position) & TRANSIENT_BODY) === 0;
}
