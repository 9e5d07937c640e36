import t from 'tap';
import { lineOf, median, table } from '../../bench/report.ts';

function result(messages: number, extra?: Record<string, number>) {
  const figures = { messages, seconds: 2, p50Ms: 1, p99Ms: undefined, serverCpuSeconds: 1, serverRssBytes: 5e6 };
  return { ...figures, generatorLoad: 0.5, ...(extra === undefined ? {} : { extra }) };
}

t.test('median', async (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  t.ok(Number.isNaN(median([])));
});

t.test('a line holds the medians of its runs', async (t) => {
  const line = lineOf('row', 'server', [result(100, { x: 1 }), result(300, { x: 5 }), result(200, { x: 3 })]);
  t.match(line, { messagesPerSecond: 100, p50Ms: 1, rssBytes: 5e6, extra: { x: 3 }, runs: 3 });
  t.equal(line.p99Ms, undefined);
  t.equal(line.cpuSecondsPerMillion, 5000);
});

t.test('the table compares ours with each peer by what counts in the row', async (t) => {
  const text = table([
    lineOf('fast', 'junction', [result(1000)]),
    lineOf('fast', 'peer', [result(100)]),
    lineOf('idle', 'junction', [result(0, { bytesPerConnection: 10 })]),
    lineOf('idle', 'peer', [result(0, { bytesPerConnection: 25 })]),
    lineOf('latency', 'junction', [{ ...result(10), p50Ms: 2 }]),
    lineOf('latency', 'peer', [{ ...result(10), p50Ms: 3 }]),
  ]);
  const ratios = text.split('\n').map((line) => /([\d.]+) x$/.exec(line)?.[1]);
  t.same(ratios.filter(Boolean), ['10.0', '2.5', '1.5']);
});
