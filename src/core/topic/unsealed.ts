/** Messages of partitions that are still in the journal, copied out of it as blocks: for sealing, and for readers that have
 *  fallen behind what is in memory. */
import type { Engine } from '../engine.ts';
import type { BodyRef } from '../journal/journal.ts';
import type { BodyTable } from '../slab/body-table.ts';
import { type Block, BlockWriter } from './block.ts';
import { Frames } from './frames.ts';
import type { Partition } from './partition.ts';
import type { Runs } from './runs.ts';

/** Runs asked of the journal at once. */
const LOAD_MAX = 4096;
/** Batches of the journal looked at at once for several partitions: no more than its reader keeps in memory. */
const STRETCH_BATCHES = 2;

/**
 * Append durable runs to `writer`, beginning with the message at `writer.end`, or the batch that has it, until it has about
 * `bytesMax` or there are no more; at least one run. Less than was hoped for, or nothing, when messages were removed meanwhile.
 */
async function copyUnsealed(partition: Partition, writer: BlockWriter, bytesMax: number): Promise<void> {
  const { engine, runs } = partition;
  const { bodies } = engine;
  const { logged, located } = bodies;
  const end = partition.durableEnd;
  while (writer.end < end && writer.end >= runs.start) {
    const first = runs.find(writer.end);
    const row = runs.body(first);
    if (writer.count > 0 && writer.length + logged.length(row) > bytesMax) return;
    if (bodies.locate(logged.segment(row), logged.offset(row))) {
      addRun(runs, first, located.bytes, located.start, writer);
      continue;
    }
    const refs = refsFrom(runs, first, end, logged, bytesMax - writer.length);
    await engine.journal.load(refs, (index, bytes, start) => {
      // It may have been given back meanwhile, and all before it.
      if (first + index >= runs.head) addRun(runs, first + index, bytes, start, writer);
    });
  }
}

/** Where runs are, from one on, up to about `bytesMax`; at least that one. */
function refsFrom(runs: Runs, first: number, end: number, logged: BodyTable, bytesMax: number): BodyRef[] {
  const refs: BodyRef[] = [];
  let bytes = 0;
  for (let position = first; position < runs.tail && runs.base(position) < end && refs.length < LOAD_MAX; position++) {
    const row = runs.body(position);
    const length = logged.length(row);
    bytes += length;
    if (refs.length > 0 && bytes > bytesMax) break;
    refs.push({ segment: logged.segment(row), offset: logged.offset(row), length });
  }
  return refs;
}

/** It shows batches as they are. */
const frames = new Frames();

/** The whole run, or of it what is behind `writer.end`: a start may lie within a run. */
function addRun(runs: Runs, position: number, bytes: Buffer, start: number, writer: BlockWriter): void {
  runs.show(position, bytes, start, frames, writer.end);
  if (frames.ended) return;
  writer.beginWith(frames);
  // The runs before it have gone meanwhile.
  if (frames.offset !== writer.end) return;
  if (runs.isBare(position)) writer.addMessage(frames);
  else writer.addRun(bytes, frames.head, frames.end, runs.base(position + 1) - writer.end);
}

/** Messages from `offset` on as a block; empty when there are none (any more). Rejects with the error of the journal. */
export async function unsealedBlock(partition: Partition, offset: number): Promise<Block> {
  const { topicBlockBytes } = partition.engine.limits;
  const writer = new BlockWriter(topicBlockBytes);
  writer.reset(offset);
  await copyUnsealed(partition, writer, topicBlockBytes);
  return writer.take();
}

/** A partition whose messages are copied, and the block they go to. */
export interface Taker {
  readonly partition: Partition;
  readonly writer: BlockWriter;
  /** What comes next does not fit into the block. */
  isFull: boolean;
}

/** A run to be copied. */
interface Place extends BodyRef {
  readonly taker: Taker;
  readonly position: number;
  /** Its turn: where it is in the journal, but after the runs before it. */
  readonly turn: number;
}

/**
 * Append durable runs of several partitions to their blocks of up to about `blockBytes`: those in the next stretch of the journal,
 * in its order, so that it is read once however many partitions share it. Answers how many bytes that were; 0 with no taker full
 * means that there are no more.
 */
export async function copyStretch(engine: Engine, takers: readonly Taker[], blockBytes: number): Promise<number> {
  const limit = stretchOf(engine, takers);
  const places: Place[] = [];
  for (const taker of takers) {
    taker.isFull = false;
    if (limit !== undefined && hasMore(taker)) addPlaces(taker, limit, blockBytes, places);
  }
  places.sort((a, b) => a.turn - b.turn);
  let bytes = 0;
  await engine.journal.load(places, (index, source, start) => {
    const { taker, position, length } = places[index] as Place;
    const { runs } = taker.partition;
    bytes += length;
    // It may have been given back meanwhile, and all before it.
    if (position >= runs.head) addRun(runs, position, source, start, taker.writer);
  });
  return bytes;
}

function hasMore({ partition, writer }: Taker): boolean {
  return !partition.deleted && writer.end >= partition.runs.start && writer.end < partition.durableEnd;
}

/** The end of the stretch that begins with the first run nobody has; undefined when there is none. */
function stretchOf(engine: Engine, takers: readonly Taker[]): { segment: number; offset: number } | undefined {
  let first: { segment: number; offset: number } | undefined;
  for (const taker of takers) {
    if (!hasMore(taker)) continue;
    const { runs } = taker.partition;
    const { logged } = engine.bodies;
    const row = runs.body(runs.find(taker.writer.end));
    const segment = logged.segment(row);
    const offset = logged.offset(row);
    if (first === undefined || segment < first.segment || (segment === first.segment && offset < first.offset))
      first = { segment, offset };
  }
  if (first === undefined) return undefined;
  return { segment: first.segment, offset: first.offset + STRETCH_BATCHES * engine.limits.batchBytesMax };
}

/** The runs of a partition up to the end of the stretch, as far as its block has room. */
function addPlaces(taker: Taker, limit: Omit<BodyRef, 'length'>, blockBytes: number, places: Place[]): void {
  const { partition, writer } = taker;
  const { runs, durableEnd } = partition;
  const { logged } = partition.engine.bodies;
  let used = writer.length;
  let isEmpty = writer.count === 0;
  let turn = 0;
  for (let position = runs.find(writer.end); position < runs.tail && runs.base(position) < durableEnd; position++) {
    const row = runs.body(position);
    const segment = logged.segment(row);
    const offset = logged.offset(row);
    if (segment > limit.segment || (segment === limit.segment && offset >= limit.offset)) return;
    const length = logged.length(row);
    used += length;
    if (!isEmpty && used > blockBytes) {
      taker.isFull = true;
      return;
    }
    isEmpty = false;
    // A message that was stored long before it came here does not go before what came earlier.
    if (segment === limit.segment && offset > turn) turn = offset;
    places.push({ taker, position, turn, segment, offset, length });
  }
}
