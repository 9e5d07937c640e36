/**
 * Loaded into the server with `--import`: for each twentieth of a second, writes the longest pause of the event loop, and how
 * long its thread waited for a core meanwhile, to the file BENCH_LOOP_DELAY_FILE names: lines `wall-clock-ms pause-ms
 * waited-ms`. Nothing in the server knows of it.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 5;
const INTERVAL_MS = 50;

/** Milliseconds the main thread was ready to run and did not, so far; 0 where the kernel does not say. */
function waitedMs() {
  try {
    return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

const file = process.env['BENCH_LOOP_DELAY_FILE'];
if (file !== undefined) {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  let before = waitedMs();
  setInterval(() => {
    // What is measured is the time between two turns of a timer: the pause is what exceeds its interval.
    const pauseMs = Math.max(0, histogram.max / 1e6 - RESOLUTION_MS);
    histogram.reset();
    const waited = waitedMs();
    appendFileSync(file, `${Date.now()} ${pauseMs.toFixed(1)} ${(waited - before).toFixed(1)}\n`);
    before = waited;
  }, INTERVAL_MS).unref();
}
