/**
 * Count the points of a TAP stream: prints `<ok> <not ok>`. A test with subtests counts as its innermost points, so that
 * nothing is counted twice; skipped points and expected gaps (`# SKIP`, and `not ok` marked as to do) count as neither.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * @param {string} text
 * @returns {{ ok: number, notOk: number }}
 */
export function countPoints(text) {
  let ok = 0;
  let notOk = 0;
  /** Failures seen in the subtest open at each depth (counted in blanks of indent). @type {Map<number, number>} */
  const failures = new Map();
  let lastDepth = 0;
  for (const line of text.split('\n')) {
    const match = /^( *)(not )?ok\b(.*)$/.exec(line);
    if (match === null) continue;
    const depth = (match[1] ?? '').length;
    const failed = match[2] !== undefined;
    // A point less indented than the one before it closes a subtest: it repeats the sum of the points inside.
    const closes = depth < lastDepth;
    lastDepth = depth;
    let inside = 0;
    for (const [deeper, count] of failures) {
      if (deeper <= depth) continue;
      inside += count;
      failures.delete(deeper);
    }
    if (/(?<!\\)# *(skip|todo)\b/i.test(match[3] ?? '')) continue;
    if (failed) failures.set(depth, (failures.get(depth) ?? 0) + 1);
    // A failed subtest without a failed point (a timeout, a crash, a broken plan) is a failure of its own.
    if (failed) notOk += closes && inside > 0 ? 0 : 1;
    else if (!closes) ok += 1;
  }
  return { ok, notOk };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const { ok, notOk } = countPoints(readFileSync(/** @type {string} */ (process.argv[2]), 'utf8'));
  console.log(`${ok} ${notOk}`);
}
