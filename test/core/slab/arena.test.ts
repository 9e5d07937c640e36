import t from 'tap';
import { ARENA_SEGMENT, Arena } from '../../../src/core/slab/arena.ts';
import { seeded, seedOf } from './support.ts';

const MIB = 1024 * 1024;

t.test('model: bodies keep their bytes until they are released', (t) => {
  const seed = seedOf(31);
  const random = seeded(seed);
  const arena = new Arena();
  const bodies: { segment: number; offset: number; length: number; fill: number }[] = [];
  let live = 0;
  const remove = (at: number): void => {
    const body = bodies[at]!;
    const bytes = arena.bytes(body.segment).subarray(body.offset, body.offset + body.length);
    if (bytes.length !== body.length || !bytes.every((byte) => byte === body.fill))
      t.fail(`bytes changed, seed ${seed}`);
    arena.release(body.segment, body.length);
    live -= body.length;
    bodies[at] = bodies.at(-1)!;
    bodies.pop();
  };
  for (let n = 0; n < 20_000; n++) {
    const growing = Math.floor(n / 4000) % 2 === 0;
    if (bodies.length === 0 || random(10) < (growing ? 6 : 3)) {
      const length = random(500) === 0 ? random(3 * MIB) : random(2000);
      arena.allocate(length);
      const { segment, offset } = arena;
      if (segment < ARENA_SEGMENT || segment >= 2 ** 32) t.fail('segment number');
      arena.bytes(segment).fill(n & 0xff, offset, offset + length);
      bodies.push({ segment, offset, length, fill: n & 0xff });
      live += length;
    } else {
      remove(random(bodies.length));
    }
    if (arena.liveBytes !== live) t.fail(`live bytes, seed ${seed}`);
  }
  t.ok(arena.heldBytes >= live);
  while (bodies.length > 0) remove(bodies.length - 1);
  t.equal(arena.liveBytes, 0);
  t.ok(arena.heldBytes <= 9 * MIB, 'a drained arena keeps the spare chunks and the one in use');
  t.end();
});

t.test('a flow through the arena stays in few chunks', (t) => {
  const arena = new Arena();
  const segments: number[] = [];
  for (let n = 0; n < 100_000; n++) {
    arena.allocate(1000);
    segments.push(arena.segment);
    if (segments.length > 2000) arena.release(segments.shift()!, 1000);
  }
  t.ok(arena.heldBytes <= 5 * MIB, `${arena.heldBytes} bytes held for 2 MB alive`);
  t.end();
});

t.test('no two bodies have the same number, though chunks are used again', (t) => {
  const random = seeded(seedOf(32));
  const arena = new Arena();
  const seen = new Set<number>();
  const alive: { segment: number; length: number }[] = [];
  for (let n = 1; n <= 50_000; n++) {
    const length = 16 + (random(200) === 0 ? random(MIB) : random(4000));
    arena.allocate(length);
    alive.push({ segment: arena.segment, length });
    seen.add(arena.serialOf(arena.segment, arena.offset));
    if (n % 100 === 0) seen.add(arena.nextSerial());
    // Now and then all go: the chunk in use begins again.
    for (let left = random(500) === 0 ? 0 : 200; alive.length > left; ) {
      const body = alive.shift()!;
      arena.release(body.segment, body.length);
    }
  }
  t.equal(seen.size, 50_500);
  t.end();
});

t.test('bodies of no bytes, of a chunk, and larger', (t) => {
  const arena = new Arena();
  arena.allocate(0);
  const empty = arena.segment;
  t.equal(arena.bytes(empty).length, MIB);
  arena.allocate(MIB);
  const one = arena.segment;
  t.not(one, empty);
  t.equal(arena.bytes(one).length, MIB);
  arena.allocate(5 * MIB);
  t.equal(arena.bytes(arena.segment).length, 5 * MIB);
  t.equal(arena.heldBytes, 7 * MIB);
  arena.release(arena.segment, 5 * MIB);
  t.equal(arena.heldBytes, 2 * MIB);
  arena.release(one, MIB);
  arena.release(empty, 0);
  t.equal(arena.liveBytes, 0);
  t.throws(() => arena.release(empty, 0), /not in the arena/);
  t.end();
});
