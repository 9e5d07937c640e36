import t from 'tap';
import { murmur2, partitionOfKey, StickyRoundRobin } from '../../../src/core/topic/partitioner.ts';

const hash = (text: string): number => {
  const bytes = Buffer.from(`x${text}y`);
  return murmur2(bytes, 1, bytes.length - 1) | 0;
};

t.test('keys hash as existing producers of partitioned logs hash them', async (t) => {
  // Published by the clients' own tests.
  t.equal(hash('21'), -973932308);
  t.equal(hash('foobar'), -790332482);
  t.equal(hash('a-little-bit-long-string'), -985981536);
  t.equal(hash('a-little-bit-longer-string'), -1486304829);
  t.equal(hash('lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8'), -58897971);
  t.equal(hash('abc'), 479470107);
});

t.test('the partition of a key is its hash without the sign, modulo', async (t) => {
  const bytes = Buffer.from('foobar');
  t.equal(partitionOfKey(bytes, 0, bytes.length, 7), (-790332482 & 0x7fff_ffff) % 7);
  t.equal(partitionOfKey(bytes, 0, bytes.length, 1), 0);
});

t.test('messages without a key stay together for a while, and use all partitions', async (t) => {
  const sticky = new StickyRoundRobin(100);
  const chosen = Array.from({ length: 12 }, () => sticky.next(50, 3));
  t.same(chosen, [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
  t.equal(sticky.next(50, 2), 0, 'fewer partitions than before');
});
