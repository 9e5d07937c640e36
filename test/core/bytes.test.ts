import t from 'tap';
import { copyBytes, copyView, VIEW_BYTES_MAX, viewOf } from '../../src/core/bytes.ts';

t.test('ranges of every length are copied, at any place, and nothing beside them', (t) => {
  const source = Buffer.from(Array.from({ length: 400 }, (_, n) => 1 + (n % 255)));
  const wrong: string[] = [];
  for (let length = 0; length <= VIEW_BYTES_MAX + 20; length++) {
    for (const [start, at] of [
      [0, 0],
      [1, 3],
      [7, 2],
      [100, 101],
    ] as const) {
      const target = Buffer.alloc(400);
      copyBytes(source, start, start + length, target, at);
      const expected = Buffer.alloc(400);
      source.copy(expected, at, start, start + length);
      if (!target.equals(expected)) wrong.push(`${length} bytes from ${start} to ${at}`);
      target.fill(0);
      copyView(viewOf(source), start, start + length, target, at);
      if (!target.equals(expected)) wrong.push(`view of ${length} bytes from ${start} to ${at}`);
    }
  }
  t.same(wrong, []);
  t.end();
});
