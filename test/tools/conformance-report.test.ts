import t from 'tap';
import { countsOf, judge, type Outcome, reportText, staleGaps } from '../../conformance/report.ts';

const passed = { passed: true, skipped: false, detail: '' };
const failed = { passed: false, skipped: false, detail: 'x' };
const skipped = { passed: false, skipped: true, detail: 'not installed: x' };

t.test('verdicts: a gap that closed fails the run', async (t) => {
  t.equal(judge(passed, undefined), 'passed');
  t.equal(judge(failed, undefined), 'failed');
  t.equal(judge(failed, 'not there yet'), 'gap');
  t.equal(judge(passed, 'not there yet'), 'closed gap');
  t.equal(judge(skipped, 'not there yet'), 'skipped');
});

t.test('counts, stale gaps, report', async (t) => {
  const gaps = { 'a/x: 3': 'comes later', 'a/x: gone': 'was renamed' };
  const outcome = (id: string, result: typeof passed): Outcome => {
    const gap = (gaps as Record<string, string>)[id];
    return { id, folder: id.slice(0, 1), result, verdict: judge(result, gap) };
  };
  const outcomes = [
    outcome('a/x: 1', passed),
    outcome('a/x: 2', failed),
    outcome('a/x: 3', failed),
    outcome('b/y: 1', skipped),
  ];
  t.same(countsOf(outcomes), { passed: 1, failed: 1, gaps: 1, skipped: 1 });
  t.same(staleGaps(gaps, outcomes), ['a/x: gone']);
  const report = reportText(outcomes, gaps);
  t.match(report, '| a | 1 | 1 | 1 | 0 |');
  t.match(report, '| b | 0 | 0 | 0 | 1 |');
  t.match(report, '- **gap** a/x: 3: comes later');
  t.match(report, '- **failed** a/x: 2');
});
