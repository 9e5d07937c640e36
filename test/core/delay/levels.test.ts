import t from 'tap';
import { DUE_MASK, delayedLevel, delayInfo, SLOT_MS } from '../../../src/core/delay/info.ts';
import { DELAY_LEVELS, delayOfLevel, parseDelay } from '../../../src/core/delay/levels.ts';
import { Message } from '../../../src/core/index.ts';
import { start } from '../fixture.ts';

t.test("levels are RocketMQ's; above the last counts as the last, 0 is none", async (t) => {
  const { broker } = await start();
  const levels = broker.delayLevelsMs;
  t.equal(levels.length, 18);
  t.same(
    [0, 1, 4, 5, 14, 17, 18, 19, 1e9].map((level) => delayOfLevel(levels, level)),
    [0, 1000, 30_000, 60_000, 600_000, 3_600_000, 7_200_000, 7_200_000, 7_200_000],
  );
});

t.test('delays as text', async (t) => {
  t.same(['250ms', '1s', '5m', '2h', '30d', '0s'].map(parseDelay), [250, 1000, 300_000, 7_200_000, 2_592_000_000, 0]);
  for (const text of ['', '1', 's', '-1s', '1.5s', '1 s', '1w', '1S', '9999999999s'])
    t.equal(parseDelay(text), undefined, text);
  t.ok(DELAY_LEVELS.every((level) => parseDelay(level) !== undefined));
});

t.test('an entry knows when it is due and of which priority, beside the bit of transient bodies', async (t) => {
  const message = new Message();
  const nowMs = Date.UTC(2030, 0, 1);
  t.equal(delayInfo(message, nowMs), 0);
  message.deliverAtMs = nowMs;
  t.equal(delayInfo(message, nowMs), 0, 'due already');
  for (const priority of [0, 1, 2, 127, 128, 255]) {
    for (const delayMs of [1, SLOT_MS - 1, SLOT_MS, 5 * SLOT_MS + 17]) {
      Object.assign(message, { priority, deliverAtMs: nowMs + delayMs });
      const info = delayInfo(message, nowMs);
      t.ok(Number.isInteger(info) && info >= 0 && info < 2 ** 32);
      t.equal(info & (1 << 24), 0);
      t.equal(info & DUE_MASK, (nowMs + delayMs) % SLOT_MS);
      t.equal(delayedLevel(info), priority);
      t.equal(delayedLevel(info | (1 << 24)), priority);
    }
  }
});
