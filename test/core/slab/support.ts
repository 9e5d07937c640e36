/** Seeded randomness and snapshot plumbing for the tests of the index slabs. */
import { ChunkReader } from '../../../src/core/slab/chunk-reader.ts';
import { IndexSlab } from '../../../src/core/slab/index-slab.ts';
import type { PageSnapshot } from '../../../src/core/slab/page-store.ts';

/** A small seeded generator: `random(n)` is an integer from 0 to n - 1. */
export function seeded(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) % n;
  };
}

/** The seed of a run: from the environment to replay one, else a new one. */
export function seedOf(fallback: number): number {
  return Number(process.env['JUNCTION_TEST_SEED'] ?? fallback);
}

/** Pull a whole snapshot, calling `between` before every chunk, and answer its bytes. */
export function pull(snapshot: PageSnapshot, between: () => void = () => {}): Buffer {
  const parts: Buffer[] = [];
  for (const chunk of snapshot.chunks()) {
    parts.push(Buffer.from(chunk));
    between();
  }
  return Buffer.concat(parts);
}

/** The bytes, cut into chunks of random sizes, empty ones among them. */
export async function* cut(bytes: Buffer, random: (n: number) => number, largest = 200_000): AsyncGenerator<Buffer> {
  let at = 0;
  while (at < bytes.length) {
    const size = random(8) === 0 ? random(20) : random(largest);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** A slab with the stored snapshots loaded. */
export async function loaded(snapshots: readonly Buffer[], random: (n: number) => number): Promise<IndexSlab> {
  const slab = new IndexSlab({ tracked: true });
  await slab.load(snapshots.map((bytes) => new ChunkReader(cut(bytes, random))));
  return slab;
}
