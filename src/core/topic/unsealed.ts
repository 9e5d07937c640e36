/** Messages of a partition that are still in the journal, copied out of it as blocks: for sealing, and for readers that have
 *  fallen behind what is in memory. */
import type { BodyRef } from '../journal/journal.ts';
import { type Block, BlockWriter } from './block.ts';
import type { Partition } from './partition.ts';

/** Messages asked of the journal at once. */
const LOAD_MAX = 4096;

/**
 * Append durable messages from `offset` on to `writer` until it has about `bytesMax`, or there are no more. Answers the offset after
 * the last one; less than was hoped for when messages were removed meanwhile.
 */
export async function copyUnsealed(
  partition: Partition,
  offset: number,
  writer: BlockWriter,
  bytesMax: number,
): Promise<number> {
  const { engine, ring } = partition;
  const { bodies } = engine;
  const { logged, located } = bodies;
  const end = partition.durableEnd;
  while (offset < end && writer.length < bytesMax) {
    const row = ring.body(offset);
    if (row === 0) break;
    if (bodies.locate(logged.segment(row), logged.offset(row))) {
      writer.add(offset++, located.bytes, located.start, logged.length(row));
      continue;
    }
    const first = offset;
    const refs = refsFrom(partition, first, end, bytesMax - writer.length);
    await engine.journal.load(refs, (index, bytes, start) => {
      writer.add(first + index, bytes, start, (refs[index] as BodyRef).length);
    });
    offset += refs.length;
  }
  return offset;
}

/** The messages from `first` on, up to about `bytesMax`; at least one. */
function refsFrom(partition: Partition, first: number, end: number, bytesMax: number): BodyRef[] {
  const { ring } = partition;
  const { logged } = partition.engine.bodies;
  const refs: BodyRef[] = [];
  let bytes = 0;
  for (let offset = first; offset < end && refs.length < LOAD_MAX; offset++) {
    const row = ring.body(offset);
    if (row === 0) break;
    const length = logged.length(row);
    if (refs.length > 0 && bytes + length > bytesMax) break;
    refs.push({ segment: logged.segment(row), offset: logged.offset(row), length });
    bytes += length;
  }
  return refs;
}

/** Messages from `offset` on as a block; empty when there are none (any more). Rejects with the error of the journal. */
export async function unsealedBlock(partition: Partition, offset: number): Promise<Block> {
  const { topicBlockBytes } = partition.engine.limits;
  const writer = new BlockWriter(topicBlockBytes);
  writer.reset(offset);
  await copyUnsealed(partition, offset, writer, topicBlockBytes);
  return writer.take();
}
