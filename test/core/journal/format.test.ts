import assert from 'node:assert';
import t from 'tap';
import {
  BATCH_HEADER_BYTES,
  emptyBatchHeader,
  isBatchIntact,
  readBatchHeader,
  sealBatch,
} from '../../../src/core/journal/batch.ts';
import { crc32, crc32ByTable, crc32Range } from '../../../src/core/journal/crc32.ts';
import { eachRecord } from '../../../src/core/journal/record.ts';
import { numberOf, readSegmentHeader, segmentPath, writeSegmentHeader } from '../../../src/core/journal/segment.ts';
import { TailCache } from '../../../src/core/journal/tail-cache.ts';
import { Prng } from '../../../src/testing/prng.ts';
import { SimClock } from '../../../src/testing/sim-clock.ts';

t.test('crc32: the check value, and the table agrees with the built-in one', async (t) => {
  t.equal(crc32(Buffer.from('123456789')), 0xcbf43926);
  const prng = new Prng(1);
  for (let length = 0; length < 300; length++) {
    const bytes = prng.bytes(length);
    assert.equal(crc32ByTable(bytes), crc32(bytes));
    assert.equal(crc32(bytes.subarray(length >> 1), crc32(bytes.subarray(0, length >> 1))), crc32(bytes));
    assert.equal(crc32ByTable(bytes.subarray(length >> 1), crc32(bytes.subarray(0, length >> 1))), crc32(bytes));
  }
});

t.test('crc32 of a range, short or long, is the same', async (t) => {
  const prng = new Prng(2);
  t.equal(crc32Range(Buffer.alloc(3), 2, 2, 7), 7);
  for (let length = 1; length < 700; length++) {
    const bytes = prng.bytes(length);
    const start = prng.below(length);
    const end = start + 1 + prng.below(length - start);
    const value = prng.below(2 ** 32);
    assert.equal(crc32Range(bytes, start, end, value), crc32(bytes.subarray(start, end), value));
  }
});

t.test('batch: the bytes of version 1 stay as they are', async (t) => {
  const bytes = Buffer.alloc(BATCH_HEADER_BYTES + 5 + 3);
  bytes.writeUInt32LE(3, 48);
  bytes[52] = 16;
  bytes.write('abc', 53);
  const crc = sealBatch(bytes, 0, bytes.length, {
    count: 1,
    epoch: 2,
    number: 3,
    timeMs: 4,
    previousCrc: 5,
    offset: 64,
  });
  t.equal(
    bytes.toString('hex'),
    '4a4d51425fb8a7c5380000000100000001000000020000000000000000000840000000000000104005000000400000000300000010616263',
  );
  const header = emptyBatchHeader();
  t.ok(readBatchHeader(bytes, 0, header));
  const expected = {
    epoch: 2,
    number: 3,
    crc,
    length: 56,
    count: 1,
    version: 1,
    timeMs: 4,
    previousCrc: 5,
    offset: 64,
  };
  t.strictSame(header, expected);
  t.ok(isBatchIntact(bytes, 0, header));
});

t.test('segment header: round trip, any changed byte is noticed, a newer version is told apart', async (t) => {
  const header = {
    kind: 0,
    segment: 7,
    journalId: 1.5e12,
    firstBatch: 2 ** 40,
    createdMs: 3,
    epoch: 9,
    previousCrc: 0xffffffff,
  };
  const bytes = Buffer.alloc(64);
  writeSegmentHeader(bytes, 0, header);
  t.strictSame(readSegmentHeader(bytes), header);
  for (let at = 0; at < 64; at++) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 0x10;
    assert.equal(readSegmentHeader(changed), undefined, `byte ${at}`);
  }
  bytes[8] = 2;
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
  t.equal(readSegmentHeader(bytes), 'version');
});

t.test('records: only those that fill their batch exactly count', async (t) => {
  const bytes = Buffer.from('0200000010aabb0000000011', 'hex');
  const seen: [number, string][] = [];
  const visit = (type: number, of: Buffer, start: number, end: number) =>
    seen.push([type, of.toString('hex', start, end)]);
  t.equal(eachRecord(bytes, 0, bytes.length, visit), 2);
  t.strictSame(seen, [
    [16, 'aabb'],
    [17, ''],
  ]);
  for (let end = 1; end < bytes.length; end++)
    t.equal(
      eachRecord(bytes, 0, end, () => {}),
      end === 7 ? 1 : -1,
      `cut at ${end}`,
    );
});

t.test('file names', async (t) => {
  t.equal(segmentPath(12), 'journal/0000000012.log');
  t.equal(numberOf('0000000012.log', '.log'), 12);
  for (const name of ['12.log', '0000000012.log.tmp', '00000000x2.log', '0000000012.cold'])
    t.equal(numberOf(name, '.log'), undefined);
});

t.test('tail cache: keeps what is not durable, finds any byte, reuses buffers only in the next turn', async (t) => {
  const clock = new SimClock();
  const cache = new TailCache(clock, 3000, 1000);
  const chunks = [1, 2, 3, 4, 5, 6].map((batch) => {
    const chunk = cache.add(batch < 4 ? 1 : 2, batch < 4 ? (batch - 1) * 1000 : (batch - 4) * 1000, 1000, batch);
    chunk.used = 900;
    return chunk;
  });
  cache.trim(0);
  t.equal(cache.find(1, 0), chunks[0], 'not durable: kept, whatever the limit');
  t.equal(cache.find(1, 899), chunks[0]);
  t.equal(cache.find(1, 900), undefined);
  t.equal(cache.find(2, 1500), chunks[4]);
  t.equal(cache.find(3, 0), undefined);
  cache.trim(2);
  t.equal(cache.find(1, 0), undefined);
  t.equal(cache.find(1, 2100), chunks[2]);
  const early = cache.add(2, 3000, 10, 7);
  t.notOk(
    chunks.some((chunk) => chunk.bytes === early.bytes),
    'still in use in this turn',
  );
  cache.trim(7);
  await clock.advance(1);
  const late = cache.add(2, 4000, 10, 8);
  t.ok(chunks.some((chunk) => chunk.bytes === late.bytes));
});
