/** What is measured during a run: messages, latency, and what the server's process used. */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/** Clock ticks a second of `/proc`: 100 on every Linux Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds a process has used so far, all its threads. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold spaces: count from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident memory of a process. */
export function rssBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** Latencies in milliseconds; the first million are kept. */
export class Latencies {
  #samples = new Float64Array(1024);
  #count = 0;

  add(ms: number): void {
    if (this.#count === 1_000_000) return;
    if (this.#count === this.#samples.length) {
      const larger = new Float64Array(this.#count * 2);
      larger.set(this.#samples);
      this.#samples = larger;
    }
    this.#samples[this.#count++] = ms;
  }

  clear(): void {
    this.#count = 0;
  }

  /** @param share 0.5 for the median */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined;
    const sorted = this.#samples.slice(0, this.#count).sort();
    return sorted[Math.min(this.#count - 1, Math.floor(this.#count * share))];
  }
}

/** What a run answers. Absent = not measured in this scenario. */
export interface Result {
  /** Messages received while the clock ran, and for how long it did. */
  messages: number;
  seconds: number;
  /** Milliseconds from handing a message to the kernel to reading it back. */
  p50Ms: number | undefined;
  p99Ms: number | undefined;
  /** CPU seconds of the server's process in that time. */
  serverCpuSeconds: number;
  /** Resident memory of the server's process at its end. */
  serverRssBytes: number;
  /** Share of one core that the load generator used: near 1 means that it, not the server, may be the limit. */
  generatorLoad: number;
  /** Other figures of the scenario, by name with unit. */
  extra?: Record<string, number>;
}

/** Runs the clock between `start` and `stop`. */
export class Stopwatch {
  readonly #pid: number;
  #startMs = 0;
  #serverCpu = 0;
  #ownCpu = process.cpuUsage();

  constructor(pid: number) {
    this.#pid = pid;
  }

  start(): void {
    this.#serverCpu = cpuSeconds(this.#pid);
    this.#ownCpu = process.cpuUsage();
    this.#startMs = performance.now();
  }

  stop(messages: number, latencies?: Latencies): Result {
    const seconds = (performance.now() - this.#startMs) / 1000;
    const own = process.cpuUsage(this.#ownCpu);
    return {
      messages,
      seconds,
      p50Ms: latencies?.quantile(0.5),
      p99Ms: latencies?.quantile(0.99),
      serverCpuSeconds: cpuSeconds(this.#pid) - this.#serverCpu,
      serverRssBytes: rssBytes(this.#pid),
      generatorLoad: (own.user + own.system) / 1e6 / seconds,
    };
  }
}
