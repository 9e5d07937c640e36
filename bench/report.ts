/** Medians of repeated runs, and the table people read. */
import type { Result } from './load/measure.ts';

/** One server in one row of the table: medians over the repeats. */
export interface Line {
  readonly row: string;
  readonly server: string;
  readonly messagesPerSecond: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly cpuSecondsPerMillion: number | undefined;
  readonly rssBytes: number;
  readonly generatorLoad: number;
  readonly extra: Record<string, number>;
  readonly runs: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function medianOf(results: readonly Result[], figure: (result: Result) => number | undefined): number | undefined {
  const values = results.map(figure).filter((value) => value !== undefined && Number.isFinite(value)) as number[];
  return values.length === 0 ? undefined : median(values);
}

export function lineOf(row: string, server: string, results: readonly Result[]): Line {
  const extra: Record<string, number> = {};
  for (const name of Object.keys(results[0]?.extra ?? {})) {
    extra[name] = medianOf(results, (result) => result.extra?.[name]) ?? Number.NaN;
  }
  return {
    row,
    server,
    messagesPerSecond: medianOf(results, ({ messages, seconds }) => messages / seconds) ?? 0,
    p50Ms: medianOf(results, ({ p50Ms }) => p50Ms),
    p99Ms: medianOf(results, ({ p99Ms }) => p99Ms),
    cpuSecondsPerMillion: medianOf(results, (result) =>
      result.messages === 0 ? undefined : (result.serverCpuSeconds / result.messages) * 1e6,
    ),
    rssBytes: medianOf(results, ({ serverRssBytes }) => serverRssBytes) ?? 0,
    generatorLoad: medianOf(results, ({ generatorLoad }) => generatorLoad) ?? 0,
    extra,
    runs: results.length,
  };
}

const OURS = 'junction';

/** How many times faster ours is (in a latency row: how many times lower its p50 is; for memory: how many times less). */
function ratio(line: Line, ours: Line | undefined): string {
  if (ours === undefined || line.server === OURS) return '';
  const bytes = line.extra['bytesPerConnection'];
  const oursBytes = ours.extra['bytesPerConnection'];
  if (bytes !== undefined && oursBytes !== undefined) return `${(bytes / oursBytes).toFixed(1)} x`;
  if (line.row.startsWith('latency')) return `${((line.p50Ms ?? 0) / (ours.p50Ms ?? Number.NaN)).toFixed(1)} x`;
  return `${(ours.messagesPerSecond / line.messagesPerSecond).toFixed(1)} x`;
}

function figure(value: number | undefined, digits: number): string {
  if (value === undefined) return '';
  return value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

const HEADINGS = ['scenario', 'server', 'msg/s', 'p50 ms', 'p99 ms', 'CPU s/M', 'RSS MB', 'generator', 'ours is'];

/** The table, then the figures that have no column. */
export function table(lines: readonly Line[]): string {
  const cells = lines.map((line) => {
    const ours = lines.find(({ row, server }) => row === line.row && server === OURS);
    return [
      line.row,
      line.server,
      line.messagesPerSecond === 0 ? '' : figure(line.messagesPerSecond, 0),
      figure(line.p50Ms, 3),
      figure(line.p99Ms, 3),
      figure(line.cpuSecondsPerMillion, 2),
      figure(line.rssBytes / 1e6, 0),
      `${(line.generatorLoad * 100).toFixed(0)} %`,
      ratio(line, ours),
    ];
  });
  const widths = HEADINGS.map((heading, at) =>
    Math.max(heading.length, ...cells.map((row) => (row[at] as string).length)),
  );
  const format = (row: readonly string[]) =>
    row
      .map((cell, at) => (at < 2 ? cell.padEnd(widths[at] as number) : cell.padStart(widths[at] as number)))
      .join('  ');
  const out = [format(HEADINGS), widths.map((width) => '-'.repeat(width)).join('  '), ...cells.map(format)];
  for (const line of lines) {
    for (const [name, value] of Object.entries(line.extra)) {
      out.push(`${line.row}, ${line.server}: ${name} ${figure(value, value < 100 ? 2 : 0)}`);
    }
  }
  return out.join('\n');
}
