/**
 * Costs of the index slabs at ten million parked messages: `node --expose-gc --import=tsx bench/micro/slab.ts [entries]`.
 * Prints nanoseconds an operation, bytes a message, and how long snapshots, loads and collections take.
 */

import { Arena } from '../../src/core/slab/arena.ts';
import { ChunkReader } from '../../src/core/slab/chunk-reader.ts';
import type { EntryRing } from '../../src/core/slab/entry-ring.ts';
import { IndexSlab } from '../../src/core/slab/index-slab.ts';
import type { PageSnapshot } from '../../src/core/slab/page-store.ts';

const ENTRIES = Number(process.argv[2] ?? 10_000_000);
const BODY_BYTES = 1024;
const SEGMENT_BODIES = 64 * 1024;
const MIB = 1024 * 1024;
const was = { segment: 0, offset: 0, length: 0 };

function line(name: string, value: number, unit: string): void {
  console.log(`${name.padEnd(52)} ${value.toFixed(value < 100 ? 1 : 0).padStart(9)} ${unit}`);
}

function measure(name: string, operations: number, work: () => void): void {
  const start = performance.now();
  work();
  line(name, ((performance.now() - start) * 1e6) / operations, 'ns');
}

/** The core's share of one parked message: a body row and an entry. */
function park(slab: IndexSlab, ring: EntryRing, n: number): void {
  const segment = 1 + Math.floor(n / SEGMENT_BODIES);
  ring.push(slab.bodies.add(segment, (n % SEGMENT_BODIES) * BODY_BYTES, BODY_BYTES, 1, 0), 0);
}

function settle(slab: IndexSlab, ring: EntryRing, position: number): void {
  const body = ring.body(position);
  ring.settle(position);
  slab.bodies.release(body, was);
}

function flow(slab: IndexSlab, ring: EntryRing, messages: number, window: number): void {
  for (let n = 0; n < messages; n += window) {
    for (let k = 0; k < window; k++) park(slab, ring, n + k);
    for (let k = 0; k < window; k++) settle(slab, ring, ring.next(ring.head));
  }
}

function total(times: readonly number[]): number {
  return times.reduce((sum, time) => sum + time, 0);
}

/** Prints the median, the 99th percentile and the longest of some times in milliseconds. */
function spread(name: string, times: number[]): void {
  times.sort((a, b) => a - b);
  const [median, high] = [0.5, 0.99].map((part) => (times[Math.floor(times.length * part)]! * 1000).toFixed(0));
  line(`${name}: median ${median}, p99 ${high}, longest`, times.at(-1)! * 1000, 'us');
}

/** Pull everything while messages flow; answers the parts and the time each took in milliseconds. */
function pull(snapshot: PageSnapshot, between: () => void): { parts: Buffer[]; times: number[] } {
  const parts: Buffer[] = [];
  const times: number[] = [];
  const chunks = snapshot.chunks();
  for (;;) {
    const start = performance.now();
    const next = chunks.next();
    times.push(performance.now() - start);
    if (next.done) break;
    parts.push(Buffer.from(next.value));
    between();
  }
  snapshot.commit();
  return { parts, times };
}

async function* streamed(parts: readonly Buffer[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield part;
}

async function main(): Promise<void> {
  globalThis.gc?.();
  const rssBefore = process.memoryUsage().rss;
  const slab = new IndexSlab({ tracked: true });
  const ring = slab.rings.create();
  for (const window of [1, 100, 1000, 20_000]) {
    flow(slab, ring, 400_000, window);
    measure(`add + push + next + body + settle + release, by ${window}`, 2_000_000, () =>
      flow(slab, ring, 2_000_000, window),
    );
  }
  measure('park: add + push', ENTRIES, () => {
    for (let n = 0; n < ENTRIES; n++) park(slab, ring, n);
  });
  line('bytes of pages a message', (slab.pages.pages * 65_536) / ENTRIES, 'B');
  globalThis.gc?.();
  line('resident bytes a message', (process.memoryUsage().rss - rssBefore) / ENTRIES, 'B');
  if (globalThis.gc !== undefined) {
    const start = performance.now();
    globalThis.gc();
    line('full collection', performance.now() - start, 'ms');
  }
  let sum = 0;
  measure('next + body + info + segment, in order', ENTRIES, () => {
    for (let at = ring.next(0); at >= 0; at = ring.next(at + 1))
      sum += slab.bodies.segment(ring.body(at)) + ring.info(at);
  });
  const busy = slab.rings.create();
  measure('flow beside the parked, by 1000', 1_000_000, () => flow(slab, busy, 1_000_000, 1000));

  let start = performance.now();
  const full = slab.pages.snapshot('full');
  line('begin a full snapshot', (performance.now() - start) * 1000, 'us');
  let at = ring.head;
  const stride = 631;
  const pulled = pull(full, () => {
    // Settlements all over the index: the worst case for copying on write.
    for (let n = 0; n < 4; n++, at += stride) settle(slab, ring, at);
    flow(slab, busy, 10, 10);
  });
  line(`pull its ${pulled.parts.length} chunks, in all, while messages flow`, total(pulled.times), 'ms');
  spread('one chunk', pulled.times);
  start = performance.now();
  const delta = slab.pages.snapshot('delta');
  line('begin a delta', (performance.now() - start) * 1000, 'us');
  const second = pull(delta, () => {});
  line('its size', delta.bytes / MIB, 'MiB');

  const scan = slab.bodies.refsIn(new Set([3, 4, 5, 6]));
  const slices: number[] = [];
  start = performance.now();
  let found = scan.next();
  for (; !found.done; found = scan.next()) {
    slices.push(performance.now() - start);
    start = performance.now();
  }
  line(`find ${found.value.length} bodies of 4 segments`, total(slices), 'ms');
  spread('one slice', slices);

  const copy = new IndexSlab({ tracked: true });
  start = performance.now();
  await copy.load([new ChunkReader(streamed(pulled.parts)), new ChunkReader(streamed(second.parts))]);
  const again = copy.rings.open(ring.row);
  line('load full and delta, rebuild, open', performance.now() - start, 'ms');
  if (again.count !== ring.count || copy.bodies.totalBytes !== slab.bodies.totalBytes)
    throw new Error('reload differs');

  const left = ring.count;
  measure('drain: body + settle + release', left, () => {
    for (let position = ring.next(0); position >= 0; position = ring.next(position + 1)) settle(slab, ring, position);
  });
  line('pages left', slab.pages.pages, '');
  const arena = new Arena();
  measure('arena: allocate + release, by 1000', 2_000_000, () => {
    const segments = new Float64Array(1000);
    for (let n = 0; n < 2000; n++) {
      for (let k = 0; k < 1000; k++) {
        arena.allocate(150);
        segments[k] = arena.segment;
      }
      for (let k = 0; k < 1000; k++) arena.release(segments[k]!, 150);
    }
  });
  if (sum < 0) console.log(sum);
}

await main();
