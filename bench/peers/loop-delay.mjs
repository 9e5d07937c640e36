/**
 * Loaded into the server with `--import`: writes the longest pause of the event loop in each quarter of a second to the file
 * BENCH_LOOP_DELAY_FILE names, as lines `wall-clock-ms pause-ms`. Nothing in the server knows of it.
 */
import { appendFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 5;

const file = process.env['BENCH_LOOP_DELAY_FILE'];
if (file !== undefined) {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  setInterval(() => {
    // What is measured is the time between two turns of a timer: the pause is what exceeds its interval.
    const pauseMs = Math.max(0, histogram.max / 1e6 - RESOLUTION_MS);
    histogram.reset();
    appendFileSync(file, `${Date.now()} ${pauseMs.toFixed(1)}\n`);
  }, 250).unref();
}
