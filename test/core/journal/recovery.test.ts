import assert from 'node:assert';
import t from 'tap';
import { SystemClock } from '../../../src/core/clock.ts';
import { inspect } from '../../../src/core/journal/index.ts';
import { CHECKPOINT_ROWS, decideCheckpoint, decideLog, LOG_ROWS } from '../../../src/core/journal/recovery.ts';
import { scanBatches } from '../../../src/core/journal/scan.ts';
import { SimDisk } from '../../../src/testing/sim-disk.ts';
import { MiniCore, survivingPrefix } from './mini-core.ts';

const clock = new SystemClock();
const REASONS = ['end', 'torn', 'stale', 'foreign', 'version', 'mistaken', 'header'] as const;
const SEGMENTS = ['none', 'empty', 'next', 'gap'] as const;
const REMEDIES = ['none', 'truncate-tail'] as const;

/** A journal with some batches, closed in order. */
async function written(turns: number, perTurn = 3, length = 30): Promise<{ disk: SimDisk; core: MiniCore }> {
  const disk = new SimDisk({ seed: 7 });
  const core = await MiniCore.open({ disk, clock });
  for (let turn = 0; turn < turns; turn++) {
    for (let i = 0; i < perTurn; i++) core.publish(turn * perTurn + i + 1, length);
    await core.settled();
  }
  await core.journal.close();
  return { disk, core };
}

/** Where the batches of a segment start, and its end. */
async function borders(disk: SimDisk, path: string): Promise<number[]> {
  const bytes = disk.contents(path);
  const starts: number[] = [];
  const file = await disk.open(path, 'read');
  const link = { epoch: bytes.readUInt32LE(40), number: bytes.readDoubleLE(24) - 1, crc: bytes.readUInt32LE(44) };
  await scanBatches(file, bytes.length, 64, link, (_bytes, _start, header) => starts.push(header.offset));
  return [...starts, bytes.length];
}

async function refusal(disk: SimDisk): Promise<string> {
  try {
    const core = await MiniCore.open({ disk, clock });
    return `started: ${core.summary}`;
  } catch (error) {
    assert('code' in (error as object), String(error));
    return (error as { code: string }).code;
  }
}

async function inspected(disk: SimDisk): Promise<{ sound: boolean; text: string }> {
  const lines = inspect(disk, { verify: true });
  let text = '';
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true) return { sound: value, text };
    text += `${value}\n`;
  }
}

t.test('the decision tables have exactly one row for every input, and need every row', async (t) => {
  const used = new Set<string>();
  for (const reason of REASONS) {
    for (const laterBatch of [true, false]) {
      for (const laterSegments of SEGMENTS) {
        for (const remedy of REMEDIES) {
          const { label, decision } = decideLog({ reason, laterBatch, laterSegments, remedy });
          used.add(label);
          if (remedy === 'none' && laterBatch && reason !== 'end') t.match(decision, /^refuse/, label);
          if (decision === 'cut' && remedy === 'none')
            t.strictSame([laterBatch, laterSegments], [false, 'none'], label);
        }
      }
    }
  }
  t.equal(used.size, LOG_ROWS.length);
  used.clear();
  for (const state of ['intact', 'damaged', 'version'] as const) {
    for (const log of ['covered', 'short', 'missing'] as const) {
      for (const remedy of REMEDIES) used.add(decideCheckpoint({ state, log, remedy }).label);
    }
  }
  t.equal(used.size, CHECKPOINT_ROWS.length);
});

t.test('cut at every byte: a truncated tail starts, with every batch before the cut', async (t) => {
  const { disk, core } = await written(4);
  const path = 'journal/0000000001.log';
  const whole = disk.contents(path);
  const starts = await borders(disk, path);
  let count = 0;
  for (let size = 0; size < whole.length; size++) {
    const copy = disk.clone();
    copy.plant(path, whole.subarray(0, size));
    const batches = starts.filter((start) => start <= size).length - 1;
    const after = await MiniCore.open({ disk: copy, clock });
    assert(survivingPrefix(core, Math.max(0, batches), after) >= 0, `cut at ${size}`);
    const kept = core.log.filter((entry) => entry.batch <= batches).length;
    assert.equal(after.live.size, kept, `cut at ${size}`);
    await after.verify();
    after.publish(1000, 50);
    await after.journal.close();
    const again = await MiniCore.open({ disk: copy, clock });
    assert.equal(again.live.size, kept + 1, `cut at ${size}, second start`);
    await again.journal.close();
    count++;
  }
  t.equal(count, whole.length);
});

t.test('garble every byte: the last batch is a torn tail, anything before it is refused', async (t) => {
  const { disk, core } = await written(3);
  const path = 'journal/0000000001.log';
  const whole = disk.contents(path);
  const last = (await borders(disk, path)).at(-2)!;
  for (let at = 0; at < whole.length; at++) {
    for (const change of [0xff, 0x01]) {
      const copy = disk.clone();
      const bytes = Buffer.from(whole);
      bytes[at]! ^= change;
      copy.plant(path, bytes);
      const sound = at % 8 === 0 && (await inspected(copy)).sound;
      const outcome = await refusal(copy);
      if (at >= last) {
        assert.match(outcome, /^started: .*the last write was torn/, `byte ${at}`);
      } else assert.equal(outcome, 'journal-corrupt', `byte ${at}`);
      assert.equal(sound && at < last, false, `inspect, byte ${at}`);
    }
  }
  t.ok(core.log.length > 0);
});

t.test(
  'a damaged header of the segment in use, behind a checkpoint: refused; mended when told, and nothing is lost',
  async (t) => {
    const { disk, core } = await written(3);
    const reopened = await MiniCore.open({ disk, clock });
    await reopened.checkpoint();
    await reopened.journal.close();
    const live = reopened.live.size;
    t.equal(live, core.live.size);
    const path = 'journal/0000000001.log';
    for (const at of [0, 8, 20, 63]) {
      const damaged = disk.clone();
      damaged.flip(path, at, 1);
      const files = damaged.contents(path);
      await t.rejects(
        MiniCore.open({ disk: damaged, clock }),
        { code: 'journal-corrupt', message: /header/ },
        `byte ${at}`,
      );
      t.ok(damaged.contents(path).equals(files), 'a refusal changes nothing');
      t.notOk((await inspected(damaged)).sound);
      const mended = await MiniCore.open({ disk: damaged, clock, remedy: 'truncate-tail' });
      t.equal(mended.live.size, live);
      mended.publish(1000, 50);
      await mended.journal.close();
      const again = await MiniCore.open({ disk: damaged, clock });
      t.equal(again.live.size, live + 1, 'what was written after it counts');
      await again.journal.close();
    }
  },
);

t.test(
  'damage in the middle: refused with the place, started only with the remedy, what is given up is set aside',
  async (t) => {
    const { disk, core } = await written(200, 5, 100);
    const [first, second] = ['journal/0000000001.log', 'journal/0000000002.log'];
    t.ok(disk.paths().includes('journal/0000000004.log'));
    const damaged = disk.clone();
    const [, , start] = await borders(disk, second);
    damaged.flip(second, start! + 60, 3);
    await t.rejects(MiniCore.open({ disk: damaged, clock }), {
      code: 'journal-corrupt',
      message: new RegExp(`${second} at ${start}: .*later`),
    });
    const { sound, text } = await inspected(damaged);
    t.notOk(sound);
    t.match(text, /a start would be refused/);
    t.match(text, new RegExp(`${second}.*ends at ${start}: torn`));
    const files = damaged.paths();
    await t.rejects(MiniCore.open({ disk: damaged, clock }), { code: 'journal-corrupt' });
    t.strictSame(damaged.paths(), files, 'a refusal changes nothing');
    const cut = await MiniCore.open({ disk: damaged, clock, remedy: 'truncate-tail' });
    t.ok(cut.live.size > 0 && cut.live.size < core.live.size);
    await cut.verify();
    await cut.journal.close();
    t.ok(damaged.paths().some((path) => path.startsWith(`${second}.lost-after-`)));
    t.ok(damaged.paths().some((path) => path.startsWith('journal/0000000003.log.lost-after-')));
    const again = await MiniCore.open({ disk: damaged, clock });
    t.equal(again.live.size, cut.live.size);
    await again.journal.close();

    for (const lost of [first, second]) {
      const hole = disk.clone();
      hole.lose(lost);
      t.equal(await refusal(hole), 'journal-corrupt', `${lost} is missing`);
    }
    const short = disk.clone();
    short.plant(second, disk.contents(second).subarray(0, start));
    t.equal(await refusal(short), 'journal-corrupt', 'a segment that lost its end');
  },
);

t.test('a segment that was started and has nothing in it, or only half a batch', async (t) => {
  const { disk, core } = await written(20, 5, 40);
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(30), Buffer.alloc(64, 7), Buffer.alloc(4096)]) {
    const copy = disk.clone();
    copy.plant('journal/0000000002.log', bytes);
    t.match((await inspected(copy)).text, /a start: would work/);
    const after = await MiniCore.open({ disk: copy, clock });
    t.equal(after.live.size, core.live.size);
    await after.journal.close();
  }
});

t.test('files of another journal, of a newer version, and left-over ones', async (t) => {
  const { disk } = await written(200, 5, 100);
  const second = 'journal/0000000002.log';
  const other = new SimDisk({ seed: 8 });
  const foreign = await MiniCore.open({
    disk: other,
    clock: { now: () => 5, monotonic: () => 5, after: clock.after, soon: clock.soon },
  });
  for (let id = 1; id < 500; id++) foreign.publish(id, 100);
  await foreign.journal.close();
  const mixed = disk.clone();
  mixed.plant(second, other.contents(second));
  t.equal(await refusal(mixed), 'journal-corrupt');

  const swapped = disk.clone();
  swapped.plant(second, disk.contents('journal/0000000003.log'));
  t.equal(await refusal(swapped), 'journal-corrupt');

  const littered = disk.clone();
  for (const name of [
    'journal/0000000009.cold',
    'journal/0000000009.cold.tmp',
    'journal/manifest.tmp',
    'checkpoint/0000000001.full.tmp',
  ]) {
    littered.plant(name, Buffer.from('rubbish'));
  }
  const core = await MiniCore.open({ disk: littered, clock });
  t.strictSame(
    littered.paths().filter((path) => !path.endsWith('.log')),
    [],
  );
  await core.journal.close();
});

t.test(
  'checkpoints: a damaged one falls back as long as the log is there, one ahead of the log is refused',
  async (t) => {
    const disk = new SimDisk({ seed: 9 });
    const core = await MiniCore.open({ disk, clock });
    let id = 0;
    for (const kind of ['full', 'delta', 'full'] as const) {
      for (let i = 0; i < 50; i++) core.publish(++id, 50);
      await core.checkpoint(kind);
    }
    for (let i = 0; i < 50; i++) core.publish(++id, 50);
    await core.journal.close();
    const [one, two, three] = [
      'checkpoint/0000000001.full',
      'checkpoint/0000000002.delta',
      'checkpoint/0000000003.full',
    ];
    t.strictSame(
      disk.paths().filter((path) => path.startsWith('checkpoint')),
      [one, two, three],
      'the chain before is kept',
    );
    for (const [broken, expected] of [
      [[three], /checkpoint 2 .*0000000003.full: the checkpoint is damaged/],
      [[three, two], /checkpoint 1 /],
      [[three, one], /no checkpoint; 0000000003.full: .*; 0000000002.delta: .*; 0000000001.full/],
    ] as const) {
      const copy = disk.clone();
      for (const path of broken) copy.flip(path, 100, 0);
      t.match((await inspected(copy)).text, /DAMAGED/);
      const after = await MiniCore.open({ disk: copy, clock });
      t.match(after.summary, expected);
      t.strictSame([...after.live], [...core.live]);
      await after.checkpoint('full');
      await after.journal.close();
      const again = await MiniCore.open({ disk: copy, clock });
      t.strictSame([...again.live], [...core.live]);
      await again.journal.close();
    }
    const garbled = disk.contents(three);
    for (let at = 0; at < garbled.length; at += 31) {
      const copy = disk.clone();
      copy.flip(three, at, at % 8);
      const after = await MiniCore.open({ disk: copy, clock });
      assert.match(after.summary, /checkpoint 2 /, `byte ${at}`);
      await after.journal.close();
    }
    const path = 'journal/0000000001.log';
    const lying = disk.clone();
    lying.plant(path, disk.contents(path).subarray(0, 3000));
    t.equal(await refusal(lying), 'journal-corrupt', 'the log ends before the checkpoint');
    const cut = await MiniCore.open({ disk: lying, clock, remedy: 'truncate-tail' });
    t.ok(cut.live.size < core.live.size);
    await cut.journal.close();
    t.match(await refusal(lying), /^started/, 'the remedy is needed once');
  },
);
