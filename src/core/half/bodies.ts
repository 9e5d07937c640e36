/** The stored messages of a half, found in memory or read back from disk, all of them at once: halves are small. */
import type { Engine } from '../engine.ts';
import type { BodyRef } from '../journal/journal.ts';
import type { HalfPart } from './half.ts';

/** One message in its stored form: `bytes[start, end)`. */
export interface StoredBody {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** The messages, valid until this turn ends; undefined when one must be read from disk. */
export function findBodies({ bodies }: Engine, parts: readonly HalfPart[]): StoredBody[] | undefined {
  const { logged, located } = bodies;
  const found: StoredBody[] = [];
  for (const { row } of parts) {
    if (!bodies.locate(logged.segment(row), logged.offset(row))) return undefined;
    found.push({ bytes: located.bytes, start: located.start, end: located.start + logged.length(row) });
  }
  return found;
}

/** The messages, read into memory of their own. Rejects with `journal-corrupt` and errors of the file system. */
export async function loadBodies({ bodies, journal }: Engine, parts: readonly HalfPart[]): Promise<StoredBody[]> {
  const { logged } = bodies;
  const refs: BodyRef[] = parts.map(({ row }) => {
    return { segment: logged.segment(row), offset: logged.offset(row), length: logged.length(row) };
  });
  const loaded: StoredBody[] = [];
  await journal.load(refs, (index, source, start) => {
    const { length } = refs[index] as BodyRef;
    loaded[index] = { bytes: Buffer.from(source.subarray(start, start + length)), start: 0, end: length };
  });
  return loaded;
}
