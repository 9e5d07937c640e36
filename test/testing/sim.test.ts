import t from 'tap';
import { Prng } from '../../src/testing/prng.ts';
import { SimClock } from '../../src/testing/sim-clock.ts';
import { SimDisk } from '../../src/testing/sim-disk.ts';

t.test('prng: one seed, one sequence; values in their ranges', async (t) => {
  const [a, b, c] = [new Prng(1), new Prng(1), new Prng(2)];
  const draw = (prng: Prng) => Array.from({ length: 100 }, () => prng.u32());
  const first = draw(a);
  t.strictSame(first, draw(b));
  t.notSame(first, draw(c));
  for (let i = 0; i < 1000; i++) {
    const value = a.between(3, 7);
    if (value < 3 || value > 7) t.fail(`${value}`);
    const below = a.below(5);
    if (below < 0 || below > 4 || !Number.isInteger(below)) t.fail(`${below}`);
  }
  const counts = { often: 0, seldom: 0, never: 0 };
  for (let i = 0; i < 1000; i++) counts[a.weighted({ often: 9, seldom: 1, never: 0 })]++;
  t.ok(counts.often > 800 && counts.seldom > 50 && counts.never === 0, JSON.stringify(counts));
  t.strictSame(a.shuffle([1, 2, 3, 4]).sort(), [1, 2, 3, 4]);
});

t.test('clock: by time, then by order; continuations before the next task; cancelled ones never', async (t) => {
  const clock = new SimClock(1000);
  const seen: string[] = [];
  clock.after(20, () => seen.push(`c ${clock.now()}`));
  clock.after(10, () => {
    seen.push('a');
    void Promise.resolve().then(() => seen.push('a then'));
  });
  clock.after(10, () => seen.push('b'));
  clock.after(15, () => seen.push('no')).cancel();
  clock.soon(() => seen.push('soon'));
  await clock.advance(15);
  t.strictSame(seen, ['soon', 'a', 'a then', 'b']);
  t.equal(clock.monotonic(), 15);
  await clock.drive(new Promise<void>((resolve) => clock.after(100, resolve)));
  t.equal(seen.at(-1), 'c 1020');
  t.equal(clock.now(), 1115);
  await t.rejects(clock.drive(new Promise(() => {})), /came to rest/);
});

t.test('disk: a crash keeps what was synced, and of the rest some sectors', async (t) => {
  let kept = 0;
  let lost = 0;
  for (let seed = 1; seed <= 50; seed++) {
    const disk = new SimDisk({ seed });
    await disk.makeFolder('f');
    const file = await disk.open('f/x', 'create');
    await disk.syncFolder('f');
    await file.write(Buffer.alloc(1000, 1), 0, 1000, 0);
    await file.sync();
    await file.write(Buffer.alloc(3000, 2), 0, 3000, 500);
    await (await disk.open('f/unsynced', 'create')).sync();
    disk.crash();
    const bytes = disk.contents('f/x');
    t.ok(bytes.length >= 1000 && bytes.subarray(0, 500).every((byte) => byte === 1), `seed ${seed}`);
    for (let sector = 2; sector * 512 < 3500; sector++) {
      const byte = bytes[sector * 512];
      if (byte === 2) kept++;
      else lost++;
    }
    await Promise.race([
      file.read(Buffer.alloc(1), 0, 1, 0).then(() => t.fail('an old handle answered')),
      new Promise((resolve) => setImmediate(resolve)),
    ]);
  }
  t.ok(kept > 50 && lost > 50, `${kept} sectors kept, ${lost} lost`);
});

t.test('disk: no room, chosen faults, flipped bits, copies', async (t) => {
  const disk = new SimDisk({ seed: 1, capacityBytes: 100 });
  const file = await disk.open('x', 'create');
  await t.rejects(file.write(Buffer.alloc(150), 0, 150, 0), { code: 'ENOSPC' });
  t.equal(await disk.freeBytes(), 0);
  disk.flip('x', 10, 3);
  const copy = disk.clone();
  t.equal(copy.contents('x')[10], 8);
  disk.options = { ...disk.options, fault: (operation) => (operation === 'sync' ? new Error('broken') : undefined) };
  await t.rejects(file.sync(), /broken/);
  await disk.lock();
  await t.rejects(disk.lock(), { code: 'data-dir-locked' });
  await t.rejects(disk.open('none', 'read'), { code: 'ENOENT' });
  await t.rejects(disk.open('x', 'create'), { code: 'EEXIST' });
});
