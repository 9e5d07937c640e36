import t from 'tap';
import { PendingConfirms } from '../../src/adapters/pending-confirms.ts';

t.test('confirms come back in order, once each, with the refused ones told apart', async (t) => {
  const pending = new PendingConfirms<number>();
  const seen: string[] = [];
  const each = (value: number, ok: boolean): void => void seen.push(`${value}${ok ? '' : '!'}`);
  for (let n = 1; n <= 5; n++) pending.push(n);
  pending.confirm(2, undefined, each);
  pending.confirm(2, undefined, each);
  pending.confirm(4, [3], each);
  t.same(seen, ['1', '2', '3!', '4']);
  t.equal(pending.size, 1);
  pending.pop();
  pending.push(50);
  pending.confirm(5, [5], each);
  t.same(seen.at(-1), '50!');
  pending.push(6);
  pending.abandon((value) => seen.push(`gone ${value}`));
  t.same(seen.at(-1), 'gone 6');
  t.equal(pending.size, 0);
});

t.test('a long queue that never runs empty is trimmed and keeps its numbers', async (t) => {
  const pending = new PendingConfirms<number>();
  let confirmed = 0;
  let pushed = 0;
  for (; pushed < 3000; pushed++) pending.push(pushed + 1);
  for (let round = 0; round < 100; round++) {
    for (let n = 0; n < 700; n++) pending.push(++pushed);
    pending.confirm(confirmed + 700, undefined, (value) => {
      if (value !== ++confirmed) throw new Error(`${value} instead of ${confirmed}`);
    });
  }
  t.equal(confirmed, 70_000);
  t.equal(pending.size, pushed - confirmed);
});
