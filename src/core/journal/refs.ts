import type { BodyRef, Places } from './journal.ts';

/** Places one by one. @param indices of those wanted; all unless said otherwise */
export function refsOf({ segments, offsets, lengths }: Places, indices: Iterable<number> = segments.keys()): BodyRef[] {
  const refs: BodyRef[] = [];
  for (const n of indices) refs.push({ segment: segments[n]!, offset: offsets[n]!, length: lengths[n]! });
  return refs;
}
