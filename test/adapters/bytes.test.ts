import t from 'tap';
import { copyBytes } from '../../src/adapters/bytes.ts';

t.test('copies any range, and answers where it ends', async (t) => {
  const from = Buffer.from(Array.from({ length: 400 }, (_, n) => n & 0xff));
  for (const length of [0, 1, 2, 3, 4, 5, 7, 8, 127, 128, 129, 300]) {
    const to = Buffer.alloc(400, 0xee);
    t.equal(copyBytes(from, 9, 9 + length, to, 5), 5 + length);
    t.ok(to.subarray(5, 5 + length).equals(from.subarray(9, 9 + length)));
    t.ok(to.subarray(0, 5).every((byte) => byte === 0xee) && to.subarray(5 + length).every((byte) => byte === 0xee));
  }
});
