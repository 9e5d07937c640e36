import t from 'tap';
import { Arrivals, Flow } from '../../bench/load/flow.ts';
import { Latencies } from '../../bench/load/measure.ts';
import { MessageRing, payload } from '../../bench/load/ring.ts';

/** A ring of `count` messages of 8 bytes, and what was written of it as the numbers of the messages. */
function setup(count: number, window: number, receivers: number) {
  const written: number[] = [];
  const ring = new MessageRing(count, (index) => payload(8, index));
  const arrivals = Array.from({ length: receivers }, () => new Arrivals());
  const latencies = new Latencies();
  const write = (bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += 8) written.push(bytes.readUInt32BE(at));
  };
  return { written, arrivals, latencies, flow: new Flow({ ring, write, window, arrivals, latencies }) };
}

t.test('a flow never has more than its window under way to the slowest receiver', async (t) => {
  const { written, arrivals, flow } = setup(64, 16, 3);
  flow.pump(1000);
  t.equal(flow.sent, 16);
  for (const arrival of arrivals.slice(0, 2)) arrival.count = 16;
  flow.pump(1000);
  t.equal(flow.sent, 16, 'one has got nothing yet');
  arrivals[2]!.count = 1;
  flow.pump(1000);
  t.equal(flow.sent, 16, 'one message is no burst');
  arrivals[2]!.count = 10;
  flow.pump(1000);
  t.equal(flow.sent, 26);
  t.equal(flow.done, 10);
  t.equal(flow.received(2), 32);
  flow.pump(0);
  t.equal(flow.sent, 26, 'the limit is reached');
  t.same(
    written,
    Array.from({ length: 26 }, (_, i) => i),
  );
});

t.test('messages go round the ring in order', async (t) => {
  const { written, arrivals, flow } = setup(10, 7, 1);
  for (let round = 0; round < 30; round++) {
    flow.pump(100);
    arrivals[0]!.count = flow.sent;
  }
  t.same(
    written,
    Array.from({ length: 100 }, (_, i) => i % 10),
  );
});

t.test('one message of each burst is timed, from when it was due', async (t) => {
  const { arrivals, latencies, flow } = setup(64, 64, 1);
  flow.sendNow(5, performance.now() - 1000);
  flow.time();
  t.equal(latencies.quantile(0.5), undefined, 'nothing arrived');
  arrivals[0]!.count = 5;
  flow.time();
  const median = latencies.quantile(0.5) ?? 0;
  t.ok(median >= 1000, `${median} ms`);
});

t.test('a window larger than the ring is refused', async (t) => {
  t.throws(() => setup(10, 11, 1));
});
