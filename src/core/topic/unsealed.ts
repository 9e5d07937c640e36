/** Messages of a partition that are still in the journal, copied out of it as blocks: for sealing, and for readers that have
 *  fallen behind what is in memory. */
import type { BodyRef } from '../journal/journal.ts';
import type { BodyTable } from '../slab/body-table.ts';
import { type Block, BlockWriter } from './block.ts';
import { Frames } from './frames.ts';
import type { Partition } from './partition.ts';
import type { Runs } from './runs.ts';

/** Runs asked of the journal at once. */
const LOAD_MAX = 4096;

/**
 * Append durable runs to `writer`, beginning with the message at `writer.end`, or the batch that has it, until it has about
 * `bytesMax` or there are no more; at least one run. Less than was hoped for, or nothing, when messages were removed meanwhile.
 */
export async function copyUnsealed(partition: Partition, writer: BlockWriter, bytesMax: number): Promise<void> {
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
